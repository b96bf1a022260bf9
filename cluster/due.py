"""``python -m cluster.due JOB``: exported systemd units call ``cluster.schedule.is_due`` by this name."""

from __future__ import annotations

from cluster.schedule.is_due import main

if __name__ == "__main__":
    main()
