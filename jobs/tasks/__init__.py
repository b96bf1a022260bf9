"""From a Job to its tasks, lazily."""
