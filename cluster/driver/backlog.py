"""What waits to be painted: a look ahead into the job, and the tasks that are to be tried again.

Which task a worker gets is decided here. First what asks for more memory than smaller cards have, so that
these are left the rest; then one whose style the worker has looked at already; then the oldest. Only a few
hundred tasks are looked at, so the driver's memory does not grow with the job.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from jobs.records.record import AttemptRecord
from jobs.tasks.task import Task
from stylize.memory import predict_bytes
from stylize.recipe import Recipe

WINDOW = 256
"""Tasks that are looked at."""

PATIENCE = 4 * WINDOW
"""So often a task may be passed over before it comes first."""

MEMORY_SHARE = 0.9
"""Of a device's, that renders may be predicted to take."""

BATCH_PIXELS = 1024 * 1024
"""More at a time than this does not make a GPU faster: one picture of that size fills it."""

MOST_BATCH = 16


@dataclass
class Effort:
    """A task that was begun, or is about to be: its attempts so far, and what was learned of it."""

    task: Task
    attempt: int = 0
    """How many were made that count, the one under way included."""
    returns: int = 0
    """How often it came back for nothing that it did."""
    past: list[AttemptRecord] = field(default_factory=list)
    apart: bool = False
    """To be painted in a process of its own."""
    above_bytes: int = 0
    """Only for workers with more memory than that."""
    began: float = 0.0
    """When its attempt under way was handed out, in seconds since the epoch."""
    order: int = 0
    passed_over: int = 0


class Seat(Protocol):
    """What is to be known of a worker to choose its next task."""

    memory_bytes: int | None
    """Of its device; None where that is unknown or shared."""
    styles: OrderedDict[object, None]
    """Those it has had last."""


class Backlog:
    """Takes tasks from ``tasks`` (None stands for "none yet") as there is room, at most ``limit``."""

    def __init__(self, tasks: Iterator[Task | None], limit: float = math.inf) -> None:
        self._tasks = tasks
        self._limit = limit
        self._window: OrderedDict[int, Effort] = OrderedDict()
        self._later: list[tuple[float, int, Effort]] = []
        self._order = itertools.count()
        self._needs = _Needs()
        self.begun = 0
        """How many tasks were read from the job."""
        self.exhausted = False
        """Whether there are no more to read."""
        self.cut_short = False
        """Whether that is because of the limit."""

    def __len__(self) -> int:
        """How many wait, as far as they are known."""
        return len(self._window) + len(self._later)

    @property
    def waiting(self) -> int:
        """How many could be begun now."""
        return len(self._window)

    @property
    def empty(self) -> bool:
        """Whether nothing is left to begin, now or later."""
        return self.exhausted and not self._window and not self._later

    @property
    def next_due(self) -> float | None:
        """When the next one is to be tried again."""
        return self._later[0][0] if self._later else None

    def put_back(self, effort: Effort, due: float) -> None:
        """To be tried again, not before ``due``."""
        heapq.heappush(self._later, (due, next(self._order), effort))

    def fill(self, now: float) -> None:
        """Have something at hand: what is due again, and more of the job."""
        while self._later and self._later[0][0] <= now:
            _, _, effort = heapq.heappop(self._later)
            self._window[effort.order] = effort
            self._window.move_to_end(effort.order, last=False)
        while len(self._window) < WINDOW and not self.exhausted:
            if self.begun >= self._limit:
                self.exhausted = self.cut_short = True
                return
            task = next(self._tasks, _END)
            if task is None:
                return
            if not isinstance(task, Task):
                self.exhausted = True
                return
            self.begun += 1
            effort = Effort(task, order=next(self._order))
            self._window[effort.order] = effort

    def take(
        self,
        seat: Seat,
        classes: Sequence[int],
        batch: int | None = 1,
        share: int = 1,
        *,
        growing: bool = False,
    ) -> list[Effort]:
        """Tasks for a worker, to be painted together; none when it can do none of those at hand.

        While the floor is ``growing``, what does not fit any worker yet waits for one that may be larger.
        ``classes`` are the sizes of memory that there are on the floor, ascending. ``batch`` is how many
        to paint at once; None: as many as make the device faster and fit, but at most ``share``, so
        that others get some, too.
        """
        best: Effort | None = None
        best_rank: _Rank | None = None
        for effort in self._window.values():
            rank = self._rank(effort, seat, classes, growing)
            if rank is not None and (best_rank is None or rank < best_rank):
                best, best_rank = effort, rank
                if len(classes) < 2 and rank.stranger == 0:
                    break  # they come in order, so nothing after it is better
        if best is None:
            return []
        for effort in self._window.values():
            if effort is best:
                break
            effort.passed_over += 1
        taken = [best]
        most = min(share, self._needs.batch(best.task.recipe, seat)) if batch is None else batch
        if most > 1 and not best.apart:
            alike = (
                e
                for e in self._window.values()
                if e is not best
                and not e.apart
                and e.above_bytes == best.above_bytes
                and e.task.weights_digest == best.task.weights_digest
                and e.task.recipe is best.task.recipe  # equal ones are one, as jobs make them
            )
            taken += itertools.islice(alike, most - 1)
        for effort in taken:
            del self._window[effort.order]
            effort.passed_over = 0
            _remember(seat, style_of(effort.task))
        return taken

    def _rank(
        self, effort: Effort, seat: Seat, classes: Sequence[int], growing: bool
    ) -> _Rank | None:
        """Smaller is better; None: not for this worker."""
        place = 0
        memory, recipe = seat.memory_bytes, effort.task.recipe
        if memory is not None and growing and not self._needs.fits(recipe, memory):
            return None
        if memory is not None and len(classes) > 1:
            if memory <= effort.above_bytes < classes[-1]:
                return None
            found = self._needs.place(recipe, memory, classes)
            if found is None:
                return None
            place = found
        if effort.passed_over >= PATIENCE:
            place = -len(classes) - 1
        known = not seat.styles or style_of(effort.task) in seat.styles
        return _Rank(place, 0 if known else 1, effort.order)


_END = object()
"""There are no more tasks."""


class _Rank(NamedTuple):
    place: int
    stranger: int
    """Whether the worker does not know the style."""
    order: int


def style_of(task: Task) -> object:
    """Equal for tasks whose worker can use again what it found out about the style."""
    return task.styles


STYLES_HELD = 8


def _remember(seat: Seat, style: object) -> None:
    seat.styles[style] = None
    seat.styles.move_to_end(style)
    while len(seat.styles) > STYLES_HELD:
        seat.styles.popitem(last=False)


class _Needs:
    """What recipes take, predicted once each."""

    MOST = 1024

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[int, int], tuple[Recipe, tuple[int, int]]] = OrderedDict()

    def place(self, recipe: Recipe, memory: int, classes: Sequence[int]) -> int | None:
        """When a device with ``memory`` should take a render: below 0 is before all others, since smaller
        devices cannot; above 0 is after them, since it takes strips there and larger ones do without; None
        is never."""
        whole, strips = self._bytes(recipe)
        fitting = [k for k, size in enumerate(classes) if whole <= MEMORY_SHARE * size]
        least = fitting[0] if fitting else len(classes) - 1
        if classes[least] <= memory:
            return -least
        return 1 if strips <= MEMORY_SHARE * memory else None

    def fits(self, recipe: Recipe, memory: int) -> bool:
        """Whether a device has room for a render, in strips if need be."""
        return min(self._bytes(recipe)) <= MEMORY_SHARE * memory

    def batch(self, recipe: Recipe, seat: Seat) -> int:
        """How many pictures at once make a device faster, and fit."""
        if seat.memory_bytes is None:
            return 1
        most = min(MOST_BATCH, BATCH_PIXELS // recipe.size**2)
        room = MEMORY_SHARE * seat.memory_bytes
        while most > 1 and self._bytes(recipe, most)[0] > room:
            most -= 1
        return max(1, most)

    def _bytes(self, recipe: Recipe, pictures: int = 1) -> tuple[int, int]:
        key = (id(recipe), pictures)
        known = self._known.get(key)
        if known is None or known[0] is not recipe:
            size = recipe.size
            whole, strips = (
                predict_bytes(recipe, size, size, pictures=pictures, process=False, strips=way)
                for way in (False, True)
            )
            known = self._known[key] = (recipe, (whole, strips))
            if len(self._known) > self.MOST:
                self._known.popitem(last=False)
        return known[1]
