"""``LossStream``, ``Checkpoints`` and ``Previews``: what is stored of a task while it runs.

``_BackgroundWriter`` writes all on threads of their own, at most once per interval, and always the newest
version. S3 objects cannot be appended to, so each write is a whole object.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from jobs.errors import ObjectNotFoundError, StorageError
from jobs.records.event_file import CONTENT_TYPE, event_file
from jobs.records.loss_log import LossLog, LossRow, parse
from jobs.storage import keys
from jobs.storage.base import Storage

log = logging.getLogger(__name__)

LOSS_LOG_SECONDS = 5.0
"""The shortest time between two writes of a loss log, in seconds; readers are promised rows within 10 s."""


class _BackgroundWriter:
    """Calls ``write`` off the rendering thread, at most once every ``every_seconds``."""

    def __init__(self, every_seconds: float, write: Callable[[], None]) -> None:
        self._every_seconds = every_seconds
        self._write = write
        self._last_start = time.monotonic()
        self._thread: threading.Thread | None = None

    @property
    def due(self) -> bool:
        """Whether a write is due and none is running."""
        busy = self._thread is not None and self._thread.is_alive()
        return not busy and time.monotonic() - self._last_start >= self._every_seconds

    def start_if_due(self, *, at_once: bool = False) -> bool:
        """Start a write if one is due and none is running; return whether one was started.

        With ``at_once`` a write is always started, after the running one has ended.
        """
        if not at_once and not self.due:
            return False
        self.join()
        self._last_start = time.monotonic()
        self._thread = threading.Thread(target=self._write, daemon=True)
        self._thread.start()
        return True

    def join(self) -> None:
        """Wait for the running write, if any."""
        if self._thread is not None:
            self._thread.join()


class LossStream:
    """Keeps one task's loss log and writes it every ``LOSS_LOG_SECONDS``.

    Args:
        storage: The output.
        task_id: The task's id, which the key is made from.
        log_: The log, empty.
    """

    def __init__(self, storage: Storage, task_id: str, log_: LossLog) -> None:
        self.key = keys.losses(task_id)
        self._storage = storage
        self._log = log_
        self._lock = threading.Lock()
        self._storing = threading.Lock()
        """Held during a write: the checkpoints' thread writes, too, and the newest log must come last."""
        self._writer = _BackgroundWriter(LOSS_LOG_SECONDS, self._write_early)
        self._row_at_cut: LossRow | None = None
        """The row that a resumed log ended with, until the first row after it arrives."""

    def begin(self, step: int) -> None:
        """Start the log of a render that begins after ``step`` steps, keeping an earlier attempt's rows up
        to there.

        Raises:
            StorageError: The earlier log cannot be read.
        """
        with self._lock:
            self._log.clear()
            self._row_at_cut = None
            if not step:
                return
            try:
                rows = parse(self._storage.get(self.key))
            except (ObjectNotFoundError, ValueError):
                return  # the log then begins here
            self._log.add([row for row in rows if row.step < step])
            self._row_at_cut = next((row for row in rows if row.step == step), None)

    def add(self, rows: Sequence[LossRow]) -> None:
        """Append rows, in the order of their steps, and start a write when one is due."""
        with self._lock:
            last, self._row_at_cut = self._row_at_cut, None
            # Within a size, the first row after the cut repeats the row at it.
            if last is not None and last.scale != rows[0].scale:
                self._log.add([last])
            self._log.add(rows)
        self._writer.start_if_due()

    def finish(self) -> dict[str, float]:
        """Write the whole log and return the final losses.

        Raises:
            StorageError: The log cannot be written.
        """
        self._writer.join()
        self.write()
        return self._log.final_losses()

    def to_bytes(self) -> bytes:
        """Return the log as it is now, as CSV."""
        with self._lock:
            return self._log.to_bytes()

    def write_event_file(self, key: str) -> None:
        """Write the whole log for TensorBoard; a failure is logged.

        Args:
            key: Where to.
        """
        try:
            data = event_file(parse(self._log.to_bytes()), self._log.style_layers, time.time())
            self._storage.put(key, data, content_type=CONTENT_TYPE)
        except Exception as error:  # the picture and its log are there
            log.warning("%s is not written: %s", key, error)

    def close(self) -> None:
        """Wait for the running write. Another attempt may write the log from now on."""
        self._writer.join()

    def write(self) -> None:
        """Write the log as it is now. Raises StorageError."""
        with self._storing:
            self._storage.put(self.key, self.to_bytes(), content_type="text/csv")

    def _write_early(self) -> None:
        try:
            self.write()
        except StorageError as error:  # the last write counts; this one only shows the log early
            log.warning("loss log %s not written yet: %s", self.key, error)


class Checkpoints:
    """Keeps the newest checkpoint of one task and writes one at most every ``every_seconds``.

    A checkpoint is as large as the picture in float32, so not every one is written. The newest is held in
    memory, so that a render that is interrupted can still store it.
    """

    def __init__(
        self,
        storage: Storage,
        task_id: str,
        every_seconds: float,
        before_write: Callable[[], None] = lambda: None,
        urgent: Callable[[], bool] = lambda: False,
    ) -> None:
        """Prepare a task's checkpoints.

        Args:
            storage: The output.
            task_id: The task's id, which the key is made from.
            every_seconds: The shortest time between two writes.
            before_write: Called on the writing thread before each write, to bring the loss log up to it.
            urgent: While it returns True, the next checkpoint is written at once.
        """
        self._key = keys.checkpoint(task_id)
        self._storage = storage
        self._before_write = before_write
        self._urgent = urgent
        self._writer = _BackgroundWriter(every_seconds, self._write)
        self._unwritten: bytes | None = None
        """The newest checkpoint, until a write picks it up."""
        self.urgently_written = False
        """Whether a checkpoint was written, or is being written, since it became urgent."""
        self.exists = False
        """Whether the output has a checkpoint, as far as this worker knows."""

    def load(self) -> bytes | None:
        """Return the checkpoint that an earlier attempt left, or None. Raises StorageError."""
        try:
            data = self._storage.get(self._key)
        except ObjectNotFoundError:
            return None
        self.exists = True
        return data

    def offer(self, make: Callable[[], bytes]) -> None:
        """Take a checkpoint, and start writing it if a write is due. Calls ``make`` before it returns."""
        self._unwritten = make()
        urgent = self._urgent()
        if self._writer.start_if_due(at_once=urgent):
            self.urgently_written = urgent
            self.exists = True

    def flush(self) -> None:
        """Write the newest checkpoint now, unless it is already written. Call this after an interruption."""
        self.close()
        if self._unwritten is not None:
            self.exists = True
            self._write()

    def close(self) -> None:
        """Wait for the running write: nothing may be stored after the task's record."""
        self._writer.join()

    def _write(self) -> None:
        data, self._unwritten = self._unwritten, None
        if data is None:
            return
        try:
            self._before_write()
            self._storage.put(self._key, data)
        except StorageError as error:
            # The render continues. After a crash it would only be resumed from an earlier checkpoint.
            log.warning("checkpoint %s not written: %s", self._key, error)


class Previews:
    """Stores one task's picture as it is so far, when somebody paints it and asks ``due``.

    Args:
        storage: The output.
        task_id: The task's id, which the key is made from.
        every_seconds: The shortest time between two previews.
        make: Returns the file of a picture of the renderer's own type; called on the writing thread.
    """

    def __init__(
        self, storage: Storage, task_id: str, every_seconds: float, make: Callable[[Any], bytes]
    ) -> None:
        self._key = keys.preview(task_id)
        self._storage = storage
        self._make = make
        self._picture: Any = None
        self._writer = _BackgroundWriter(every_seconds, self._write)
        self.exists = False
        """Whether this worker has stored one."""

    @property
    def due(self) -> bool:
        """Whether it is time for a preview, and the one before is stored."""
        return self._writer.due

    def take(self, picture: Any) -> None:
        """Start to store a picture, if one is due."""
        if self.due:
            self._picture = picture
            self._writer.start_if_due()

    def close(self) -> None:
        """Wait for the running write: nothing may be stored after the task's record."""
        self._writer.join()

    def _write(self) -> None:
        picture, self._picture = self._picture, None
        try:
            self._storage.put(self._key, self._make(picture), content_type="image/webp")
            self.exists = True
        except Exception as error:  # nobody needs it
            log.warning("preview %s not written: %s", self._key, error)
