"""``StorageOutage``: a run that waits while the storage is down, instead of failing every task."""

from __future__ import annotations

import threading
from collections.abc import Callable

from cluster.driver.failure_policy import delay_before
from jobs.errors import StorageError


class StorageOutage:
    """Whether the storage is down, with probes ever further apart.

    A probe runs on a thread of its own, since a server that is down takes its time to answer. A probe that
    succeeds proves little: a permission may be missing for some keys only. The outage is therefore over only
    when a record was stored (``end``).

    Args:
        probe: Uses the storage; raises StorageError while it is down.
        clock: Seconds from any origin.
    """

    def __init__(self, probe: Callable[[], None], clock: Callable[[], float]) -> None:
        self._probe = probe
        self._clock = clock
        self._probes = 0
        self._next_probe = 0.0
        self._probing: threading.Thread | None = None
        self._verdict: StorageError | None = None
        """The last probe's error; None after a success."""
        self._began: float | None = None
        self.since: float | None = None
        """Since when no new task is started; None while the storage is up or seems to be since a probe."""
        self.error: StorageError | None = None
        """The last error of the storage."""

    @property
    def seconds(self) -> float:
        """How long the outage has lasted, in seconds, including times when the storage seemed to be up."""
        return 0.0 if self._began is None else self._clock() - self._began

    @property
    def probes(self) -> int:
        """The number of probes that have ended in this outage."""
        return self._probes

    def begin(self, error: StorageError) -> bool:
        """Note an error of the storage; return whether it begins an outage."""
        self.error = error
        if self.since is not None:
            return False
        begins = self._began is None
        if begins:
            self._began, self._probes = self._clock(), 0
        self.since = self._clock()
        self._next_probe = self.since + delay_before(self._probes + 2)
        return begins

    def seems_over(self) -> bool:
        """Return whether a probe has just succeeded. Starts a probe when one is due, and never waits."""
        if self.since is None:
            return False
        if self._probing is None:
            if self._clock() >= self._next_probe:
                self._probing = threading.Thread(target=self._try, name="probe", daemon=True)
                self._probing.start()
            return False
        if self._probing.is_alive():
            return False
        self._probing = None
        self._probes += 1
        if self._verdict is not None:
            self.error = self._verdict
            self._next_probe = self._clock() + delay_before(self._probes + 2)
            return False
        self.since = None
        return True

    def end(self) -> float | None:
        """Note that a record was stored.

        Returns:
            How long the outage lasted, in seconds; None where there was none, or where a later error has
            renewed it.
        """
        if self._began is None or self.since is not None:
            return None
        lasted = self.seconds
        self._began = self.error = None
        return lasted

    def _try(self) -> None:
        try:
            self._probe()
            self._verdict = None
        except StorageError as error:
            self._verdict = error
