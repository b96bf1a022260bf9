"""Videos of films whose frames are all there, at the end of a run."""
