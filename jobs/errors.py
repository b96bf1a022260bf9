"""Every error that a user can meet, and the exit statuses.

::

    StylefarmError                      one sentence that says what to do
    ├── JobFileError           exit 2   the job file is wrong: every problem with file, line, field
    ├── UsageError             exit 2   the command line is wrong
    │   └── NoHomeError                 a path begins with ~, and there is no home folder
    ├── InputError                      a picture of one task cannot be used; others continue
    │   └── InputNotFoundError
    ├── StorageError           exit 3   the output (or an s3:// input) cannot be used
    │   ├── AddressError       exit 2   an address that means no storage was written
    │   ├── ObjectNotFoundError         no object under this key
    │   ├── StorageDeniedError          credentials are missing, wrong or not allowed
    │   ├── StorageFullError            no room left
    │   ├── StorageUnreachableError     no such bucket, host or endpoint, or it does not answer
    │   │   └── StorageFailingError     the server answers with errors of its own
    │   ├── LeaseHeldError              another driver works on this output
    │   └── LeaseLostError              another driver took this output over
    └── ClusterError           exit 3   Ray cannot be started or reached

Foreign exceptions (OSError, botocore, Ray, Pillow) are translated where they enter, so that no caller above
sees one. The painter has errors of its own, in ``stylize.errors``, because it does not know this package.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum


class ExitStatus(IntEnum):
    """How the command ends; the table in ``cluster/cli/README.md`` says what follows from each."""

    DONE = 0
    FAILED = 1
    """Some tasks failed, or the job's own limits ended the run."""
    USAGE = 2
    """The job file or the command line is wrong."""
    UNREACHABLE = 3
    """The storage or the cluster cannot be used."""
    INTERRUPTED = 130
    """Ctrl-C, or SIGTERM while a job renders; the same command resumes."""


def printable(text: str) -> str:
    """Return ``text`` on one line, without characters that a terminal, a log or JSON cannot show.

    Names of files can hold any character: white space becomes a space, other unprintable characters U+FFFD.
    """
    return "".join(c if c.isprintable() else " " if c.isspace() else "\ufffd" for c in text)


class StylefarmError(Exception):
    """Base of all errors that tell a user something, unlike a bug. ``str()`` is the sentence to show."""

    exit_status = ExitStatus.FAILED


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault of a job file: where it is, and what to do about it."""

    file: str
    """The job file or manifest, as the user named it."""
    line: int | None
    """Counted from 1; None: no line is known."""
    field: str
    """A path such as ``pairs[0].recipe.size``; empty: the file as a whole."""
    message: str
    """The rest of the sentence: "8 is below 32"."""

    def __str__(self) -> str:
        where = f"{self.field}: " if self.field else ""
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return printable(f"{place}: {where}{self.message}")


class JobFileError(StylefarmError):
    """The job file cannot be used. ``problems`` has every problem found, not only the first."""

    exit_status = ExitStatus.USAGE

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class UsageError(StylefarmError):
    """The command line asks for something impossible."""

    exit_status = ExitStatus.USAGE


class NoHomeError(UsageError):
    """A path begins with ``~`` or ``~user``, and there is no such home folder."""


class InputError(StylefarmError):
    """A picture cannot be read or used. Its task fails and is never retried."""


class InputNotFoundError(InputError):
    """There is no picture at this address."""


class StorageError(StylefarmError):
    """The storage cannot be used."""

    exit_status = ExitStatus.UNREACHABLE


class AddressError(StorageError):
    """An address means no storage at all: who wrote it must change it."""

    exit_status = ExitStatus.USAGE


class ObjectNotFoundError(StorageError):
    """There is no object under this key."""


class StorageDeniedError(StorageError):
    """The credentials are missing, wrong, expired, or do not allow this."""


class StorageFullError(StorageError):
    """There is no room left."""


class StorageUnreachableError(StorageError):
    """The bucket, host or endpoint does not exist or does not answer."""


class StorageFailingError(StorageUnreachableError):
    """The server answers with errors of its own, or closes connections: a retry may succeed."""


class LeaseHeldError(StorageError):
    """Another driver works on this output.

    Args:
        url: The output.
        use: A participle that names the driver: "being rendered by ada@host (process 7)".
        stale: Seconds after which its lease is free if nothing is heard of it.
    """

    def __init__(self, url: str, use: str, stale: float) -> None:
        super().__init__(
            f"{url} is {use}. An output takes one run at a time; wait for that one (run --wait forever), or "
            f"stop it: its lease is free {stale:.0f} s after its last sign of life."
        )
        self.use = use
        """A participle that names the driver."""


class LeaseLostError(StorageError):
    """Another driver has taken this output over; this one must not commit any more."""


class ClusterError(StylefarmError):
    """Ray cannot be started, reached, or has no machine that fits."""

    exit_status = ExitStatus.UNREACHABLE
