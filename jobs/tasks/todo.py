"""What of a job is to be done: its tasks less those that have a record."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from jobs.errors import JobFileError, Problem
from jobs.inputs.reader import Inputs
from jobs.jobfile.job import Job
from jobs.records.statuses import ABSENT, FAILED, Ledger
from jobs.task_ids import IdSet
from jobs.tasks.census import BadRows, Census, Counter
from jobs.tasks.identity import Draft
from jobs.tasks.manifest_rows import KNOB, ManifestSet, find_manifests
from jobs.tasks.pairs import PictureSet, look_up_pair
from jobs.tasks.task import Task, make_task
from stylize.recipe import Recipe

FIRST_CHUNK, LARGEST_CHUNK = 64, 4096
"""Tasks are looked up together, few at first so that the first is not kept waiting."""


View = Callable[[Draft], Draft | None]
"""What a run makes of a task: the task, another rendering of it, or, for those left out, None."""


class Agenda:
    """A job with its pictures looked up and its weights identified.

    ``digest_of`` says the digest of a recipe's weights and raises what it likes when they are not
    there. Raises JobFileError for patterns that match nothing and manifests that cannot be read,
    StorageError for s3:// patterns that cannot be listed.
    """

    def __init__(self, job: Job, digest_of: Callable[[Recipe], str]) -> None:
        self.job = job
        self._view: View | None = None
        self.digests: dict[tuple[str, str | None], str] = {}
        """Of all weights met so far, by ``weights`` and ``weights_input``."""
        self._find_digest = digest_of
        self._copies: TemporaryDirectory[str] | None = None
        inputs = Inputs(job.base, job.spec.storage)
        self.entries: list[PictureSet | ManifestSet] = []
        problems: list[Problem] = []
        for k, pair in enumerate(job.spec.pairs):
            try:
                if pair.manifest is None:
                    self.entries.append(look_up_pair(job, k, inputs))
                else:
                    self.entries.append(
                        find_manifests(job, k, inputs, self._digest_of, self._spool)
                    )
            except JobFileError as error:
                problems += error.problems
        if problems:
            raise JobFileError(problems)
        for entry in self.entries:
            for recipe in entry.recipes if isinstance(entry, PictureSet) else ():
                self._digest_of(recipe)

    def seen_as(self, view: View) -> Agenda:
        """The same pictures and manifests, looked up once, as another view of them has it. To be closed is
        the one that looked them up."""
        other = copy.copy(self)
        other._view = view
        return other

    @property
    def sets(self) -> Sequence[PictureSet]:
        """The entries of ``pairs`` that name pictures, looked up."""
        return [entry for entry in self.entries if isinstance(entry, PictureSet)]

    @property
    def unused_columns(self) -> tuple[str, ...]:
        """Of the manifests: what means nothing here, with a hint where it is named like a knob."""
        manifests = (entry for entry in self.entries if isinstance(entry, ManifestSet))
        columns = dict.fromkeys(column for entry in manifests for column in entry.unused)
        return tuple(
            f"{column} (did you mean {KNOB}{column}?)" if column in Recipe.model_fields else column
            for column in columns
        )

    def nothing_to_do(self) -> JobFileError:
        """What is said of a job whose manifests have no row that can be used."""
        k = next((k for k, pair in enumerate(self.job.spec.pairs) if pair.manifest), 0)
        message = "there is nothing to render: no row of any manifest can be used"
        return JobFileError([self.job.problem(("pairs", k, "manifest"), message)])

    def drafts(
        self, ledger: Ledger, bad: BadRows, retry_failed: bool = False
    ) -> Iterator[tuple[Draft, int]]:
        """Every task once, lazily, with what became of it (DONE, FAILED, or ABSENT for those to do)."""
        seen = IdSet()
        everything = self._everything(bad)
        size = FIRST_CHUNK
        while chunk := list(itertools.islice(everything, size)):
            size = min(2 * size, LARGEST_CHUNK)
            ids = np.fromiter((draft.number for draft in chunk), np.uint64, len(chunk))
            codes = ledger.codes(ids)
            if retry_failed:
                codes = np.where(codes == FAILED, ABSENT, codes)
            new = seen.add_new(ids)
            yield from itertools.compress(zip(chunk, codes.tolist(), strict=True), new.tolist())

    def _everything(self, bad: BadRows) -> Iterator[Draft]:
        if self._view is None:
            return self._written(bad)
        return (seen for seen in map(self._view, self._written(bad)) if seen is not None)

    def _written(self, bad: BadRows) -> Iterator[Draft]:
        for entry in self.entries:
            if isinstance(entry, PictureSet):
                yield from entry.drafts(self._digest_of)
                continue
            for found in entry.drafts():
                if isinstance(found, Problem):
                    bad.add(found, skipped=entry.skips)
                else:
                    yield found

    def first_pictures(self, most: int) -> Iterator[str]:
        """Pictures of the manifests' first rows, at most so many, each as often as it is named."""
        for entry in self.entries:
            if isinstance(entry, ManifestSet):
                for draft in itertools.islice(entry.drafts(), max(0, most)):
                    if isinstance(draft, Draft):
                        yield draft.content
                        yield from (part.uri for part in draft.styles)
                        yield from () if draft.init is None else (draft.init,)

    def make(self, draft: Draft) -> Task:
        """The task of a draft."""
        return make_task(draft, self.job.spec.image.name)

    def tasks(self) -> Iterator[Task]:
        """Every task once, lazily. Raises JobFileError in the end for rows that cannot be used."""
        return self.left(Ledger.of({}))

    def left(self, ledger: Ledger, *, retry_failed: bool = False) -> Iterator[Task]:
        """The tasks to do, given what has a record. Raises as ``tasks`` does."""
        bad = BadRows()
        for draft, code in self.drafts(ledger, bad, retry_failed):
            if code == ABSENT:
                yield self.make(draft)
        if bad.fatal:
            raise bad.error()

    def census(self, ledger: Ledger, *, retry_failed: bool = False) -> Census:
        """Count the tasks, in one pass. Raises as ``tasks`` does."""
        bad, counter = BadRows(), Counter()
        for draft, code in self.drafts(ledger, bad, retry_failed):
            counter.add(draft, code)
        if bad.fatal:
            raise bad.error()
        return counter.census(bad)

    def close(self) -> None:
        """Remove copies of manifests from S3."""
        if self._copies is not None:
            self._copies.cleanup()
            self._copies = None

    def _spool(self) -> Path:
        if self._copies is None:
            self._copies = TemporaryDirectory(prefix="stylefarm-manifests-")
        return Path(self._copies.name)

    def _digest_of(self, recipe: Recipe) -> str:
        key = (recipe.weights, recipe.weights_input)
        if key not in self.digests:
            self.digests[key] = self._find_digest(recipe)
        return self.digests[key]
