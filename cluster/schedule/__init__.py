"""``stylefarm schedule``: jobs rendered on a schedule, by a service here or by exported files."""
