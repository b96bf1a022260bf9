"""The tasks that wait for a worker: a window into the job, and the tasks to be retried.

The backlog decides which task a worker gets. First come the tasks that need more memory than smaller cards
have, so that these cards are left the rest; then a task whose style the worker has painted lately; then the
oldest. The window holds a few hundred tasks, so the driver's memory does not grow with the job.

Frames of a film that hold to frames which are not done yet wait beside the window (``Held``).
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from cluster.driver.held import Held, Lost
from jobs.records.record import AttemptRecord, TaskRecord
from jobs.tasks.task import Task
from stylize.memory import MEMORY_SHARE, predict_bytes
from stylize.network.strips import ALL_BLOCKS
from stylize.recipe import Recipe

WINDOW = 256
"""The number of tasks to choose from."""

PATIENCE = 4 * WINDOW
"""A task that was passed over this many times comes first."""

BATCH_PIXELS = 1024 * 1024
"""Pixels of a batch beyond which a GPU gains no speed: one picture of this size fills it."""

LEVELS = 8
"""Levels of frames (``FilmPart.level``) that are told apart."""

EARLIER = 64
"""Tasks before which a frame comes for each level above the last. So a shot of 64 frames takes a tenth less
time on 8 workers (``tests/bench/film_floor.py simulated``)."""

MOST_BATCH = 16
"""The largest number of pictures painted together."""


@dataclass
class TaskRun:
    """A task on its way through a run: its attempts so far, and what the driver has learned from them."""

    task: Task
    attempt_number: int = 0
    """The number of counted attempts, including the one in flight."""
    requeues: int = 0
    """How many times the task was requeued without an attempt being counted."""
    attempts: list[AttemptRecord] = field(default_factory=list)
    """Records of the attempts that have ended."""
    isolated: bool = False
    """Whether to paint the task in a process of its own."""
    above_bytes: int = 0
    """Only workers with more memory than this may paint the task."""
    started_at: float = 0.0
    """When the attempt in flight was handed out, in seconds since the epoch."""
    order: int = 0
    passed_over: int = 0
    """How many times a later task was chosen instead."""


class Candidate(Protocol):
    """What the choice of a worker's next task depends on."""

    memory_bytes: int | None
    """The memory of the worker's device; None where it is unknown or shared."""
    styles: OrderedDict[object, None]
    """The styles that the worker painted last, oldest first."""


class Backlog:
    """A window over the tasks of a job, and the tasks to be retried.

    Args:
        tasks: The tasks to render; None means that no task has been read yet.
        limit: The largest number of tasks to take from ``tasks``.
        members: The number of devices that share each picture.
        failed_before: As for ``Held``.
    """

    def __init__(
        self,
        tasks: Iterator[Task | None],
        limit: float = math.inf,
        members: int = 1,
        failed_before: Callable[[str], str | None] = lambda task_id: None,
    ) -> None:
        self._tasks = tasks
        self._limit = limit
        self._window: OrderedDict[int, TaskRun] = OrderedDict()
        self._later: list[tuple[float, int, TaskRun]] = []
        self._order = itertools.count()
        self._needs = _Needs(members)
        self._held: Held[TaskRun] = Held(failed_before)
        self.begun = 0
        """The number of tasks read from the job."""
        self.exhausted = False
        """Whether the job has no more tasks to read, or the limit is reached."""
        self.cut_short = False
        """Whether the limit is what ended the reading."""

    def __len__(self) -> int:
        """Return the number of tasks in the window, to be retried later, or held by others."""
        return len(self._window) + len(self._later) + len(self._held)

    @property
    def waiting(self) -> int:
        """The number of tasks that could start now."""
        return len(self._window)

    @property
    def retrying(self) -> int:
        """The number of tasks to be retried later."""
        return len(self._later)

    @property
    def held(self) -> int:
        """The number of frames that wait for frames that they hold to."""
        return self._held.waiting

    @property
    def hungry(self) -> bool:
        """Whether nothing could start now, and the job has more to read."""
        return not self._window and not self.exhausted and self._held.has_room

    @property
    def empty(self) -> bool:
        """Whether no task is left to start, now or later."""
        return self.exhausted and not len(self)

    @property
    def next_due(self) -> float | None:
        """When the next retry is due, by the driver's clock; None without retries."""
        return self._later[0][0] if self._later else None

    def put_back(self, task_run: TaskRun, due: float) -> None:
        """Retry a task, not before ``due``."""
        heapq.heappush(self._later, (due, next(self._order), task_run))

    def ended(self, record: TaskRecord) -> None:
        """Note that a task's record is written: frames that hold to it may start now, or never."""
        if record.film is not None:
            self._admit(self._held.ended(record))

    def lost(self) -> list[Lost[TaskRun]]:
        """Return the frames that cannot be painted, because one that they hold to has failed; each once."""
        return self._held.lost()

    def fill(self, now: float) -> None:
        """Fill the window: first with the retries that are due at ``now``, then with the job's next tasks."""
        while self._later and self._later[0][0] <= now:
            _, _, task_run = heapq.heappop(self._later)
            self._window[task_run.order] = task_run
            self._window.move_to_end(task_run.order, last=False)
        while len(self._window) < WINDOW and not self.exhausted and self._held.has_room:
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
            task_run = TaskRun(task, order=_order_of(task, next(self._order)))
            if task.part is None:
                self._window[task_run.order] = task_run
            elif self._held.may_start(task, task_run):
                self._admit([task_run])

    def take(
        self,
        candidate: Candidate,
        classes: Sequence[int],
        batch: int | None = 1,
        share: int = 1,
        *,
        growing: bool = False,
    ) -> list[TaskRun]:
        """Take the tasks that a worker paints next, together.

        Args:
            candidate: The worker.
            classes: The memory sizes of the workers in the pool, in bytes, ascending.
            batch: The number of pictures to paint together; None: as many as speed the device up and fit.
            share: The largest batch where ``batch`` is None, so that other workers get tasks, too.
            growing: Whether more workers are on their way; a task that fits no worker yet then waits.

        Returns:
            Tasks of one recipe; none when the worker can paint none of the window's.
        """
        best: TaskRun | None = None
        best_rank: _Rank | None = None
        for task_run in self._window.values():
            rank = self._rank(task_run, candidate, classes, growing)
            if rank is not None and (best_rank is None or rank < best_rank):
                best, best_rank = task_run, rank
                if len(classes) < 2 and rank.unknown_style == 0:
                    break  # they come in order, so nothing after it is better
        if best is None:
            return []
        for task_run in self._window.values():
            if task_run is best:
                break
            task_run.passed_over += 1
        taken = [best]
        most = min(share, self._needs.batch(best.task, candidate)) if batch is None else batch
        if most > 1 and not best.isolated:
            alike = (
                e
                for e in self._window.values()
                if e is not best
                and not e.isolated
                and e.above_bytes == best.above_bytes
                and _holds(e.task) == _holds(best.task)
                and e.task.weights_digest == best.task.weights_digest
                and e.task.recipe is best.task.recipe  # equal ones are one, as jobs make them
            )
            taken += itertools.islice(alike, most - 1)
        for task_run in taken:
            del self._window[task_run.order]
            task_run.passed_over = 0
            _remember(candidate, style_of(task_run.task))
        return taken

    def _admit(self, task_runs: Sequence[TaskRun]) -> None:
        """Put frames into the window, in their order."""
        if task_runs:
            self._window |= {task_run.order: task_run for task_run in task_runs}
            self._window = OrderedDict(sorted(self._window.items()))

    def _rank(
        self, task_run: TaskRun, candidate: Candidate, classes: Sequence[int], growing: bool
    ) -> _Rank | None:
        """Return the rank of a task for a worker, smaller is better; None: not for this worker."""
        preference = 0
        memory, task = candidate.memory_bytes, task_run.task
        if memory is not None and growing and not self._needs.fits(task, memory):
            return None
        if memory is not None and len(classes) > 1:
            if memory <= task_run.above_bytes < classes[-1]:
                return None
            wanted = self._needs.preference(task, memory, classes)
            if wanted is None:
                return None
            preference = wanted
        if task_run.passed_over >= PATIENCE:
            preference = -len(classes) - 1
        known = not candidate.styles or style_of(task_run.task) in candidate.styles
        return _Rank(preference, 0 if known else 1, task_run.order)


_END = object()
"""The end of the tasks."""


class _Rank(NamedTuple):
    preference: int
    """As ``_Needs.preference`` has it."""
    unknown_style: int
    """1 when the worker has not painted the style lately, else 0."""
    order: int


def style_of(task: Task) -> object:
    """Return a key that is equal for tasks that share a worker's cached style targets."""
    return task.styles


def _order_of(task: Task, number: int) -> int:
    """Return the number by which tasks are sorted.

    Frames of a film come as if they had been read earlier, the more so the more others wait for them: a film
    takes at least as long as the chain of its keys, and at its end few workers have something to paint.

    Args:
        task: The task.
        number: How many tasks were read before.
    """
    if task.part is None:
        return number * LEVELS
    level = min(task.part.level, LEVELS - 1)
    return (number - EARLIER * (LEVELS - 1 - level)) * LEVELS + level


def _holds(task: Task) -> bool:
    """Return whether a task is a frame that holds to others: such a render differs from others."""
    return task.part is not None and bool(task.part.needs)


STYLES_HELD = 8
"""The number of styles remembered per worker."""


def _remember(candidate: Candidate, style: object) -> None:
    candidate.styles[style] = None
    candidate.styles.move_to_end(style)
    while len(candidate.styles) > STYLES_HELD:
        candidate.styles.popitem(last=False)


class _Needs:
    """The memory that recipes need of each device, predicted once per recipe.

    Args:
        members: The number of devices that share each picture.
    """

    MOST = 1024  # recipes remembered

    def __init__(self, members: int) -> None:
        self._members = members
        self._cached: OrderedDict[tuple[int, int, bool], tuple[Recipe, tuple[int, int]]] = (
            OrderedDict()
        )

    def preference(self, task: Task, memory: int, classes: Sequence[int]) -> int | None:
        """Return how much a device with ``memory`` bytes should prefer a render.

        Negative values come first, since smaller devices cannot take the render. 1 comes last, since the
        render needs strips there and larger devices do without. None means never.

        Args:
            recipe: The knobs of the render.
            memory: The device's memory, in bytes.
            classes: The memory sizes of the workers in the pool, in bytes, ascending and not empty.
        """
        whole, strips = self._bytes(task)
        fitting = [k for k, size in enumerate(classes) if whole <= MEMORY_SHARE * size]
        least = fitting[0] if fitting else len(classes) - 1
        if classes[least] <= memory:
            return -least
        return 1 if strips <= MEMORY_SHARE * memory else None

    def fits(self, task: Task, memory: int) -> bool:
        """Return whether a device has room for a render, in strips if necessary."""
        return min(self._bytes(task)) <= MEMORY_SHARE * memory

    def batch(self, task: Task, candidate: Candidate) -> int:
        """Return the number of pictures that speed a device up when painted together, and fit."""
        if candidate.memory_bytes is None or self._members > 1:
            return 1
        most = min(MOST_BATCH, BATCH_PIXELS // task.recipe.size**2)
        room = MEMORY_SHARE * candidate.memory_bytes
        while most > 1 and self._bytes(task, most)[0] > room:
            most -= 1
        return max(1, most)

    def _bytes(self, task: Task, pictures: int = 1) -> tuple[int, int]:
        recipe = task.recipe
        key = (id(recipe), pictures, task.is_held)
        entry = self._cached.get(key)
        if entry is None or entry[0] is not recipe:
            size = recipe.size
            whole, strips = (
                predict_bytes(
                    recipe,
                    size,
                    size,
                    pictures=pictures,
                    process=False,
                    strips=way,
                    members=self._members,
                    held=task.is_held,
                )
                for way in (0, ALL_BLOCKS)
            )
            entry = self._cached[key] = (recipe, (whole, strips))
            if len(self._cached) > self.MOST:
                self._cached.popitem(last=False)
        return entry[1]
