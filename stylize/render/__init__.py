"""One picture, from start to end."""
