"""``open_agenda``: a job with its pictures found and its weights identified.

``motion_problem``: whether the weights that find the motion of its films can be had.
"""

from __future__ import annotations

from collections.abc import Callable

from jobs.errors import JobFileError, Problem, StorageError
from jobs.jobfile.job import Job
from jobs.preflight.motion import entry_without_motion
from jobs.records.statuses import Ledger
from jobs.storage.authorities import check_ca_bundle
from jobs.storage.base import Storage, resolve_options
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


def motion_problem(
    agenda: Agenda, storage: Storage, ledger: Callable[[], Ledger], *, retry_failed: bool = False
) -> Problem | None:
    """Return that motion is to be found by RAFT, whose weights cannot be had here; None: all is well.

    They are downloaded once, if they are not there.

    Args:
        agenda: The tasks: all of the job's, or a view of them.
        storage: Their output.
        ledger: Returns the tasks that have a record; called only without weights.
        retry_failed: Whether failed tasks are to do.

    Raises:
        StorageError: The output or a frame cannot be looked at.
    """
    if all(film.flow.way != "raft" for film in agenda.films):
        return None
    from stylize.film.sources.raft import weights_file

    try:
        weights_file()
        return None
    except WeightsError as error:
        why = str(error)
    try:
        k = entry_without_motion(agenda, storage, ledger, retry_failed)
    except JobFileError:  # reading the job to its end reports it
        return None
    return None if k is None else agenda.job.problem(("pairs", k, "flow"), why)
