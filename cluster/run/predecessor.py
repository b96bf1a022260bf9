"""``Predecessor``: the job after which a run begins (``--after``), and whether that has ended well."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass

from cluster.events.events import Live
from cluster.events.live import has_ended, read_live
from cluster.events.progress import plural
from cluster.open_job import open_agenda
from jobs.errors import StorageError, StylefarmError, UsageError
from jobs.jobfile.job import Job, open_output
from jobs.jobfile.load import load_job
from jobs.proofs.find_job import is_job_file
from jobs.records.commit import Records
from jobs.storage import keys
from jobs.storage.base import Storage, StorageOptions
from jobs.storage.open import open_storage

EARLIER_RUN = "STYLEFARM_AFTER_RUN"
"""The environment variable with the predecessor's run that does not count, because a later one was submitted
after its end; empty: each counts. Where it is set, whoever submitted this run has found the predecessor."""

LONGEST_CHAIN = 1000
"""Runs after one another that are followed in search of a circle."""

_RESUMED = ("preempted",)
"""Reasons to end of runs that somebody else resumes."""


class ChainBrokenError(StylefarmError):
    """The run that is waited for has ended, and not well."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a predecessor is."""

    well: bool
    """Whether it has ended with all of its tasks done."""
    what: str
    """``it has not begun``, ``it is being rendered`` or the like; stays the same while it is rendered."""
    counts: str = ""
    """``12 of 50 done``; empty where that is not known."""


@dataclass(frozen=True, slots=True)
class Predecessor:
    """The job after which a run begins.

    Args:
        name: What it is called.
        storage: Its output.
        options: How its output is reached.
        earlier: The id of a run of it that does not count; None: each counts.
    """

    name: str
    storage: Storage
    options: StorageOptions
    earlier: str | None = None

    def standing(self) -> Standing:
        """Return how far it is.

        Raises:
            ChainBrokenError: It has ended, and not well.
            StorageError: Its output cannot be read.
        """
        live = read_live(self.storage)
        if live is None or live.run == self.earlier:
            return Standing(False, "it has not begun")
        counts = "" if live.tasks is None else f"{live.done:,} of {live.tasks:,} done"
        if live.state == "ended":
            return self._ended(live, counts)
        if has_ended(self.storage, live):
            return Standing(False, "it was killed; run or submit it again to resume", counts)
        if live.state == "waiting":
            return Standing(False, live.waits or "it waits, too")
        return Standing(False, "it is being rendered", counts)

    def check_chain(self, own: Storage) -> None:
        """Raise UsageError where the predecessor is the run itself, or waits for it.

        Args:
            own: The output of the run that is to wait.
        """
        mine = own.url.rstrip("/")
        if self.storage.url.rstrip("/") == mine:
            raise UsageError(
                f"a job cannot begin after itself: both --after and the job mean {own.url}"
            )
        for waiting in self._chain():
            if waiting.rstrip("/") == mine:
                raise UsageError(
                    f"{self.name} waits for this job itself, directly or through others, so neither would "
                    "ever begin: cancel one of them, or leave out --after"
                )

    def _ended(self, live: Live, counts: str) -> Standing:
        if live.reason == "complete" and not live.failed and live.left == 0:
            return Standing(True, "it is done", counts)
        if live.reason in _RESUMED:
            return Standing(
                False, "its machine was taken away; run or submit it again to resume", counts
            )
        what = [f"{plural(live.failed, 'task')} failed"] if live.failed else []
        what += [f"{plural(live.left, 'task')} left"] if live.left else []
        if live.reason != "complete":
            what.append(f"reason: {live.reason}")
        why = ", ".join(what) or "it was not read to its end"
        raise ChainBrokenError(
            f"{self.name} has ended, but not well ({why}), so what was to follow does not begin: resume it, "
            f"and run this job again (its output: {self.storage.url})"
        )

    def _chain(self) -> Iterator[str]:
        """Yield the outputs that the predecessor waits for, one after another, as far as can be seen."""
        storage, earlier = self.storage, self.earlier
        for _ in range(LONGEST_CHAIN):
            try:
                live = read_live(storage)
                if live is None or live.run == earlier or live.state != "waiting" or not live.after:
                    return
                if has_ended(storage, live):
                    return
                yield live.after
                storage, earlier = open_storage(live.after, self.options), None
            except StorageError:
                return


def predecessor_named(name: str, job: Job, base: StorageOptions | None = None) -> Predecessor:
    """Return the predecessor that a name means.

    Args:
        name: A job file, or an output: a folder or an ``s3://`` URL.
        job: The job that is to wait; an output without a job file is reached as its own is.
        base: How an output is reached; None: as the job's.

    Raises:
        UsageError: Nothing has been rendered to the output.
        JobFileError: The job file cannot be used.
        StorageError: The output cannot be read.
    """
    if is_job_file(name):
        other = load_job(name)
        storage = open_output(other)
        return Predecessor(
            other.spec.name, storage, other.spec.storage, _outdated_run(other, storage)
        )
    options = base or job.spec.storage
    storage = open_storage(name, options)
    found = os.environ.get(EARLIER_RUN)
    live = read_live(storage)
    if found is None and live is None and storage.stat(keys.JOB) is None:
        raise UsageError(
            f"--after {name}: nothing has been rendered there; a job that has not begun is named by its job "
            "file"
        )
    return Predecessor(live.job if live else name, storage, options, found or None)


def _outdated_run(job: Job, storage: Storage) -> str | None:
    """Return the last run of a job that has ended, where the job has tasks now that it did not render."""
    live = read_live(storage)
    if live is None or live.state != "ended" or live.reason != "complete" or live.failed:
        return None
    try:
        with contextlib.closing(open_agenda(job)) as agenda:
            census = agenda.census(Records(storage).ledger())
    except StylefarmError:  # its pictures may be out of reach from here
        return None
    return live.run if census.left else None
