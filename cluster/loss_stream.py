"""A task's loss log on its way to storage while the task still runs."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence

from jobs import keys
from jobs.errors import StorageError
from jobs.losslog import LossLog, LossRow
from jobs.storage import Storage

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

    def add(self, rows: Sequence[LossRow]) -> None:
        """Take rows; start writing when it is time and the last write is through."""
        with self._lock:
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
        self._write()
        return self._log.final_losses()

    def _write(self) -> None:
        with self._lock:
            data = self._log.to_bytes()
        self._storage.put(self.key, data, content_type="text/csv")

    def _write_early(self) -> None:
        try:
            self._write()
        except StorageError as error:  # the last write counts; this one was for the impatient
            log.warning("loss log %s not written yet: %s", self.key, error)
