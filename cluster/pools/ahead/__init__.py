"""The motion of films, found ahead of the workers on cores that nobody uses."""
