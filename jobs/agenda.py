"""What of a job is to be done: its tasks less those that have a record."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from jobs.inputs import Inputs
from jobs.load import Job
from jobs.tasks import PictureSet, Task, expand, look_up
from stylize.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Census:
    """A job's tasks by what became of them. The same pair twice counts once."""

    tasks: int
    done: int
    failed: int
    """Of earlier runs, and not to be tried again in this one."""
    work_left: int
    """In ``Recipe.work_at`` units."""

    @property
    def left(self) -> int:
        return self.tasks - self.done - self.failed


class Agenda:
    """A job with its pictures looked up and its weights identified.

    ``digest_of`` says the digest of a recipe's weights and raises what it likes when they are not
    there. Raises JobFileError for patterns that match nothing, StorageError for s3:// patterns that
    cannot be listed.
    """

    def __init__(self, job: Job, digest_of: Callable[[Recipe], str]) -> None:
        self.job = job
        self._sets = look_up(job, Inputs(job.base, job.spec.storage))
        self.digests = {
            (recipe.weights, recipe.weights_input): digest_of(recipe)
            for pictures in self._sets
            for recipe in pictures.recipes
        }

    @property
    def sets(self) -> Sequence[PictureSet]:
        """The entries of ``pairs``, looked up."""
        return self._sets

    def tasks(self) -> Iterator[Task]:
        """Every task once, lazily."""
        seen: set[int] = set()
        for task in expand(self._sets, self.job.spec.image.name, self._digest_of):
            number = int(task.id, 16)  # half the memory of the text
            if number not in seen:
                seen.add(number)
                yield task

    def left(
        self, statuses: Mapping[str, Literal["done", "failed"]], *, retry_failed: bool = False
    ) -> Iterator[Task]:
        """The tasks to do, given what has a record."""
        for task in self.tasks():
            status = statuses.get(task.id)
            if status is None or (status == "failed" and retry_failed):
                yield task

    def census(
        self, statuses: Mapping[str, Literal["done", "failed"]], *, retry_failed: bool = False
    ) -> Census:
        """Count the tasks, in one pass."""
        tasks = done = failed = work_left = 0
        for task in self.tasks():
            tasks += 1
            status = statuses.get(task.id)
            if status == "done":
                done += 1
            elif status == "failed" and not retry_failed:
                failed += 1
            else:
                work_left += task.recipe.total_work
        return Census(tasks, done, failed, work_left)

    def _digest_of(self, recipe: Recipe) -> str:
        return self.digests[recipe.weights, recipe.weights_input]
