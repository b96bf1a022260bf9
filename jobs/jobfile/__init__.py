"""From job.yaml to a Job, or to every problem in it with its line."""
