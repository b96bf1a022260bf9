"""From an entry with a film to its frames, as drafts of tasks."""
