"""What shows of a job's pictures before any is rendered."""
