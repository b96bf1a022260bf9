"""Options that several commands share, each declared once."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import typer

P = TypeVar("P", Path, Path | None, list[Path], list[Path] | None)


def path_here(given: P) -> P:
    """Return a path of this machine, or several, in which a leading ``~`` or ``~user/`` is a home folder.

    A shell leaves the ``~`` of ``--state=~/x``, and every one where there is no home folder.

    Raises:
        UsageError: It is an address, or a path of another system: a folder of that odd name would be made.
    """
    if isinstance(given, list):
        return [path_here(path) for path in given]
    if given is None:
        return given
    from jobs.errors import UsageError
    from jobs.home import expand_home
    from jobs.storage.addresses import fault_of

    text = str(given)
    if re.match("[A-Za-z][A-Za-z0-9+.-]+:/", text):  # of "s3://b" Path keeps one slash
        address = text.replace(":/", "://", 1)
        raise UsageError(f"{address} is an address, and a path of this machine is needed here")
    if fault := fault_of(text):
        raise UsageError(f"{text} {fault}")
    of_user = text.startswith("~") and len(given.parts) > 1 and not given.exists()
    return expand_home(text) if given.parts[:1] == ("~",) or of_user else given


JobPath = Annotated[
    Path, typer.Argument(metavar="JOB", help="The job file (YAML).", callback=path_here)
]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print JSON on stdout, and nothing else there.")
]
ProofSize = Annotated[
    int | None,
    typer.Option(
        min=32,
        help="Longest side of a proof, in pixels; proofs of another size are rendered again. Default: that "
        "of the existing proofs, or 256.",
        show_default=False,
    ),
]
RayAddress = Annotated[
    str | None,
    typer.Option(
        "--address", help="A Ray cluster to use, e.g. auto or 10.0.0.1:6379. Default: this machine."
    ),
]
EndpointUrl = Annotated[
    str | None, typer.Option(help="The S3 endpoint, when OUTPUT is s3:// and not on AWS.")
]
Pool = Annotated[
    Literal["ray", "inline"],
    typer.Option(help="ray: one process per worker; inline: one worker in this process."),
]
Workers = Annotated[
    int | None, typer.Option(min=1, help="Maximum number of workers; overrides workers.max.")
]
IfChanged = Annotated[
    bool,
    typer.Option(
        "--if-changed",
        help="Also render again where an input picture has changed since.",
    ),
]
At = Annotated[
    str | None,
    typer.Option(
        metavar="DATE",
        help="Value of {date} and {time} in output, e.g. 2026-11-25 or 2026-11-25T02:00. Default: now.",
    ),
]
Wait = Annotated[
    str,
    typer.Option(
        metavar="DURATION",
        help="How long to wait if another run has the output, e.g. 30m, or forever. Default: not at all.",
        show_default=False,
    ),
]
Limit = Annotated[int | None, typer.Option(min=1, help="Render at most this many tasks.")]
RetryFailed = Annotated[
    bool, typer.Option("--retry-failed", help="Also render tasks that failed earlier.")
]
Events = Annotated[bool, typer.Option("--json", help="Print one JSON line per event on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]
Pictures = Annotated[
    Literal["auto", "off", "kitty", "iterm2", "sixel"],
    typer.Option(
        help="How to show the newest picture above the bar: by the protocol that the terminal has, none, or "
        "this one."
    ),
]
Proof = Annotated[
    bool, typer.Option("--proof", help="Render every picture small, into proofs/, to choose from.")
]
Select = Annotated[
    str | None,
    typer.Option(
        metavar="IDS|FILE|all",
        help="Render only these tasks: ids, a file of ids, or all whose proof is done.",
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Render everything again.")]
Verify = Annotated[
    bool,
    typer.Option(
        "--verify",
        help="Read finished pictures first, and render missing or damaged ones again.",
    ),
]


def patience_of(text: str) -> float | None:
    """Return the value of ``--wait`` in seconds; None: forever.

    Raises:
        UsageError: It is no duration.
    """
    from pydantic import TypeAdapter, ValidationError

    from jobs.errors import UsageError
    from jobs.spec.values import Duration

    if text == "forever":
        return None
    try:
        # Plain digits are seconds, as in a job file.
        return TypeAdapter(Duration).validate_python(float(text) if text.isdecimal() else text)
    except ValidationError:
        raise UsageError(
            f"--wait {text} is no duration: give seconds, a number with s, m, h or d, such as 30m, or forever"
        ) from None


def check_proof_options(proof: bool, size: int | None, select: str | None) -> None:
    """Raise where ``--proof``, ``--proof-size`` and ``--select`` do not go together.

    Args:
        proof: Whether ``--proof`` is given.
        size: The value of ``--proof-size``, in pixels; None: not given.
        select: The value of ``--select``; None: not given.

    Raises:
        UsageError: They do not go together.
    """
    from jobs.errors import UsageError

    if size is not None and not proof:
        raise UsageError("--proof-size needs --proof")
    if proof and select is not None:
        raise UsageError(
            "--proof renders all proofs, and --select only what was chosen: give one of them"
        )


def _priority(given: str | None) -> str | None:
    from jobs.spec.sharing import priority_of

    if given is not None:
        try:
            priority_of(given)
        except ValueError:
            raise typer.BadParameter(
                f"{given} is not low, normal, high, urgent, or a number from 0 to 100"
            ) from None
    return given


JobPriority = Annotated[
    str | None,
    typer.Option(
        "--priority",
        metavar="low|normal|high|urgent|0-100",
        help="Which of several jobs on one cluster is served first; overrides the job's priority.",
        callback=_priority,
        show_default=False,
    ),
]


After = Annotated[
    str | None,
    typer.Option(
        "--after",
        metavar="OTHER",
        help="Begin when this other job has ended well: its job file, its output, or with submit its id.",
        show_default=False,
    ),
]


Hold = Annotated[
    bool,
    typer.Option(
        "--hold",
        help="Begin paused, with no worker, until stylefarm resume JOB. The job is read meanwhile.",
    ),
]


def check_pool_options(pool: str, address: str | None, workers: int | None) -> None:
    """Raise where ``--address`` or ``--workers`` would have no effect, as with ``--pool inline``.

    Args:
        pool: The value of ``--pool``.
        address: The value of ``--address``; None: not given.
        workers: The value of ``--workers``; None: not given.

    Raises:
        UsageError: They do not go together.
    """
    from jobs.errors import UsageError

    if pool != "inline":
        return
    if address is not None:
        raise UsageError(
            f"--pool inline renders in the process of the run, so --address {address} would have no effect: "
            "give one of them"
        )
    if workers is not None and workers > 1:
        raise UsageError(
            f"--pool inline has one worker, so --workers {workers} would have no effect: give one of them"
        )
