"""The losses: from a recipe and its pictures to one number for each picture painted."""
