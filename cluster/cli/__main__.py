"""``python -m cluster.cli``: the command, where no script of that name is installed."""

from __future__ import annotations

from cluster.cli.app import main

if __name__ == "__main__":
    main()
