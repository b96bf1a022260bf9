"""The command ``stylefarm``. Heavy imports stay inside the commands, so ``--help`` is quick."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from cluster.cli.commands import adjust, cancel, floor, local, render, schedule, serve, submitted
from cluster.cli.terminal import IMPATIENT_SECONDS, set_up_logging, tell
from cluster.display.standard import Standard, guarded
from cluster.signals import Terminated, die_of, ended_by_termination
from jobs.errors import ExitStatus

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
    """Render pictures in the style of paintings, by the thousand, on every GPU of a machine or a cluster."""
    set_up_logging(False)


ORDER = [
    "init",
    "plan",
    "run",
    "promote",
    "report",
    "schema",
    "doctor",
    "submit",
    "list",
    "status",
    "logs",
    "set",
    "pause",
    "resume",
    "cancel",
    "floor",
    "serve",
    "schedule",
]
"""The commands in the order in which a new user needs them, and ``--help`` lists them."""

for group in (local, render, submitted, adjust, cancel, floor, serve, schedule):
    group.add_to(app)
app.registered_commands.sort(
    key=lambda command: ORDER.index(command.name or str(getattr(command.callback, "__name__", "")))
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the console script: every error of ours becomes its sentence and its exit status.

    Args:
        arguments: The words after ``stylefarm``; None: those of this process.
    """
    signal_number = 0
    with guarded() as standard:
        try:
            with ended_by_termination():
                status = _end(standard, _main(arguments))
        except Terminated as ended:
            signal_number = ended.number
            standard.finish(IMPATIENT_SECONDS)
    if signal_number:
        die_of(signal_number)
    # Else Python, as it ends, looks for garbage among all that was imported, for up to a second.
    gc.freeze()
    sys.exit(status)


def _end(standard: Standard, status: int) -> int:
    """Wait for who reads what a command has written, and return its exit status."""
    out = standard.out
    if standard.only_displays:
        # A signal ends the wait, and nothing else: the work is done.
        with contextlib.suppress(KeyboardInterrupt, Terminated):
            standard.tell_losses()
        return status
    try:
        standard.finish(IMPATIENT_SECONDS if status == ExitStatus.INTERRUPTED else None)
        if out.problem is not None and status == ExitStatus.DONE:
            # What the command is for has not arrived.
            status = ExitStatus.FAILED
            if not out.reader_gone:
                tell(f"standard output could not be written: {out.problem}")
                standard.finish(None)
    except KeyboardInterrupt:
        return ExitStatus.INTERRUPTED
    return status


def _has_folder() -> bool:
    """Return whether the current folder exists."""
    try:
        os.getcwd()  # noqa: PTH109 - as Path.cwd, but for the name
    except FileNotFoundError:
        return False
    return True


def _main(arguments: Sequence[str] | None) -> int:
    try:
        from jobs.errors import StylefarmError
        from stylize.errors import StylizeError
    except KeyboardInterrupt:
        tell("stopped before anything had started")
        return ExitStatus.INTERRUPTED
    try:
        app(args=list(arguments) if arguments is not None else None, prog_name="stylefarm")
    except Terminated:
        raise
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else ExitStatus.DONE
    except StylefarmError as error:
        tell(str(error))
        return error.exit_status
    except FileNotFoundError:
        if _has_folder():
            raise
        tell("the folder in which this command was started is gone: change to one that exists")
        return ExitStatus.USAGE
    except StylizeError as error:  # weights that the recipe names and that cannot be found
        tell(str(error))
        return ExitStatus.USAGE
    return ExitStatus.DONE
