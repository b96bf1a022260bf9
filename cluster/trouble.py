"""A floor that waits while the storage is in trouble, instead of failing every task."""

from __future__ import annotations

import threading
from collections.abc import Callable

from cluster.retry import delay_before
from jobs.errors import StorageError


class Trouble:
    """Whether the storage is in trouble, and looking now and then whether it still is.

    ``probe`` does something with the storage and raises StorageError where it cannot. It runs beside the
    driver, for a server that does not answer takes its time about it.
    """

    def __init__(self, probe: Callable[[], None], clock: Callable[[], float]) -> None:
        self._probe = probe
        self._clock = clock
        self._looks = 0
        self._next_look = 0.0
        self._looking: threading.Thread | None = None
        self._verdict: StorageError | None = None
        self.since: float | None = None
        """When it began; None when there is none."""
        self.error: StorageError | None = None
        """What the storage said last."""

    @property
    def seconds(self) -> float:
        """For how long it has lasted."""
        return 0.0 if self.since is None else self._clock() - self.since

    def met(self, error: StorageError) -> bool:
        """Somebody met it; whether that is news."""
        self.error = error
        if self.since is not None:
            return False
        self.since = self._clock()
        self._looks = 0
        self._next_look = self.since + delay_before(2)
        return True

    def is_over(self) -> bool:
        """Whether it has just ended. Looks, when it is time for it, and never waits."""
        if self.since is None:
            return False
        if self._looking is None:
            if self._clock() >= self._next_look:
                self._looking = threading.Thread(target=self._look, name="probe", daemon=True)
                self._looking.start()
            return False
        if self._looking.is_alive():
            return False
        self._looking = None
        if self._verdict is not None:
            self.error = self._verdict
            self._looks += 1
            self._next_look = self._clock() + delay_before(self._looks + 2)
            return False
        self.since = self.error = None
        return True

    @property
    def looks(self) -> int:
        """How often it was looked at in vain."""
        return self._looks

    def _look(self) -> None:
        try:
            self._probe()
            self._verdict = None
        except StorageError as error:
            self._verdict = error
