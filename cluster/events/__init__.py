"""The events of a run, and the listeners that show, log and publish them."""
