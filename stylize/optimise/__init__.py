"""The optimisers: from the gradient of a loss to a better picture."""
