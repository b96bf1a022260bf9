"""``run_job``: one run of a job, from its file to its summary. ``stylefarm run`` adds the terminal."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from cluster.driver.driver import Counts, Driver, Limits
from cluster.driver.held import as_told
from cluster.events.events import Finished, Listener, SavedOtherwise
from cluster.events.live import read_live
from cluster.events.searching import Searching
from cluster.events.webhook import notifying
from cluster.messages import Asked, WorkerSetup
from cluster.open_job import motion_problem, open_agenda
from cluster.pools.base import Pool, Sharing
from cluster.pools.inline_pool import InlinePool
from cluster.run.after import Gallery, is_summed_up, write_skipped_rows, write_summary
from cluster.run.before import Rendering, choose_rendering, starts_over, take_back
from cluster.run.claim import Claim
from cluster.run.counting import Counting
from cluster.run.in_turn import wait_in_turn
from cluster.run.looking import Looking
from cluster.run.options import RunOptions, RunResult
from cluster.run.videos.sizes import SizesSeen
from cluster.run.videos.videos import Made, Videos
from cluster.run.waiting import Waiting
from jobs.errors import JobFileError, LeaseHeldError
from jobs.id_sets import as_numbers
from jobs.inputs.addresses import without_secrets
from jobs.jobfile.job import Job, open_output
from jobs.proofs.proofs import proofs_of
from jobs.records.commit import Records, write_json
from jobs.records.record import TaskRecord
from jobs.records.saved_before import saved_otherwise
from jobs.records.statuses import FAILED, Ledger
from jobs.spec.sharing import points_of
from jobs.storage import keys
from jobs.storage.lease import who
from jobs.tasks.background_reader import Reader
from jobs.tasks.films.film_set import useful_workers
from jobs.tasks.films.tell import tell_frames
from jobs.tasks.task import Task

if TYPE_CHECKING:
    from cluster.pools.ray_placement import Needs

log = logging.getLogger(__name__)


LAST_READ_SECONDS = 1.0
"""How long a run that has ended waits for its job to be read to the end, in seconds."""

CHECKPOINT_SECONDS = 30.0
"""The shortest time between two checkpoints of a render, in seconds: one of 4096 px has 200 MB."""


def run_job(
    job: Job,
    options: RunOptions,
    listen: Listener,
    asked: Callable[[], Asked] = lambda: "no",
    on_start: Callable[[], None] = lambda: None,
    on_connected: Callable[[], None] = lambda: None,
) -> RunResult:
    """Render what is left of a job.

    Args:
        job: The job.
        options: The command line's options.
        listen: Hears every event, on this thread.
        asked: Returns whether the run is asked to end; called several times a second.
        on_start: Called before the pool is opened.
        on_connected: Called when the pool is open.

    Returns:
        The tasks done and failed, and why the run ended.

    Raises:
        JobFileError: The job cannot be rendered; raised before the first render where that can be known.
        UsageError: The options do not fit the job.
        StorageError: The output cannot be used, is full, or belongs to another run.
        ChainBrokenError: The job that had to end first has not ended well.
        KeyboardInterrupt: The run was asked to end while it waited for another one, or looked for cuts.
        ClusterError: Ray cannot be reached, or has no node for a worker.
    """
    waiting = Waiting(options.wait, asked, listen)
    while True:
        with contextlib.ExitStack() as stack:
            try:
                claim = _in_turn(job, options, listen, asked, stack)
                run = Run(job, options, listen, asked, stack, claim)
            except LeaseHeldError as error:
                held = error
            else:
                counts = run.render(on_start, on_connected) if run.begin() else Counts()
                return run.conclude(counts)
        # The job is read again afterwards: pictures may have come meanwhile, and be done.
        waiting.until_free(open_output(proofs_of(job) if options.proof else job), held)


class Run:
    """One run: prepared when it is made, then ``render`` and ``conclude``.

    Args:
        job: The job.
        options: The command line's options.
        listen: Hears every event.
        asked: Returns whether the run is asked to end.
        stack: Releases what the run holds: the output's lease, threads, ``live.json``.
        claim: The claim to its output, if it has that already.

    Raises:
        JobFileError, UsageError, StorageError: As ``run_job``.
    """

    def __init__(
        self,
        job: Job,
        options: RunOptions,
        listen: Listener,
        asked: Callable[[], Asked],
        stack: contextlib.ExitStack,
        claim: Claim | None = None,
    ) -> None:
        self._began = time.monotonic()
        self._options = options
        searching = Searching(listen, asked)
        agenda = open_agenda(job, searching)
        stack.callback(agenda.close)
        self._looking = Looking(agenda)
        stack.callback(self._looking.close)
        self._gallery = Gallery(job)
        self._rendering = choose_rendering(job, options, agenda)
        self._job = self._rendering.job
        self._storage = open_output(self._job)
        claim = claim or Claim(self._storage, self._job.spec.name, options, listen, stack)
        lease, board = claim.lease, claim.board
        self._board = board
        self._run = lease.nonce
        self._asked = _either(asked, board.asked)
        self._wishes = board.wishes
        self._guard = lease.guard
        self._records = Records(self._storage, lease.guard)
        self._listen = stack.enter_context(notifying(self._job, self._storage.url, board))
        self._ledger = self._take_back()
        self._reader = Reader(
            self._rendering.agenda, self._ledger, retry_failed=options.retry_failed
        ).start()
        stack.callback(self._reader.close)
        stack.callback(searching.end)
        self._counting = Counting(self._reader, self._listen, searching)
        self._has_rendered = False

    def begin(self) -> bool:
        """Announce the run; return whether there is anything to render, as far as the job is read."""
        census = self._counting.begin(self._job.spec.name, self._storage.url, self._gallery.url)
        self._tell_how_saved(None if census is None else census.done)
        if census is not None and not census.left:
            return False
        self._looking.tell(self._counting)
        return True

    def render(self, on_start: Callable[[], None], on_connected: Callable[[], None]) -> Counts:
        """Render what is left; return the tasks done and failed. Raises as ``run_job``."""
        resolved = _resolved(self._rendering, self._reader.digests)
        write_json(self._storage, keys.JOB, resolved)
        tell_frames(self._storage, self._rendering.agenda.films)
        self._gallery.begin(self._storage)
        on_start()
        with self._open_pool() as pool, self._motion_ahead(pool) as (tasks, listen):
            on_connected()
            sizes = SizesSeen(self._rendering.agenda.films, listen)
            driver = Driver(
                tasks,
                pool,
                self._records,
                self._measured(listen),
                limits=self._limits(),
                asked=self._asked,
                kept=self._ledger.kept,
                probe=self._storage.check,
                left=self._tasks_left,
                useful=self._useful_workers,
                wishes=self._wishes,
                failed_before=self._failed_before,
                committed=_both(self._board.committed, sizes.committed),
            )
            try:
                counts = driver.run()
            finally:
                self._records.close()
        # Rows that end the run end it after what was running has been committed.
        self._reader.check()
        self._has_rendered = True
        return counts

    def conclude(self, counts: Counts) -> RunResult:
        """Write the report unless it is there, make videos, sweep, and announce the end."""
        self._looking.tell_doubts()
        # Without a summary that agrees, the last run was killed before it wrote one.
        if self._has_rendered or not is_summed_up(self._storage, self._ledger):
            self._write_report()
        videos = self._make_videos(counts)
        if videos.made:  # an hour may have passed since, in which the pictures were to be seen
            self._write_report()
        census = self._reader.wait(LAST_READ_SECONDS)
        if census is not None:
            write_skipped_rows(self._storage, self._reader.rows)
        left = None if census is None else census.left - counts.done - counts.failed
        if counts.reason == "limit" and left == 0:
            counts.reason = "complete"
        if counts.reason == "complete" and left == 0 and self._options.select is None:
            self._records.sweep_checkpoints(self._ledger, every=True)
            self._records.sweep_previews()
        if self._options.overwrite and counts.reason == "complete":
            self._records.sweep_pictures()
        self._records.sweep_folders()
        self._listen(
            Finished(
                done=counts.done,
                failed=counts.failed,
                left=left,
                seconds=round(time.monotonic() - self._began, 3),
                reason=counts.reason,
                videos=videos.made,
                videos_failed=videos.failed,
            )
        )
        failed_before = census.failed if census else 0
        return RunResult(counts, failed_before, left, self._storage, videos.made, videos.failed)

    def _make_videos(self, counts: Counts) -> Made:
        """Make the videos of films whose frames are all there, unless the run was asked to end."""
        if counts.reason in ("interrupted", "preempted"):
            return Made()
        videos = Videos(
            self._job,
            self._rendering.agenda,
            self._storage,
            self._records,
            self._guard,
            self._listen,
            self._asked,
            verify=self._options.verify,
        ).make()
        if videos.asked != "no":
            counts.reason = "interrupted" if videos.asked == "drain" else "preempted"
        return videos

    def _take_back(self) -> Ledger:
        """Take back what is rendered again, and refuse a run of which nothing can be rendered."""
        rendering, options = self._rendering, self._options
        over = starts_over(rendering, options, self._storage)
        if over:  # looked at before, because a run that is refused must forget nothing
            self._judge(Ledger.of({}))
        missing = () if self._is_elsewhere else self._looking.missing
        ledger = take_back(rendering, options, self._storage, self._records, self._listen, missing)
        if not over:
            self._judge(ledger)
        return ledger

    @property
    def _is_elsewhere(self) -> bool:
        """Whether machines render that may have files which this one does not have."""
        address = self._options.address or os.environ.get("RAY_ADDRESS")
        return self._options.pool == "ray" and bool(address)

    def _judge(self, ledger: Ledger) -> None:
        self._looking.judge(
            self._rendering.agenda,
            lambda: ledger,
            retry_failed=self._options.retry_failed,
            refuse=not self._is_elsewhere,
        )
        if self._is_elsewhere:  # as with VGG19, the machines that render say it
            return
        problem = motion_problem(
            self._rendering.agenda,
            self._storage,
            lambda: ledger,
            retry_failed=self._options.retry_failed,
        )
        if problem is not None:
            raise JobFileError([problem])

    def _tell_how_saved(self, done: int | None) -> None:
        changes = () if done == 0 else saved_otherwise(self._storage, self._job.spec.image)
        if changes:
            self._listen(SavedOtherwise(done=done or 0, changes=changes))

    def _tasks_left(self) -> int | None:
        census = self._reader.census
        return None if census is None else census.left

    def _useful_workers(self) -> int | None:
        """Return the workers that a job of films can use at once; None: any number, or not known yet."""
        agenda = self._rendering.agenda
        only_films = len(agenda.films) == len(agenda.entries)
        return useful_workers(agenda.films) if only_films else None

    def _failed_before(self, task_id: str) -> str | None:
        """Return why frames fail that hold to one that failed in an earlier run; None: it did not, or is
        rendered again."""
        failed = self._ledger.codes(as_numbers([task_id]))[0] == FAILED
        if self._options.retry_failed or not failed:
            return None
        record = self._records.read(task_id)
        return None if record is None else as_told(record)

    def _write_report(self) -> None:
        # First: the summary's presence says that a run came to its end.
        self._board.replaced_by(self._gallery.write)
        write_summary(self._storage, self._records)

    def _limits(self) -> Limits:
        spec = self._job.spec
        return Limits(
            max_attempts=spec.retries.attempts,
            batch=None if spec.workers.batch == "auto" else spec.workers.batch,
            members=spec.workers.members,
            tasks=self._options.limit,
            max_failures=spec.stop.max_failures,
            max_gpu_hours=spec.stop.max_gpu_hours,
            storage_patience=spec.retries.storage_patience,
            grace=spec.workers.grace,
        )

    def _setup(self) -> WorkerSetup:
        spec = self._job.spec
        return WorkerSetup(
            output=self._storage.url,
            storage=spec.storage,
            base=str(self._job.base.absolute()),
            inputs=spec.inputs,
            image=spec.image,
            losses_every=spec.losses.every,
            tensorboard=spec.losses.tensorboard,
            renderer=self._options.renderer,
            threads=None if spec.workers.threads == "auto" else spec.workers.threads,
            members=spec.workers.members,
            cuda_graphs=spec.workers.cuda_graphs,
            checkpoint_seconds=CHECKPOINT_SECONDS,
            grace_seconds=spec.workers.grace,
        )

    def _measured(self, listen: Listener) -> Listener:
        """Return the listener, with Ray's metrics where there is Ray."""
        if self._options.pool == "inline":
            return listen
        from cluster.pools.ray_metrics import Metrics

        return Metrics(self._job.spec.name, listen)

    @contextlib.contextmanager
    def _open_pool(self) -> Iterator[Pool]:
        setup = self._setup()
        if self._options.pool == "inline":
            inline = InlinePool(setup, self._wishes)
            try:
                yield inline
            finally:
                inline.close()
            return
        # Seconds of imports that other commands do without.
        from cluster.pools import ray_cluster
        from cluster.pools.ray_pool import RayPool

        joined = ray_cluster.connect(self._options.address)
        try:
            setup = replace(setup, base=ray_cluster.as_shipped(setup.base))
            with contextlib.ExitStack() as stack:
                pool = RayPool(
                    setup,
                    self._job.spec.workers,
                    lambda needs: self._share_floor(needs, stack, make=joined),
                    self._wishes,
                )
                stack.callback(pool.close)
                yield pool
        finally:
            ray_cluster.disconnect()

    @contextlib.contextmanager
    def _motion_ahead(self, pool: Pool) -> Iterator[tuple[Iterator[Task | None], Listener]]:
        """Return the tasks and the listener, watched by what has the motion of films found ahead on Ray."""
        if self._options.pool == "inline" or not self._rendering.agenda.films:
            yield self._reader, self._looking
            return
        from cluster.pools.ahead.motion_ahead import MotionAhead
        from cluster.pools.ahead.ray_helpers import RayHelpers
        from cluster.pools.ray_pool import RayPool

        assert isinstance(pool, RayPool)
        helpers = RayHelpers(pool.setup, self._job.spec.workers, pool.needs)
        ahead = MotionAhead(helpers, self._looking).start()
        try:
            yield ahead.watch(self._reader), ahead
        finally:
            ahead.close()

    def _share_floor(self, needs: Needs, stack: contextlib.ExitStack, *, make: bool) -> Sharing:
        """Return the link to the other runs of the cluster.

        Args:
            needs: What each worker holds.
            stack: Closes the link.
            make: Whether to make a manager where there is none: a cluster of this run's own has no other run,
                unless one joins, which then makes it.
        """
        from cluster.floor.asking import TOKEN_VARIABLE, Ask
        from cluster.floor.link import FloorLink

        spec = self._job.spec
        ask = Ask(
            run=self._run,
            job=spec.name,
            output=without_secrets(self._storage.url),
            by=who(),
            wanted=0,
            each=needs.gpus or needs.cpus,
            resource="GPU" if needs.gpus else "CPU",
            fewest=spec.workers.min,
            priority=points_of(spec.priority),
            weight=spec.weight,
            token=os.environ.get(TOKEN_VARIABLE, ""),
        )
        link = FloorLink(ask, make=make, wishes=self._wishes)
        stack.callback(link.close)
        return link


def _in_turn(
    job: Job,
    options: RunOptions,
    listen: Listener,
    asked: Callable[[], Asked],
    stack: contextlib.ExitStack,
) -> Claim | None:
    """Wait for the job after which this one begins; return the claim that was held meanwhile. Raises as
    ``run_job``."""
    if options.after is None:
        return None
    storage = open_output(proofs_of(job) if options.proof else job)
    options.after.check_chain(storage)
    before = read_live(storage)
    claim = Claim(storage, job.spec.name, options, listen, stack)
    wait_in_turn(options.after, storage, claim.board, _either(asked, claim.board.asked), before)
    return claim


def _both(
    first: Callable[[TaskRecord], None], second: Callable[[TaskRecord], None]
) -> Callable[[TaskRecord], None]:
    """Return a function that hands a record to the first, then to the second."""

    def take(record: TaskRecord) -> None:
        first(record)
        second(record)

    return take


def _either(first: Callable[[], Asked], second: Callable[[], Asked]) -> Callable[[], Asked]:
    """Return a function that asks the first, then the second."""

    def asked() -> Asked:
        wish = first()
        return second() if wish == "no" else wish

    return asked


def _resolved(
    rendering: Rendering, digests: Mapping[tuple[str, str | None], str]
) -> dict[str, object]:
    """Return the content of job.json: the job as it was read, and what it is rendered with."""
    job, proof_size = rendering.job, rendering.proof_size
    described: dict[str, object] = without_secrets(
        {
            "job": job.spec.model_dump(mode="json"),
            "file": str(Path(job.file).absolute()),
            **({} if proof_size is None else {"proof_size": proof_size}),
            "weights": {name: digest for (name, _), digest in digests.items()},
            "versions": {"stylefarm": version("stylefarm")},
            "started": time.time(),
        }
    )
    return described
