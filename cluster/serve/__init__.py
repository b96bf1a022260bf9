"""``stylefarm serve``: outputs as web pages, to be looked at and nothing else."""
