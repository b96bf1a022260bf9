"""Manifests: files that name a pair in each row, as streams of rows."""
