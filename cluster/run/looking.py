"""``Looking``: look at a job's pictures while a run prepares, and say what is missing before it renders."""

from __future__ import annotations

import threading
from collections.abc import Callable

from cluster.events.events import Listener, PicturesMissing
from jobs.errors import JobFileError, Problem
from jobs.preflight.preflight import Findings, Preflight
from jobs.records.statuses import Ledger
from jobs.tasks.todo import Agenda

LOOK_SECONDS = 1.0
"""How long a run looks for missing pictures, and at most waits for that, in seconds."""

SHOWN = 10
"""Missing pictures that an event or an error names."""


class Looking:
    """Looks at a job's pictures on a thread of its own, from when it is made.

    Args:
        agenda: All tasks of the job.
    """

    def __init__(self, agenda: Agenda) -> None:
        self._preflight = Preflight(agenda)
        self._findings: Findings | None = None
        threading.Thread(
            target=self._preflight.search, args=(LOOK_SECONDS,), name="look", daemon=True
        ).start()

    def judge(
        self,
        agenda: Agenda,
        ledger: Callable[[], Ledger],
        *,
        retry_failed: bool,
        refuse: bool,
    ) -> None:
        """Take what was found, as far as it concerns the tasks that the run renders.

        Args:
            agenda: The tasks of the run.
            ledger: Returns the tasks that have a record.
            retry_failed: Whether failed tasks are rendered again.
            refuse: Whether to raise if no task can be rendered.

        Raises:
            JobFileError: No task can be rendered.
        """
        self._preflight.wait(LOOK_SECONDS)
        found = self._findings = self._preflight.judge(agenda, ledger, retry_failed)
        if refuse and found.hopeless:
            problems = [picture.problem for picture in found.missing[:SHOWN]]
            rest = Problem(agenda.job.file, None, "", f"{found.scope}; {found.hopelessness}")
            raise JobFileError([*problems, rest])

    def tell(self, listen: Listener) -> None:
        """Say what is missing."""
        found = self._findings
        if found is not None and found.missing:
            listen(
                PicturesMissing(
                    pictures=len(found.missing),
                    looked_at=found.pictures,
                    complete=found.complete,
                    first=tuple(str(picture.problem) for picture in found.missing[:SHOWN]),
                )
            )
