"""Pictures in archives, read by range."""
