"""Several processes, each with a device, that paint one picture together."""
