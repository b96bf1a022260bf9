"""A task's loss log on its way to storage while the task still runs."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence

from jobs.errors import ObjectNotFoundError, StorageError
from jobs.records.loss_log import LossLog, LossRow, parse
from jobs.storage import keys
from jobs.storage.base import Storage

log = logging.getLogger(__name__)

EVERY_SECONDS = 5.0
"""S3 objects cannot be appended to, so each time the whole log is written anew. The promise is ten."""


class LossStream:
    """Keeps one task's log and writes it every few seconds, off the rendering thread."""

    def __init__(self, storage: Storage, task_id: str, log_: LossLog) -> None:
        self.key = keys.losses(task_id)
        self._storage = storage
        self._log = log_
        self._lock = threading.Lock()
        self._written = time.monotonic()
        self._writer: threading.Thread | None = None
        self._last_of_size: LossRow | None = None
        """Of a log that is gone on with: the row at the cut."""

    def begin(self, step: int) -> None:
        """The render begins after so many steps: what an earlier attempt logged of these is kept.

        Raises StorageError.
        """
        with self._lock:
            self._log.clear()
            self._last_of_size = None
            if not step:
                return
            try:
                rows = parse(self._storage.get(self.key))
            except (ObjectNotFoundError, ValueError):
                return  # the log then begins here
            self._log.add([row for row in rows if row.step < step])
            self._last_of_size = next((row for row in rows if row.step == step), None)

    def add(self, rows: Sequence[LossRow]) -> None:
        """Take rows; start writing when it is time and the last write is through."""
        with self._lock:
            last, self._last_of_size = self._last_of_size, None
            # Within a size the row at the cut comes once more, as the first after it.
            if last is not None and last.scale != rows[0].scale:
                self._log.add([last])
            self._log.add(rows)
        due = time.monotonic() - self._written >= EVERY_SECONDS
        if due and (self._writer is None or not self._writer.is_alive()):
            self._written = time.monotonic()
            self._writer = threading.Thread(target=self._write_early, daemon=True)
            self._writer.start()

    def close(self) -> dict[str, float]:
        """Write the whole log and return the final losses. Raises StorageError."""
        if self._writer is not None:
            self._writer.join()
        self.write()
        return self._log.final_losses()

    def write(self) -> None:
        """Write the log as it is. Raises StorageError."""
        with self._lock:
            data = self._log.to_bytes()
        self._storage.put(self.key, data, content_type="text/csv")

    def _write_early(self) -> None:
        try:
            self.write()
        except StorageError as error:  # the last write counts; this one was for the impatient
            log.warning("loss log %s not written yet: %s", self.key, error)
