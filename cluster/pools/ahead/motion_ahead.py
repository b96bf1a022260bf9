"""``MotionAhead``: has the motion of films found before workers need it, on cores that nobody uses."""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Protocol

from cluster.events import events
from cluster.pools.ahead.intervals import Intervals
from jobs.tasks.films.stretch import Stretch
from jobs.tasks.task import Task

log = logging.getLogger(__name__)

SECONDS = 0.5
"""The interval between two looks at what has ended and where there is room, in seconds."""

AT_FIRST = 2
"""Intervals at a time while no worker is up; later as many as there are workers, each of which takes much
longer to paint the frames of one."""

GIVE_UP = 3
"""Failures in a row after which all is left to the workers."""


class Helpers(Protocol):
    """Cores that find motion: ``cluster.pools.ahead.ray_helpers``."""

    def room(self) -> Mapping[str, int]:
        """Return the number of free cores of each node that has some."""

    def start(self, node: str, stretch: Stretch) -> Any:
        """Start to find the motion of a stretch on a node; return what stands for it."""

    def ended(self, running: Collection[Any]) -> Mapping[Any, str | None]:
        """Return those that have ended, each with the reason for which it failed; None: it did not."""

    def cancel(self, running: Collection[Any]) -> None:
        """End them now."""


class MotionAhead:
    """Looks at the tasks that a run reads, and has the motion found that they will need.

    It only ever saves time: a worker that finds no motion makes it, as without this. While the run is paused
    or ends, nothing is begun, and what was begun is ended.

    Args:
        helpers: The cores that find it.
        listen: Hears every event.
    """

    def __init__(self, helpers: Helpers, listen: events.Listener) -> None:
        self._helpers = helpers
        self._listen = listen
        self._intervals = Intervals()
        self._running: dict[Any, tuple[str, Stretch]] = {}
        """What runs, and on which node. Only the thread changes it."""
        self._workers = 0
        self._failures = 0
        self._paused = False
        self._outage = False
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="motion-ahead", daemon=True)

    def start(self) -> MotionAhead:
        """Begin."""
        self._thread.start()
        return self

    def watch(self, tasks: Iterable[Task | None]) -> Iterator[Task | None]:
        """Yield tasks as they are read, and note those of films."""
        for task in tasks:
            if task is not None and task.part is not None and not self._closed.is_set():
                self._intervals.note(task)
            yield task

    def __call__(self, event: events.Event) -> None:
        """Hear an event and pass it on."""
        match event:
            case events.Beat():
                self._workers = event.workers
            case events.Paused():
                self._outage = True
            case events.Resumed():
                self._outage = False
            case events.WishesChanged():
                self._paused = event.paused
            case events.Draining():
                self._closed.set()
        self._listen(event)

    def close(self) -> None:
        """End all of it."""
        self._closed.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._closed.wait(SECONDS):
            try:
                self._step()
            except Exception as error:  # the cluster is gone, which the driver hears of, too
                log.info("no motion is found ahead any more: %s", error)
                self._closed.set()
        self._intervals.clear()
        self._end()

    def _step(self) -> None:
        for handle, error in self._helpers.ended(self._running).items():
            _, stretch = self._running.pop(handle)
            self._failures = 0 if error is None else self._failures + 1
            if error is not None:
                log.info("the motion from %s on is left to workers: %s", stretch.uris[0], error)
        if self._failures >= GIVE_UP:
            raise RuntimeError(f"{GIVE_UP} in a row failed")
        if self._paused:
            for _, stretch in reversed(self._running.values()):
                self._intervals.put_back(stretch)
            self._end()
            return
        most = max(AT_FIRST, self._workers) - len(self._running)
        if self._outage or most <= 0 or not len(self._intervals):
            return
        for node in _spread(self._helpers.room(), [node for node, _ in self._running.values()]):
            following = self._intervals.take() if most > 0 else None
            if following is None:
                return
            self._running[self._helpers.start(node, following)] = node, following
            most -= 1

    def _end(self) -> None:
        try:
            self._helpers.cancel(self._running)
        except Exception as error:
            log.info("what finds motion could not be ended: %s", error)
        self._running.clear()


def _spread(room: Mapping[str, int], taken: Collection[str]) -> Iterator[str]:
    """Yield nodes with a free core, once for each, those first on which the least runs."""
    counts = {node: sum(one == node for one in taken) for node in room}
    left = dict(room)
    while left:
        node = min(left, key=lambda one: counts[one])
        yield node
        counts[node] += 1
        left[node] -= 1
        if not left[node]:
            del left[node]
