"""One run of a job, from its file to its summary: what ``stylefarm run`` does without the terminal."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from cluster.driver.driver import Counts, Driver, Limits
from cluster.events.events import (
    Beat,
    ColumnsUnused,
    Counted,
    Event,
    Finished,
    InputChanged,
    Listener,
    PictureLost,
    RowsSkipped,
    Started,
)
from cluster.events.live import LiveBoard
from cluster.events.webhook import notifying
from cluster.messages import SUBMISSION, Asked, WorkerSetup
from cluster.open_job import open_agenda
from cluster.pools.base import Pool
from cluster.pools.inline_pool import InlinePool
from jobs.errors import ObjectNotFoundError, StorageError, UsageError
from jobs.inputs.addresses import without_secrets
from jobs.jobfile.job import Job, open_output
from jobs.proofs.proofs import Proofs, done_proofs, have_other_size, proofs_of, wanted_size
from jobs.proofs.selection import Selection, read_selection
from jobs.records.commit import Records, write_json
from jobs.records.statuses import ABSENT, Ledger
from jobs.records.verify import find_damaged
from jobs.report.gallery import write_gallery
from jobs.report.summary import summarise
from jobs.storage import keys
from jobs.storage.base import Storage
from jobs.storage.lease import Lease
from jobs.tasks.background_reader import Reader
from jobs.tasks.census import BadRows, Census
from jobs.tasks.changed_inputs import find_changes
from jobs.tasks.todo import Agenda

log = logging.getLogger(__name__)

PAINTER = "cluster.worker.renderer:Painter"


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What the command line says beside the job file."""

    pool: Literal["ray", "inline"] = "ray"
    address: str | None = None
    overwrite: bool = False
    """Render everything again."""
    retry_failed: bool = False
    verify: bool = False
    """Read every finished picture, and render again what is missing or damaged."""
    limit: int | None = None
    """Render at most so many tasks."""
    proof: bool = False
    """Render proofs instead of the pictures,"""
    proof_size: int | None = None
    """of so many pixels; None: as they are."""
    select: str | None = None
    """Render these tasks alone, as ``read_selection`` reads them."""
    renderer: str = PAINTER
    if_changed: bool = False
    """Render again where a picture is no longer what it was rendered from."""


FIRST_LOOK_SECONDS = 2.0
"""How long a run waits for its job to be read to the end before it begins without knowing how long it is."""

LAST_LOOK_SECONDS = 1.0

CHECKPOINT_SECONDS = 30.0
"""How often a render's checkpoint is stored at most: of 4096 px each is 200 MB."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a run came to."""

    counts: Counts
    failed_before: int
    left: int | None
    """None when the job had not been read to its end."""
    storage: Storage

    @property
    def exit_status(self) -> int:
        """0 all done (or as much as --limit asked for), 1 some tasks failed or a limit of the job's ended
        the run, 130 interrupted."""
        if self.counts.reason in ("interrupted", "preempted"):
            return 130
        if self.counts.reason in ("max_failures", "max_gpu_hours"):
            return 1
        return 1 if self.counts.failed or self.failed_before else 0


def run_job(
    job: Job,
    options: RunOptions,
    listen: Listener,
    asked: Callable[[], Asked] = lambda: "no",
    on_start: Callable[[], None] = lambda: None,
    on_connected: Callable[[], None] = lambda: None,
) -> RunResult:
    """Render what is left of a job.

    ``on_start`` is called when the pool is about to be started, ``on_connected`` when it is. Raises
    JobFileError, StorageError and ClusterError, before the first render where that can be known.
    """
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        agenda = open_agenda(job)
        stack.callback(agenda.close)
        gallery = _Gallery(job)
        job, options, agenda = _rung(job, options, agenda)
        storage = open_output(job)
        storage.check()
        lease = Lease(storage).acquire()
        stack.callback(lease.release)
        board = stack.enter_context(
            LiveBoard(
                storage,
                listen,
                job.spec.name,
                lease.nonce,
                os.environ.get(SUBMISSION),
                lease.guard,
            )
        )
        records = Records(storage, lease.guard)
        ledger = records.ledger(pack=True)
        if options.overwrite or (
            options.proof_size is not None and have_other_size(storage, options.proof_size)
        ):
            _forget(records, ledger, agenda)
            ledger = records.ledger()
        elif options.verify:
            ledger = _verify(storage, records, ledger, board)
        if options.if_changed and not options.overwrite:
            ledger = _renew(records, ledger, agenda, board)
        records.sweep_probes()
        records.sweep_checkpoints(ledger)
        reader = Reader(agenda, ledger, retry_failed=options.retry_failed).start()
        stack.callback(reader.close)
        watched = stack.enter_context(notifying(job, storage.url, board))
        return _render(
            job,
            options,
            storage,
            records,
            ledger,
            reader,
            gallery,
            _Hooks(watched, _either(asked, board.asked), on_start, on_connected, began),
        )


def _either(first: Callable[[], Asked], second: Callable[[], Asked]) -> Callable[[], Asked]:
    """What the first asks for, or else the second."""

    def asked() -> Asked:
        wish = first()
        return second() if wish == "no" else wish

    return asked


@dataclass(frozen=True, slots=True)
class _Hooks:
    """What ``run_job`` was given to be called."""

    listen: Listener
    asked: Callable[[], Asked]
    on_start: Callable[[], None]
    on_connected: Callable[[], None]
    began: float


def _render(
    job: Job,
    options: RunOptions,
    storage: Storage,
    records: Records,
    ledger: Ledger,
    reader: Reader,
    gallery: _Gallery,
    hooks: _Hooks,
) -> RunResult:
    counting = _Counting(reader, hooks.listen)
    census = counting.begin(job.spec.name, storage.url)
    counts = Counts()
    if census is None or census.left:
        write_json(storage, keys.JOB, _resolved(job, reader.digests, options))
        hooks.on_start()
        with _open_pool(_setup(job, options, storage), job, options) as pool:
            hooks.on_connected()
            driver = Driver(
                reader,
                pool,
                records,
                _measured(job, options, counting),
                limits=_limits(job, options),
                asked=hooks.asked,
                kept=ledger.kept,
                probe=storage.check,
                left=lambda: None if reader.census is None else reader.census.left,
            )
            try:
                counts = driver.run()
            finally:
                records.close()
        # Rows that end the run end it after what was running has been committed.
        reader.check()
        gallery.write()  # first: the summary's being there says that a run came to its end
        _write_summary(storage, records)
    elif not _is_summed_up(storage, ledger):  # the last run was killed before it came to that
        gallery.write()
        _write_summary(storage, records)

    census = reader.wait(LAST_LOOK_SECONDS)
    left = None if census is None else census.left - counts.done - counts.failed
    if counts.reason == "limit" and left == 0:
        counts.reason = "complete"
    if counts.reason == "complete" and left == 0 and options.select is None:
        records.sweep_checkpoints(ledger, every=True)
    seconds = time.monotonic() - hooks.began
    hooks.listen(Finished(counts.done, counts.failed, left, round(seconds, 3), counts.reason))
    return RunResult(counts, census.failed if census else 0, left, storage)


def _rung(job: Job, options: RunOptions, agenda: Agenda) -> tuple[Job, RunOptions, Agenda]:
    """What of the job is rendered, and where to: its pictures, the chosen ones of them, or its proofs.
    Raises UsageError."""
    if options.proof:
        proofs = proofs_of(job)
        size = wanted_size(open_output(proofs), options.proof_size)
        return proofs, replace(options, proof_size=size), agenda.seen_as(Proofs(size))
    if options.select is None:
        return job, options, agenda
    ids = read_selection(options.select)
    if ids is not None:
        selection = Selection(ids)
        selection.check(draft for draft, _ in agenda.drafts(Ledger.of({}), BadRows()))
        return job, options, agenda.seen_as(selection)
    storage = open_output(proofs_of(job))
    ids = done_proofs(storage)
    if not ids:
        raise UsageError(f"no proof is done in {storage.url}: make some with stylefarm run --proof")
    return job, options, agenda.seen_as(Selection(ids))


class _Gallery:
    """The gallery of a job's output, with the proofs."""

    def __init__(self, job: Job) -> None:
        self._places = job, proofs_of(job)

    def write(self) -> None:
        """Write it; a gallery that cannot be written fails no run."""
        try:
            write_gallery(*map(open_output, self._places))
        except StorageError as error:
            log.warning("the gallery is not written: %s", error)


def _write_summary(storage: Storage, records: Records) -> None:
    write_json(storage, keys.SUMMARY, summarise(storage.url, records.entries()).to_json())


def _is_summed_up(storage: Storage, ledger: Ledger) -> bool:
    """Whether the summary that is there counts what the records say."""
    try:
        summary = json.loads(storage.get(keys.SUMMARY))
        return (summary["done"], summary["failed"]) == (
            ledger.count("done"),
            ledger.count("failed"),
        )
    except (ObjectNotFoundError, ValueError, TypeError, KeyError):
        return False


class _Counting:
    """A listener that passes on what it hears, and tells what a long job comes to once it is read."""

    def __init__(self, reader: Reader, listen: Listener) -> None:
        self._reader = reader
        self._listen = listen
        self._told = False

    def begin(self, name: str, output: str) -> Census | None:
        """Say that the run begins; the census, if the job is read to its end by now."""
        census = self._reader.wait(FIRST_LOOK_SECONDS)
        known = census or Census(0, 0, 0, 0)
        self._listen(
            Started(
                name,
                output,
                known.tasks,
                known.done,
                known.failed,
                known.work_left,
                counting=census is None,
            )
        )
        if self._reader.unused_columns:
            self._listen(ColumnsUnused(self._reader.unused_columns))
        if census is not None:
            self._told = True
            self._tell_of_bad_rows(census)
        # A pool costs seconds and memory: none is opened before there is something to render.
        while self._reader.census is None and not self._reader.has_task:
            self._reader.wait(0.1)
        self._tell()
        return self._reader.census

    def __call__(self, event: Event) -> None:
        if isinstance(event, Beat):
            self._tell()
        self._listen(event)

    def _tell(self) -> None:
        census = self._reader.census
        if not self._told and census is not None:
            self._told = True
            self._listen(Counted(census.tasks, census.done, census.failed, census.work_left))
            self._tell_of_bad_rows(census)

    def _tell_of_bad_rows(self, census: Census) -> None:
        if census.bad_rows:
            first = tuple(str(problem) for problem in self._reader.bad.first)
            self._listen(RowsSkipped(census.bad_rows, first))


def _verify(storage: Storage, records: Records, ledger: Ledger, listen: Listener) -> Ledger:
    """Take back what is done but whose picture is not what its record says."""
    damages = list(find_damaged(storage, records.entries()))
    for damage in damages:
        listen(PictureLost(damage.id, damage.name, damage.key, damage.what))
    if not damages:
        return ledger
    records.forget(damage.id for damage in damages)
    return records.ledger()


def _forget(records: Records, ledger: Ledger, agenda: Agenda) -> None:
    """Take back what the job has had rendered. Now, and not one by one: so a run that is interrupted can be
    gone on with, and no record speaks of a loss log that is being written anew."""
    drafts = agenda.drafts(ledger, BadRows())
    records.forget((draft.id for draft, code in drafts if code != ABSENT), ledger.kept)


def _renew(records: Records, ledger: Ledger, agenda: Agenda, listen: Listener) -> Ledger:
    """Take back what the job has had rendered from pictures that have changed since. Of other jobs' tasks in
    this output nothing is known here, and they are left alone."""
    stale: list[str] = []
    for change in find_changes(records, ledger, agenda):
        listen(InputChanged(change.id, change.name, change.uri, change.what))
        if change.what == "changed":
            stale.append(change.id)
    if not stale:
        return ledger
    records.forget(stale, ledger.kept)
    return records.ledger()


def _limits(job: Job, options: RunOptions) -> Limits:
    spec = job.spec
    return Limits(
        attempts=spec.retries.attempts,
        batch=None if spec.workers.batch == "auto" else spec.workers.batch,
        tasks=options.limit,
        max_failures=spec.stop.max_failures,
        max_gpu_hours=spec.stop.max_gpu_hours,
        storage_patience=spec.retries.storage_patience,
        grace=spec.workers.grace,
    )


def _setup(job: Job, options: RunOptions, storage: Storage) -> WorkerSetup:
    threads = job.spec.workers.threads
    return WorkerSetup(
        output=storage.url,
        storage=job.spec.storage,
        base=str(job.base.absolute()),
        inputs=job.spec.inputs,
        image=job.spec.image,
        losses_every=job.spec.losses.every,
        renderer=options.renderer,
        threads=None if threads == "auto" else threads,
        checkpoint_seconds=CHECKPOINT_SECONDS,
        grace_seconds=job.spec.workers.grace,
    )


def _measured(job: Job, options: RunOptions, listen: Listener) -> Listener:
    """The listener, and Ray's metrics where there is Ray."""
    if options.pool == "inline":
        return listen
    from cluster.pools.ray_metrics import Metrics

    return Metrics(job.spec.name, listen)


@contextlib.contextmanager
def _open_pool(setup: WorkerSetup, job: Job, options: RunOptions) -> Iterator[Pool]:
    if options.pool == "inline":
        inline = InlinePool(setup)
        try:
            yield inline
        finally:
            inline.close()
        return
    # Seconds of imports that other commands do without.
    from cluster.pools import ray_cluster
    from cluster.pools.ray_pool import RayPool

    ray_cluster.connect(options.address)
    try:
        pool = RayPool(replace(setup, base=ray_cluster.as_shipped(setup.base)), job.spec.workers)
        try:
            yield pool
        finally:
            pool.close()
    finally:
        ray_cluster.disconnect()


def _resolved(
    job: Job, digests: Mapping[tuple[str, str | None], str], options: RunOptions
) -> dict[str, object]:
    """job.json: what was asked for, and with what it is rendered."""
    described: dict[str, object] = without_secrets(
        {
            "job": job.spec.model_dump(mode="json"),
            "file": str(Path(job.file).absolute()),
            **({} if options.proof_size is None else {"proof_size": options.proof_size}),
            "weights": {name: digest for (name, _), digest in digests.items()},
            "versions": {"stylefarm": version("stylefarm")},
            "started": time.time(),
        }
    )
    return described
