"""The command ``schedule``: jobs on the clock, what became of their ticks, and files for others to keep them.
Heavy imports stay inside, as in ``cluster.cli``."""

from __future__ import annotations

import json
import os
import re
import sys
from dataclasses import asdict
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Annotated, Literal

import typer

from cluster.options import Pool, RetryFailed, Workers

STATE = Path("stylefarm") / "schedule"
"""Below the user's folder for what programs keep."""


def add_to(app: typer.Typer) -> None:
    """Give the command to the application."""
    app.command(
        epilog="Examples:  stylefarm schedule job.yaml  |  stylefarm schedule jobs/*.yaml --address "
        "http://head:8265  |  stylefarm schedule --history  |  stylefarm schedule job.yaml --next 5  |  "
        "stylefarm schedule job.yaml --export systemd --to ~/.config/systemd/user"
    )(schedule)


def schedule(
    jobs: Annotated[
        list[Path] | None,
        typer.Argument(metavar="JOB...", help="Job files with a schedule:.", show_default=False),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            help="A cluster's dashboard, such as http://head:8265, which jobs are submitted to; or a Ray "
            "cluster for runs from here, such as auto. Default: this machine."
        ),
    ] = None,
    pool: Pool = "ray",
    workers: Workers = None,
    ship_inputs: Annotated[
        bool,
        typer.Option(
            "--ship-inputs", help="As of submit: send what lies beside the job file along."
        ),
    ] = False,
    allow_local: Annotated[
        bool,
        typer.Option(
            "--allow-local", help="As of submit: the cluster sees the job file's folder, too."
        ),
    ] = False,
    retry_failed: RetryFailed = False,
    state: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Where ticks, their logs and what became of them are kept. Default: "
            "~/.local/state/stylefarm/schedule.",
            show_default=False,
        ),
    ] = None,
    history: Annotated[
        bool, typer.Option("--history", help="Show what became of the ticks so far, and end.")
    ] = False,
    upcoming: Annotated[
        int | None,
        typer.Option("--next", metavar="N", min=1, help="Show the next N ticks, and end."),
    ] = None,
    export: Annotated[
        Literal["kubernetes", "systemd"] | None,
        typer.Option(help="Print a CronJob, or units of systemd, that render the job instead."),
    ] = None,
    to: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Of --export: write the files there.")
    ] = None,
    image: Annotated[
        str | None, typer.Option(help="Of --export kubernetes: the image with stylefarm in it.")
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Of --history and --next: JSON, one object a line."),
    ] = False,
) -> None:
    """Render jobs whenever their schedules are due, in the foreground, as a service does.

    Each tick renders what is new, or whose pictures have changed. State is kept on disk: after a stop of any
    kind, what was missed is made up for or told. Ctrl-C once lets running tasks finish.

    Exit status: 0 after SIGTERM, 130 after Ctrl-C, 2 a job file or the command line is wrong. What becomes of
    the ticks is told by --history, and ends nothing.
    """
    from jobs.errors import UsageError

    folder = (state or _state_folder()).expanduser().absolute()
    if sum((history, upcoming is not None, export is not None)) > 1:
        raise UsageError("--history, --next and --export are three things: ask for one")
    if history:
        _show_history(folder, [job.absolute() for job in jobs or ()], as_json)
    elif not jobs:
        raise UsageError("name at least one job file, or ask for --history")
    elif upcoming is not None:
        _show_next(jobs, upcoming, as_json)
    elif export is not None:
        _export(jobs, export, address, image, to)
    elif to is not None or image is not None:
        raise UsageError("--to and --image are for --export, which is not given")
    else:
        shipping = [
            *(["--ship-inputs"] if ship_inputs else []),
            *(["--allow-local"] if allow_local else []),
        ]
        _run(jobs, folder, address, pool, workers, shipping, retry_failed)


def _run(
    jobs: list[Path],
    folder: Path,
    address: str | None,
    pool: str,
    workers: int | None,
    shipping: list[str],
    retry_failed: bool,
) -> None:
    from cluster.clock import Clock, Command
    from jobs.errors import UsageError

    submit = address is not None and address.startswith(("http://", "https://"))
    if shipping and not submit:
        raise UsageError(f"{shipping[0]} is for an --address such as http://head:8265")
    if address is not None and not (
        submit or re.fullmatch(r"auto|(ray://)?[\w.\-\[\]]+:\d+", address)
    ):
        raise UsageError(
            f"--address {address} is no cluster: give its dashboard, such as http://head:8265, or for runs "
            "from here auto or 10.0.0.1:6379"
        )
    options = [*shipping, *(["--retry-failed"] if retry_failed else [])]
    if address is not None:
        options += ["--address", address]
    if not submit:
        options += ["--pool", pool]
    if workers is not None:
        options += ["--workers", str(workers)]

    def say(text: str) -> None:
        print(f"{datetime.now().astimezone():%Y-%m-%d %H:%M:%S} {text}", flush=True)

    clock = Clock(jobs, folder, Command(options, submit), say)
    raise typer.Exit(clock.run())


def _show_history(folder: Path, jobs: list[Path], as_json: bool) -> None:
    from rich.console import Console
    from rich.table import Table

    from cluster.history import History

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
        print(f"no tick so far, as {folder} knows")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    headings = ("job", "due (UTC)", "late", "took", "outcome", "done", "failed", "left", "why")
    for heading in headings:
        counted = heading in ("late", "took", "done", "failed", "left")
        table.add_column(
            heading,
            overflow="fold",
            no_wrap=heading not in ("job", "why"),
            justify="right" if counted else "left",
        )
    for tick in ticks:
        numbers = ("" if n is None else f"{n:,}" for n in (tick.done, tick.failed, tick.left))
        outcome = tick.outcome if tick.count == 1 else f"{tick.outcome} x {tick.count:,}"
        times = (_span(tick.planned, tick.started), _span(tick.started, tick.ended))
        table.add_row(tick.name, _short(tick.planned), *times, outcome, *numbers, tick.reason or "")
    Console(markup=False, highlight=False).print(table)
    last = next((tick.log for tick in reversed(ticks) if tick.log), None)
    if last is not None:
        print(f"the last one's log: {last}")


def _span(begin: str | None, end: str | None) -> str:
    if begin is None or end is None:
        return ""
    moments = (datetime.fromisoformat(text.replace("Z", "+00:00")) for text in (begin, end))
    first, last = moments
    return str(max(timedelta(0), last - first))


def _short(moment: str | None) -> str:
    return "" if moment is None else moment.replace("T", " ").removesuffix("Z")


def _show_next(jobs: list[Path], count: int, as_json: bool) -> None:
    from cluster.catch_up import upcoming
    from cluster.clock import schedule_of, wall_text
    from jobs.load import read_job

    for file in jobs:
        job = read_job(file)
        for tick in upcoming(schedule_of(job), datetime.now(timezone.utc), count):
            if as_json:
                print(json.dumps({"job": job.file, "name": job.spec.name, "due": tick.isoformat()}))
            else:
                print(f"{job.spec.name}  {wall_text(job, tick)}  {tick:%Y-%m-%d %H:%M:%S} UTC")


def _export(
    jobs: list[Path], kind: str, address: str | None, image: str | None, to: Path | None
) -> None:
    from cluster import export
    from jobs.errors import UsageError
    from jobs.load import read_job

    if image is not None and kind != "kubernetes":
        raise UsageError("--image is for --export kubernetes")
    make = export.kubernetes if kind == "kubernetes" else export.systemd
    files: dict[str, str] = {}
    for file in jobs:
        made = make(read_job(file), export.Target(address, image))
        if twice := files.keys() & made.keys():
            raise UsageError(
                f"two jobs would be {min(twice)}: give them different names with name:"
            )
        files |= made
    if to is not None:
        to.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (to / name).write_text(text, encoding="utf-8")
            print(to / name)
        return
    for name, text in files.items():
        if kind == "kubernetes":
            print(text if name == next(iter(files)) else f"---\n{text}", end="")
        else:
            print(f"# --- {name}\n{text}")
    if kind == "systemd" and sys.stdout.isatty():
        print("# --to DIR writes each into a file of its own", file=sys.stderr)


def _state_folder() -> Path:
    return Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state") / STATE
