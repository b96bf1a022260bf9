"""The command ``schedule``: serve schedules, show their ticks and history, and export them.

Heavy imports stay inside, as in ``cluster.cli.app``.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import sys
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cluster.cli.options import (
    JobPriority,
    Pool,
    RetryFailed,
    Workers,
    check_pool_options,
    path_here,
)
from cluster.display.standard import only_displays, standard

if TYPE_CHECKING:
    from cluster.schedule.history import Tick
    from cluster.schedule.tick_process import Command

STATE = "stylefarm/schedule"
"""The folder of the service's state, below the user's folder for the state of programs."""


NOTES = "notes.log"
"""The file in that folder that says what the service could show nowhere."""

HEADINGS = ("job", "due (UTC)", "late", "took", "outcome", "done", "failed", "left", "why")
"""The columns of the history."""

GAP = 2
"""Blanks between two columns."""

REASON_WIDTH = 24
"""Columns that the reasons in the history have at least, or as many as the longest has."""


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command(
        epilog="Examples:  stylefarm schedule job.yaml  |  stylefarm schedule jobs/*.yaml --address "
        "http://head:8265  |  stylefarm schedule --history  |  stylefarm schedule job.yaml --next 5  |  "
        "stylefarm schedule job.yaml --export systemd --to ~/.config/systemd/user"
    )(schedule)


def schedule(
    jobs: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="JOB...",
            help="Job files that have a schedule.",
            show_default=False,
            callback=path_here,
        ),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            help="A cluster's dashboard to submit jobs to, such as http://head:8265; or a Ray cluster for "
            "runs from here, such as auto. Default: this machine."
        ),
    ] = None,
    pool: Pool = "ray",
    workers: Workers = None,
    priority: JobPriority = None,
    ship_inputs: Annotated[
        bool,
        typer.Option(
            "--ship-inputs", help="As with submit: also send inputs below the job file's folder."
        ),
    ] = False,
    allow_local: Annotated[
        bool,
        typer.Option(
            "--allow-local", help="As with submit: the cluster sees the job file's folder."
        ),
    ] = False,
    retry_failed: RetryFailed = False,
    state: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder for ticks, their logs and the history. Default: ~/.local/state/stylefarm/schedule.",
            show_default=False,
            callback=path_here,
        ),
    ] = None,
    history: Annotated[
        bool, typer.Option("--history", help="Show the outcome of every tick so far, and exit.")
    ] = False,
    upcoming: Annotated[
        int | None,
        typer.Option("--next", metavar="N", min=1, help="Show the next N ticks, and exit."),
    ] = None,
    export: Annotated[
        Literal["kubernetes", "systemd"] | None,
        typer.Option(
            help="Instead of rendering, print a CronJob or systemd units that render the job."
        ),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="With --export: write the files to this folder.", callback=path_here
        ),
    ] = None,
    image: Annotated[
        str | None, typer.Option(help="With --export kubernetes: the image that has stylefarm.")
    ] = None,
    queue: Annotated[
        str | None,
        typer.Option(
            "--queue",
            help="With --export kubernetes: the LocalQueue in which Kueue queues each tick.",
        ),
    ] = None,
    priority_class: Annotated[
        str | None,
        typer.Option(
            "--priority-class",
            help="With --queue: the WorkloadPriorityClass, e.g. stylefarm-low of cluster/deploy/kueue.yaml.",
        ),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="With --history or --next: print one JSON object per line."),
    ] = False,
) -> None:
    """Render jobs whenever their schedules are due, in the foreground, as a service does.

    Each tick renders what is new, or whose pictures have changed. State is kept on disk: after a stop of any
    kind, missed ticks are made up for or recorded. Ctrl-C once lets running tasks finish.

    Exit status: 0 after SIGTERM, 130 after Ctrl-C, 2 a job file or the command line is wrong. A tick that
    fails does not end the service; --history shows what became of each.
    """
    from jobs.errors import UsageError

    shipping = [
        *(["--ship-inputs"] if ship_inputs else []),
        *(["--allow-local"] if allow_local else []),
    ]
    command = _command(address, pool, workers, priority, retry_failed, shipping)
    if sum((history, upcoming is not None, export is not None)) > 1:
        raise UsageError("--history, --next and --export cannot be combined: give one of them")
    if (to is not None or image is not None) and export is None:
        raise UsageError("--to and --image need --export")
    if queue is not None and export != "kubernetes":
        raise UsageError("--queue needs --export kubernetes")
    if priority_class is not None and queue is None:
        raise UsageError("--priority-class needs --queue")
    if as_json and not (history or upcoming):
        raise UsageError("--json needs --history or --next")
    if history:
        folder = _default_state() if state is None else state.absolute()
        _show_history(folder, [job.absolute() for job in jobs or ()], as_json)
    elif not jobs:
        raise UsageError("name at least one job file, or use --history")
    elif upcoming is not None:
        _show_next(jobs, upcoming, as_json)
    elif export is not None:
        _export(jobs, export, command, to, image, queue, priority_class)
    else:
        _run(jobs, state, command)


def _command(
    address: str | None,
    pool: str,
    workers: int | None,
    priority: str | None,
    retry_failed: bool,
    shipping: list[str],
) -> Command:
    """Return how jobs are rendered at their ticks. Raises UsageError."""
    from cluster.schedule.tick_process import Command
    from jobs.errors import UsageError

    check_pool_options(pool, address, workers)
    command = Command(address)
    if address is not None and not (
        command.submits or re.fullmatch(r"auto|(ray://)?[\w.\-\[\]]+:\d+", address)
    ):
        raise UsageError(
            f"--address {address} is not a cluster: give its dashboard, such as http://head:8265, or, for "
            "runs from here, auto or 10.0.0.1:6379"
        )
    if shipping and not command.submits:
        raise UsageError(f"{shipping[0]} needs an --address such as http://head:8265")
    options = [
        *shipping,
        *(["--pool", pool] if pool != "ray" else []),
        *([] if workers is None else ["--workers", str(workers)]),
        *([] if priority is None else ["--priority", priority]),
        *(["--retry-failed"] if retry_failed else []),
    ]
    return Command(address, options)


def _run(jobs: list[Path], state: Path | None, command: Command) -> None:
    from cluster.schedule.service import Service
    from cluster.signals import held_back
    from jobs.errors import StorageError

    folder = _default_state() if state is None else state.absolute()

    def say(text: str) -> None:
        print(f"{_now()} {text}", flush=True)

    only_displays("the schedule")
    with held_back():  # the state that is written from now on says that a service is there
        try:
            service = Service(jobs, folder, command, say)
        except StorageError as error:
            where = "; name a folder that can be written with --state"
            also = "" if state is not None else ", or set HOME or XDG_STATE_HOME"
            raise StorageError(f"{error}{where}{also}") from None
        service.hear_signals()
    again = f"stylefarm schedule --history --state {shlex.quote(str(folder))}"
    standard().tell_at_once(
        f"; what becomes of each tick is shown by: {again}", lambda text: _note(folder, text)
    )
    raise typer.Exit(service.run())


def _note(folder: Path, text: str) -> None:
    """Write down in the service's folder what can be shown nowhere."""
    with contextlib.suppress(OSError), (folder / NOTES).open("a", encoding="utf-8") as file:
        file.write(f"{_now()} {text}\n")


def _now() -> str:
    return f"{datetime.now().astimezone():%Y-%m-%d %H:%M:%S}"


def _show_history(folder: Path, jobs: list[Path], as_json: bool) -> None:
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table

    from cluster.schedule.history import History

    ticks = [
        tick
        for tick in History(folder / "history.jsonl").ticks()
        if not jobs or Path(tick.job) in jobs
    ]
    if as_json:
        for tick in ticks:
            print(json.dumps(asdict(tick), ensure_ascii=False))
        return
    if not ticks:
        print(f"no ticks are recorded in {folder}")
        return
    rows = [_history_row(tick) for tick in ticks]
    console = Console(markup=False, highlight=False)
    # Where too little room is left for the reasons, their lines are longer than the terminal is wide.
    *others, reasons = (max(map(cell_len, column)) for column in zip(HEADINGS, *rows, strict=True))
    room = console.width - sum(width + GAP for width in others)
    if room < min(reasons, REASON_WIDTH):
        console.width += reasons - room
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in HEADINGS:
        counted = heading in ("late", "took", "done", "failed", "left")
        table.add_column(
            heading,
            overflow="fold",
            no_wrap=heading != "why",
            justify="right" if counted else "left",
        )
    for row in rows:
        table.add_row(*row)
    with console.capture() as shown:
        console.print(table)
    for line in shown.get().splitlines():
        # Blanks at the end of a long line would become an empty line in the terminal.
        print(re.sub(r" +(\x1b\[0m)?$", r"\1", line))
    last = next((tick.log for tick in reversed(ticks) if tick.log), None)
    if last is not None:
        print(f"log of the last run: {last}")


def _history_row(tick: Tick) -> tuple[str, ...]:
    """Return a tick's cells below ``HEADINGS``."""
    return (
        tick.name,
        _short(tick.planned),
        _elapsed(tick.planned, tick.started),
        _elapsed(tick.started, tick.ended),
        tick.outcome if tick.count == 1 else f"{tick.outcome} x {tick.count:,}",
        *("" if n is None else f"{n:,}" for n in (tick.done, tick.failed, tick.left)),
        " ".join((tick.reason or "").split()),
    )


def _elapsed(begin: str | None, end: str | None) -> str:
    """Return the time between two moments as text, at least 0; empty if either is unknown."""
    if begin is None or end is None:
        return ""
    from cluster.schedule.history import parse_time
    from cluster.time_text import duration_text

    return duration_text(max(0.0, (parse_time(end) - parse_time(begin)).total_seconds()))


def _short(time: str | None) -> str:
    return "" if time is None else time.replace("T", " ").removesuffix("Z")


def _show_next(jobs: list[Path], count: int, as_json: bool) -> None:
    from cluster.schedule.missed import upcoming
    from jobs.jobfile.dated_output import schedule_of, wall_text
    from jobs.jobfile.parse import read_job

    for file in jobs:
        job = read_job(file)
        for tick in upcoming(schedule_of(job), datetime.now(timezone.utc), count):
            if as_json:
                print(json.dumps({"job": job.file, "name": job.spec.name, "due": tick.isoformat()}))
            else:
                print(f"{job.spec.name}  {wall_text(job, tick)}  {tick:%Y-%m-%d %H:%M:%S} UTC")


def _export(
    jobs: list[Path],
    kind: str,
    command: Command,
    to: Path | None,
    image: str | None,
    queue: str | None,
    priority_class: str | None,
) -> None:
    from cluster.schedule.kubernetes import Kueue, kubernetes
    from cluster.schedule.systemd import systemd
    from jobs.errors import UsageError
    from jobs.jobfile.parse import read_job

    if image is not None and kind != "kubernetes":
        raise UsageError("--image needs --export kubernetes")
    if kind == "kubernetes" and not {"--ship-inputs", "--allow-local"}.isdisjoint(command.options):
        raise UsageError(
            "--ship-inputs and --allow-local cannot be combined with --export kubernetes, whose pod has "
            "only the job file: put what the job names on s3:// or under an absolute path that the cluster "
            "sees"
        )
    kueue = None if queue is None else Kueue(queue, priority_class)
    files: dict[str, str] = {}
    for file in jobs:
        job = read_job(file)
        exported = (
            kubernetes(job, command, image, kueue)
            if kind == "kubernetes"
            else systemd(job, command)
        )
        if twice := files.keys() & exported.keys():
            raise UsageError(
                f"two jobs would be written to {min(twice)}: give them different names with name:"
            )
        files |= exported
    if to is not None:
        _write_files(to, files)
        return
    for name, text in files.items():
        if kind == "kubernetes":
            print(text if name == next(iter(files)) else f"---\n{text}", end="")
        else:
            print(f"# --- {name}\n{text}")
    if kind == "systemd" and sys.stdout.isatty():
        print("# --to DIR writes each to its own file", file=sys.stderr)


def _write_files(folder: Path, files: dict[str, str]) -> None:
    """Write files to a folder and print the path of each. Raises StorageError."""
    from jobs.errors import StorageError

    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8")
            print(folder / name)
    except OSError as error:
        raise StorageError(
            f"the files cannot be written to {folder} ({error.strerror or error}); name another "
            "folder with --to"
        ) from None


def _default_state() -> Path:
    """Return the folder of the state where ``--state`` names none. Raises UsageError."""
    from jobs.errors import NoHomeError, UsageError
    from jobs.home import expand_home

    states = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    try:
        return expand_home(f"{states}/{STATE}").absolute()
    except NoHomeError as error:
        raise UsageError(
            f"{error}, or name a folder for the schedule's state with --state"
        ) from None
