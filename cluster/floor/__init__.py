"""The floor that several runs share: who gets how many workers."""
