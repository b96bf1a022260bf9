"""One worker: fetches, paints and stores. It does not depend on Ray."""
