"""What a job file may say, one model a file."""
