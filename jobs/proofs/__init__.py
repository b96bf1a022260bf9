"""Every picture small first, then the chosen ones."""
