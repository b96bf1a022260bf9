"""One thread that paints, and keeps the other threads of its process to one core each.

OpenMP, which spreads torch's operations over cores, gives every thread that calls it helpers of its own. With
more helpers in a process than cores they no longer wait for one another awake, and the many small operations
of a render take half as long again (GNU's libgomp: ``gomp_throttled_spin_count``). So one thread of a process
has helpers, the one that paints.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")

_lock = threading.Lock()
_default: int | None = None
"""How many threads torch takes by itself, asked before any thread was kept to one."""

_kept = threading.local()


WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
"""Variables that say how OpenMP's helpers wait; whoever sets one has decided it."""


def wait_awake_briefly() -> None:
    """Have helpers wait awake for as long as the next of many small operations takes to come, and no longer.
    To be called before torch is imported.

    With libgomp's own patience, 300 times this, three renders that share two cores keep one another waiting,
    and take two to four times as long; with this they take a fifth longer than with none, and one alone takes
    a quarter less.
    """
    if not any(name in os.environ for name in WAITING):
        os.environ["GOMP_SPINCOUNT"] = "1000"


def default_threads() -> int:
    """How many threads torch takes by itself on this machine."""
    global _default
    import torch

    with _lock:
        if _default is None:
            _default = torch.get_num_threads()
        return _default


class PaintThread:
    """The thread that paints on one device, with so many ``threads`` (None: as many as torch likes)."""

    def __init__(self, threads: int | None) -> None:
        self._threads = threads or default_threads()
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="paint", initializer=self._set_up)

    def run(self, paint: Callable[..., T], *arguments: Any) -> T:
        """Call it there and wait."""
        return self._executor.submit(paint, *arguments).result()

    def _set_up(self) -> None:
        import torch

        torch.set_num_threads(self._threads)


def keep_to_one_core() -> None:
    """Have torch's operations in this thread run on one core, from now on."""
    if not getattr(_kept, "done", False):
        import torch

        default_threads()
        torch.set_num_threads(1)
        _kept.done = True
