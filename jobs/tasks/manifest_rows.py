"""From rows of manifests to drafts of tasks, or to the problems in them.

A row names one pair: ``content`` and ``style``, each a path or URL taken literally. Optional columns are
``name`` (of the picture), ``init`` (the picture to start from) and knobs as ``recipe.<knob>``. A style can
also be written as in a job file, ``{"blend": ...}`` or ``{"picture": ..., "mask": ...}``; in a table as JSON.
"""

from __future__ import annotations

import contextlib
import difflib
import json
import re
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

from jobs.errors import InputError, JobFileError, Problem
from jobs.inputs.formats import check_format
from jobs.inputs.reader import Inputs
from jobs.jobfile.job import Job
from jobs.jobfile.messages import complaints
from jobs.jobfile.recipes import sweep_combinations
from jobs.jobfile.yaml_source import FieldPath, read_word
from jobs.manifests.folders import find_files
from jobs.manifests.manifest import Manifest
from jobs.manifests.row import BadRow, Row, is_empty
from jobs.spec.styles import StyleMix, StylePart, Styles
from jobs.spec.values import kinds_of, whole_if_asked
from jobs.storage.keys import safe_name
from jobs.tasks.identity import Draft, Kind
from jobs.tasks.pairs import OWN, for_content
from jobs.tasks.row_account import RowDrafts, RowNote
from stylize.recipe import Recipe, resolve

REQUIRED = ("content", "style")
PLAIN = (*REQUIRED, "name", "init")
RECIPE = "recipe"
KNOB = "recipe."

NAMELESS = "column without a name"
"""What a column is called whose name is empty."""

MOST_UNUSED = 50
"""Columns without a meaning that are remembered: lines of JSON may each have others."""

REMEMBERED = 1024
"""The most recent recipes, and styles, that are kept: manifests repeat them."""

_SAFE_NAME = re.compile(r"[A-Za-z0-9]{5,100}")
"""Names that certainly are those of files; of others ``safe_name`` knows more."""

T = TypeVar("T")

_STYLES: TypeAdapter[Any] = TypeAdapter(Styles)


class RowError(Exception):
    """A problem in one column of a row. ``str()`` is the rest of the sentence."""

    def __init__(self, column: str, reason: str) -> None:
        super().__init__(reason)
        self.column = column


@dataclass(frozen=True)
class ManifestSet:
    """One entry of ``pairs`` that is a manifest, with its files found and their headers read."""

    job: Job
    """The job that the entry belongs to."""
    path: FieldPath
    """The field in the job file that names the manifest."""
    files: Sequence[Manifest]
    """Its files, in the order of the job file's patterns."""
    unused: dict[str, None]
    """Columns that have no meaning. Lines of JSON may add to them while they are read."""
    skips: bool
    """Whether bad rows are left out; False: they end the run."""
    _reader: _RowReader

    def rows(self, count: Callable[[int], None] | None = None) -> Iterator[RowDrafts | Problem]:
        """Yield every row in order, lazily: its drafts, or what is wrong with it.

        Args:
            count: Is called with 1 for every row that its file has; None: nobody counts.

        Raises:
            JobFileError: A file cannot be read.
            StorageError: An input cannot be reached.
        """
        for file in self.files:
            try:
                for row in file.rows(self._reader.columns_of(file)):
                    if count is not None:
                        count(1)
                    yield self._of(file, row)
            except InputError as error:
                raise JobFileError([self.job.problem(self.path, str(error))]) from None

    def _of(self, file: Manifest, row: Row | BadRow) -> RowDrafts | Problem:
        if isinstance(row, BadRow):
            return Problem(file.at(row.place), None, "", row.reason)
        cells = row.cells
        if not self._reader.known.issuperset(cells):
            cells = self._reader.opened(cells)
            for column in cells.keys() - self._reader.known:
                if not _is_used(column) and len(self.unused) < MOST_UNUSED:
                    self.unused[column or NAMELESS] = None  # as the index that pandas writes
        try:
            drafts, notes = self._reader.drafts(cells)
        except RowError as error:
            return Problem(file.at(row.place), None, error.column, str(error))
        if row.guessed is not None:
            notes = (*notes, RowNote("encoding", "", row.guessed))
        return RowDrafts(drafts, file, row.place, notes)


def find_manifests(
    job: Job,
    k: int,
    inputs: Inputs,
    digest_of: Callable[[Recipe], str],
    folder: Callable[[], Path],
) -> ManifestSet:
    """Return entry number ``k`` of ``pairs``, a manifest, with its files found and their headers read.

    Args:
        job: The job.
        k: The entry's index.
        inputs: Finds and copies the files.
        digest_of: Returns the digest of a recipe's weights, or raises JobFileError.
        folder: Returns the folder for copies of ``s3://`` objects.

    Raises:
        JobFileError: Files are missing, damaged, of no known format, or lack columns.
        StorageError: A file cannot be reached.
    """

    entry = job.spec.pairs[k]
    problems: list[Problem] = []
    files: list[Manifest] = []
    unused: dict[str, None] = {}
    for n, pattern in enumerate(entry.manifest or ()):
        path: FieldPath = ("pairs", k, "manifest", n)
        try:
            found = find_files(inputs, pattern, inputs.unread.note)
            if not found:
                problems.append(job.problem(path, f"{pattern} matches no manifest"))
            for name, values in found:
                file = Manifest(name, inputs.local_copy(name, folder()), values)
                if len(found) > 1 and file.is_empty:
                    inputs.unread.note(name, "empty")
                    continue
                columns = file.columns()
                if columns is not None:
                    wrong = _wrong_columns(columns, entry.sweep)
                    problems += [job.problem(path, f"{name} {reason}") for reason in wrong]
                    # A mapping of knobs in the column recipe shows only when rows are read.
                    unused |= dict.fromkeys(c for c in columns if not _is_used(c) and c != RECIPE)
                files.append(file)
        except InputError as error:
            problems.append(job.problem(path, str(error)))
    if problems:
        raise JobFileError(problems)
    base = {**job.spec.recipe, **entry.recipe}
    reader = _RowReader(base, list(sweep_combinations(entry.sweep)), inputs, digest_of)
    place = ("pairs", k, "manifest")
    return ManifestSet(job, place, files, unused, entry.on_bad_row == "skip", reader)


def _is_used(column: str) -> bool:
    return column in PLAIN or column.startswith(KNOB)


def _wrong_columns(columns: Sequence[str], sweep: Mapping[str, Any]) -> Iterator[str]:
    for name in REQUIRED:
        if name not in columns:
            near = [c for c in difflib.get_close_matches(name, columns, n=1) if ";" not in c]
            hint = f"is {near[0]} meant? Then rename it" if near else _what_it_has(columns)
            yield f"has no column {name}; {hint}"
    for column in columns:
        if wrong := _wrong_knob(column, sweep):
            yield f"has a column {column}, which {wrong}"


def _what_it_has(columns: Sequence[str]) -> str:
    if not columns:
        return "it is empty"
    if len(columns) == 1 and ";" in columns[0]:
        return "its cells seem to be separated by ';': write ',', or tabs and name it .tsv"
    return f"it has {', '.join(columns) or 'none'}"


def _wrong_knob(column: str, sweep: Mapping[str, Any]) -> str | None:
    if not column.startswith(KNOB):
        return None
    knob = column.removeprefix(KNOB)
    if knob in sweep:
        return "is also swept; leave one out"
    if knob not in Recipe.model_fields:
        near = difflib.get_close_matches(knob, Recipe.model_fields, n=1)
        hint = f"; did you mean {KNOB}{near[0]}?" if near else ""
        return f"is not a knob of a recipe{hint}"
    return None


class _RowReader:
    """Turns the rows of one entry into drafts."""

    def __init__(
        self,
        base: Mapping[str, Any],
        sweep: Sequence[Mapping[str, Any]],
        inputs: Inputs,
        digest_of: Callable[[Recipe], str],
    ) -> None:
        self._base = base
        self._sweep = sweep
        self._swept = {knob for combination in sweep for knob in combination}
        self._inputs = inputs
        self._digest_of = digest_of
        self.known = frozenset((*PLAIN, *(KNOB + knob for knob in Recipe.model_fields)))
        """Columns that have a meaning."""
        self._kinds: _Recent[tuple[Kind, ...]] = _Recent()
        self._styles: _Recent[tuple[StyleMix, tuple[RowNote, ...]]] = _Recent()

    def columns_of(self, file: Manifest) -> Sequence[str] | None:
        """Return the columns of a file that have a meaning; None for lines of JSON."""
        columns = file.columns()
        return None if columns is None else [n for n in columns if _is_used(n) or n == RECIPE]

    def opened(self, cells: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the cells of a row with the knobs of a mapping ``recipe``, if it has one, as columns."""
        knobs = cells.get(RECIPE)
        if isinstance(knobs, str) and knobs.lstrip().startswith("{"):
            with contextlib.suppress(ValueError, RecursionError):
                knobs = json.loads(knobs)
        if not isinstance(knobs, Mapping):
            return cells
        others = {column: cell for column, cell in cells.items() if column != RECIPE}
        return {**{KNOB + k: v for k, v in knobs.items() if not is_empty(v)}, **others}

    def drafts(self, cells: Mapping[str, Any]) -> tuple[Sequence[Draft], tuple[RowNote, ...]]:
        """Return a row's drafts, one per combination of the sweep, and what is not used as it is written.

        Raises RowError.
        """
        for column in REQUIRED:
            if column not in cells:
                raise RowError(column, "is empty")
        notes: list[RowNote] = []
        content = self._source("content", cells["content"], notes)
        styles = self._style(cells["style"], notes)
        if any(part.mask is not None for part in styles):
            styles = for_content(styles, content)
        init = self._picture("init", cells["init"], notes) if "init" in cells else None
        name = _picture_name(cells["name"], notes) if "name" in cells else None
        drafts = [Draft(content, styles, init, kind, name) for kind in self._kinds_of(cells, init)]
        return drafts, tuple(notes)

    def _source(self, column: str, cell: object, notes: list[RowNote]) -> str:
        """Return a picture's address. Raises RowError, also for a picture that the job itself has made."""
        uri = self._picture(column, cell, notes)
        if uri in self._inputs.own:
            raise RowError(column, f"{uri} is one of the pictures {OWN}; use a copy")
        return uri

    def _picture(self, column: str, cell: object, notes: list[RowNote]) -> str:
        if not isinstance(cell, str):
            raise RowError(column, f"{cell!r} is not a path or URL")
        uri = cell.strip()
        if uri != cell:
            notes.append(_cut(column, cell))
        try:
            check_format(uri)
            return uri if uri.isalnum() or _is_plain(uri) else self._inputs.spelling(uri)
        except InputError as error:
            raise RowError(column, str(error)) from None

    def _style(self, cell: object, notes: list[RowNote]) -> StyleMix:
        key = cell if isinstance(cell, str) else json.dumps(cell, sort_keys=True, default=str)
        known = self._styles.get(key)
        if known is None:
            own: list[RowNote] = []
            known = self._styles.put(key, (self._read_style(cell, own), tuple(own)))
        notes += known[1]
        return known[0]

    def _read_style(self, cell: object, notes: list[RowNote]) -> StyleMix:
        if isinstance(cell, str) and cell.lstrip().startswith("{"):
            try:
                cell = json.loads(cell)
            except (ValueError, RecursionError):
                raise RowError("style", "begins with { but is not JSON") from None
        elif isinstance(cell, str) and cell.strip() != cell:
            notes.append(_cut("style", cell))
            cell = cell.strip()
        try:
            (written,) = _STYLES.validate_python([cell], strict=True)
        except ValidationError as error:
            field, message = next(complaints(error))
            inside = ".".join(str(part) for part in field[1:])
            raise RowError("style", f"{inside}: {message}" if inside else message) from None
        return tuple(
            StylePart(
                self._source("style", uri, notes),
                share,
                None if mask is None else self._picture("style", mask, notes),
            )
            for uri, share, mask in written.parts
        )

    def _kinds_of(self, cells: Mapping[str, Any], init: str | None) -> tuple[Kind, ...]:
        said = tuple((c, v) for c, v in cells.items() if c.startswith(KNOB))
        key = (init is not None, repr(said))
        known = self._kinds.get(key)
        if known is None:
            known = self._kinds.put(key, self._read_recipe(dict(said), init))
        return known

    def _read_recipe(self, said: Mapping[str, Any], init: str | None) -> tuple[Kind, ...]:
        patch = {}
        for column, cell in said.items():
            if wrong := _wrong_knob(column, dict.fromkeys(self._swept)):
                raise RowError(column, wrong)
            patch[column.removeprefix(KNOB)] = _value(column, cell)
        if init is not None and patch.get("init", "image") != "image":
            raise RowError("init", "is a picture, but recipe.init asks for another start")
        kinds = []
        start = {"init": "image"} if init is not None else {}
        for combination in self._sweep:
            try:
                recipe = resolve(self._base, patch, combination, start)
            except ValidationError as error:
                field, message = next(complaints(error, ("recipe",)))
                column = KNOB + str(field[0]) if field else "recipe"
                raise RowError(column, message) from None
            if recipe.init == "image" and init is None:
                raise RowError("recipe.init", "image needs a picture in the column init")
            try:
                kinds.append(Kind(recipe, self._digest_of(recipe)))
            except JobFileError as error:
                raise RowError("recipe.weights", error.problems[0].message) from None
        return tuple(kinds)


def _cut(column: str, cell: str) -> RowNote:
    name = cell.strip("\r\n\t")
    text = f"{cell!r} is read without the spaces around it; write './{name}' where they belong to the name"
    return RowNote("spaces", column, text)


def _picture_name(cell: object, notes: list[RowNote]) -> str:
    """Return the picture's name in a cell, as it is written; and note when no file can have it."""
    # Tables of numbers, in which a cell is empty, have 7.0 for 7.
    name = str(int(cell) if isinstance(cell, float) and cell.is_integer() else cell)
    if _SAFE_NAME.fullmatch(name) is None and (safe := safe_name(name)) != name:
        notes.append(
            RowNote("name", "name", f"{name!r} cannot be the name of a file; it becomes {safe!r}")
        )
    return name


def _is_plain(path: str) -> bool:
    """Return whether a path certainly has the spelling of ``Inputs.spelling``, as most have."""
    return (
        path[:1] not in "/~."
        and path[-1:] not in "/."
        and "//" not in path
        and "/." not in path
        and ":" not in path
        and "\\" not in path
        and "\0" not in path
    )


def _value(column: str, cell: object) -> object:
    """Return a knob's value from a table's cell: JSON, or a word as in a job file; 3.0 may mean 3."""
    knob = column.removeprefix(KNOB)
    value = cell
    if isinstance(cell, str):
        try:
            value = json.loads(cell)
        except (ValueError, RecursionError):
            kinds = kinds_of(knob, Recipe)
            value = cell if str in kinds and int not in kinds else read_word(cell.strip())
    return whole_if_asked(knob, value, Recipe)


class _Recent(Generic[T]):
    """A cache of the most recently used values."""

    def __init__(self) -> None:
        self._known: OrderedDict[Hashable, T] = OrderedDict()

    def get(self, key: Hashable) -> T | None:
        """Return the value of a key; None when it is not in the cache, or no longer."""
        value = self._known.get(key)
        if value is not None:
            self._known.move_to_end(key)
        return value

    def put(self, key: Hashable, value: T) -> T:
        """Store a value, and return it."""
        self._known[key] = value
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return value
