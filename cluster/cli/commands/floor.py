"""The command ``floor``: who has which GPUs of a cluster, and who waits."""

from __future__ import annotations

import json
import signal
import threading
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live

from cluster.cli.options import AsJson
from cluster.display.standard import only_displays

WATCH_SECONDS = 2.0
"""The interval between two looks with ``--watch``, in seconds."""


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command(
        epilog="Examples:  stylefarm floor --address auto  |  stylefarm floor --address 10.0.0.1:6379 --watch"
    )(floor)


def floor(
    address: Annotated[
        str,
        typer.Option(
            help="The Ray cluster, as with run; auto: the one that this machine is part of."
        ),
    ] = "auto",
    as_json: AsJson = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Look again every two seconds, until Ctrl-C.")
    ] = False,
) -> None:
    """Show a cluster that several runs share: its GPUs by node, which run holds which, who waits for what,
    and who is next.

    Exit status: 0 it is shown, 2 the command line is wrong, 3 the cluster cannot be reached.
    """
    from cluster.floor.floor_text import tables
    from cluster.floor.ray_manager import read_table
    from cluster.pools import ray_cluster
    from jobs.errors import UsageError

    only_displays("the floor")
    if watch and as_json:
        raise UsageError("--watch shows tables; give one of --watch and --json")
    ray_cluster.connect(address)
    try:
        if as_json:
            print(json.dumps(read_table(), indent=1))
        elif not watch:
            for part in tables(read_table()):
                Console().print(part)
        else:
            _watch()
    finally:
        ray_cluster.disconnect()


def _watch() -> None:
    """Show the floor again and again until Ctrl-C."""
    from rich.console import Group, RenderableType

    from cluster.floor.floor_text import tables
    from cluster.floor.ray_manager import read_table
    from jobs.errors import ClusterError

    def now() -> RenderableType:
        try:
            return Group(*tables(read_table()))
        except ClusterError as error:  # a manager that was killed is back within seconds
            return str(error)

    console = Console()
    # An interrupt that is raised amid Ray's own calls may be lost; a look ends within seconds.
    asked = threading.Event()
    before = signal.signal(signal.SIGINT, lambda *_: asked.set())
    try:
        with Live(Group(*tables(read_table())), console=console) as shown:
            while not asked.wait(WATCH_SECONDS):
                shown.update(now())
    finally:
        signal.signal(signal.SIGINT, before)
    if not console.is_terminal:  # there the last look is not followed by a line's end
        print()
