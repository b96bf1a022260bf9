"""Commands that render on this machine, or on a cluster that it is part of: ``run`` and ``promote``."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console

from cluster.cli.options import (
    After,
    At,
    EndpointUrl,
    Events,
    Hold,
    IfChanged,
    JobPath,
    JobPriority,
    Limit,
    Overwrite,
    Pictures,
    Pool,
    Proof,
    ProofSize,
    Quiet,
    RayAddress,
    RetryFailed,
    Select,
    Verify,
    Wait,
    Workers,
    check_pool_options,
    check_proof_options,
    patience_of,
)
from cluster.cli.terminal import leave, set_up_logging, tell
from cluster.display.standard import only_displays, standard
from jobs.errors import ExitStatus

if TYPE_CHECKING:
    from cluster.display.pictures.newest import Source
    from cluster.display.pictures.terminals import Choice
    from cluster.events.events import Event
    from cluster.run.options import RunOptions
    from jobs.jobfile.job import Job
    from jobs.storage.base import Storage


LINES_ROOM = 64 * 1024 * 1024
"""Bytes of JSON lines that may wait for a reader that is slower than the run; what comes then is left out."""

ROOM = {"progress": LINES_ROOM // 16, "finished": LINES_ROOM + 1024 * 1024}
"""Bytes for events of which a late one is worth less than others, or more."""


def add_to(app: typer.Typer) -> None:
    """Register these commands."""
    app.command(
        epilog="Examples:  stylefarm run job.yaml  |  stylefarm run job.yaml --address auto --limit 10  |  "
        "stylefarm run job.yaml --proof  |  stylefarm run job.yaml --json > events.jsonl  |  "
        "stylefarm run job.yaml --after other.yaml"
    )(run)
    app.command(
        epilog="Examples:  stylefarm promote out --select all  |  "
        "stylefarm promote job.yaml --select selection.txt  |  "
        "stylefarm promote out --select 0123456789abcdef,fedcba9876543210"
    )(promote)


def run(
    job: JobPath,
    address: RayAddress = None,
    pool: Pool = "ray",
    workers: Workers = None,
    priority: JobPriority = None,
    proof: Proof = False,
    proof_size: ProofSize = None,
    select: Select = None,
    overwrite: Overwrite = False,
    retry_failed: RetryFailed = False,
    verify: Verify = False,
    if_changed: IfChanged = False,
    limit: Limit = None,
    wait: Wait = "0",
    after: After = None,
    hold: Hold = False,
    at: At = None,
    as_json: Events = False,
    brief: Annotated[
        bool,
        typer.Option(
            "--brief",
            help="With --json: print totals now and then instead of every worker's progress, and nothing "
            "else except errors; for logs that are kept.",
        ),
    ] = False,
    quiet: Quiet = False,
    pictures: Pictures = "auto",
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log what happens.")] = False,
    log_format: Annotated[
        Literal["text", "json"],
        typer.Option(help="Format of --verbose: text, or one JSON object per line."),
    ] = "text",
) -> None:
    """Render a job; finished pictures are kept. Ctrl-C once lets running tasks finish.

    Exit status: 0 all done, 1 some tasks failed, 2 the job file or command line is wrong,
    3 storage or cluster unreachable, 130 interrupted. SIGTERM means that the machine is taken away: running
    tasks store checkpoints, and the exit status is 130, too.
    """
    from cluster.run.options import RunOptions
    from cluster.run.predecessor import predecessor_named
    from jobs.errors import UsageError
    from jobs.jobfile.load import load_job

    only_displays("the run", for_programs=as_json)
    if brief and not as_json:
        raise UsageError("--brief needs --json")
    if log_format == "json" and not verbose:
        raise UsageError("--log-format needs --verbose")
    check_proof_options(proof, proof_size, select)
    check_pool_options(pool, address, workers)
    loaded = load_job(job, at)
    options = RunOptions(
        pool=pool,
        address=address,
        overwrite=overwrite,
        retry_failed=retry_failed,
        verify=verify,
        limit=limit,
        proof=proof,
        proof_size=proof_size,
        select=select,
        if_changed=if_changed,
        wait=patience_of(wait),
        after=None if after is None else predecessor_named(after, loaded),
        hold=hold,
    )
    display = _Display(
        as_json=as_json,
        brief=brief,
        quiet=quiet,
        pictures=pictures,
        verbose=verbose,
        log_format=log_format,
    )
    _render(_adjusted(loaded, workers, priority), options, display)


def promote(
    output: Annotated[
        str, typer.Argument(metavar="OUTPUT", help="The output of a job, or its job file.")
    ],
    select: Annotated[
        str,
        typer.Option(
            metavar="IDS|FILE|all",
            help="What to render: ids or names of proofs, separated by commas; a file with one per line, as "
            "the gallery saves it; or all whose proof is done.",
        ),
    ],
    endpoint_url: EndpointUrl = None,
    address: RayAddress = None,
    pool: Pool = "ray",
    workers: Workers = None,
    priority: JobPriority = None,
    limit: Limit = None,
    retry_failed: RetryFailed = False,
    as_json: Events = False,
    quiet: Quiet = False,
    pictures: Pictures = "auto",
) -> None:
    """Render the chosen proofs at full size. Exit status as with run."""
    from cluster.run.options import RunOptions
    from jobs.proofs.find_job import job_of

    only_displays("the run", for_programs=as_json)
    check_pool_options(pool, address, workers)
    options = RunOptions(
        pool=pool, address=address, retry_failed=retry_failed, limit=limit, select=select
    )
    display = _Display(as_json=as_json, quiet=quiet, pictures=pictures)
    _render(_adjusted(job_of(output, endpoint_url), workers, priority), options, display)


@dataclass(frozen=True)
class _Display:
    """How a run is shown: ``--json``, ``--brief``, ``--quiet``, ``--pictures``, ``--verbose`` and
    ``--log-format``."""

    as_json: bool
    brief: bool = False
    quiet: bool = False
    pictures: Choice = "auto"
    verbose: bool = False
    log_format: Literal["text", "json"] = "text"


def _render(loaded: Job, options: RunOptions, display: _Display) -> None:
    """Run a job, show it, and exit with its status."""
    from cluster.events.console import ConsoleView
    from cluster.events.events import Beat, LeftOut, Live, VideoProgress
    from cluster.events.json_lines import to_json
    from cluster.events.logs import log_event
    from cluster.run.run_job import run_job
    from cluster.signals import Interrupts

    set_up_logging(display.verbose, display.log_format)
    as_log = display.verbose and display.log_format == "json"
    console, quiet = Console(stderr=True), display.quiet or as_log
    pictures = None
    if console.is_terminal and not (quiet or display.brief):
        pictures = _pictures(loaded, options, display.pictures)
    view = ConsoleView(console, quiet=quiet, overwrite=options.overwrite, pictures=pictures)

    # Of a run, Live events say the same in short.
    unprinted = (Beat, VideoProgress) if display.brief else Live

    def listen(event: Event) -> None:
        if not display.brief:
            view(event)
        if as_log:  # as text, they are shown already
            log_event(event)
        if display.as_json and not isinstance(event, unprinted):
            # A log that is kept is ASCII, so it can be read in whatever encoding a machine has.
            out.write_line(to_json(event, ensure_ascii=display.brief), ROOM.get(event.event))

    def on_start() -> None:
        where = options.address or os.environ.get("RAY_ADDRESS")
        if options.pool == "ray" and not display.brief:
            view.starting(f"joining Ray at {where} ..." if where else "starting Ray here ...")

    with standard().own_output() as out, Interrupts() as interrupts:
        if display.as_json:
            out.room = LINES_ROOM
            if out.outlet is not None:
                out.outlet.notice = lambda lines: to_json(LeftOut(lines=lines)) + "\n"
        try:
            result = run_job(
                loaded,
                options,
                listen,
                asked=interrupts.what,
                on_start=on_start,
                on_connected=interrupts.install,
            )
        except KeyboardInterrupt:
            view.close()
            tell("stopped; what is committed stays, and the same command resumes from there")
            leave(ExitStatus.INTERRUPTED)
        finally:
            view.close()
    if not (display.quiet or display.as_json) and (result.counts.done or result.videos):
        _point_to(loaded, options, result.storage.url.rstrip("/"), videos=bool(result.videos))
    raise typer.Exit(result.exit_status)


def _pictures(job: Job, options: RunOptions, choice: Choice) -> Source | None:
    """Return where the small pictures of a run come from; None: the job makes or the terminal shows none."""
    from cluster.display.pictures.newest import Source
    from cluster.display.pictures.terminals import protocol_of
    from jobs.jobfile.job import open_output
    from jobs.proofs.proofs import proofs_of

    if not job.spec.image.thumbnails:
        if choice not in ("auto", "off"):
            tell("--pictures shows thumbnails, and image: {thumbnails: false} leaves them out")
        return None
    protocol = protocol_of(choice)
    if protocol is None:
        return None

    @cache
    def storage() -> Storage:  # opened by whoever fetches the first one
        return open_output(proofs_of(job) if options.proof else job)

    return Source(protocol, lambda key: storage().get(key))


def _point_to(job: Job, options: RunOptions, url: str, *, videos: bool) -> None:
    """Print where the pictures, and the videos, are, and the command for the next step."""
    from jobs.storage import keys

    file = shlex.quote(job.file)
    print(f"pictures: {url}/{keys.IMAGES}")
    if videos:
        print(f"videos:   {url}/{keys.VIDEOS}")
    if not options.proof:
        print(f"gallery:  {url}/{keys.INDEX}")
        print(f"more:     stylefarm report {file}")
    else:
        print(f"gallery:  {url.removesuffix(f'/{keys.PROOFS}')}/{keys.INDEX}")
        print(f"choose:   stylefarm promote {file} --select IDS|FILE|all")


def _adjusted(job: Job, max_workers: int | None, priority: str | None) -> Job:
    """Return the job with the limit of workers and the priority that the command line says."""
    from jobs.spec.sharing import priority_of

    changes: dict[str, object] = {}
    if max_workers is not None:
        min_workers = min(job.spec.workers.min, max_workers)
        changes["workers"] = job.spec.workers.model_copy(
            update={"max": max_workers, "min": min_workers}
        )
    if priority is not None:
        changes["priority"] = priority_of(priority)
    return replace(job, spec=job.spec.model_copy(update=changes))
