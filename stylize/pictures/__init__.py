"""Files to RGB tensors, and back."""
