"""Commands that render nothing: ``init``, ``plan``, ``report``, ``schema`` and ``doctor``."""

from __future__ import annotations

import json
import math
import sys
import time
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console

from cluster.cli.options import AsJson, EndpointUrl, JobPath, ProofSize, RayAddress, path_here
from cluster.cli.terminal import tell
from cluster.display.standard import only_displays
from jobs.errors import ExitStatus

if TYPE_CHECKING:
    from cluster.events.events import Event
    from jobs.storage.base import Storage


REDRAW_SECONDS = 0.5
"""The shortest time between two numbers that replace each other on a terminal."""


def add_to(app: typer.Typer) -> None:
    """Register these commands."""
    app.command(
        epilog="Example:  stylefarm init harbour && stylefarm run harbour/job.yaml",
    )(init)
    app.command(
        epilog="Examples:  stylefarm plan job.yaml  |  "
        "stylefarm plan job.yaml --pilot --gpus 8 --price-per-gpu-hour 2.10"
    )(plan)
    app.command(
        epilog="Examples:  stylefarm report out  |  stylefarm report s3://renders/harbour --json  |  "
        "stylefarm report out --format parquet --to tables"
    )(report)
    app.command(epilog="Example:  stylefarm schema > job.schema.json")(schema)
    app.command(epilog="Examples:  stylefarm doctor  |  stylefarm doctor job.yaml")(doctor)


def init(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder to create.", callback=path_here)
    ],
    photo: Annotated[
        list[Path] | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="Photo to copy in; repeat for more. Default: sample photos.",
        ),
    ] = None,
) -> None:
    """Write a starter job with pictures: a job file, photos, and paintings to take styles from."""
    from jobs.examples.starter import write_starter

    only_displays("init")

    job_file = write_starter(folder, photo or (), say=lambda text: print(text, flush=True))
    print(f"{job_file} is ready. Render it:  stylefarm run {job_file}")


def plan(
    job: JobPath,
    pilot: Annotated[
        bool,
        typer.Option("--pilot", help="Render a few steps of each kind here, to estimate the time."),
    ] = False,
    gpus: Annotated[int, typer.Option(min=1, help="Number of workers to estimate for.")] = 1,
    price: Annotated[
        float | None,
        typer.Option(
            "--price-per-gpu-hour", min=0.0, help="Price of a GPU hour, to estimate the cost."
        ),
    ] = None,
    card: Annotated[
        float | None,
        typer.Option(
            "--card-gb", min=0.1, help="Memory of a GPU in GB, to find out what does not fit."
        ),
    ] = None,
    proof_size: ProofSize = None,
    as_json: AsJson = False,
) -> None:
    """Show what would be rendered, with its memory, time and cost, for the pictures and for their proofs
    (run --proof). Writes nothing, and renders nothing except a pilot's few steps."""
    from cluster.events.searching import Searching
    from cluster.open_job import motion_problem, open_agenda
    from cluster.plan.look import look
    from cluster.plan.plan import Price, make_ladder
    from cluster.plan.plan_text import to_text
    from jobs.errors import UsageError
    from jobs.jobfile.job import open_output
    from jobs.jobfile.load import load_job
    from jobs.records.commit import Records

    if price is not None and not math.isfinite(price):
        raise UsageError(f"--price-per-gpu-hour {price} is not a price")
    loaded = load_job(job)
    wanted = Price(gpus, price, None if card is None else int(card * 1e9))
    pilots = None
    if pilot:
        from cluster.plan.pilot import Pilots

        pilots = Pilots(loaded)
    agenda = open_agenda(loaded, Searching(_tell_searched))
    try:
        made, proofs = make_ladder(agenda, wanted, pilots, proof_size)
        looked = look(agenda)
        output = open_output(loaded)
        motion = motion_problem(agenda, output, Records(output).ledger)
    finally:
        agenda.close()
    if as_json:
        missing = {picture.uri: str(picture.problem) for picture in looked.missing}
        document = {**made.to_json(), "proofs": proofs.to_json(), "missing": missing}
        document["preflight"] = looked.to_json()
        document["motion"] = None if motion is None else str(motion)
        print(json.dumps(document, ensure_ascii=False))
    else:
        print(to_text(made, looked, proofs, motion))


def _tell_searched(event: Event) -> None:
    """Print how far a film is looked through for cuts."""
    from cluster.events.events import FilmSearched
    from cluster.events.progress import searched_text

    if isinstance(event, FilmSearched):
        tell(searched_text(event))


def report(
    output: Annotated[
        str, typer.Argument(metavar="OUTPUT", help="A job's output, or its job file.")
    ],
    endpoint_url: EndpointUrl = None,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify", help="Read every picture and video and compare its digest with its record."
        ),
    ] = False,
    gallery: Annotated[bool, typer.Option(help="Whether to write the gallery.")] = True,
    table_format: Annotated[
        Literal["csv", "parquet"] | None,
        typer.Option(
            "--format",
            help="Also write all tasks and all rows of their loss logs as tables: tasks.csv and losses.csv, "
            "or as Parquet.",
        ),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="With --format: the folder for the tables. Default: this one.",
            callback=path_here,
            show_default=False,
        ),
    ] = None,
    html_single: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Also write the gallery of a small job as one HTML file, to send by mail.",
            callback=path_here,
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Summarise an output and its proofs: how many pictures are done, what failed and why, what is missing
    or damaged. Also writes the gallery, index.html, to view the pictures and to choose among proofs."""
    from cluster.events.progress import plural
    from jobs.errors import StorageError, UsageError
    from jobs.proofs.find_job import storages_of
    from jobs.records.commit import Records
    from jobs.records.verify import find_damaged, find_missing
    from jobs.report.gallery import write_gallery
    from jobs.report.summary import Summary, summarise
    from jobs.report.tables import Written, write_tables
    from jobs.storage import keys
    from jobs.videos.record import video_keys
    from jobs.videos.verify import find_damaged_videos

    if to is not None and table_format is None:
        raise UsageError("--to needs --format")
    storage, proofs = storages_of(output, endpoint_url)
    find = find_damaged if verify else find_missing
    summaries: list[Summary | None] = []
    for place in (storage, proofs):
        records = Records(place)
        unreadable: list[str] = []
        entries = records.entries(unreadable.append)
        damages = chain(find(place, records.entries()), find_damaged_videos(place, read=verify))
        summary = summarise(place.url, entries, damages)
        summary.unreadable = sorted(unreadable)
        summary.videos = video_keys(place)
        begun = summary.done or summary.failed or unreadable or place.stat(keys.JOB) is not None
        summaries.append(summary if begun else None)
    if not any(summaries):
        raise UsageError(f"nothing has been rendered to {storage.url}: it has no {keys.JOB}")
    page = None
    if gallery:
        for place in (
            place for place, found in zip((storage, proofs), summaries, strict=True) if found
        ):
            _complete(place)
        try:
            page = f"{storage.url.rstrip('/')}/{write_gallery(storage, proofs)}"
        except StorageError as error:
            # A user who may read an output may lack the right to write to it.
            tell(f"the gallery is not written: {error}")
    tables: dict[str, Written] = {}
    unread: list[str] = []
    failure: StorageError | None = None
    if table_format is not None:
        try:
            pair = write_tables(storage, to or Path(), table_format, unread.append)
            tables = dict(zip(("tasks", "losses"), pair, strict=True))
        except StorageError as error:
            failure = error  # what was found out is said all the same
    if unread:
        tell(f"missing or damaged: {plural(len(unread), 'loss log')}, the first {unread[0]}")
    if as_json:
        pictures, small = summaries
        document = (pictures or Summary(storage.url)).to_json()
        document |= {"proofs": small.to_json()} if small else {}
        document |= {
            name: {"path": str(table.path), "rows": table.rows} for name, table in tables.items()
        }
        print(json.dumps({**document, "gallery": page}, ensure_ascii=False))
    else:
        print("\n".join(summary.to_text() for summary in summaries if summary))
        if page is not None:
            print(f"gallery: {page}")
        for name, table in tables.items():
            print(f"{name + ':':8} {table.path} ({plural(table.rows, 'row')})")
    if failure is not None:
        raise failure
    if html_single is not None:
        _write_single(storage, proofs, html_single)
    broken = bool(unread) or any(
        s.failed or s.missing or s.damaged or s.unreadable for s in summaries if s
    )
    raise typer.Exit(ExitStatus.FAILED if broken else 0)


def _write_single(storage: Storage, proofs: Storage, file: Path) -> None:
    """Write the gallery as one file, which replaces one that is there when it is complete."""
    from cluster.complete.small import small_picture
    from jobs.errors import StorageError
    from jobs.report.single import single_page

    page = single_page(storage, proofs, small_picture)
    part = file.with_name(f".{file.name}.part")
    try:
        part.write_bytes(page)
        part.replace(file)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise StorageError(f"{file} cannot be written: {error.strerror or error}") from error
    tell(f"one file: {file} ({len(page) / 2**20:.1f} MiB)")


def _complete(storage: Storage) -> None:
    """Give an output of an earlier version what the gallery shows; what prevents that is told."""
    from cluster.complete.small import complete_small
    from cluster.events.progress import plural
    from jobs.errors import LeaseHeldError, StorageError

    told = 0.0

    def tell_progress(done: int, total: int) -> None:
        nonlocal told
        if done == 0:
            what = f"{plural(total, 'picture')} of an earlier version"
            tell(f"making small ones of {what}; after Ctrl-C the next report goes on")
        elif sys.stderr.isatty() and (done == total or time.monotonic() - told > REDRAW_SECONDS):
            told = time.monotonic()
            print(f"\r{done:,} of {total:,}", end="\n" if done == total else "", file=sys.stderr)
            sys.stderr.flush()

    try:
        complete_small(storage, tell_progress)
    except LeaseHeldError as error:
        tell(f"older pictures get no small ones now: {error}")
    except StorageError as error:
        tell(f"older pictures get no small ones: {error}")


def schema() -> None:
    """Print the JSON Schema of a job file, with which editors complete and check it."""
    from jobs.spec.json_schema import json_schema

    print(json.dumps(json_schema(), indent=2, ensure_ascii=False))


def doctor(
    job: Annotated[
        Path | None,
        typer.Argument(
            metavar="JOB", help="Also check this job's output and weights.", callback=path_here
        ),
    ] = None,
    address: RayAddress = None,
    as_json: AsJson = False,
) -> None:
    """Check GPU, weights, storage and Ray, and say how to correct what is wrong."""
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
    raise typer.Exit(0 if well else ExitStatus.FAILED)
