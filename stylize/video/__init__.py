"""Film files in and out, as a player shows them."""
