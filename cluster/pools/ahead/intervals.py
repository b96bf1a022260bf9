"""``Intervals``: the frames of films between which motion is to be found, each once, in the order of need."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque

from jobs.tasks.films.stretch import Stretch, stretches_of
from jobs.tasks.task import Task

MOST_KNOWN = 16_384
"""Intervals that are known to have come: a film comes again with each style and recipe."""

MOST_LEFT = 512
"""Intervals that wait: where no core is free, those go first that workers have come to."""

Key = tuple[str, str, int, int]


class Intervals:
    """What is left to find. Any thread may use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._left: deque[Stretch] = deque(maxlen=MOST_LEFT)
        self._known: OrderedDict[Key, None] = OrderedDict()

    def note(self, task: Task) -> None:
        """Take in a task as it is read: frames come in the order in which they are painted."""
        for stretch in () if task.part is None else stretches_of(task.part):
            if not stretch.given:
                self._note(stretch)

    def _note(self, stretch: Stretch) -> None:
        key = (stretch.film, stretch.way, stretch.first, stretch.last)
        with self._lock:
            if key in self._known:
                return
            self._known[key] = None
            if len(self._known) > MOST_KNOWN:
                self._known.popitem(last=False)
            self._left.append(stretch)

    def take(self) -> Stretch | None:
        """Return the next one; None: there is none."""
        with self._lock:
            return self._left.popleft() if self._left else None

    def put_back(self, stretch: Stretch) -> None:
        """Have one come next again."""
        with self._lock:
            self._left.appendleft(stretch)

    def clear(self) -> None:
        """Forget what is left."""
        with self._lock:
            self._left.clear()

    def __len__(self) -> int:
        return len(self._left)
