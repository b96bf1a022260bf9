"""One worker: fetch, paint, store. Knows no Ray."""
