"""``open_agenda``: a job with its pictures found and its weights identified."""

from __future__ import annotations

from jobs.errors import JobFileError, StorageError
from jobs.jobfile.job import Job
from jobs.storage.authorities import check_ca_bundle
from jobs.storage.base import resolve_options
from jobs.tasks.films.survey import Watch, unwatched
from jobs.tasks.todo import Agenda
from stylize.errors import WeightsError
from stylize.network.weights import identify
from stylize.recipe import Recipe


def open_agenda(job: Job, watch: Watch = unwatched) -> Agenda:
    """Return the agenda of a job, with its pictures found, its manifests opened and its weights identified.

    Args:
        job: The job, as ``load_job`` returns it.
        watch: Is told how far films are looked at for cuts; what it raises goes on from here.

    Raises:
        JobFileError: A pattern matches nothing, a manifest or ``storage.ca_bundle`` cannot be read, or
            weights do not exist.
        StorageError: An ``s3://`` pattern cannot be listed, or a manifest cannot be copied.
    """

    def digest_of(recipe: Recipe) -> str:
        try:
            return identify(recipe, job.base).digest
        except WeightsError as error:
            raise JobFileError([job.problem(("recipe", "weights"), str(error))]) from error

    options = resolve_options(job.spec.storage, job.base)
    if options.ca_bundle is not None:
        try:
            check_ca_bundle(options.ca_bundle)
        except StorageError as error:
            what = str(error).removeprefix("storage.ca_bundle: ")
            raise JobFileError([job.problem(("storage", "ca_bundle"), what)]) from error
    return Agenda(job, digest_of, watch)
