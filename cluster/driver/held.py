"""``Held``: frames of films that wait for frames that they hold to.

A frame is painted from finished pictures of other frames, so it may start when their records are written.
When one of them fails for good, every frame that holds to it, also by way of others, fails by name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from jobs.records.record import TaskRecord
from jobs.tasks.task import Task

T = TypeVar("T")

MOST_HELD = 4096
"""Frames that wait at most. Frames come after those that they hold to, so one of these can always start."""

MOST_LOST = 256
"""Frames that cannot be painted, up to which more tasks are read: each costs a record."""


@dataclass(frozen=True, slots=True)
class Lost(Generic[T]):
    """A frame that cannot be painted."""

    what: T
    """What was given for it."""
    reason: str
    """One sentence."""


@dataclass(slots=True)
class _Waiting(Generic[T]):
    """A frame that waits."""

    task: Task
    what: T
    missing: int
    """Frames that it holds to and that are not done."""


class Held(Generic[T]):
    """The frames that wait, and those of which others may have to wait.

    Args:
        failed_before: Returns, as ``as_told`` does, why a task failed in an earlier run; None: it did not, or
            is rendered again.
    """

    def __init__(self, failed_before: Callable[[str], str | None]) -> None:
        self._failed_before = failed_before
        self._unfinished: dict[str, list[_Waiting[T]]] = {}
        """The frames that wait for each frame that was read and has no record yet, by its task's id."""
        self._failed: dict[str, str] = {}
        """Why frames have failed in this run, as those that hold to them are told."""
        self._lost: list[Lost[T]] = []
        self.waiting = 0
        """The number of frames that wait."""

    def __len__(self) -> int:
        """Return the number of frames that wait, or cannot be painted and were not returned yet."""
        return self.waiting + len(self._lost)

    @property
    def has_room(self) -> bool:
        """Whether more tasks may be read."""
        return self.waiting < MOST_HELD and len(self._lost) < MOST_LOST

    def may_start(self, task: Task, what: T) -> bool:
        """Take in a frame that was read; return whether it may start now.

        Args:
            task: Its task, read after those of the frames that it holds to.
            what: What ``ended`` returns when it may start, or ``lost`` when it never may.
        """
        assert task.part is not None
        waiting = _Waiting(task, what, 0)
        self._unfinished[task.id] = []
        for _, need in task.part.needs:
            reason = self._why_failed(need)
            if reason is not None:
                self._lose(waiting, reason)
                return False
        for _, need in task.part.needs:
            if need in self._unfinished:
                self._unfinished[need].append(waiting)
                waiting.missing += 1
        self.waiting += waiting.missing > 0
        return not waiting.missing

    def ended(self, record: TaskRecord) -> list[T]:
        """Note that a frame's record is written; return what may start now.

        Args:
            record: The record of a frame, done or failed.
        """
        waiting = self._unfinished.pop(record.id, [])
        if record.status == "failed":
            reason = self._failed.setdefault(record.id, as_told(record))
            for one in waiting:
                if one.missing:
                    one.missing = 0
                    self.waiting -= 1
                    self._lose(one, reason)
            return []
        ready = []
        for one in waiting:
            if one.missing:  # else it is lost already
                one.missing -= 1
                if not one.missing:
                    self.waiting -= 1
                    ready.append(one.what)
        return ready

    def lost(self) -> list[Lost[T]]:
        """Return what cannot be painted, each once. What holds to it follows when its record is written."""
        lost, self._lost = self._lost, []
        return lost

    def _lose(self, waiting: _Waiting[T], reason: str) -> None:
        # Those that hold to it are told of the frame that failed by itself.
        self._failed[waiting.task.id] = reason
        self._lost.append(Lost(waiting.what, reason))

    def _why_failed(self, task_id: str) -> str | None:
        """Return why a frame cannot be held to; None: it can, now or later."""
        reason = self._failed.get(task_id)
        if reason is None and task_id not in self._unfinished:
            reason = self._failed_before(task_id)
            if reason is not None:
                self._failed[task_id] = reason
        return reason


_TOLD = "has failed, which this frame holds to:"


def as_told(record: TaskRecord) -> str:
    """Return why frames fail that hold to a frame that has failed: they name the one that did so by itself.

    Args:
        record: The record of a frame that has failed.
    """
    error = (record.error or "its record does not say why").rstrip(".")
    if _TOLD in error or record.film is None:
        return error
    return f"frame {record.film.number} {_TOLD} {error}"
