"""One render, from its first picture to its last."""
