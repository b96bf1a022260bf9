"""Which task, to whom, and what if it fails."""
