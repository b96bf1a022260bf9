"""``LogView``: the log of a submitted run, shown as ``stylefarm run`` would have shown it."""

from __future__ import annotations

import re
from collections.abc import Callable

from rich.console import Console

from cluster.events.console import ConsoleView
from cluster.events.json_lines import from_json

RAYS_OWN = re.compile(
    r"Running entrypoint for job |.*\bRuntime env is setting up\.$|\d{4}-\d\d-\d\d .*\bINFO\b.* -- "
)
"""Lines that Ray itself writes into every log."""


class LogView:
    """Shows a log line by line: its events as a run shows them, and other output as it is.

    Args:
        console: Where to show it.
        print_json: Takes the lines that are events, unchanged; nothing is shown then. None: show the log.
    """

    def __init__(self, console: Console, print_json: Callable[[str], None] | None = None) -> None:
        self._print_json = print_json
        self._console = console
        self._view = ConsoleView(console, remote=True)

    def __call__(self, line: str) -> None:
        event = from_json(line)
        if self._print_json is not None:
            if event is not None:
                self._print_json(line)
        elif event is not None:
            self._view(event)
        elif line.strip() and not RAYS_OWN.match(line):
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Remove the progress bar."""
        self._view.close()
