"""``FreshRows``: rows of what a run has committed, for a gallery that is open while it lasts.

The gallery is written when a run ends. Until then a page reads these files, which the run's ``live.json``
names. They are a view: whatever becomes of them, the records are what counts.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from cluster.events.board import shown
from jobs.data_script import CONTENT_TYPE, data_script
from jobs.records.record import TaskRecord, sequence_of
from jobs.storage import keys
from jobs.storage.base import Storage

ROWS = 500
"""Rows of a file that is sealed: it is not written again."""

FILES = 200
"""Files of a run; what is committed then is seen when the gallery is written."""

REWRITE_SECONDS = 10.0
"""The shortest time between two writes of the last file, in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FreshRow:
    """A task that this run has ended, with what a gallery shows, sorts and filters by."""

    id: str
    name: str
    status: Literal["done", "failed"]
    content: str
    style: str
    """The address of the style's picture; those of a blend are joined by " + "."""
    recipe: dict[str, Any]
    loss: float | None
    """The final total loss; None of a failed task."""
    seconds: float
    """Seconds of rendering."""
    steps: int
    finished: float
    """Seconds since the epoch."""
    width: int
    """Pixels of the picture, or of the last good one; 0 without one."""
    height: int
    """Pixels."""
    key: str | None
    """The picture; None of a failed task."""
    size: int
    """Bytes of the picture, or of the last good one; 0 without one."""
    thumb: bool
    """Whether the output has a small picture of it."""
    attempts: int
    error: str | None
    kept: str | None
    """The last good picture of a failed render; None: there is none."""
    proof: bool
    """Whether it is a proof, so that every key is one in ``proofs/``."""
    film: str | None = None
    """The painted film that a frame belongs to; None: the task is a picture by itself."""
    frame: int = 0
    """A frame's number as its source counts; 0 of other tasks."""
    held: float | None = None
    """How firmly a frame is held, 0 to 1; None: unknown, or it holds to none."""


class FreshRows:
    """The rows that a run has committed, in files of ``ROWS``. Only ``add`` may be called on any thread.

    Args:
        storage: The output.
        run: The run's id.
        proof: Whether the run renders proofs, in an output of their own.
        guard: Raises LeaseLostError when the output belongs to another run; called before each write.
        wake: Called when ``write`` should be called soon.
    """

    def __init__(
        self,
        storage: Storage,
        run: str,
        *,
        proof: bool = False,
        guard: Callable[[], None] = lambda: None,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        self._storage = storage
        self._run = run
        self._proof = proof
        self._guard = guard
        self._wake = wake
        self._waiting: deque[TaskRecord] = deque()
        """Records that no file has, at most ``ROWS``."""
        self._rows: list[FreshRow] = []
        """The rows of the last file."""
        self._number = 0
        """The number of the last file, counted from 0."""
        self._unwritten = False
        """Whether the last file lacks rows in the output."""
        self._written_at = -REWRITE_SECONDS
        self._held = threading.Event()
        self._writing = threading.Lock()
        self.keys: tuple[str, ...] = ()
        """The files that are in the output."""
        self.truncated = False
        """Whether rows are missing from them: there were too many, or they could not be written."""

    def add(self, record: TaskRecord) -> None:
        """Take a record that was committed. Never waits."""
        if self._number >= FILES or len(self._waiting) >= ROWS:
            self.truncated = True
            return
        self._waiting.append(record)
        if len(self._waiting) >= ROWS // 2:
            self._wake()

    def write(self, *, last: bool = False) -> None:
        """Write what is due: a full file at once, the last one every ``REWRITE_SECONDS``.

        Args:
            last: Whether the run ends, so that everything is due.

        Raises:
            StorageError: A file cannot be written; it is tried again at the next call.
        """
        with self._writing:
            if self._held.is_set():
                return
            while self._take() == ROWS:
                self._put(sealed=True)
                self._rows, self._number = [], self._number + 1
            now = time.monotonic()
            if self._unwritten and (last or now - self._written_at >= REWRITE_SECONDS):
                self._written_at = now
                self._put(sealed=False)

    def replaced_by(self, gallery: Callable[[], bool]) -> None:
        """Have a gallery written that has all rows; no file is written meanwhile, nor any after it.

        Args:
            gallery: Writes it, and returns whether it is written.
        """
        with self._writing:
            self._held.set()
        try:
            if gallery():
                self._rows, self._unwritten, self.keys, self.truncated = [], False, (), False
                self._waiting.clear()
        finally:
            self._held.clear()

    def _take(self) -> int:
        """Move records that wait into the last file, as far as it has room; return its number of rows."""
        while self._waiting and len(self._rows) < ROWS:
            if self._number >= FILES:
                self._waiting.clear()
                self.truncated = True
                break
            self._rows.append(fresh_row(self._waiting.popleft(), self._proof))
            self._unwritten = True
        return len(self._rows)

    def _put(self, *, sealed: bool) -> None:
        self._guard()
        key = keys.fresh(self._run, self._number)
        rows = [asdict(row) for row in self._rows]
        values = {"run": self._run, "k": self._number, "sealed": sealed, "rows": rows}
        self._storage.put(key, data_script("fresh", values), content_type=CONTENT_TYPE)
        self._unwritten = False
        if key not in self.keys[-1:]:
            self.keys = (*self.keys, key)


def fresh_row(record: TaskRecord, proof: bool = False) -> FreshRow:
    """Return what a gallery shows of a task that has ended.

    Args:
        record: Its record.
        proof: Whether it is a proof.
    """
    picture = shown(record)
    return FreshRow(
        id=record.id,
        name=record.name,
        status=record.status,
        content=record.content,
        style=" + ".join(style[0] for style in record.styles),
        recipe=record.recipe,
        loss=record.losses.get("total"),
        seconds=record.seconds.get("render", 0.0),
        steps=record.steps,
        finished=record.finished,
        width=0 if picture is None else picture.width,
        height=0 if picture is None else picture.height,
        key=None if record.output is None else record.output.key,
        size=0 if picture is None else picture.size,
        thumb=picture is not None and picture.thumbnail is not None,
        attempts=len(record.attempts),
        error=record.error,
        kept=None if record.kept is None else record.kept.key,
        proof=proof,
        film=sequence_of(record),
        frame=0 if record.film is None else record.film.number,
        held=None if record.film is None else record.film.held,
    )
