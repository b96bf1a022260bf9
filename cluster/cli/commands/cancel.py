"""The command ``cancel``: end a run, by its cluster or through its output."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from cluster.cli.target import Address, Name, find_target
from cluster.cli.terminal import tell
from cluster.display.standard import only_displays
from jobs.errors import ExitStatus

if TYPE_CHECKING:
    from cluster.submit.jobs_api import Head
    from cluster.submit.submission import Submission
    from jobs.storage.base import Storage

POLL_SECONDS = 1.0
"""Seconds between two checks of a run that ends."""

BEGIN_SECONDS = 60.0
"""Seconds that a run may take from Ray's state "running" to its first sign in the output."""


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command(
        epilog="Examples:  stylefarm cancel stylefarm-harbour-1a2b3c4d  |  stylefarm cancel job.yaml --now"
    )(cancel)


def cancel(
    name: Name,
    address: Address = None,
    now: Annotated[
        bool,
        typer.Option(
            "--now",
            help="Have the cluster stop running tasks, too: they store checkpoints and are resumed later.",
        ),
    ] = False,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="Return at once; the run ends by itself.")
    ] = False,
) -> None:
    """End a job: running tasks are finished and committed, and no new ones begin. Submit it again to resume.

    Exit status: 0 it has ended (or will), 2 there is no such job, 3 cluster or storage cannot be reached.
    """
    from jobs.errors import UsageError

    only_displays("cancel")
    target = find_target(name, address)
    if target.submission is not None:
        assert target.head is not None
        cancel_submission(target.head, target.submission, target.storage, now=now, no_wait=no_wait)
    elif now:
        raise UsageError(_why_not_now(target.storage))
    elif target.storage is not None:
        _cancel_run(name, target.storage, no_wait)


def cancel_submission(
    head: Head,
    submission: Submission,
    storage: Storage | None,
    *,
    now: bool,
    no_wait: bool,
    say: Callable[[str], None] = print,
) -> None:
    """End a submission: through its output, or by the cluster if ``now`` or if it has not begun.

    Args:
        head: The cluster's head.
        submission: The submission to end.
        storage: Its output; None opens the one that the submission names.
        now: Stop what is painting, too; it stores a checkpoint.
        no_wait: Return without waiting for the end.
        say: Takes the sentences that are the command's result.

    Raises:
        UsageError: The output shows no sign of the run, so it is not the same place as on the cluster.
        StorageError: The output cannot be used.
        ClusterError: The cluster cannot be reached.
        typer.Exit: Ctrl-C interrupted the wait for the end.
    """
    from cluster.events.live import ask_to_end, read_live, take_back
    from jobs.errors import StorageError
    from jobs.storage.open import open_storage

    if not submission.alive:
        say(f"{submission.id} has ended already: {submission.state}")
        return
    if now or submission.state == "pending":
        head.stop(submission.id)
        tell(
            f"{submission.id} is stopping: running tasks store checkpoints"
            if submission.state == "running"
            else f"{submission.id} had not started, and now will not"
        )
    else:
        try:
            storage = storage or open_storage(submission.output, submission.storage)
            _wait_for_begin(head, submission, storage)
            ask_to_end(storage, submission=submission.id)
        except StorageError as error:
            raise type(error)(
                f"{error} A run is asked to end through its output; with --now, the cluster stops it instead."
            ) from error
        tell(
            f"{submission.id} will end when its running tasks are committed; --now stops it at once, with "
            "checkpoints"
        )
    if no_wait:
        return

    def has_ended() -> bool:
        return not any(s.id == submission.id and s.alive for s in head.submissions())

    def painting() -> str:
        live = None
        with contextlib.suppress(StorageError):
            live = None if storage is None else read_live(storage)
        heard = live is not None and live.submission == submission.id and live.state == "stopping"
        return "finishing the running tasks" if heard else "waiting for the run to notice"

    _wait(has_ended, painting)
    with contextlib.suppress(StorageError):
        if storage is not None and not now:
            take_back(storage)
    say(f"{submission.id} has ended; submit it again to resume")


def _wait_for_begin(head: Head, submission: Submission, storage: Storage) -> None:
    """Wait for a sign of the run in the output. Raises UsageError when none comes.

    The output is then another place here than on the cluster, and a request in it would not be read.
    """
    from jobs.errors import UsageError
    from jobs.storage import keys

    until = time.monotonic() + BEGIN_SECONDS
    while storage.stat(keys.LEASE) is None and head.find(submission.id).alive:
        if time.monotonic() > until:
            raise UsageError(
                f"{storage.url} shows no sign of the run, so it is not the same place here as on the "
                "cluster; with --now, the cluster stops it"
            )
        time.sleep(POLL_SECONDS)


def _why_not_now(storage: Storage | None) -> str:
    """Return why a run that no known cluster runs is not stopped at once, and how it can be."""
    from cluster.events.live import read_live
    from jobs.errors import StorageError

    live = None
    with contextlib.suppress(StorageError):
        live = None if storage is None else read_live(storage)
    if live is not None and live.submission is not None and live.state != "ended":
        return f"--now needs the cluster that runs {live.submission}: give its dashboard with --address"
    return (
        "--now needs a cluster: a run without one is stopped by Ctrl-C or SIGTERM where it runs, or by "
        "cancel without --now"
    )


def _cancel_run(name: str, storage: Storage, no_wait: bool) -> None:
    """End whatever run works on an output, submitted or not."""
    from cluster.events.live import ask_to_end, has_ended, read_live

    live = read_live(storage)
    if live is None or has_ended(storage, live):
        print(f"no run is working on {storage.url}")
        return
    run = live.run
    ask_to_end(storage, run=run)
    tell("the run will end when its running tasks are committed")
    if no_wait:
        return

    def is_over() -> bool:
        current = read_live(storage)
        return current is None or current.run != run or has_ended(storage, current)

    _wait(is_over, lambda: "finishing the running tasks")
    print(f"the run has ended; run or submit {name} again to resume")


def _wait(has_ended: Callable[[], bool], activity: Callable[[], str]) -> None:
    """Wait for the end, and show meanwhile what the run does."""
    try:
        with Console(stderr=True).status(activity()) as shown:
            while not has_ended():
                time.sleep(POLL_SECONDS)
                shown.update(activity())
    except KeyboardInterrupt:
        tell("no longer waiting; the run still ends by itself")
        raise typer.Exit(ExitStatus.INTERRUPTED) from None
