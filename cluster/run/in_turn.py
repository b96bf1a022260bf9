"""``wait_in_turn``: a run that begins only when another job has ended well."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from cluster.events.events import JobAwaited, Live
from cluster.events.live import LiveBoard, heed
from cluster.messages import Asked
from cluster.run.predecessor import Predecessor, Standing
from cluster.run.waiting import POLL_SECONDS, WAKE_SECONDS
from jobs.errors import StorageError
from jobs.inputs.addresses import without_secrets
from jobs.storage.base import Storage

log = logging.getLogger(__name__)


def wait_in_turn(
    predecessor: Predecessor,
    storage: Storage,
    board: LiveBoard,
    asked: Callable[[], Asked],
    before: Live | None = None,
) -> None:
    """Return when a job's predecessor has ended well. Meanwhile the job's output says so, in ``live.json``.

    Args:
        predecessor: What is waited for.
        storage: The output of the job that waits.
        board: Hears what is waited for: when it begins, and whenever something other than counts changes.
        asked: Returns whether the run is asked to end.
        before: What the last run of the job that waits has said of itself; None: there was none.

    Raises:
        UsageError: The predecessor waits for this job itself.
        ChainBrokenError: It has ended, and not well.
        AskedToEndError: The run is asked to end.
        StorageError: The predecessor's output cannot be used, from the start.
    """
    predecessor.check_chain(storage)
    standing = predecessor.standing()
    after = without_secrets(predecessor.storage.url)
    told = ""
    while not standing.well:
        what = f"{standing.what}, {standing.counts}" if standing.counts else standing.what
        board.awaits(f"waits for {standing.name}: {what}", after, before)
        if standing.what != told:
            told = standing.what
            board(JobAwaited(job=standing.name, output=after, what=what))
        _sleep(asked)
        standing = _look(predecessor, storage, standing)
    board.begins()


def _look(predecessor: Predecessor, storage: Storage, before: Standing) -> Standing:
    """Return how far the predecessor is; as before, where its output cannot be read for a while."""
    try:
        predecessor.check_chain(storage)
        return predecessor.standing()
    except StorageError as error:
        log.warning("looking whether %s is done: %s", predecessor.name, error)
        return before


def _sleep(asked: Callable[[], Asked]) -> None:
    until = time.monotonic() + POLL_SECONDS
    while time.monotonic() < until:
        heed(asked())
        time.sleep(WAKE_SECONDS)
