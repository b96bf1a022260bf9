"""A job on its way to a cluster, and how it stands there."""
