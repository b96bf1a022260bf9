"""A task's checkpoints on their way to the output, and back to whichever worker takes the task next."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from jobs.errors import ObjectNotFoundError, StorageError
from jobs.storage import keys
from jobs.storage.base import Storage

log = logging.getLogger(__name__)


class Checkpoints:
    """Keeps the newest checkpoint of one task, written off the rendering thread.

    At most one is written every ``every_seconds``, since each is as large as the picture in float32. The
    newest is held meanwhile, so that a render that is broken off can still store it.
    """

    def __init__(
        self,
        storage: Storage,
        task_id: str,
        every_seconds: float,
        before_write: Callable[[], None] = lambda: None,
        urgent: Callable[[], bool] = lambda: False,
    ) -> None:
        """``before_write`` is called on the writing thread before each: to bring the loss log up to it.
        While ``urgent``, the next one is written at once."""
        self._key = keys.checkpoint(task_id)
        self._storage = storage
        self._every_seconds = every_seconds
        self._before_write = before_write
        self._urgent = urgent
        self._written = time.monotonic()
        self._writer: threading.Thread | None = None
        self._newest: bytes | None = None
        """What has not been written yet."""
        self.urgently_written = False
        """Whether one was written, or is being, since it became urgent."""
        self.exists = False
        """Whether there is one in the output, as far as this worker knows."""

    def load(self) -> bytes | None:
        """What an earlier attempt left. Raises StorageError."""
        try:
            data = self._storage.get(self._key)
        except ObjectNotFoundError:
            return None
        self.exists = True
        return data

    def offer(self, make: Callable[[], bytes]) -> None:
        """Take a checkpoint, and write it if it is time for one; ``make`` is called before this returns."""
        self._newest = make()
        urgent = self._urgent()
        busy = self._writer is not None and self._writer.is_alive()
        if not urgent and (busy or time.monotonic() - self._written < self._every_seconds):
            return
        if busy:
            self.close()
        self.urgently_written = urgent
        self._written = time.monotonic()
        self.exists = True
        self._writer = threading.Thread(target=self._write, daemon=True)
        self._writer.start()

    def flush(self) -> None:
        """The render is broken off: write the newest, if it is not written yet."""
        self.close()
        if self._newest is not None:
            self.exists = True
            self._write()

    def close(self) -> None:
        """Wait for what is being written: nothing may come after the task's record."""
        if self._writer is not None:
            self._writer.join()

    def _write(self) -> None:
        data, self._newest = self._newest, None
        if data is None:
            return
        try:
            self._before_write()
            self._storage.put(self._key, data)
        except (
            StorageError
        ) as error:  # the render goes on; only a crash would make it begin earlier
            log.warning("checkpoint %s not written: %s", self._key, error)
