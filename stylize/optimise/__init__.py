"""From the gradient of a loss to a better picture."""
