"""Standard output and standard error, which show what is done and never stop it."""
