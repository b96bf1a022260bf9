"""The commands for jobs that a cluster renders while no terminal stays open: ``submit``, and what comes after
it. Heavy imports stay inside, as in ``cluster.cli.app``."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from cluster.cli.options import (
    AsJson,
    At,
    IfChanged,
    JobPath,
    Limit,
    Overwrite,
    Proof,
    ProofSize,
    RetryFailed,
    Select,
    Verify,
    Workers,
    check_proof_options,
)

if TYPE_CHECKING:
    from cluster.submit.jobs_api import Head
    from cluster.submit.status import Standing
    from cluster.submit.submission import Submission
    from jobs.jobfile.job import Job
    from jobs.storage.base import Storage

EXIT_INTERRUPTED = 130

SELECTION = "selection.txt"
"""What a submission's selection is called where the cluster unpacks it."""

CANCEL_LOOK_SECONDS = 1.0

BEGIN_SECONDS = 60.0
"""How long a run may take from when Ray calls it running to its first sign in the output."""

Name = Annotated[
    str,
    typer.Argument(metavar="ID_OR_JOB", help="What submit printed, or the job file itself."),
]
Address = Annotated[
    str | None,
    typer.Option(
        help="The cluster's dashboard, e.g. http://head:8265. Default: RAY_API_SERVER_ADDRESS, or "
        "RAY_ADDRESS where that is http.",
    ),
]


def add_to(app: typer.Typer) -> None:
    """Give the commands to the application."""
    app.command(
        epilog="Examples:  stylefarm submit job.yaml --address http://head:8265  |  "
        "stylefarm submit job.yaml --ship-inputs --follow  |  stylefarm submit job.yaml --proof  |  "
        "stylefarm submit job.yaml --select selection.txt"
    )(submit)
    app.command(
        "list",
        epilog="Examples:  stylefarm list --address http://head:8265  |  stylefarm list --json",
    )(list_)
    app.command(
        epilog="Examples:  stylefarm status stylefarm-harbour-1a2b3c4d  |  stylefarm status job.yaml --json"
    )(status)
    app.command(
        epilog="Examples:  stylefarm logs stylefarm-harbour-1a2b3c4d --follow  |  "
        "stylefarm logs job.yaml --json > events.jsonl"
    )(logs)
    app.command(
        epilog="Examples:  stylefarm cancel stylefarm-harbour-1a2b3c4d  |  stylefarm cancel job.yaml --now"
    )(cancel)


def submit(
    job: JobPath,
    address: Address = None,
    ship_inputs: Annotated[
        bool,
        typer.Option(
            "--ship-inputs",
            help="Send pictures, manifests and weights along that lie beside the job file; 100 MB at most.",
        ),
    ] = False,
    ship_package: Annotated[
        bool,
        typer.Option(
            "--ship-package",
            help="Send this stylefarm along, for a cluster that lacks it (what it depends on must be there).",
        ),
    ] = False,
    allow_local: Annotated[
        bool,
        typer.Option(
            "--allow-local",
            help="Run the job file where it is: the cluster sees its folder under the same path.",
        ),
    ] = False,
    workers: Workers = None,
    limit: Limit = None,
    proof: Proof = False,
    proof_size: ProofSize = None,
    select: Select = None,
    overwrite: Overwrite = False,
    retry_failed: RetryFailed = False,
    verify: Verify = False,
    if_changed: IfChanged = False,
    at: At = None,
    replace: Annotated[
        bool,
        typer.Option(
            "--replace",
            help="Stop the same job first, where it has not ended: it stores checkpoints, and goes on.",
        ),
    ] = False,
    follow: Annotated[
        bool,
        typer.Option("--follow", "-f", help="Show the run until it ends; Ctrl-C ends only that."),
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", help="JSON on stdout: the id, and with --follow one line for each event."
        ),
    ] = False,
) -> None:
    """Hand a job to a Ray cluster and return at once; prints its id, by which it is asked after.

    A job that is pending or running is not submitted twice. One that has ended, in whatever way, goes on
    where it was. Exit status: 0 submitted, or already there; 2 the job file or command line is wrong; 3 the
    cluster cannot be reached or lets nobody in; with --follow, that of the run.
    """
    from cluster.signals import let_through
    from cluster.submit.pack import pack
    from cluster.submit.submission import forerunners
    from jobs.errors import UsageError
    from jobs.jobfile import dated_output
    from jobs.jobfile.parse import read_job
    from jobs.proofs.proofs import proofs_of
    from jobs.proofs.selection import ALL, read_selection

    let_through()  # a clock may have started this
    moment = at or dated_output.now().isoformat(timespec="seconds")
    written = read_job(job)
    loaded = dated_output.dated_at(written, moment)
    check_proof_options(proof, proof_size, select)
    chosen = None if select is None else read_selection(select)
    if allow_local and ship_inputs:
        raise UsageError(
            "--allow-local runs the job file where it is, so nothing is sent: drop one of the two"
        )
    where = _address(address)
    parcel = pack(loaded, inputs=ship_inputs, package=ship_package, in_place=allow_local)

    from cluster.submit.hand_over import hand_over
    from cluster.submit.jobs_api import Head

    if chosen is not None:
        parcel.files[SELECTION] = "".join(f"{task_id}\n" for task_id in chosen).encode()
    head = Head(where)
    options = [
        *(() if workers is None else ("--workers", str(workers))),
        *(() if limit is None else ("--limit", str(limit))),
        *(("--proof",) if proof else ()),
        *(() if proof_size is None else ("--proof-size", str(proof_size))),
        *(() if select is None else ("--select", ALL if chosen is None else SELECTION)),
        *(("--overwrite",) if overwrite else ()),
        *(("--retry-failed",) if retry_failed else ()),
        *(("--verify",) if verify else ()),
        *(("--if-changed",) if if_changed else ()),
    ]
    # Wherever and whenever it begins there, it renders to the output of this moment.
    when = ("--at", moment) if dated_output.is_dated(written) else ()
    if parcel.size > 1_000_000:
        _tell(f"sending {len(parcel.files)} files, {parcel.size / 1e6:,.1f} MB ...")
    rendered = proofs_of(loaded) if proof else loaded
    asked = shlex.join(
        [
            *options,
            *(() if chosen is None else (hashlib.sha256(",".join(chosen).encode()).hexdigest(),)),
        ]
    )
    if replace:
        same = proofs_of(written) if proof else written
        for before in forerunners(same, head.submissions()):
            _cancel_submission(head, before, None, True, False, say=_tell)
    handed = hand_over(head, rendered, parcel, [*options, *when], asked)
    if not handed.same:
        raise UsageError(
            f"{handed.id} is there already and has not ended, but was submitted with other options: wait for "
            "it, cancel it, or submit with --replace"
        )
    print(json.dumps({"id": handed.id, "new": handed.new}) if as_json else handed.id, flush=True)
    if handed.new:
        _tell(f"submitted to {where}")
    else:
        _tell("it is there already and has not ended, so it was not submitted again")
    if follow:
        _tell("waiting until the cluster begins it ...")
        _follow(head, handed.id, Console(stderr=True), as_json)
    _tell(
        f"  see it:   stylefarm logs {handed.id} --follow\n"
        f"  ask:      stylefarm status {handed.id}\n"
        f"  end it:   stylefarm cancel {handed.id}"
    )


def list_(address: Address = None, as_json: AsJson = False) -> None:
    """List what was submitted to a cluster, the newest first."""
    from cluster.submit.jobs_api import Head
    from cluster.submit.status import of_all
    from cluster.submit.status_text import to_table

    head = Head(_address(address))
    rows = of_all(head, head.submissions())
    if as_json:
        print(json.dumps([row.to_json() for row in rows], ensure_ascii=False))
    elif rows:
        print(to_table(rows))
    else:
        print(f"nothing was submitted to {head.address}, or its head was started anew")


def status(name: Name, address: Address = None, as_json: AsJson = False) -> None:
    """Tell how a job stands: tasks done, failed and left, how fast it goes and when it ends.

    With the job file it is told from the output where no cluster is given, or where it is gone or has
    forgotten the job. Exit status: 0 all is well, 1 the job or some of its tasks failed, 2 there is no such
    job, 3 cluster or storage cannot be reached.
    """
    from cluster.submit.status import of_output, of_submission
    from cluster.submit.status_text import to_text
    from jobs.errors import UsageError

    target = _find(name, address)
    stands: Standing | None = None
    if target.submission is not None:
        assert target.head is not None
        stands = of_submission(target.head, target.submission, target.storage)
    elif target.job is not None and target.storage is not None:
        stands = of_output(target.job, target.storage)
    if stands is None:
        if target.problem_status:
            raise typer.Exit(target.problem_status)
        raise UsageError(f"nothing has been rendered by {name} yet")
    print(json.dumps(stands.to_json(), ensure_ascii=False) if as_json else to_text(stands))
    raise typer.Exit(target.problem_status or stands.exit_status)


def logs(
    name: Name,
    address: Address = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until it has ended.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show what a submitted job has said; with --json, one line for each event.

    Exit status: 0; 2 there is no such job; 3 the cluster cannot be reached; with --follow, that of the run.
    """
    from cluster.submit.log_view import LogView

    head, found = _submission(name, address)
    if follow:
        _follow(head, found.id, Console(), as_json)
    view = LogView(Console(), print if as_json else None)
    try:
        for line in head.log(found.id).splitlines():
            view(line)
    finally:
        view.close()


def cancel(
    name: Name,
    address: Address = None,
    now: Annotated[
        bool,
        typer.Option(
            "--now",
            help="Stop what is painting, too: it stores a checkpoint, from which it is gone on with.",
        ),
    ] = False,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="Return at once; it ends by itself.")
    ] = False,
) -> None:
    """End a job: what is painting is finished and committed, nothing new is begun. Submit it again to go on.

    Exit status: 0 it has ended (or will), 2 there is no such job, 3 cluster or storage cannot be reached.
    """
    from jobs.errors import UsageError

    target = _find(name, address)
    if target.submission is not None:
        assert target.head is not None
        _cancel_submission(target.head, target.submission, target.storage, now, no_wait)
    elif now:
        raise UsageError("--now needs the cluster that runs it: say where it is with --address")
    elif target.storage is not None:
        _cancel_run(name, target.storage, no_wait)


# --- who is meant ----------------------------------------------------------------------------------


class _Target:
    """What a name on the command line means."""

    def __init__(self) -> None:
        self.job: Job | None = None
        self.storage: Storage | None = None
        self.head: Head | None = None
        self.submission: Submission | None = None
        self.problem_status = 0
        """The exit status where the cluster could not be asked, and the output was instead."""


def _find(name: str, address: str | None) -> _Target:
    """The submission, or the job and its output, that a name means. A job file needs no cluster."""
    from cluster.submit.submission import find_address, id_of
    from jobs.errors import ClusterError, UsageError
    from jobs.jobfile.job import open_output
    from jobs.jobfile.load import load_job

    target = _Target()
    if not _is_job_file(name):
        target.head, target.submission = _submission(name, address)
        return target
    target.job = load_job(name)
    target.storage = open_output(target.job)
    where = find_address(address)
    if where is not None:
        from cluster.submit.jobs_api import Head

        try:
            target.head = Head(where)
            target.submission = target.head.find(id_of(target.job))
        except UsageError:
            _tell(
                f"the cluster at {where} knows no submission of it; its output is looked at instead"
            )
        except ClusterError as error:
            _tell(f"{str(error).rstrip('.')}. Its output is looked at instead.")
            target.problem_status = error.exit_status
    return target


def _submission(name: str, address: str | None) -> tuple[Head, Submission]:
    from cluster.submit.jobs_api import Head
    from cluster.submit.submission import id_of
    from jobs.jobfile.load import load_job

    wanted = id_of(load_job(name)) if _is_job_file(name) else name
    head = Head(_address(address))
    return head, head.find(wanted)


def _is_job_file(name: str) -> bool:
    return Path(name).suffix in (".yaml", ".yml") or Path(name).is_file()


def _address(given: str | None) -> str:
    from cluster.submit.submission import find_address
    from jobs.errors import UsageError

    found = find_address(given)
    if found is None:
        raise UsageError(
            "say where the cluster is: --address http://head:8265, or set RAY_API_SERVER_ADDRESS"
        )
    return found


# --- following and ending --------------------------------------------------------------------------


def _follow(head: Head, submission: str, console: Console, as_json: bool = False) -> None:
    """Show a run until it ends, and end with its status."""
    from cluster.submit.log_view import LogView
    from cluster.submit.status import NO_SUCH_COMMAND, why

    def print_line(line: str) -> None:
        print(line, flush=True)

    view = LogView(console, print_line if as_json else None)
    try:
        found = head.follow(submission, view)
    except KeyboardInterrupt:
        view.close()
        _tell(
            f"the job goes on; see it with stylefarm logs {submission} --follow, end it with "
            f"stylefarm cancel {submission}"
        )
        raise typer.Exit(EXIT_INTERRUPTED) from None
    finally:
        view.close()
    if found.state == "failed" and found.exit_code in (None, NO_SUCH_COMMAND):
        _tell(why(found, (), None))
    raise typer.Exit(found.exit_status)


def _cancel_submission(
    head: Head,
    found: Submission,
    storage: Storage | None,
    now: bool,
    no_wait: bool,
    say: Callable[[str], None] = print,
) -> None:
    from cluster.events.live import ask_to_end, read_live, take_back
    from jobs.errors import StorageError
    from jobs.storage.open import open_storage

    if not found.alive:
        say(f"{found.id} has ended already: {found.state}")
        return
    if now or found.state == "pending":
        head.stop(found.id)
        _tell(
            f"{found.id} stops: what is painting stores a checkpoint"
            if found.state == "running"
            else f"{found.id} had not begun, and will not"
        )
    else:
        try:
            storage = storage or open_storage(found.output, found.storage)
            _see_it_begin(head, found, storage)
            ask_to_end(storage, submission=found.id)
        except StorageError as error:
            raise type(error)(
                f"{error} It is by its output that a run is asked to end; --now has the cluster stop it."
            ) from error
        _tell(
            f"{found.id} ends as soon as what is painting is finished and committed; --now stops it at once, "
            "and keeps checkpoints"
        )
    if no_wait:
        return

    def has_ended() -> bool:
        return not any(s.id == found.id and s.alive for s in head.submissions())

    def painting() -> str:
        live = None
        with contextlib.suppress(StorageError):
            live = None if storage is None else read_live(storage)
        heard = live is not None and live.submission == found.id and live.state == "stopping"
        return "finishing what is painting" if heard else "waiting until the run hears it"

    _wait(has_ended, painting)
    with contextlib.suppress(StorageError):
        if storage is not None and not now:
            take_back(storage)
    say(f"{found.id} has ended; submit it again to go on")


def _see_it_begin(head: Head, found: Submission, storage: Storage) -> None:
    """Wait until there is a sign of a run in the output. Where there comes none, it is another place here
    than on the cluster, and asking there would be in vain."""
    from jobs.errors import UsageError
    from jobs.storage import keys

    until = time.monotonic() + BEGIN_SECONDS
    while storage.stat(keys.LEASE) is None and head.find(found.id).alive:
        if time.monotonic() > until:
            raise UsageError(
                f"{storage.url} shows no sign of the run, so it is not the same place here as on the "
                "cluster; --now has the cluster stop it"
            )
        time.sleep(CANCEL_LOOK_SECONDS)


def _cancel_run(name: str, storage: Storage, no_wait: bool) -> None:
    """End whatever run works on an output, submitted or not."""
    from cluster.events.live import QUIET_SECONDS, ask_to_end, read_live

    live = read_live(storage)
    if live is None or live.state == "ended" or time.time() - live.updated > QUIET_SECONDS:
        print(f"no run works on {storage.url}")
        return
    run = live.run
    ask_to_end(storage, run=run)
    _tell("the run ends as soon as what is painting is finished and committed")
    if no_wait:
        return

    def has_ended() -> bool:
        found = read_live(storage)
        if found is None or found.run != run or found.state == "ended":
            return True
        return time.time() - found.updated > QUIET_SECONDS

    _wait(has_ended, lambda: "finishing what is painting")
    print(f"the run has ended; {name} can be run or submitted again to go on")


def _wait(has_ended: Callable[[], bool], what: Callable[[], str]) -> None:
    """Until it has ended, with what goes on meanwhile."""
    try:
        with Console(stderr=True).status(what()) as shown:
            while not has_ended():
                time.sleep(CANCEL_LOOK_SECONDS)
                shown.update(what())
    except KeyboardInterrupt:
        _tell("it goes on ending")
        raise typer.Exit(EXIT_INTERRUPTED) from None


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
