"""One module for each family of picture formats: from the bytes of a file to a raster."""
