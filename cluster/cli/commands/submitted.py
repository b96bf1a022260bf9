"""Commands for jobs that a cluster renders without a terminal: ``submit``, ``list``, ``status``, ``logs``.

Heavy imports stay inside, as in ``cluster.cli.app``.
"""

from __future__ import annotations

import hashlib
import json
import shlex
import time
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from cluster.cli.commands.cancel import cancel_submission
from cluster.cli.options import (
    After,
    AsJson,
    At,
    Hold,
    IfChanged,
    JobPath,
    JobPriority,
    Limit,
    Overwrite,
    Proof,
    ProofSize,
    RetryFailed,
    Select,
    Verify,
    Wait,
    Workers,
    check_proof_options,
    patience_of,
)
from cluster.cli.target import Address, Name, Target, address_of, find_target, submission_named
from cluster.cli.terminal import tell
from cluster.signals import ended_by_interrupt, let_through
from jobs.errors import ExitStatus

if TYPE_CHECKING:
    from cluster.submit.jobs_api import Head
    from cluster.submit.status import JobStatus

SELECTION = "selection.txt"
"""The name of a submission's selection in the folder that the cluster unpacks."""


WATCH_SECONDS = 2.0
"""Time between two looks with ``--watch``."""

POLL_SECONDS = 5.0
"""Time between two looks whether an earlier submission has ended."""


def add_to(app: typer.Typer) -> None:
    """Register these commands."""
    app.command(
        epilog="Examples:  stylefarm submit job.yaml --address http://head:8265  |  "
        "stylefarm submit job.yaml --ship-inputs --follow  |  stylefarm submit job.yaml --proof  |  "
        "stylefarm submit job.yaml --select selection.txt  |  "
        "stylefarm submit job.yaml --after stylefarm-harbour-1a2b3c4d"
    )(submit)
    app.command(
        "list",
        epilog="Examples:  stylefarm list --address http://head:8265  |  stylefarm list --json",
    )(list_)
    app.command(
        epilog="Examples:  stylefarm status stylefarm-harbour-1a2b3c4d  |  "
        "stylefarm status job.yaml --watch  |  stylefarm status job.yaml --json"
    )(status)
    app.command(
        epilog="Examples:  stylefarm logs stylefarm-harbour-1a2b3c4d --follow  |  "
        "stylefarm logs job.yaml --json > events.jsonl"
    )(logs)


@ended_by_interrupt()
def submit(
    job: JobPath,
    address: Address = None,
    ship_inputs: Annotated[
        bool,
        typer.Option(
            "--ship-inputs",
            help="Also send the pictures, masks, manifests and weights below the job file's folder; at most "
            "100 MB.",
        ),
    ] = False,
    ship_package: Annotated[
        bool,
        typer.Option(
            "--ship-package",
            help="Also send this stylefarm, for a cluster that has only its dependencies.",
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
    priority: JobPriority = None,
    limit: Limit = None,
    wait: Wait = "0",
    after: After = None,
    hold: Hold = False,
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
            help="Stop the same job first if it has not ended: it stores checkpoints, and is resumed.",
        ),
    ] = False,
    follow: Annotated[
        bool,
        typer.Option(
            "--follow", "-f", help="Show the run until it ends; Ctrl-C ends only the view."
        ),
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", help="Print JSON on stdout: the id, and with --follow one line per event."
        ),
    ] = False,
) -> None:
    """Submit a job to a Ray cluster and return at once. Prints its id, which status, logs and cancel take.

    A job that is pending or running is not submitted twice. One that has ended, in whatever way, is resumed.
    Exit status: 0 submitted, or already there; 2 the job file or command line is wrong; 3 the cluster cannot
    be reached or refuses the token; with --follow, that of the run.
    """
    from cluster.submit.pack import pack
    from cluster.submit.submission import forerunners
    from jobs.errors import UsageError
    from jobs.jobfile import dated_output
    from jobs.jobfile.parse import read_job
    from jobs.proofs.proofs import proofs_of
    from jobs.proofs.selection import ALL, read_selection

    let_through()  # the schedule's service may have started this process with signals held back
    moment = at or dated_output.now().isoformat(timespec="seconds")
    written = read_job(job)
    loaded = dated_output.dated_at(written, moment)
    patience = patience_of(wait)
    check_proof_options(proof, proof_size, select)
    chosen = None if select is None else read_selection(select)
    if allow_local and ship_inputs:
        raise UsageError(
            "--allow-local runs the job file where it is, so --ship-inputs has nothing to send: give "
            "one of them"
        )
    where = address_of(address)
    parcel = pack(loaded, inputs=ship_inputs, package=ship_package, in_place=allow_local)

    from cluster.submit.chain import follow_on
    from cluster.submit.hand_over import hand_over
    from cluster.submit.jobs_api import Head

    rendered = proofs_of(loaded) if proof else loaded
    head = Head(where)
    chained = None if after is None else follow_on(head, after, rendered)
    if chosen is not None:
        parcel.files[SELECTION] = "".join(f"{task_id}\n" for task_id in chosen).encode()
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
    # Whenever the run begins there, it renders to the output of this moment.
    when = ("--at", moment) if dated_output.is_dated(written) else ()
    # How long it waits, and before whom it is served, make it no other run, so these are not compared.
    waits = (
        *(("--wait", wait) if patience != 0 else ()),
        *(() if priority is None else ("--priority", priority)),
        *(() if chained is None else ("--after", chained.output)),
        *(("--hold",) if hold else ()),
    )
    if parcel.size > 1_000_000:
        tell(f"sending {len(parcel.files)} files, {parcel.size / 1e6:,.1f} MB ...")
    asked = shlex.join(
        [
            *options,
            *(() if chosen is None else (hashlib.sha256(",".join(chosen).encode()).hexdigest(),)),
        ]
    )
    if replace:
        same = proofs_of(written) if proof else written
        for before in forerunners(same, head.submissions()):
            cancel_submission(head, before, None, now=True, no_wait=False, say=tell)
    words, began = [*options, *waits, *when], time.monotonic()
    environment = {} if chained is None else chained.environment
    handed = hand_over(head, rendered, parcel, words, asked, environment)
    if not handed.same and patience != 0:
        tell(f"waiting for {handed.id}, which was submitted with other options and has not ended")
    while not handed.same and (patience is None or time.monotonic() - began < patience):
        time.sleep(POLL_SECONDS)
        # The files are packed anew only when there is room for the job.
        if not any(s.alive for s in head.submissions() if s.id == handed.id):
            handed = hand_over(head, rendered, parcel, words, asked, environment)
    if not handed.same:
        raise UsageError(
            f"{handed.id} is already submitted with other options and has not ended: wait for it, cancel it, "
            "or submit with --replace, or with --wait forever"
        )
    print(json.dumps({"id": handed.id, "new": handed.new}) if as_json else handed.id, flush=True)
    if handed.new:
        tell(f"submitted to {where}")
    else:
        tell("it is already submitted and has not ended, so it is not submitted again")
    if follow:
        tell("waiting for the cluster to start it ...")
        _follow(head, handed.id, Console(stderr=True), as_json)
    tell(
        f"  log:     stylefarm logs {handed.id} --follow\n"
        f"  status:  stylefarm status {handed.id}\n"
        f"  end it:  stylefarm cancel {handed.id}"
    )


def list_(address: Address = None, as_json: AsJson = False) -> None:
    """List the jobs that were submitted to a cluster, the newest first."""
    from cluster.submit.jobs_api import Head
    from cluster.submit.status import of_all
    from cluster.submit.status_text import to_table

    head = Head(address_of(address))
    rows = of_all(head, head.submissions())
    if as_json:
        print(json.dumps([row.to_json() for row in rows], ensure_ascii=False))
    elif rows:
        print(to_table(rows))
    else:
        print(f"nothing was submitted to {head.address}, or its head was restarted")


def status(
    name: Name,
    address: Address = None,
    watch: Annotated[
        bool,
        typer.Option(
            "--watch",
            help="Look again every two seconds until the run has ended; Ctrl-C ends the view.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show the status of a job: tasks done, failed and left, its speed, and the time that is left; after a
    run also its videos.

    With the job file, the status comes from the output if no cluster is given, or if the cluster is gone or
    does not know the job. Exit status: 0 all is well, 1 the job or a task or video of it failed, 2 there is
    no such job, 3 cluster or storage cannot be reached.
    """
    from cluster.submit.status_text import to_text
    from jobs.errors import UsageError

    if watch and as_json:
        raise UsageError("--watch shows text; give one of --watch and --json")
    target = find_target(name, address)
    job_status = _status_of(target)
    if job_status is None:
        if target.problem_status:
            raise typer.Exit(target.problem_status)
        raise UsageError(f"{name} has not rendered anything yet{_waiting_text(target)}")
    if watch:
        raise typer.Exit(_watch(target, job_status))
    print(json.dumps(job_status.to_json(), ensure_ascii=False) if as_json else to_text(job_status))
    raise typer.Exit(target.problem_status or job_status.exit_status)


def _waiting_text(target: Target) -> str:
    """Return the rest of the sentence about a job that was never run; empty: it cannot be told at once."""
    from cluster.submit.not_begun import tasks_waiting

    if target.job is None or (waiting := tasks_waiting(target.job)) is None:
        return ""
    return f": {waiting.text}; stylefarm run {target.job.file} begins"


def _status_of(target: Target) -> JobStatus | None:
    """Return the status of what a name means; None where nothing has been rendered yet."""
    from cluster.submit.status import of_job, of_submission

    if target.submission is not None:
        assert target.head is not None
        return of_submission(target.head, target.submission, target.storage, target.job)
    if target.job is not None:
        return of_job(target.job)
    return None


def _watch(target: Target, job_status: JobStatus) -> int:
    """Show a status again and again until the run has ended; return the run's exit status."""
    from rich.live import Live
    from rich.text import Text

    from cluster.submit.status import run_status
    from cluster.submit.status_text import to_text
    from jobs.errors import ClusterError, StorageError

    console = Console()
    try:
        with Live(Text(to_text(job_status)), console=console) as shown:
            while job_status.state in ("pending", "running"):
                time.sleep(WATCH_SECONDS)
                try:
                    if target.submission is not None:
                        assert target.head is not None
                        target.submission = target.head.find(target.submission.id)
                    job_status = _status_of(target) or job_status
                except (ClusterError, StorageError) as error:  # it may be back at the next look
                    shown.update(Text(f"{to_text(job_status)}\n  {error}"))
                else:
                    shown.update(Text(to_text(job_status)))
    except KeyboardInterrupt:
        return ExitStatus.INTERRUPTED
    finally:
        if not console.is_terminal:  # there the last look is not followed by a line's end
            print()
    if target.submission is not None:
        return target.submission.exit_status
    return run_status(job_status)


def logs(
    name: Name,
    address: Address = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Continue until the run has ended.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show the log of a submitted job; with --json, one line per event.

    Exit status: 0; 2 there is no such job; 3 the cluster cannot be reached; with --follow, that of the run.
    """
    from cluster.submit.log_view import LogView

    head, submission = submission_named(name, address)
    if follow:
        _follow(head, submission.id, Console(), as_json)
    view = LogView(Console(), print if as_json else None)
    try:
        for line in head.log(submission.id).splitlines():
            view(line)
    finally:
        view.close()


def _follow(head: Head, submission_id: str, console: Console, as_json: bool = False) -> None:
    """Show a run until it ends, and exit with its status."""
    from cluster.submit.log_view import LogView
    from cluster.submit.status import NO_SUCH_COMMAND, failure_reason

    def print_line(line: str) -> None:
        print(line, flush=True)

    view = LogView(console, print_line if as_json else None)
    try:
        submission = head.follow(submission_id, view)
    except KeyboardInterrupt:
        view.close()
        tell(
            f"the job continues; watch it with stylefarm logs {submission_id} --follow, end it with "
            f"stylefarm cancel {submission_id}"
        )
        raise typer.Exit(ExitStatus.INTERRUPTED) from None
    finally:
        view.close()
    if submission.state == "failed" and submission.exit_code in (None, NO_SUCH_COMMAND):
        tell(failure_reason(submission, (), None))
    raise typer.Exit(submission.exit_status)
