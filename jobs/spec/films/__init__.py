"""The keys of a film in a job file."""
