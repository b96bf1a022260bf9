"""One picture painted by several devices: each holds a band of its rows."""
