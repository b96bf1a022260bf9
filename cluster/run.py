"""One run of a job, from its file to its summary: what ``stylefarm run`` does without the terminal."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from typing import Literal

from cluster.driver import Counts, Driver
from cluster.events import Finished, Listener, Started
from cluster.messages import WorkerSetup
from cluster.pool import InlinePool, Pool
from jobs import keys
from jobs.agenda import Agenda
from jobs.errors import JobFileError
from jobs.load import Job
from jobs.records import Records, write_json
from jobs.report.summary import summarise
from jobs.storage import Storage, open_storage
from jobs.tasks import OutputRecord
from jobs.web import without_secrets
from stylize.errors import WeightsError
from stylize.recipe import Recipe
from stylize.weights import identify

PAINTER = "cluster.renderer:Painter"


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What the command line says beside the job file."""

    pool: Literal["ray", "inline"] = "ray"
    address: str | None = None
    overwrite: bool = False
    """Render everything again."""
    retry_failed: bool = False
    limit: int | None = None
    """Render at most so many tasks."""
    renderer: str = PAINTER


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a run came to."""

    counts: Counts
    failed_before: int
    left: int
    storage: Storage

    @property
    def exit_status(self) -> int:
        """0 all done, 1 some tasks failed, 130 interrupted."""
        if self.counts.reason == "interrupted":
            return 130
        return 1 if self.counts.failed or self.failed_before else 0


def run_job(
    job: Job,
    options: RunOptions,
    listen: Listener,
    should_stop: Callable[[], bool] = lambda: False,
    on_start: Callable[[], None] = lambda: None,
    on_connected: Callable[[], None] = lambda: None,
) -> RunResult:
    """Render what is left of a job.

    ``on_start`` is called when the pool is about to be started, ``on_connected`` when it is. Raises
    JobFileError, StorageError and ClusterError, before the first render where that can be known.
    """
    began = time.monotonic()
    agenda = open_agenda(job)
    storage = open_storage(job.spec.output, job.spec.storage, base=job.base)
    storage.check()
    records = Records(storage)
    statuses: dict[str, Literal["done", "failed"]] = {}
    kept: dict[str, OutputRecord] = {}
    for record in records.all():
        statuses[record.id] = record.status
        if record.kept is not None:
            kept[record.id] = record.kept
    if options.overwrite:
        # Now, and not one by one: so a run that is interrupted can be gone on with, and no record
        # speaks of a loss log that is being written anew.
        records.forget((task.id for task in agenda.tasks() if task.id in statuses), kept)
        statuses, kept = {}, {}
    census = agenda.census(statuses, retry_failed=options.retry_failed)
    listen(
        Started(
            job.spec.name, storage.url, census.tasks, census.done, census.failed, census.work_left
        )
    )

    counts = Counts()
    if census.left:
        write_json(storage, keys.JOB, _resolved(job, agenda))
        on_start()
        with _open_pool(_setup(job, options, storage), job, options) as pool:
            on_connected()
            driver = Driver(
                agenda.left(statuses, retry_failed=options.retry_failed),
                pool,
                records,
                listen,
                attempts=job.spec.retries.attempts,
                max_failures=job.spec.stop.max_failures,
                limit=options.limit,
                should_stop=should_stop,
                kept=kept,
            )
            counts = driver.run()
        write_json(storage, keys.SUMMARY, summarise(storage.url, records.all()).to_json())

    left = census.left - counts.done - counts.failed
    if counts.reason == "limit" and not left:
        counts.reason = "complete"
    seconds = time.monotonic() - began
    listen(Finished(counts.done, counts.failed, left, round(seconds, 3), counts.reason))
    return RunResult(counts, census.failed, left, storage)


def open_agenda(job: Job) -> Agenda:
    """A job's agenda, its weights found. Raises JobFileError, StorageError."""

    def digest_of(recipe: Recipe) -> str:
        try:
            return identify(recipe, job.base).digest
        except WeightsError as error:
            raise JobFileError([job.problem(("recipe", "weights"), str(error))]) from error

    return Agenda(job, digest_of)


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
    )


@contextlib.contextmanager
def _open_pool(setup: WorkerSetup, job: Job, options: RunOptions) -> Iterator[Pool]:
    if options.pool == "inline":
        inline = InlinePool(setup)
        try:
            yield inline
        finally:
            inline.close()
        return
    from cluster import ray_pool  # seconds of imports that other commands do without

    ray_pool.connect(options.address)
    try:
        pool = ray_pool.RayPool(setup, job.spec.workers)
        try:
            yield pool
        finally:
            pool.close()
    finally:
        ray_pool.disconnect()


def _resolved(job: Job, agenda: Agenda) -> dict[str, object]:
    """job.json: what was asked for, and with what it is rendered."""
    described: dict[str, object] = without_secrets(
        {
            "job": job.spec.model_dump(mode="json"),
            "file": job.file,
            "weights": {name: digest for (name, _), digest in agenda.digests.items()},
            "versions": {"stylefarm": version("stylefarm")},
            "started": time.time(),
        }
    )
    return described
