"""The commands ``set``, ``pause`` and ``resume``: ask something of a run while it runs, through its
output."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cluster.cli.options import JobPriority
from cluster.cli.target import Address, Name, find_target
from cluster.cli.terminal import tell
from cluster.display.standard import only_displays

if TYPE_CHECKING:
    from cluster.messages import Wishes
    from jobs.storage.base import Storage


def add_to(app: typer.Typer) -> None:
    """Register these commands."""
    app.command(
        "set",
        epilog="Examples:  stylefarm set job.yaml --priority high  |  stylefarm set job.yaml --workers 4",
    )(set_)
    app.command(epilog="Example:  stylefarm pause job.yaml")(pause)
    app.command(epilog="Example:  stylefarm resume job.yaml")(resume)


def set_(
    name: Name,
    priority: JobPriority = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1, help="Most workers of this run from now on, fewer or more than its job says."
        ),
    ] = None,
    address: Address = None,
) -> None:
    """Give a run another priority or number of workers, while it runs. Workers that it gives back store what
    they paint first, and nothing is painted twice.

    Exit status: 0 it is asked, 2 there is no such run, 3 cluster or storage cannot be reached.
    """
    from cluster.events.progress import plural
    from jobs.errors import UsageError
    from jobs.spec.sharing import points_of, priority_of

    if priority is None and workers is None:
        raise UsageError("say what to set: --priority or --workers")
    changes: dict[str, object] = {}
    if priority is not None:
        changes["priority"] = points_of(priority_of(priority))
    if workers is not None:
        changes["workers"] = workers
    said = []
    if priority is not None:
        said.append(f"priority {priority}")
    if workers is not None:
        said.append(f"at most {plural(workers, 'worker')}")
    wishes = _ask(name, address, "its priority and workers stand in its job file", **changes)
    paused = ", when it is resumed" if wishes.paused else ""
    tell(f"the run is asked for {' and '.join(said)}{paused}; it follows within seconds")


def pause(name: Name, address: Address = None) -> None:
    """Have a run give back all its workers: what they paint is stored within workers.grace. The run stays,
    and goes on when it is resumed.

    Exit status: 0 it is asked, 2 there is no such run, 3 cluster or storage cannot be reached.
    """
    _ask(name, address, "stylefarm run --hold begins one that is paused", paused=True)
    tell("the run is asked to pause; it follows within seconds")


def resume(name: Name, address: Address = None) -> None:
    """Have a run that was paused go on, where it was.

    Exit status: 0 it is asked, 2 there is no such run, 3 cluster or storage cannot be reached.
    """
    from cluster.events.progress import wishes_text

    wishes = _ask(name, address, "stylefarm run or submit begins one", paused=False)
    tell(f"the run is asked to {wishes_text(wishes)}; it follows within seconds")


def _ask(name: str, address: str | None, instead: str, **changes: object) -> Wishes:
    """Ask a run of something, and return all that it is asked now.

    Args:
        name: The job, or its submission.
        address: The cluster's dashboard; None: that of the environment.
        instead: What can be done where there is no run.
        **changes: Fields of ``Wishes``.

    Raises:
        UsageError: No run works on the output.
    """
    from cluster.events.live import wish

    only_displays("the command")
    storage = _output_of(name, address)
    return wish(storage, _run_of(storage, instead), **changes)


def _output_of(name: str, address: str | None) -> Storage:
    from jobs.storage.open import open_storage

    target = find_target(name, address)
    if target.storage is not None:
        return target.storage
    assert target.submission is not None
    return open_storage(target.submission.output, target.submission.storage)


def _run_of(storage: Storage, instead: str) -> str:
    """Return the id of the run that works on an output. Raises UsageError."""
    from cluster.events.live import has_ended, read_live
    from jobs.errors import UsageError

    live = read_live(storage)
    if live is None or has_ended(storage, live):
        raise UsageError(f"no run is working on {storage.url}: {instead}")
    return live.run
