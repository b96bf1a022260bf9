"""``stylefarm run``, from the job to its summary."""
