"""VGG19: its weights, its forward pass, and a backward pass written by hand."""
