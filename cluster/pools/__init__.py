"""The workers of a run: one in this process, or several on a Ray cluster."""
