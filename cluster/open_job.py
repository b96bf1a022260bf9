"""``open_agenda``: a job with its pictures found and its weights identified."""

from __future__ import annotations

from jobs.errors import JobFileError
from jobs.jobfile.job import Job
from jobs.tasks.todo import Agenda
from stylize.errors import WeightsError
from stylize.network.weights import identify
from stylize.recipe import Recipe


def open_agenda(job: Job) -> Agenda:
    """Return the agenda of a job, with its pictures found, its manifests opened and its weights identified.

    Args:
        job: The job, as ``load_job`` returns it.

    Raises:
        JobFileError: A pattern matches nothing, a manifest cannot be read, or weights do not exist.
        StorageError: An ``s3://`` pattern cannot be listed, or a manifest cannot be copied.
    """

    def digest_of(recipe: Recipe) -> str:
        try:
            return identify(recipe, job.base).digest
        except WeightsError as error:
            raise JobFileError([job.problem(("recipe", "weights"), str(error))]) from error

    return Agenda(job, digest_of)
