"""``stylefarm schedule``: jobs on the clock, here or exported."""
