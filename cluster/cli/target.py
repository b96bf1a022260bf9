"""Which job, submission or output a name on the command line means."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cluster.cli.terminal import tell

if TYPE_CHECKING:
    from cluster.submit.jobs_api import Head
    from cluster.submit.submission import Submission
    from jobs.jobfile.job import Job
    from jobs.storage.base import Storage

Name = Annotated[
    str,
    typer.Argument(metavar="ID_OR_JOB", help="The id that submit printed, or the job file."),
]
Address = Annotated[
    str | None,
    typer.Option(
        help="The cluster's dashboard, e.g. http://head:8265. Default: RAY_API_SERVER_ADDRESS, or "
        "RAY_ADDRESS where that is http.",
    ),
]


class Target:
    """What a name on the command line means."""

    def __init__(self) -> None:
        self.job: Job | None = None
        """The job; None where the name is an id."""
        self.storage: Storage | None = None
        """The job's output; None where the name is an id."""
        self.head: Head | None = None
        """The cluster's head; None where no address is known, or the cluster cannot be reached."""
        self.submission: Submission | None = None
        """The submission; None where no cluster that can be reached knows one."""
        self.problem_status = 0
        """The exit status where the cluster cannot be reached and the output is read instead; else 0."""


def find_target(name: str, address: str | None) -> Target:
    """Return the submission, or the job and its output, that a name means. A job file needs no cluster.

    Args:
        name: An id or the path of a job file.
        address: The value of ``--address``; None looks in the environment.

    Raises:
        UsageError: No such job or submission.
        ClusterError: The name is a submission's and its cluster cannot be reached.
    """
    from cluster.submit.submission import find_address, id_of
    from jobs.errors import ClusterError, UsageError
    from jobs.jobfile.job import open_output
    from jobs.jobfile.load import load_job
    from jobs.proofs.find_job import is_job_file

    target = Target()
    if not is_job_file(name):
        target.head, target.submission = submission_named(name, address)
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
            tell(
                f"the cluster at {where} knows no submission of this job; reading its output instead"
            )
        except ClusterError as error:
            sentence = str(error)
            stop = "" if sentence.endswith((".", "?", "!")) else "."
            tell(f"{sentence}{stop} Reading its output instead.")
            target.problem_status = error.exit_status
    return target


def submission_named(name: str, address: str | None) -> tuple[Head, Submission]:
    """Return the cluster's head and the submission that an id or a job file means. Raises UsageError."""
    from cluster.submit.jobs_api import Head
    from cluster.submit.submission import id_of
    from jobs.errors import UsageError
    from jobs.jobfile.load import load_job
    from jobs.proofs.find_job import is_job_file

    if is_job_file(name):
        wanted = id_of(load_job(name))
    elif not name or "/" in name or Path(name).is_dir():  # no id has a slash
        raise UsageError(
            f"{name or 'an empty text'} is neither a job file nor the id that submit printed; an output is "
            "summed up by stylefarm report"
        )
    else:
        wanted = name
    head = Head(address_of(address))
    return head, head.find(wanted)


def address_of(given: str | None) -> str:
    """Return the dashboard's address, from the option or the environment. Raises UsageError."""
    from cluster.submit.submission import find_address
    from jobs.errors import UsageError

    url = find_address(given)
    if url is None:
        raise UsageError(
            "say where the cluster is: --address http://head:8265, or set RAY_API_SERVER_ADDRESS"
        )
    return url
