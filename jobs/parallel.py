"""Many small requests in flight, answered in order, without reading ahead in the work."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def parallel_map(function: Callable[[T], R], items: Iterable[T], threads: int) -> Iterator[R]:
    """Map ``function`` over ``items``, with at most ``threads`` calls at a time.

    ``Executor.map`` would draw every item at once, whatever their number.

    Args:
        function: Called in other threads.
        items: Drawn lazily, in the calling thread, at most ``2 * threads`` ahead of the results.
        threads: Calls at a time, > 0.

    Yields:
        The results in the order of ``items``.

    Raises:
        Exception: What ``function`` or ``items`` raises, at its place in the order; calls that have not
            started are cancelled.
    """
    with ThreadPoolExecutor(threads, thread_name_prefix="requests") as pool:
        running: deque[Future[R]] = deque()
        try:
            for item in items:
                running.append(pool.submit(function, item))
                if len(running) >= 2 * threads:
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()
        finally:
            for future in running:
                future.cancel()
