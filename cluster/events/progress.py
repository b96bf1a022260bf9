"""``Meter``: a run's progress and speed, for the progress bar and for ``live.json``."""

from __future__ import annotations

from collections.abc import Sequence

from cluster.events.events import FilmSearched, Live, VideoProgress, WishesChanged
from cluster.messages import Wishes
from cluster.sliding_rate import SlidingRate
from cluster.time_text import duration_text
from jobs.spec.sharing import name_of

RATE_WINDOW = 30.0
"""The window over which speed is averaged, in seconds."""


class Meter:
    """Steps made, their rate, and the time that the rest takes.

    Speed is given in steps per second. The time left is computed from work (``Recipe.work_at``), since a
    step at a large size takes longer.

    Args:
        work_left: The work of the whole run; None until it is known.
    """

    def __init__(self, work_left: int | None) -> None:
        self.work_left: int | None = work_left
        self._ended_work = 0
        """The work of tasks that have ended, in whatever way."""
        self._rendered_steps = 0
        self._rendered_work = 0
        """Steps and work of finished renders."""
        self._running_work = 0
        self._steps = SlidingRate(RATE_WINDOW)
        self._work = SlidingRate(RATE_WINDOW)

    def end(self, work: int, steps: int | None = None) -> None:
        """Note that a task has ended.

        Args:
            work: The task's work.
            steps: The steps of its render; None unless the render was finished.
        """
        self._ended_work += work
        if steps is not None:
            self._rendered_steps += steps
            self._rendered_work += work

    def beat(self, steps: int, work: int, now: float) -> None:
        """Note what is done in tasks that are still in flight.

        Args:
            steps: The steps made so far in all of them, >= 0.
            work: The work of these steps, in ``Recipe.work_at`` units.
            now: The time, in seconds, by a clock that never goes back.
        """
        self._running_work = work
        self._steps.add(self._rendered_steps + steps, now)
        self._work.add(self._rendered_work + work, now)

    @property
    def steps_per_second(self) -> float:
        """The steps per second over the last ``RATE_WINDOW``; 0 while unknown."""
        return self._steps.per_second or 0.0

    @property
    def seconds_left(self) -> float | None:
        """The seconds until the rest is done; None while unknown."""
        if self.work_left is None:
            return None
        rate = self._work.per_second
        left = max(0, self.work_left - self._ended_work - self._running_work)
        return left / rate if rate else None


def status_line(live: Live) -> str:
    """Return a run's state on one line: "12 done, 0 failed, 88 left, 4 workers 97% busy, ETA 0:12:00"."""
    parts = [f"{live.done:,} done", f"{live.failed:,} failed"]
    if live.left is not None:
        parts.append(f"{live.left:,} left")
    if live.state != "ended":
        workers = plural(live.workers, "worker")
        workers += "" if live.busy is None else f" {live.busy:.0%} busy"
        parts.append(workers + (f" (+{live.pending:,} pending)" if live.pending else ""))
    if live.state in ("paused", "stopping"):
        parts.append(live.state)
    if live.state != "ended" and live.waits:
        parts.append(live.waits)
    if live.state != "ended" and live.steps_per_second:
        parts.append(f"{live.steps_per_second:.1f} steps/s")
    if live.eta is not None:
        parts.append(f"ETA {duration_text(live.eta)}")
    return ", ".join(parts)


def plural(count: int, word: str) -> str:
    """Return ``1 task``, ``2 tasks``."""
    return f"{count:,} {word}" if count == 1 else f"{count:,} {word}s"


def searched_text(event: FilmSearched) -> str:
    """Return how far a film is looked through for cuts."""
    return f"looking for cuts in {event.film}: {event.looked_at:,} of {event.frames:,} frames"


def video_text(event: VideoProgress) -> str:
    """Return how far a video is: "makes videos/shot--wave-<id>.mp4, frame 120 of 2,000"."""
    return f"makes {event.video}, frame {event.frame:,} of {event.frames:,}"


def wishes_text(wishes: WishesChanged | Wishes) -> str:
    """Return what is asked of a run: "go on, at most 4 workers, priority high"."""
    parts = ["pause" if wishes.paused else "go on"]
    if wishes.workers is not None:
        parts.append(f"at most {plural(wishes.workers, 'worker')}")
    if wishes.priority is not None:
        parts.append(f"priority {name_of(wishes.priority)}")
    return ", ".join(parts)


def rows_text(rows: int, used: int, repeated: int, left_out: int, skipped: int) -> str:
    """Return what became of the rows of manifests: "5 rows: 3 used, 1 repeated, 1 skipped".

    Args:
        rows: All rows; the others add up to it.
        used: Rows that are tasks.
        repeated: Rows that name a pair again.
        left_out: Rows whose tasks are not selected; named only where there are any.
        skipped: Rows that cannot be used.
    """
    selected = f"{left_out:,} not selected, " if left_out else ""
    return f"{plural(rows, 'row')}: {used:,} used, {repeated:,} repeated, {selected}{skipped:,} skipped"


def saved_text(done: int, changes: Sequence[str]) -> str:
    """Return that pictures stay as they were saved, though the job says otherwise now.

    Args:
        done: Tasks that are done; 0: not known yet.
        changes: What differs, a phrase for each key of ``image``.
    """
    those = (
        f"{plural(done, 'picture')} that {'is' if done == 1 else 'are'}"
        if done
        else "pictures that are"
    )
    stay = "stays as it was" if done == 1 else "stay as they were"
    return (
        f"{those} done {stay} saved, though under image {', '.join(changes)}: run --overwrite renders "
        f"{'it' if done == 1 else 'them'} again"
    )


def unread_text(count: int, first: Sequence[str]) -> str:
    """Return which pictures are left out: "3 files that patterns match: a.jxl (JPEG XL), ..., 1 more".

    Args:
        count: Their number.
        first: The first of them.
    """
    more = [f"{count - len(first):,} more"] if count > len(first) else []
    return f"{plural(count, 'file')} that patterns match: {', '.join([*first, *more])}"
