"""The tasks of a job that are to do: all of them except those with a record."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from jobs.errors import JobFileError, Problem
from jobs.id_sets import IdSet
from jobs.inputs.reader import Inputs
from jobs.jobfile.job import Job, open_output
from jobs.jobfile.own_pictures import OwnPictures
from jobs.records.statuses import ABSENT, FAILED, Ledger
from jobs.storage.scratch import scratch_folder
from jobs.tasks.census import Census, Counter
from jobs.tasks.films.film_set import FilmSet
from jobs.tasks.films.frames import Frames
from jobs.tasks.films.look_up import look_up_film, shots_from
from jobs.tasks.films.spots import Shots
from jobs.tasks.films.survey import (
    Survey,
    UnreadableFrames,
    Watch,
    unreadable_text,
    unwatched,
)
from jobs.tasks.identity import Draft
from jobs.tasks.manifest_rows import KNOB, ManifestSet, find_manifests
from jobs.tasks.pairs import PictureSet, look_up_pair
from jobs.tasks.row_account import BAD_ROWS_SHOWN, RowAccount, RowDrafts
from jobs.tasks.task import Task, make_task
from jobs.tasks.without_effect import knobs_without_effect
from stylize.errors import StylizeError
from stylize.recipe import Recipe

FIRST_CHUNK, LARGEST_CHUNK = 64, 4096
"""Tasks that are looked up in the ledger at once: few at first, so that the first task comes soon."""


SAMPLED_FILES = 10
"""Files of a manifest that a sample is taken from."""


@dataclass(frozen=True)
class FirstRows:
    """The first rows of one file of a manifest."""

    entry: ManifestSet
    """The manifest, with this file alone."""
    most: int
    """The largest number of rows."""
    whole: bool
    """Whether the manifest has no other files than those that are sampled."""

    @property
    def skips(self) -> bool:
        """Whether bad rows are left out."""
        return self.entry.skips

    @property
    def unused(self) -> Sequence[str]:
        """Columns that have no meaning."""
        return tuple(self.entry.unused)

    def rows(self, count: Callable[[int], None] | None = None) -> Iterator[RowDrafts | Problem]:
        """Yield as ``ManifestSet.rows``, and raise as it does."""
        return itertools.islice(self.entry.rows(count), self.most)


View = Callable[[Draft], Draft | None]
"""Maps a draft to itself, to another rendering of the same task, or to None: the run leaves it out."""


class Agenda:
    """A job with its pictures found, its manifests opened and its weights identified.

    Each pass over it yields every task of the job once. ``close`` removes its copies of manifests.

    Args:
        job: The job.
        digest_of: Returns the digest of a recipe's weights, called once per set of weights. It raises
            JobFileError when they do not exist.
        watch: Is told how far films are looked at for cuts, which may take minutes.

    Raises:
        JobFileError: Patterns match nothing or manifests cannot be read, with the problems of all entries; or
            weights do not exist.
        StorageError: An ``s3://`` pattern cannot be listed, or a manifest not be copied.
    """

    def __init__(
        self, job: Job, digest_of: Callable[[Recipe], str], watch: Watch = unwatched
    ) -> None:
        self.job = job
        self._watch = watch
        self._view: View | None = None
        self._most: int | None = None
        """The largest number of rows and pairs that are read; None: all."""
        self.digests: dict[tuple[str, str | None], str] = {}
        """Digests of the weights found so far, by the knobs ``weights`` and ``weights_input``."""
        self._find_digest = digest_of
        self._copies: TemporaryDirectory[str] | None = None
        inputs = Inputs(job.base, job.spec.storage, own=OwnPictures(job))
        self.entries: list[PictureSet | FilmSet | ManifestSet | FirstRows] = []
        problems: list[Problem] = []
        for k, pair in enumerate(job.spec.pairs):
            try:
                if pair.film is not None:
                    find = partial(self._shots, k, inputs)
                    self.entries.append(look_up_film(job, k, inputs, find))
                elif pair.manifest is None:
                    self.entries.append(look_up_pair(job, k, inputs))
                else:
                    self.entries.append(
                        find_manifests(job, k, inputs, self._digest_of, self._spool)
                    )
            except JobFileError as error:
                problems += error.problems
        if problems:
            raise JobFileError(problems)
        self.unread = inputs.unread
        """Pictures of formats that are not read, which patterns match and that are left out."""
        self.of_others = inputs.of_others
        """Pictures in outputs of other jobs that globs come upon, and that are left out, by output."""
        self.own_pictures = inputs.left_out
        """Pictures that patterns match and that are left out, because the job itself has made them."""
        self.unreadable: list[UnreadableFrames] = []
        """Frames that turned out to be unreadable while cuts were looked for; each film adds its own once."""
        self.without_effect = knobs_without_effect(job, self.sets)
        """What the job gives that changes none of its pictures."""
        for entry in self.entries:
            for recipe in entry.recipes if isinstance(entry, PictureSet | FilmSet) else ():
                self._digest_of(recipe)

    def seen_as(self, view: View) -> Agenda:
        """Return this agenda with its drafts mapped by ``view``. It shares the pictures and manifests found.

        Only the original agenda is to be closed.
        """
        other = copy.copy(self)
        other._view = view
        return other

    def sample(self, rows: int, most: int) -> Agenda:
        """Return this agenda with some of its tasks only; it is not to be closed.

        Args:
            rows: The largest number of rows of each manifest, the first ones of up to ``SAMPLED_FILES`` of
                its files.
            most: The largest number of rows and pairs in all.
        """
        other = copy.copy(self)
        other._most = most
        other.entries = []
        for entry in self.entries:
            if not isinstance(entry, ManifestSet):
                other.entries.append(entry)
                continue
            count = min(len(entry.files), SAMPLED_FILES)
            for n in range(count):
                file = entry.files[n * len(entry.files) // count]
                part = replace(entry, files=[file])
                other.entries.append(
                    FirstRows(part, max(1, rows // count), count == len(entry.files))
                )
        return other

    @property
    def sets(self) -> Sequence[PictureSet | FilmSet]:
        """The entries of ``pairs`` that name pictures or a film, with these found."""
        return [entry for entry in self.entries if isinstance(entry, PictureSet | FilmSet)]

    @property
    def films(self) -> Sequence[FilmSet]:
        """The entries of ``pairs`` that name a film, with its frames found."""
        return [entry for entry in self.entries if isinstance(entry, FilmSet)]

    def frames_of(self, film: FilmSet) -> Iterator[Draft]:
        """Yield the drafts of all frames of a film, whatever the view; raises as ``FilmSet.drafts``."""
        return film.drafts(self._digest_of)

    @property
    def unused_columns(self) -> tuple[str, ...]:
        """Columns of the manifests that have no meaning, with a hint where one is named like a knob."""
        manifests = (e for e in self.entries if isinstance(e, ManifestSet | FirstRows))
        columns = dict.fromkeys(column for entry in manifests for column in tuple(entry.unused))
        return tuple(
            f"{column} (did you mean {KNOB}{column}?)" if column in Recipe.model_fields else column
            for column in columns
        )

    def nothing_to_do(self, rows: RowAccount) -> JobFileError:
        """Return the error for a job whose manifests have no row that can be used.

        Args:
            rows: All rows, of which the error names the first.
        """
        k = next((k for k, pair in enumerate(self.job.spec.pairs) if pair.manifest), 0)
        message = "there is nothing to render: no row of any manifest can be used"
        if rows.bad > BAD_ROWS_SHOWN:
            message += f"; these are the first of {rows.bad:,}"
        problem = self.job.problem(("pairs", k, "manifest"), message)
        return JobFileError([*rows.problems[:BAD_ROWS_SHOWN], problem])

    def drafts(
        self, ledger: Ledger, rows: RowAccount, retry_failed: bool = False
    ) -> Iterator[tuple[Draft, int]]:
        """Yield every task once, lazily, with its status.

        Args:
            ledger: The tasks that have a record.
            rows: Counts the rows of manifests.
            retry_failed: Yield failed tasks as ABSENT.

        Yields:
            (draft, DONE, FAILED or ABSENT); ABSENT means that the task is to do.

        Raises:
            JobFileError: A manifest cannot be read.
            StorageError: An input cannot be reached.
        """
        seen = IdSet()
        for chunk in _chunks(self._everything(rows)):
            drafts = [draft for row in chunk for draft in row.drafts]
            ids = np.fromiter((draft.number for draft in drafts), np.uint64, len(drafts))
            codes = ledger.codes(ids)
            if retry_failed:
                codes = np.where(codes == FAILED, ABSENT, codes)
            # A sweep of a knob without effect is one picture, though each of its values has an id.
            effects = np.fromiter((draft.effect for draft in drafts), np.uint64, len(drafts))
            new = seen.add_new(effects)
            rows.take(chunk, effects, new)
            yield from itertools.compress(zip(drafts, codes.tolist(), strict=True), new.tolist())

    def _everything(self, rows: RowAccount) -> Iterator[RowDrafts]:
        view = self._view
        written = itertools.islice(self._written(rows), self._most)
        if view is None:
            return written
        return (
            row._replace(drafts=[d for d in map(view, row.drafts) if d is not None])
            for row in written
        )

    def _written(self, rows: RowAccount) -> Iterator[RowDrafts]:
        for entry in self.entries:
            if isinstance(entry, PictureSet | FilmSet):
                for draft in entry.drafts(self._digest_of):
                    yield RowDrafts((draft,))
                continue
            for row in entry.rows(rows.read):
                if isinstance(row, Problem):
                    rows.refuse(row, skipped=entry.skips)
                else:
                    yield row

    def make(self, draft: Draft) -> Task:
        """Return the task of a draft, with its picture's name."""
        return make_task(draft, self.job.spec.image.name)

    def tasks(self) -> Iterator[Task]:
        """Yield every task once, lazily. For scripts and tests; a run reads ``drafts`` in the background.

        Raises:
            JobFileError: A manifest cannot be read; or, after the last task, rows cannot be used.
            StorageError: An input cannot be reached.
        """
        return self.left(Ledger.of({}))

    def left(self, ledger: Ledger, *, retry_failed: bool = False) -> Iterator[Task]:
        """Yield the tasks that have no record yet. For scripts and tests; raises as ``tasks``."""
        rows = RowAccount()
        for draft, code in self.drafts(ledger, rows, retry_failed):
            if code == ABSENT:
                yield self.make(draft)
        if rows.fatal:
            raise rows.error()

    def census(self, ledger: Ledger, *, retry_failed: bool = False) -> Census:
        """Count the tasks, in one pass. Raises as ``tasks``."""
        rows, counter = RowAccount(), Counter()
        for draft, code in self.drafts(ledger, rows, retry_failed):
            counter.add(draft, code)
        if rows.fatal:
            raise rows.error()
        return counter.census(rows)

    def close(self) -> None:
        """Remove copies of manifests from S3."""
        if self._copies is not None:
            self._copies.cleanup()
            self._copies = None

    def _spool(self) -> Path:
        if self._copies is None:
            self._copies = scratch_folder("copies of manifests")
        return Path(self._copies.name)

    def _shots(self, k: int, inputs: Inputs, frames: Frames) -> Shots:
        """Return the shots of the film of entry ``k``, looked for in its frames."""
        try:
            found = Survey(inputs, open_output(self.job)).look(frames, self._watch)
        except StylizeError as error:
            raise JobFileError([self.job.problem(("pairs", k, "cuts"), str(error))]) from error
        if found.unreadable:
            film = self.job.spec.pairs[k].film or frames.name
            text = unreadable_text(film, frames.numbers, found)
            problem = self.job.problem(("pairs", k, "film"), text)
            self.unreadable.append(UnreadableFrames(len(found.unreadable), len(frames), problem))
        return shots_from(found.starts, len(frames))

    def _digest_of(self, recipe: Recipe) -> str:
        key = (recipe.weights, recipe.weights_input)
        if key not in self.digests:
            self.digests[key] = self._find_digest(recipe)
        return self.digests[key]


def _chunks(rows: Iterator[RowDrafts]) -> Iterator[list[RowDrafts]]:
    """Yield rows in chunks of so many drafts: few at first, then ``LARGEST_CHUNK``, or one row with more."""
    chunk: list[RowDrafts] = []
    drafts, size = 0, FIRST_CHUNK
    for row in rows:
        chunk.append(row)
        drafts += len(row.drafts) or 1
        if drafts >= size:
            yield chunk
            chunk, drafts, size = [], 0, min(2 * size, LARGEST_CHUNK)
    if chunk:
        yield chunk
