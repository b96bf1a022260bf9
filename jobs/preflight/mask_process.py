"""The child process that looks at masks.

A decoder may end its process, or never end. ``jobs.preflight.masks`` starts this by name, and lives on.
"""

from __future__ import annotations

import os
import signal
import threading
from importlib import import_module
from multiprocessing.connection import Connection
from typing import Any

ORPHAN_SECONDS = 1.0
"""The interval between two looks whether the parent is still there, in seconds."""


def main(descriptor: int) -> None:
    """Answer requests until the pipe is closed.

    Args:
        descriptor: The file descriptor of the pipe to the parent.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles a terminal's Ctrl-C
    parent = os.getppid()
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    pipe: Connection[Any, Any] = Connection(descriptor)
    try:
        path, inputs = pipe.recv()
        module, _, name = path.partition(":")
        look = getattr(import_module(module), name)
        pipe.send("ready")
        while True:
            pipe.send(look(inputs, *pipe.recv()))
    except (EOFError, OSError):
        os._exit(0)


def _end_with(parent: int) -> None:
    """End this process once its parent is gone, also while it decodes."""
    while os.getppid() == parent:
        threading.Event().wait(ORPHAN_SECONDS)
    os._exit(1)
