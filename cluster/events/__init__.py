"""What happens during a run, and who hears of it."""
