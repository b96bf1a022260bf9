"""``stylefarm plan`` and ``doctor``: what a run would take, and whether this machine can."""
