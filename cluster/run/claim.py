"""``Claim``: the output that a run has for itself: its lease, and ``live.json`` in it."""

from __future__ import annotations

import contextlib
import os

from cluster.events.events import Listener
from cluster.events.live import LiveBoard, wish
from cluster.messages import SUBMISSION
from cluster.run.options import RunOptions
from jobs.storage.base import Storage
from jobs.storage.lease import Lease


class Claim:
    """A run's claim to its output, from its making until ``stack`` is closed.

    Args:
        storage: The output.
        job: The job's name.
        options: Say whether the run begins paused, and whether it renders proofs.
        listen: Hears every event.
        stack: Gives the output back.

    Raises:
        LeaseHeldError: Another run has the output.
        StorageError: The output cannot be used.
    """

    def __init__(
        self,
        storage: Storage,
        job: str,
        options: RunOptions,
        listen: Listener,
        stack: contextlib.ExitStack,
    ) -> None:
        storage.check()
        self.lease = Lease(storage).acquire()
        """The right to write to the output."""
        stack.callback(self.lease.release)
        self.board = stack.enter_context(
            LiveBoard(
                storage,
                listen,
                job=job,
                run=self.lease.nonce,
                submission=os.environ.get(SUBMISSION),
                guard=self.lease.guard,
                wishes=wish(storage, self.lease.nonce, paused=True) if options.hold else None,
                proof=options.proof,
            )
        )
        """Passes events on, and says in the output how far the run is."""
