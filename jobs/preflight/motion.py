"""``entry_without_motion``: whether motion is still to be found by RAFT, which needs weights."""

from __future__ import annotations

from collections.abc import Callable

from jobs.inputs.reader import Inputs
from jobs.records.statuses import ABSENT, Ledger
from jobs.storage.base import Storage
from jobs.tasks.films.film_set import FilmSet
from jobs.tasks.films.kept_motion import motion_key
from jobs.tasks.films.part import Spot
from jobs.tasks.films.stretch import Stretch, stretches_of
from jobs.tasks.row_account import RowAccount
from jobs.tasks.todo import Agenda


def entry_without_motion(
    agenda: Agenda, storage: Storage, ledger: Callable[[], Ledger], retry_failed: bool
) -> int | None:
    """Return the first entry of ``pairs`` with a frame to do whose motion RAFT has to find.

    Motion that an earlier run has kept needs no weights, and neither does a film that is done.

    Args:
        agenda: The tasks: all of the job's, or a view of them.
        storage: The output of these tasks, which keeps their motion.
        ledger: Returns the tasks that have a record; called only if a film's motion comes from RAFT.
        retry_failed: Whether failed tasks are to do.

    Raises:
        JobFileError, StorageError: As ``Agenda.drafts``; or the output or a frame cannot be looked at.
    """
    entries = {
        entry.frames.id: k
        for k, entry in reversed(list(enumerate(agenda.entries)))
        if isinstance(entry, FilmSet) and entry.flow.way == "raft"
    }
    if not entries:
        return None
    inputs = Inputs(agenda.job.base, agenda.job.spec.storage)
    kept: set[Stretch] = set()
    for draft, code in agenda.drafts(ledger(), RowAccount(), retry_failed):
        spot = draft.spot
        if code != ABSENT or spot is None or not spot.needs or spot.way != "raft":
            continue
        for stretch in _stretches(spot):
            if stretch in kept:
                continue
            if storage.stat(motion_key(stretch, inputs)) is None:
                return entries[spot.film]
            kept.add(stretch)
    return None


def _stretches(spot: Spot) -> list[Stretch]:
    return list(stretches_of(spot.part([""] * len(spot.needs))))
