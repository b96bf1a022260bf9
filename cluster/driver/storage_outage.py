"""A floor that waits while the storage is in trouble, instead of failing every task."""

from __future__ import annotations

import threading
from collections.abc import Callable

from cluster.driver.failure_policy import delay_before
from jobs.errors import StorageError


class Trouble:
    """Whether the storage is in trouble, and looking now and then whether it still is.

    ``probe`` does something with the storage and raises StorageError where it cannot. It runs beside the
    driver, for a server that does not answer takes its time about it. That it succeeds proves little: a
    right may be missing in one place only. So trouble is over when something real was stored.
    """

    def __init__(self, probe: Callable[[], None], clock: Callable[[], float]) -> None:
        self._probe = probe
        self._clock = clock
        self._looks = 0
        self._next_look = 0.0
        self._looking: threading.Thread | None = None
        self._verdict: StorageError | None = None
        self._began: float | None = None
        self.since: float | None = None
        """Since when nothing new is begun; None while it is well, or has seemed so since the last look."""
        self.error: StorageError | None = None
        """What the storage said last."""

    @property
    def seconds(self) -> float:
        """For how long it has lasted, the moments included in which it seemed to be well."""
        return 0.0 if self._began is None else self._clock() - self._began

    def met(self, error: StorageError) -> bool:
        """Somebody met it; whether that is news."""
        self.error = error
        if self.since is not None:
            return False
        news = self._began is None
        if news:
            self._began, self._looks = self._clock(), 0
        self.since = self._clock()
        self._next_look = self.since + delay_before(self._looks + 2)
        return news

    def seems_over(self) -> bool:
        """Whether a look has just found it well. Looks, when it is time for it, and never waits."""
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
        self._looks += 1
        if self._verdict is not None:
            self.error = self._verdict
            self._next_look = self._clock() + delay_before(self._looks + 2)
            return False
        self.since = None
        return True

    def healed(self) -> float | None:
        """Something was stored as it should be: it is over, if it seemed so; after how many seconds."""
        if self._began is None or self.since is not None:
            return None
        lasted = self.seconds
        self._began = self.error = None
        return lasted

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
