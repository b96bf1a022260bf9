"""``PaintThread``: the thread that paints; every other thread of the process keeps to one core.

OpenMP, which spreads torch's operations over cores, gives every calling thread helper threads of its own.
Once a process has more helpers than cores, they no longer spin while they wait for one another, and the many
small operations of a render take half as long again (GNU's libgomp: ``gomp_throttled_spin_count``). So only
the painting thread has helpers.
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
"""The number of threads that torch uses by default, read before any thread is limited to one."""

_kept = threading.local()


WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
"""The environment variables that set how OpenMP's helpers wait; a user who sets one has decided."""


def wait_awake_briefly() -> None:
    """Have OpenMP's helpers spin only until the next small operation can be expected, then sleep.

    Call this before torch is imported. Nothing changes where one of ``WAITING`` is set.

    With libgomp's default, 300 times this, three renders that share two cores keep one another waiting and
    take two to four times as long. With this, they take a fifth longer than without any spinning, and one
    render alone takes a quarter less.
    """
    if not any(name in os.environ for name in WAITING):
        os.environ["GOMP_SPINCOUNT"] = "1000"


def default_threads() -> int:
    """Return the number of threads that torch uses by default on this machine."""
    global _default
    import torch

    with _lock:
        if _default is None:
            _default = torch.get_num_threads()
        return _default


class PaintThread:
    """The thread that paints on one device.

    Args:
        threads: The number of cores that torch's operations use there, > 0; None: torch's default.
    """

    def __init__(self, threads: int | None) -> None:
        self._threads = threads or default_threads()
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="paint", initializer=self._set_up)

    def run(self, paint: Callable[..., T], *arguments: Any) -> T:
        """Call ``paint`` on the thread and wait; return its result, or raise its exception."""
        return self._executor.submit(paint, *arguments).result()

    def _set_up(self) -> None:
        import torch

        torch.set_num_threads(self._threads)


def keep_to_one_core() -> None:
    """Have torch's operations in the calling thread run on one core from now on."""
    if not getattr(_kept, "done", False):
        import torch

        default_threads()
        torch.set_num_threads(1)
        _kept.done = True
