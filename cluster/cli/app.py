"""The command ``stylefarm``. Heavy imports stay inside the commands: ``--help`` takes no second."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console

from cluster.cli import schedule, submitted
from cluster.cli.options import (
    AsJson,
    At,
    EndpointUrl,
    Events,
    IfChanged,
    JobPath,
    Limit,
    Overwrite,
    Pool,
    Proof,
    ProofSize,
    Quiet,
    RetryFailed,
    Select,
    Verify,
    Workers,
    check_proof_options,
)

if TYPE_CHECKING:
    from cluster.events.events import Event
    from cluster.run.options import RunOptions
    from jobs.jobfile.job import Job

app = typer.Typer(
    name="stylefarm",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(f"stylefarm {version('stylefarm')}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Render pictures in the style of paintings, by the thousand, on every GPU there is."""
    _log(False)


EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130

Address = Annotated[
    str | None,
    typer.Option(help="A Ray cluster to use, e.g. auto or 10.0.0.1:6379. Default: this machine."),
]


@app.command(
    epilog="Example:  stylefarm init harbour && stylefarm run harbour/job.yaml",
)
def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder to make.")],
    photo: Annotated[
        list[Path] | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="A photo to copy in; repeat for more. Default: samples.",
        ),
    ] = None,
) -> None:
    """Write a starter job with pictures: a job file, photos, and paintings to borrow from."""
    from jobs.examples.starter import write_starter

    print("drawing three paintings ...", flush=True)
    job_file = write_starter(folder, photo or ())
    print(f"{job_file} is ready. Render it:  stylefarm run {job_file}")


@app.command(
    epilog="Examples:  stylefarm plan job.yaml  |  "
    "stylefarm plan job.yaml --pilot --gpus 8 --price-per-gpu-hour 2.10"
)
def plan(
    job: JobPath,
    pilot: Annotated[
        bool, typer.Option("--pilot", help="Make a few steps of each kind here, to tell the time.")
    ] = False,
    gpus: Annotated[int, typer.Option(min=1, help="For how many workers to tell it.")] = 1,
    price: Annotated[
        float | None,
        typer.Option("--price-per-gpu-hour", min=0.0, help="What a GPU costs, to tell the cost."),
    ] = None,
    card: Annotated[
        float | None,
        typer.Option("--card-gb", min=0.1, help="A GPU's memory, to tell what will not fit."),
    ] = None,
    proof_size: ProofSize = None,
    as_json: AsJson = False,
) -> None:
    """Show what would be rendered, and what it takes: memory, time and cost, of the pictures and of their
    proofs (run --proof). Writes nothing, and renders nothing but a pilot's few steps."""
    from cluster.open_job import open_agenda
    from cluster.plan.plan import Price, make_ladder, missing_pictures
    from cluster.plan.plan_text import to_text
    from jobs.errors import UsageError
    from jobs.jobfile.load import load_job

    if price is not None and not math.isfinite(price):
        raise UsageError(f"--price-per-gpu-hour {price} is no price")
    loaded = load_job(job)
    wanted = Price(gpus, price, None if card is None else int(card * 1e9))
    pilots = None
    if pilot:
        from cluster.plan.pilot import Pilots

        pilots = Pilots(loaded)
    agenda = open_agenda(loaded)
    try:
        made, proofs = make_ladder(agenda, wanted, pilots, proof_size)
        missing = missing_pictures(agenda)
    finally:
        agenda.close()
    if as_json:
        told = {**made.to_json(), "proofs": proofs.to_json(), "missing": missing}
        print(json.dumps(told, ensure_ascii=False))
    else:
        print(to_text(made, missing, proofs))


@app.command(
    epilog="Examples:  stylefarm run job.yaml  |  stylefarm run job.yaml --address auto --limit 10  |  "
    "stylefarm run job.yaml --proof  |  stylefarm run job.yaml --json > events.jsonl"
)
def run(
    job: JobPath,
    address: Address = None,
    pool: Pool = "ray",
    workers: Workers = None,
    proof: Proof = False,
    proof_size: ProofSize = None,
    select: Select = None,
    overwrite: Overwrite = False,
    retry_failed: RetryFailed = False,
    verify: Verify = False,
    if_changed: IfChanged = False,
    limit: Limit = None,
    at: At = None,
    as_json: Events = False,
    brief: Annotated[
        bool,
        typer.Option(
            "--brief",
            help="With --json: the totals now and then instead of every worker's progress, and nothing else "
            "but errors; for logs that are kept.",
        ),
    ] = False,
    quiet: Quiet = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log what happens.")] = False,
    log_format: Annotated[
        Literal["text", "json"],
        typer.Option(help="Of --verbose: text, or one JSON object a line."),
    ] = "text",
) -> None:
    """Render a job; what is done already stays. Ctrl-C once lets running tasks finish.

    Exit status: 0 all done, 1 some tasks failed, 2 the job file or command line is wrong,
    3 storage or cluster unreachable, 130 interrupted. SIGTERM, which says that the machine is taken away, has
    what is painting store a checkpoint and ends with 130, too.
    """
    from cluster.run.options import RunOptions
    from jobs.errors import UsageError
    from jobs.jobfile.load import load_job

    if brief and not as_json:
        raise UsageError("--brief is for --json, which is not given")
    check_proof_options(proof, proof_size, select)
    options = RunOptions(
        pool,
        address,
        overwrite,
        retry_failed,
        verify,
        limit,
        proof,
        proof_size,
        select,
        if_changed=if_changed,
    )
    talk = _Talk(as_json, brief, quiet, verbose, log_format)
    _render(load_job(job, at), workers, options, talk)


@app.command(
    epilog="Examples:  stylefarm promote out --select all  |  "
    "stylefarm promote job.yaml --select selection.txt  |  "
    "stylefarm promote out --select 0123456789abcdef,fedcba9876543210"
)
def promote(
    output: Annotated[
        str, typer.Argument(metavar="OUTPUT", help="The output of a job, or its job file.")
    ],
    select: Annotated[
        str,
        typer.Option(
            metavar="IDS|FILE|all",
            help="What to render: ids, or names of proofs, with commas between; a file with one in each "
            "line, as the gallery saves it; or all, whose proof is done.",
        ),
    ],
    endpoint_url: EndpointUrl = None,
    address: Address = None,
    pool: Pool = "ray",
    workers: Workers = None,
    limit: Limit = None,
    retry_failed: RetryFailed = False,
    as_json: Events = False,
    quiet: Quiet = False,
) -> None:
    """Render the chosen ones among the proofs at full size. Exit status as with run."""
    from cluster.run.options import RunOptions
    from jobs.proofs.find_job import job_of

    options = RunOptions(pool, address, retry_failed=retry_failed, limit=limit, select=select)
    _render(job_of(output, endpoint_url), workers, options, _Talk(as_json, quiet=quiet))


@dataclass(frozen=True)
class _Talk:
    """How a run is told of."""

    as_json: bool
    brief: bool = False
    quiet: bool = False
    verbose: bool = False
    log_format: Literal["text", "json"] = "text"


def _render(loaded: Job, workers: int | None, options: RunOptions, talk: _Talk) -> None:
    """Run a job, tell of it, and end with its status."""
    from cluster.events.console import ConsoleView
    from cluster.events.events import Beat, Live
    from cluster.events.json_lines import to_json
    from cluster.events.logs import log_event
    from cluster.run.run_job import run_job
    from cluster.signals import Interrupts

    _log(talk.verbose, talk.log_format)
    if workers is not None:
        loaded = _with_workers(loaded, workers)
    as_log = talk.verbose and talk.log_format == "json"
    view = ConsoleView(
        Console(stderr=True), quiet=talk.quiet or as_log, overwrite=options.overwrite
    )

    unprinted = Beat if talk.brief else Live

    def listen(event: Event) -> None:
        if not talk.brief:
            view(event)
        if as_log:  # as text, they are shown already
            log_event(event)
        if talk.as_json and not isinstance(event, unprinted):
            # Who keeps a log reads it in whatever encoding his machine has.
            print(to_json(event, ensure_ascii=talk.brief), file=out, flush=True)

    def on_start() -> None:
        where = options.address or os.environ.get("RAY_ADDRESS")
        if options.pool == "ray" and not talk.brief:
            view.starting(f"joining Ray at {where} ..." if where else "starting Ray here ...")

    with _own_stdout() as out, Interrupts() as interrupts:
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
            _complain("stopped; what was committed stays, and the same command goes on from there")
            out.flush()
            # Not an ordinary exit, which would wait for the threads that are painting.
            os._exit(EXIT_INTERRUPTED)
        finally:
            view.close()
    if not (talk.quiet or talk.as_json) and result.counts.done:
        _point_to(loaded, options, result.storage.url.rstrip("/"))
    raise typer.Exit(result.exit_status)


def _point_to(job: Job, options: RunOptions, url: str) -> None:
    """Say where the pictures are, and what one does with them."""
    from jobs.storage import keys

    file = shlex.quote(job.file)
    print(f"pictures: {url}/{keys.IMAGES}")
    if not options.proof:
        print(f"gallery:  {url}/{keys.INDEX}")
        print(f"more:     stylefarm report {file}")
    else:
        print(f"gallery:  {url.removesuffix(f'/{keys.PROOFS}')}/{keys.INDEX}")
        print(f"choose:   stylefarm promote {file} --select IDS|FILE|all")


@app.command(
    epilog="Examples:  stylefarm report out  |  stylefarm report s3://renders/harbour --json"
)
def report(
    output: Annotated[
        str, typer.Argument(metavar="OUTPUT", help="A job's output, or its job file.")
    ],
    endpoint_url: EndpointUrl = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read every picture and compare its digest.")
    ] = False,
    gallery: Annotated[bool, typer.Option(help="Whether to write the gallery.")] = True,
    as_json: AsJson = False,
) -> None:
    """Sum up what is in an output: how many are done, what failed and why, what is missing or damaged; the
    proofs likewise. And write its gallery, index.html, to look at the pictures and to choose among proofs."""
    from jobs.errors import StorageError, UsageError
    from jobs.proofs.find_job import storages_of
    from jobs.records.commit import Records
    from jobs.records.verify import find_damaged, find_missing
    from jobs.report.gallery import write_gallery
    from jobs.report.summary import Summary, summarise
    from jobs.storage import keys

    storage, proofs = storages_of(output, endpoint_url)
    find = find_damaged if verify else find_missing
    found: list[Summary | None] = []
    for place in (storage, proofs):
        records = Records(place)
        summary = summarise(place.url, records.entries(), find(place, records.entries()))
        begun = summary.done or summary.failed or place.stat(keys.JOB) is not None
        found.append(summary if begun else None)
    if not any(found):
        raise UsageError(f"nothing has been rendered to {storage.url}: it has no {keys.JOB}")
    page = None
    if gallery:
        try:
            page = f"{storage.url.rstrip('/')}/{write_gallery(storage, proofs)}"
        except StorageError as error:
            # Who may read an output need not be who may write to it.
            _complain(f"the gallery is not written: {error}")
    if as_json:
        pictures, small = found
        told = (pictures or Summary(storage.url)).to_json()
        told |= {"proofs": small.to_json()} if small else {}
        print(json.dumps({**told, "gallery": page}, ensure_ascii=False))
    else:
        print("\n".join(summary.to_text() for summary in found if summary))
        if page is not None:
            print(f"gallery: {page}")
    broken = any(s.failed or s.missing or s.damaged for s in found if s)
    raise typer.Exit(EXIT_FAILED if broken else 0)


@app.command(epilog="Example:  stylefarm schema > job.schema.json")
def schema() -> None:
    """Print the JSON Schema of a job file, with which editors complete and check it."""
    from jobs.spec.json_schema import json_schema

    print(json.dumps(json_schema(), indent=2, ensure_ascii=False))


@app.command(epilog="Examples:  stylefarm doctor  |  stylefarm doctor job.yaml")
def doctor(
    job: Annotated[
        Path | None,
        typer.Argument(metavar="JOB", help="Also check this job's output and weights."),
    ] = None,
    address: Address = None,
    as_json: AsJson = False,
) -> None:
    """Check GPU, weights, storage and Ray, and say what to do about what is wrong."""
    from dataclasses import asdict

    from cluster.plan.doctor import examine
    from jobs.jobfile.load import load_job

    loaded = load_job(job) if job else None
    well = True
    console = Console()
    for check in examine(loaded, address):
        well = well and check.ok
        if as_json:
            print(json.dumps(asdict(check)), flush=True)
        else:
            mark = "[green]ok  [/]" if check.ok else "[red]FAIL[/]"
            console.print(f"{mark} {check.name}: ", end="")
            console.print(check.text, markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(0 if well else EXIT_FAILED)


submitted.add_to(app)
schedule.add_to(app)


def main(arguments: Sequence[str] | None = None) -> None:
    """The console script: every error of ours becomes its sentence and its exit status."""
    try:
        from jobs.errors import StylefarmError
        from stylize.errors import StylizeError
    except KeyboardInterrupt:
        _complain("stopped before anything was begun")
        sys.exit(EXIT_INTERRUPTED)
    try:
        app(args=list(arguments) if arguments is not None else None, prog_name="stylefarm")
    except StylefarmError as error:
        _complain(str(error))
        sys.exit(error.exit_status)
    except StylizeError as error:  # weights that cannot be found: the recipe asks for them
        _complain(str(error))
        sys.exit(EXIT_USAGE)
    except BrokenPipeError:
        os._exit(EXIT_FAILED)  # whoever read our output is gone; nobody is left to tell


def _complain(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@contextlib.contextmanager
def _own_stdout() -> Iterator[IO[str]]:
    """Standard output for us alone: what others print there, as Ray does of workers that died, goes to
    standard error meanwhile."""
    sys.stdout.flush()
    own = os.fdopen(os.dup(1), "w", encoding="utf-8")  # which JSON is in, whatever the locale
    os.dup2(2, 1)
    try:
        yield own
    finally:
        sys.stdout.flush()
        own.flush()
        os.dup2(own.fileno(), 1)
        own.close()


def _log(verbose: bool, log_format: Literal["text", "json"] = "text") -> None:
    if not verbose:
        logging.basicConfig(force=True, level=logging.CRITICAL)
        return
    from cluster.events.logs import set_up

    set_up(log_format, logging.INFO)


def _with_workers(job: Job, most: int) -> Job:
    from dataclasses import replace

    fewest = min(job.spec.workers.min, most)
    wanted = job.spec.workers.model_copy(update={"max": most, "min": fewest})
    return replace(job, spec=job.spec.model_copy(update={"workers": wanted}))
