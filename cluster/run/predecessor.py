"""``Predecessor``: the job after which a run begins (``--after``), and whether that has ended well."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass

from cluster.events.events import Live
from cluster.events.live import has_ended, read_live
from cluster.events.progress import plural
from cluster.open_job import open_agenda
from jobs.errors import ObjectNotFoundError, StorageError, StylefarmError, UsageError
from jobs.jobfile.job import Job, open_output
from jobs.jobfile.load import load_job
from jobs.proofs.find_job import is_job_file
from jobs.records.commit import Records
from jobs.storage import keys
from jobs.storage.base import Storage, StorageOptions
from jobs.storage.open import open_storage
from jobs.tasks.census import Census

EARLIER_RUN = "STYLEFARM_AFTER_RUN"
"""The environment variable with the predecessor's run that does not count, because a later one was submitted
after its end; empty: each counts. Where it is set, whoever submitted this run has found the predecessor."""

LONGEST_CHAIN = 1000
"""Runs after one another that are followed in search of a circle."""

_RESUMED = ("preempted",)
"""Reasons to end of runs that somebody else resumes."""


class ChainBrokenError(StylefarmError):
    """The run that is waited for has ended, and not well.

    Args:
        name: What that job is called.
        why: The reason, as a phrase.
        url: Its output.
    """

    def __init__(self, name: str, why: str, url: str) -> None:
        super().__init__(
            f"{name} has ended, but not well ({why}), so what was to follow does not begin: resume it, and "
            f"run this job again (its output: {url})"
        )
        self.in_short = f"{name}, after which it was to begin, has not ended well"
        """The sentence without its reasons: along a chain they would be told again and again."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a predecessor is."""

    name: str
    """What it is called, now that it may have begun."""
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
        name: What it is called until it says so itself.
        storage: Its output.
        options: How its output is reached.
        recorded: Whether its records say that all is done, where no run has told.
        earlier: The id of a run of it that does not count; None: each counts.
    """

    name: str
    storage: Storage
    options: StorageOptions
    recorded: bool = False
    earlier: str | None = None

    def standing(self) -> Standing:
        """Return how far it is.

        Raises:
            ChainBrokenError: It has ended, and not well.
            StorageError: Its output cannot be read.
        """
        live = read_live(self.storage)
        if live is None:
            return Standing(
                self.name, self.recorded, "it is done" if self.recorded else "it has not begun"
            )
        if live.run == self.earlier:
            return Standing(live.job, False, "it has not begun")
        counts = "" if live.tasks is None else f"{live.done:,} of {live.tasks:,} done"
        if live.state == "ended":
            return self._ended(live, counts)
        if has_ended(self.storage, live):
            what = "it was killed; run or submit it again to resume"
            return Standing(live.job, False, what, counts)
        if live.state == "waiting":
            return Standing(live.job, False, live.waits or "it waits, too")
        return Standing(live.job, False, "it is being rendered", counts)

    def check_chain(self, own: Storage) -> None:
        """Raise UsageError where the predecessor is the run itself, or waits for it.

        Args:
            own: The output of the run that is to wait.
        """
        mine = _place(own.url)
        if _place(self.storage.url) == mine:
            raise UsageError(
                f"a job cannot begin after itself: both --after and the job mean {own.url}"
            )
        for waiting in self._chain():
            if _place(waiting) == mine:
                raise UsageError(
                    f"{self.name} waits for this job itself, directly or through others, so neither would "
                    "ever begin: cancel one of them, or leave out --after"
                )

    def _ended(self, live: Live, counts: str) -> Standing:
        # Whatever ended it: a run that found all tasks done, and then waited in vain, has spoilt nothing.
        if live.tasks is not None and not live.failed and live.left == 0:
            return Standing(live.job, True, "it is done", counts)
        if live.reason in _RESUMED:
            what_to_do = "its machine was taken away; run or submit it again to resume"
            return Standing(live.job, False, what_to_do, counts)
        what = [f"{plural(live.failed, 'task')} failed"] if live.failed else []
        what += [f"{plural(live.left, 'task')} left"] if live.left else []
        if live.reason != "complete":
            what.append(f"reason: {live.reason}")
        why = ", ".join(what) or "it was not read to its end"
        raise ChainBrokenError(live.job, why, self.storage.url)

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


def predecessor_named(name: str, job: Job) -> Predecessor:
    """Return the predecessor that a name means.

    Args:
        name: A job file, or an output: a folder or an ``s3://`` URL.
        job: The job that is to wait; an output without a job file is reached as its own is.

    Raises:
        UsageError: Nothing has been rendered to the output.
        JobFileError: The job file cannot be used.
        StorageError: The output cannot be read.
    """
    if is_job_file(name):
        other = load_job(name)
        storage = open_output(other)
        recorded = read_live(storage) is None and _is_all_recorded(other, storage)
        outdated = _outdated_run(other, storage)
        return Predecessor(other.spec.name, storage, other.spec.storage, recorded, outdated)
    if not name:
        raise UsageError("--after needs a job file or an output, and an empty text is neither")
    options = job.spec.storage
    storage = open_storage(name, options)
    found = os.environ.get(EARLIER_RUN)
    live = read_live(storage)
    recorded = live is None and _is_summed_up(storage)
    named = Predecessor(live.job if live else name, storage, options, recorded, found or None)
    if found is None and live is None and storage.stat(keys.JOB) is None:
        named.check_chain(open_output(job))
        if storage.stat(f"{keys.PROOFS}/{keys.JOB}") is not None:
            raise UsageError(
                f"--after {name}: only proofs have been rendered there; they are in "
                f"{name.rstrip('/')}/{keys.PROOFS}"
            )
        raise UsageError(
            f"--after {name}: nothing has been rendered there; a job that has not begun is named by its job "
            "file"
        )
    return named


def _place(url: str) -> str:
    """Return an address that is the same for all names of one output."""
    return url.rstrip("/") if "://" in url else os.path.realpath(url)


def _outdated_run(job: Job, storage: Storage) -> str | None:
    """Return the last run of a job that has ended, where the job has tasks now that it did not render."""
    live = read_live(storage)
    if live is None or live.state != "ended" or live.failed or live.left != 0:
        return None
    census = _census(job, storage)
    return live.run if census is not None and census.left else None


def _is_all_recorded(job: Job, storage: Storage) -> bool:
    """Return whether all tasks of a job have records that say that they are done."""
    census = _census(job, storage)
    return census is not None and bool(census.done) and not census.left and not census.failed


def _is_summed_up(storage: Storage) -> bool:
    """Return whether an output's summary, which the end of a run writes, names pictures and no failure."""
    try:
        summary = json.loads(storage.get(keys.SUMMARY))
        return bool(summary["done"]) and not summary["failed"]
    except (ObjectNotFoundError, ValueError, TypeError, KeyError, RecursionError):
        return False


def _census(job: Job, storage: Storage) -> Census | None:
    """Return the numbers of a job's tasks; None: they cannot be told, because its pictures are out of reach
    from here."""
    try:
        with contextlib.closing(open_agenda(job)) as agenda:
            return agenda.census(Records(storage).ledger())
    except StylefarmError:
        return None
