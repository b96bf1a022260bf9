"""``stylefarm plan`` and ``stylefarm doctor``: what a job would take, and whether this machine can render."""
