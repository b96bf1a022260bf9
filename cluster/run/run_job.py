"""One run of a job, from its file to its summary: what ``stylefarm run`` does without the terminal."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

from cluster.driver.driver import Counts, Driver, Limits
from cluster.events.events import (
    Finished,
    Listener,
)
from cluster.events.live import LiveBoard
from cluster.events.webhook import notifying
from cluster.messages import SUBMISSION, Asked, WorkerSetup
from cluster.open_job import open_agenda
from cluster.pools.base import Pool
from cluster.pools.inline_pool import InlinePool
from cluster.run.after import Gallery, is_summed_up, write_summary
from cluster.run.before import choose_rendering, forget_all, forget_changed, forget_damaged
from cluster.run.counting import Counting
from cluster.run.options import RunOptions, RunResult
from jobs.inputs.addresses import without_secrets
from jobs.jobfile.job import Job, open_output
from jobs.proofs.proofs import have_other_size
from jobs.records.commit import Records, write_json
from jobs.records.statuses import Ledger
from jobs.storage import keys
from jobs.storage.base import Storage
from jobs.storage.lease import Lease
from jobs.tasks.background_reader import Reader

log = logging.getLogger(__name__)


LAST_LOOK_SECONDS = 1.0

CHECKPOINT_SECONDS = 30.0
"""How often a render's checkpoint is stored at most: of 4096 px each is 200 MB."""


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
        gallery = Gallery(job)
        job, options, agenda = choose_rendering(job, options, agenda)
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
            forget_all(records, ledger, agenda)
            ledger = records.ledger()
        elif options.verify:
            ledger = forget_damaged(storage, records, ledger, board)
        if options.if_changed and not options.overwrite:
            ledger = forget_changed(records, ledger, agenda, board)
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
    gallery: Gallery,
    hooks: _Hooks,
) -> RunResult:
    counting = Counting(reader, hooks.listen)
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
        write_summary(storage, records)
    elif not is_summed_up(storage, ledger):  # the last run was killed before it came to that
        gallery.write()
        write_summary(storage, records)

    census = reader.wait(LAST_LOOK_SECONDS)
    left = None if census is None else census.left - counts.done - counts.failed
    if counts.reason == "limit" and left == 0:
        counts.reason = "complete"
    if counts.reason == "complete" and left == 0 and options.select is None:
        records.sweep_checkpoints(ledger, every=True)
    seconds = time.monotonic() - hooks.began
    hooks.listen(Finished(counts.done, counts.failed, left, round(seconds, 3), counts.reason))
    return RunResult(counts, census.failed if census else 0, left, storage)


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
