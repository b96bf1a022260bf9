"""Find tasks that were rendered from pictures that have changed since.

A task's id is made from the addresses of its pictures, so a picture that is replaced under its address makes
no new task; only the record has the digest of the earlier bytes. Files are compared by size and time, objects
on S3 by size and ETag. A picture is read only where the sizes agree and the time or ETag differs, so a file
that was merely touched is no change. Pictures on the web are taken at their address. A task that failed has
no recorded inputs, so it is retried when one of its pictures is younger than its failure.

Each picture is inspected once, however many tasks use it, and only records of this job's tasks are read.

A frame of a film is changed, too, when one that it holds to is changed, or has another picture by now than
the one that the frame was painted from.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

from jobs.errors import InputError, printable
from jobs.inputs.addresses import display, is_web
from jobs.inputs.data import InputStat
from jobs.inputs.reader import Inputs
from jobs.parallel import parallel_map
from jobs.records.commit import READERS, Records
from jobs.records.record import InputRecord, TaskRecord
from jobs.records.statuses import ABSENT, Ledger
from jobs.tasks.films.stretch import given_between
from jobs.tasks.identity import Draft
from jobs.tasks.row_account import RowAccount
from jobs.tasks.todo import Agenda


@dataclass(frozen=True, slots=True)
class Change:
    """A picture that is not what a task was rendered from."""

    id: str
    """The task's id."""
    name: str
    """The task's name."""
    uri: str
    """The picture's address, without secrets; or the key of a finished one that a frame holds to."""
    what: Literal["changed", "gone"]
    """``gone``: the task's result stays, because it cannot be rendered again."""


def find_changes(records: Records, ledger: Ledger, agenda: Agenda) -> Iterator[Change]:
    """Yield the changed pictures of a job's tasks that have a record: the first one of each task.

    A picture that is gone is yielded once, however many tasks use it.

    Args:
        records: The records of the job's output.
        ledger: The tasks that have a record.
        agenda: The job, looked up.

    Raises:
        StorageError: A record or a picture cannot be read.
    """
    drafts = (draft for draft, code in agenda.drafts(ledger, RowAccount()) if code != ABSENT)
    with _Pictures(Inputs(agenda.job.base, agenda.job.spec.storage)) as pictures:

        def inspect(draft: Draft) -> tuple[Draft, TaskRecord | None, Change | None]:
            record = records.read(draft.id)
            change = None if record is None else _change(record, _uris(draft), pictures)
            return draft, record, change

        told: set[str] = set()
        frames = _Frames()
        for draft, record, change in parallel_map(inspect, drafts, READERS):
            if draft.spot is not None and record is not None:
                change = frames.look(draft, record, change)
            if change is not None and change.what == "changed":
                yield change
            elif change is not None and change.uri not in told:
                told.add(change.uri)
                yield change


def is_other(inputs: Inputs, uri: str, was: InputRecord) -> bool:
    """Return whether a picture is there, and is not the one that was recorded.

    Args:
        inputs: Reads it, if its time or ETag is another.
        uri: Its address.
        was: What was recorded of it.

    Raises:
        StorageError: Its store does not answer.
    """
    with _Pictures(inputs) as pictures:
        there = pictures.stat(uri)
        return there is not None and pictures.differs(uri, there, was)


def _uris(draft: Draft) -> list[str]:
    """Return every picture of a task that can be inspected (all but those on the web), masks and files of
    motion included."""
    masks = (part.mask for part in draft.styles if part.mask is not None)
    init = () if draft.init is None else (draft.init,)
    flow = () if draft.spot is None else given_between(draft.spot)
    every = itertools.chain(
        (draft.content,), (part.uri for part in draft.styles), masks, init, flow
    )
    return [uri for uri in dict.fromkeys(every) if not is_web(uri)]


def _change(record: TaskRecord, uris: Sequence[str], pictures: _Pictures) -> Change | None:
    flow = () if record.film is None else record.film.flow
    recorded = {read.uri: read for read in (*record.inputs, *flow)}
    gone: str | None = None
    for uri in uris:
        there = pictures.stat(uri)
        if there is None:
            gone = gone or uri
        elif record.status == "failed" and not recorded:
            if there.modified is not None and there.modified > record.finished:
                return Change(record.id, record.name, display(uri), "changed")
        elif (was := recorded.get(display(uri))) is not None and pictures.differs(uri, there, was):
            return Change(record.id, record.name, display(uri), "changed")
    if gone is None or record.status == "failed":
        return None
    return Change(record.id, record.name, printable(gone), "gone")


class _Frames:
    """The frames of films that were looked at: what those that hold to them must know."""

    def __init__(self) -> None:
        self._uris: dict[int, str] = {}
        """The address of the picture that has changed, by the number of each task that it changes."""
        self._pictures: dict[str, tuple[str, str]] = {}
        """The digest and the key of each finished picture, by task id."""

    def look(self, draft: Draft, record: TaskRecord, change: Change | None) -> Change | None:
        """Return the change of a frame, or that of one that it holds to; None: there is none.

        Args:
            draft: The frame's task; it comes after those that it holds to.
            record: Its record.
            change: The change of its own pictures.
        """
        if record.output is not None:
            self._pictures[record.id] = record.output.sha256, record.output.key
        if change is None or change.what != "changed":
            uri = next((self._uris[need] for need in draft.needs if need in self._uris), None)
            if uri is None:
                uri = self._other_held(record)
            if uri is not None:
                change = Change(record.id, record.name, uri, "changed")
        if change is not None and change.what == "changed":
            self._uris[draft.number] = change.uri
        return change

    def _other_held(self, record: TaskRecord) -> str | None:
        """Return the key of a picture that a frame holds to and that is another than when it was painted."""
        for held in () if record.film is None else record.film.needs:
            digest, key = self._pictures.get(held.id, (held.sha256, ""))
            if held.sha256 is not None and digest != held.sha256:
                return key
        return None


class _Pictures:
    """The pictures of a job, each inspected at most once and read at most once. Safe to share in threads."""

    def __init__(self, inputs: Inputs) -> None:
        self._inputs = inputs
        self._lock = threading.Lock()
        self._stats: dict[str, Future[InputStat | None]] = {}
        self._digests: dict[str, Future[str | None]] = {}
        # A pool of its own: threads that wait for an inspection must not keep it from running.
        self._threads = ThreadPoolExecutor(READERS, thread_name_prefix="inspect")

    def __enter__(self) -> _Pictures:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(cancel_futures=True)

    def stat(self, uri: str) -> InputStat | None:
        """Return None for a picture that is gone, or cannot be inspected."""
        with self._lock:
            if uri not in self._stats:
                self._stats[uri] = self._threads.submit(self._stat, uri)
        return self._stats[uri].result()

    def differs(self, uri: str, there: InputStat, was: InputRecord) -> bool:
        """Return whether a picture's bytes are not those that were recorded."""
        if there.size is not None and there.size != was.size:
            return True
        if there.etag is not None and was.etag is not None:
            same = there.etag == was.etag
        else:
            same = there.modified == was.modified
        return not same and self._digest(uri) != was.sha256

    def _stat(self, uri: str) -> InputStat | None:
        try:
            return self._inputs.stat(uri)
        except InputError:
            return None

    def _digest(self, uri: str) -> str | None:
        with self._lock:
            if uri not in self._digests:
                self._digests[uri] = self._threads.submit(self._read, uri)
        return self._digests[uri].result()

    def _read(self, uri: str) -> str | None:
        try:
            return self._inputs.read(uri).sha256
        except InputError:  # it can no longer be used; its task reports that when it is rendered
            return None
