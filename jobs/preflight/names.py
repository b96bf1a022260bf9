"""``names_of``: the pictures of a job that are worth looking at, and where the job names each."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

from jobs.errors import JobFileError, Problem
from jobs.inputs.addresses import is_web
from jobs.inputs.reader import Inputs
from jobs.jobfile.yaml_source import FieldPath
from jobs.spec.pairs import PairSet
from jobs.tasks.films.film_set import FilmSet
from jobs.tasks.identity import Draft
from jobs.tasks.pairs import PictureSet
from jobs.tasks.row_account import RowDrafts
from jobs.tasks.todo import Agenda, FirstRows

MOST_NAMES = 10_000
"""Pictures that are looked at."""

SAMPLE_ROWS = 1000
"""Rows of a manifest whose pictures are looked at."""

SAMPLE_TASKS = 20_000
"""Tasks that are searched for those that need a missing picture."""

Place = Callable[[str], Problem]
"""Returns a problem where the job names a picture, from the rest of its sentence."""


@dataclass
class Names:
    """Pictures to look at, each once."""

    places: dict[str, Place] = field(default_factory=dict)
    """Where the job names them, by address."""
    masks: bool = False
    """Whether there are masks among them."""
    complete: bool = True
    """Whether these are all pictures of the job; False: others are on the web, or too many."""
    all_rows: bool = True
    """Whether the rows of manifests that are looked at are all."""
    all_tasks: bool = True
    """Whether the tasks that are looked at are all, but for rows that are not among ``SAMPLE_ROWS``."""

    def add(self, uri: str, place: Place) -> None:
        """Add a picture, unless it is known or there are too many."""
        if uri in self.places:
            return
        if is_web(uri) or len(self.places) >= MOST_NAMES:
            self.complete = False
            return
        self.places[uri] = place


def names_of(agenda: Agenda) -> Names:
    """Return the pictures of a job, those first that it names one by one.

    What a glob, folder or prefix has matched is there. On a disk, it may be a link to nothing.

    Args:
        agenda: The job's tasks. Its manifests are read for ``SAMPLE_ROWS`` rows each.
    """
    names = Names()
    job = agenda.job
    inputs = Inputs(job.base, job.spec.storage)
    sets = [
        (k, entry)
        for k, entry in enumerate(agenda.entries)
        if isinstance(entry, PictureSet | FilmSet)
    ]
    tasks = sum(len(pictures) for _, pictures in sets)
    for k, pictures in sets:
        known = {*pictures.contents, *(part.uri for mix in pictures.styles for part in mix)}
        for path, written in _written(k, job.spec.pairs[k]):
            is_init = path[2] == "init"  # a task has it as it is written
            uri = written if is_init else inputs.spelling(written)
            if uri in known or is_init:
                names.add(uri, partial(job.problem, path))
    for entry in sample_of(agenda).entries:
        if isinstance(entry, FirstRows):
            tasks += _add_rows(names, entry)
    for k, pictures in sets:
        # Every pair can have a mask of its own, so even listing their names is bounded.
        for path, mask in itertools.islice(pictures.masks(), MOST_NAMES):
            names.masks = True
            names.add(mask, partial(job.problem, path))
        styles = (part.uri for mix in pictures.styles for part in mix)
        contents = "film" if isinstance(pictures, FilmSet) else "content"
        for column, uris in ((contents, pictures.contents), ("style", styles)):
            place = partial(job.problem, ("pairs", k, column))
            for uri in uris:
                if not uri.startswith("s3://") and not is_web(uri):
                    names.add(uri, place)
    names.all_tasks = tasks <= SAMPLE_TASKS
    return names


def sample_of(agenda: Agenda) -> Agenda:
    """Return an agenda with the tasks that are looked at."""
    return agenda.sample(SAMPLE_ROWS, SAMPLE_TASKS)


def pictures_of(draft: Draft) -> Iterator[str]:
    """Yield the addresses of a task's pictures, masks included, each as often as it is named."""
    yield draft.content
    for part in draft.styles:
        yield part.uri
        if part.mask is not None:
            yield part.mask
    if draft.init is not None:
        yield draft.init


def _written(k: int, pair: PairSet) -> Iterator[tuple[FieldPath, str]]:
    """Yield the contents, styles and init of an entry as they are written, with their fields."""
    for n, pattern in enumerate(pair.content or ()):
        yield ("pairs", k, "content", n), pattern
    for n, style in enumerate(pair.style or ()):
        for pattern, _, _ in style.parts:
            yield ("pairs", k, "style", n), pattern
    if pair.init is not None:
        yield ("pairs", k, "init"), pair.init


def _add_rows(names: Names, entry: FirstRows) -> int:
    """Add the pictures of some rows of a manifest, and return the number of rows."""
    rows = 0
    try:
        for row in entry.rows():
            rows += 1
            if isinstance(row, RowDrafts) and row.file is not None:
                place = partial(Problem, row.file.at(row.place), None, "")
                for draft in row.drafts:
                    names.masks = names.masks or any(part.mask for part in draft.styles)
                    for uri in pictures_of(draft):
                        names.add(uri, place)
    except JobFileError:  # the file is damaged, which reading it to the end reports
        names.all_rows = False
    names.all_rows = names.all_rows and entry.whole and rows < entry.most
    names.complete = names.complete and names.all_rows
    return rows
