"""The order book: what is to be rendered, where it goes, and what became of it."""
