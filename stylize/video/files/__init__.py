"""Film files as bytes: which container they are, whether they are whole, and what FFmpeg does not tell."""
