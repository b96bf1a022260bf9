"""VGG19: its weights, the way through it, and the way back, written by hand."""
