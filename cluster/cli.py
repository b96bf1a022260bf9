"""The command ``stylefarm``. Heavy imports stay inside the commands: ``--help`` takes no second."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console

from cluster import remote_cli

if TYPE_CHECKING:
    from cluster.events import Event
    from jobs.load import Job

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

JobPath = Annotated[Path, typer.Argument(metavar="JOB", help="The job file (YAML).")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON on stdout, and nothing else there.")]
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
    as_json: AsJson = False,
) -> None:
    """Show what would be rendered, and what it takes: memory, time and cost. Writes nothing, and renders
    nothing but a pilot's few steps."""
    from cluster.plan import Price, make_plan, missing_pictures
    from cluster.plan_text import to_text
    from cluster.run import open_agenda
    from jobs.load import load_job
    from jobs.records import Records
    from jobs.storage import open_storage

    loaded = load_job(job)
    agenda = open_agenda(loaded)
    storage = open_storage(loaded.spec.output, loaded.spec.storage, base=loaded.base)
    wanted = Price(gpus, price, None if card is None else int(card * 1e9))
    made = make_plan(agenda, Records(storage), storage.url, wanted, pilot=pilot)
    missing = missing_pictures(agenda)
    if as_json:
        print(json.dumps({**made.to_json(), "missing": missing}, ensure_ascii=False))
    else:
        print(to_text(made, missing))


@app.command(
    epilog="Examples:  stylefarm run job.yaml  |  stylefarm run job.yaml --address auto --limit 10  |  "
    "stylefarm run job.yaml --json > events.jsonl"
)
def run(
    job: JobPath,
    address: Address = None,
    pool: Annotated[
        Literal["ray", "inline"],
        typer.Option(help="ray: a process for each worker; inline: one worker in this process."),
    ] = "ray",
    workers: Annotated[
        int | None, typer.Option(min=1, help="Most workers at once; overrides workers.max.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Render everything again.")
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Take the tasks that failed earlier, too.")
    ] = False,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            help="Read finished pictures first; render again what is missing or damaged.",
        ),
    ] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Render at most so many tasks.")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON line for each event on stdout.")
    ] = False,
    brief: Annotated[
        bool,
        typer.Option(
            "--brief",
            help="With --json: the totals now and then instead of every worker's progress, and nothing else "
            "but errors; for logs that are kept.",
        ),
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")] = False,
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
    from cluster.console import ConsoleView
    from cluster.events import Beat, Live, to_json
    from cluster.interrupts import Interrupts
    from cluster.logs import log_event
    from cluster.run import RunOptions, run_job
    from jobs import keys
    from jobs.errors import UsageError
    from jobs.load import load_job

    _log(verbose, log_format)
    if brief and not as_json:
        raise UsageError("--brief is for --json, which is not given")
    loaded = load_job(job)
    if workers is not None:
        loaded = _with_workers(loaded, workers)
    options = RunOptions(pool, address, overwrite, retry_failed, verify, limit)
    as_log = verbose and log_format == "json"
    view = ConsoleView(Console(stderr=True), quiet=quiet or as_log, overwrite=overwrite)

    unprinted = Beat if brief else Live

    def listen(event: Event) -> None:
        if not brief:
            view(event)
        if as_log:  # as text, they are shown already
            log_event(event)
        if as_json and not isinstance(event, unprinted):
            # Who keeps a log reads it in whatever encoding his machine has.
            print(to_json(event, ensure_ascii=brief), file=out, flush=True)

    def on_start() -> None:
        where = address or os.environ.get("RAY_ADDRESS")
        if pool == "ray" and not brief:
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
    if not (quiet or as_json) and result.counts.done:
        print(f"pictures: {result.storage.url.rstrip('/')}/{keys.IMAGES}")
        print(f"more:     stylefarm report {shlex.quote(str(job))}")
    raise typer.Exit(result.exit_status)


@app.command(
    epilog="Examples:  stylefarm report out  |  stylefarm report s3://renders/harbour --json"
)
def report(
    output: Annotated[
        str, typer.Argument(metavar="OUTPUT", help="A job's output, or its job file.")
    ],
    endpoint_url: Annotated[
        str | None, typer.Option(help="The S3 endpoint, when OUTPUT is s3:// and not on AWS.")
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read every picture and compare its digest.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Sum up what is in an output: how many are done, what failed and why, what is missing or damaged."""
    from jobs import keys
    from jobs.errors import UsageError
    from jobs.load import load_job
    from jobs.records import Records
    from jobs.report.summary import summarise
    from jobs.storage import StorageOptions, open_storage
    from jobs.verify import find_damaged, find_missing

    if Path(output).suffix in (".yaml", ".yml") and Path(output).is_file():
        loaded = load_job(output)
        storage = open_storage(loaded.spec.output, loaded.spec.storage, base=loaded.base)
    else:
        storage = open_storage(output, StorageOptions(endpoint_url=endpoint_url))
    records = Records(storage)
    find = find_damaged if verify else find_missing
    summary = summarise(storage.url, records.entries(), find(storage, records.entries()))
    if not (summary.done or summary.failed) and storage.stat(keys.JOB) is None:
        raise UsageError(f"nothing has been rendered to {storage.url}: it has no {keys.JOB}")
    print(json.dumps(summary.to_json(), ensure_ascii=False) if as_json else summary.to_text())
    broken = summary.failed or summary.missing or summary.damaged
    raise typer.Exit(EXIT_FAILED if broken else 0)


@app.command(epilog="Example:  stylefarm schema > job.schema.json")
def schema() -> None:
    """Print the JSON Schema of a job file, with which editors complete and check it."""
    from jobs.spec import json_schema

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

    from cluster.doctor import examine
    from jobs.load import load_job

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


remote_cli.add_to(app)


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
    from cluster.logs import set_up

    set_up(log_format, logging.INFO)


def _with_workers(job: Job, most: int) -> Job:
    from dataclasses import replace

    fewest = min(job.spec.workers.min, most)
    wanted = job.spec.workers.model_copy(update={"max": most, "min": fewest})
    return replace(job, spec=job.spec.model_copy(update={"workers": wanted}))


if __name__ == "__main__":
    main()
