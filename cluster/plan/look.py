"""``look``: the preflight of ``plan`` and ``doctor``, which take their time for it."""

from __future__ import annotations

from dataclasses import replace

from jobs.errors import StorageError
from jobs.jobfile.job import open_output
from jobs.preflight.preflight import Findings, Preflight, deadline
from jobs.records.commit import Records
from jobs.records.statuses import Ledger
from jobs.tasks.todo import Agenda

LOOK_SECONDS = 10.0
"""How long to look for missing pictures, and then at masks, in seconds."""


def look(agenda: Agenda) -> Findings:
    """Return what shows of a job's pictures, for tasks that are not done; failed ones count, too.

    Args:
        agenda: The job's tasks.
    """

    def ledger() -> Ledger:
        try:
            return Records(open_output(agenda.job)).ledger()
        except StorageError:  # without an output that can be read, nothing counts as done
            return Ledger.of({})

    preflight = Preflight(agenda)
    preflight.search(LOOK_SECONDS)
    found = preflight.judge(agenda, ledger, retry_failed=True)
    return replace(found, doubts=tuple(preflight.doubts(found.masks, deadline(LOOK_SECONDS))))
