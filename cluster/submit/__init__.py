"""A job on its way to a cluster, and its status there."""
