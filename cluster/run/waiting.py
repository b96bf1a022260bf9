"""``Waiting``: a run that waits until another run of its output has ended."""

from __future__ import annotations

import time
from collections.abc import Callable

from cluster.events.events import Listener, OutputHeld
from cluster.messages import Asked
from jobs.errors import LeaseHeldError
from jobs.storage.base import Storage
from jobs.storage.lease import Lease

POLL_SECONDS = 2.0
"""Time between two looks at the lease of the other run."""

WAKE_SECONDS = 0.1
"""Time between two looks whether this run is asked to end."""


class Waiting:
    """How long a run waits for an output that another run has.

    Args:
        patience: How long, in seconds from now; None: for as long as it lasts.
        asked: Returns whether this run is asked to end.
        listen: Hears once who is waited for.
    """

    def __init__(
        self, patience: float | None, asked: Callable[[], Asked], listen: Listener
    ) -> None:
        self._patience = patience
        self._asked = asked
        self._listen = listen
        self._began = time.monotonic()
        self._told: str | None = None

    def until_free(self, storage: Storage, held: LeaseHeldError) -> None:
        """Return when nobody has the output any more.

        Args:
            storage: The output.
            held: Why it could not be taken.

        Raises:
            LeaseHeldError: It is still held, and this run has waited for long enough.
            KeyboardInterrupt: This run is asked to end.
            StorageError: The output cannot be read.
        """
        while True:
            if self._patience == 0:
                raise held
            self._tell(storage, held)
            self._sleep(held)
            try:
                Lease(storage).check_free()
            except LeaseHeldError as error:
                held = error
            else:
                return

    def _tell(self, storage: Storage, held: LeaseHeldError) -> None:
        who = held.use.partition(",")[0]
        if self._told == who:
            return
        self._told = who
        left = None if self._patience is None else self._left(self._patience)
        self._listen(
            OutputHeld(output=storage.url, reason=f"the output is {held.use}", patience=left)
        )

    def _sleep(self, held: LeaseHeldError) -> None:
        until = time.monotonic() + POLL_SECONDS
        while time.monotonic() < until:
            if self._patience is not None and not self._left(self._patience):
                raise held
            if self._asked() != "no":
                raise KeyboardInterrupt
            time.sleep(WAKE_SECONDS)

    def _left(self, patience: float) -> float:
        return max(0.0, self._began + patience - time.monotonic())
