"""``python -m cluster.due JOB``: the name that exported systemd units call ``cluster.schedule.is_due`` by."""

from __future__ import annotations

from cluster.schedule.is_due import main

if __name__ == "__main__":
    main()
