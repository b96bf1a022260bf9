"""The account of a job's manifests: what became of each of their rows.

Every row that a reader yields passes through ``RowAccount``, as ``RowDrafts`` or as a ``Problem``: there is
no third way. So the sum holds: rows read = used + repeated + left out by a selection + not usable.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from jobs.errors import JobFileError, Problem
from jobs.id_sets import IdNames
from jobs.tasks.identity import Draft

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from jobs.manifests.manifest import Manifest

BAD_ROWS_SHOWN = 20
"""Rows that an error names."""

BAD_ROWS_NAMED = 100_000
"""Rows that are remembered with what is wrong with them; more are only counted."""

What = Literal["spaces", "name", "renamed", "encoding"]
"""Kinds of notes; see ``RowNote``."""


class RowNote(NamedTuple):
    """A row is used, but not exactly as it is written."""

    what: What
    """``spaces``: spaces around an address are cut. ``name``: the picture's name has characters that no file
    name can have. ``renamed``: the pair has another name in an earlier row. ``encoding``: it was guessed."""
    column: str
    """The column in question."""
    text: str
    """The rest of the sentence."""


class RowDrafts(NamedTuple):
    """The drafts of one row of a manifest, or of one pair of pictures in the job file."""

    drafts: Sequence[Draft]
    """One draft per combination of the sweep; none: a selection leaves the row out."""
    file: Manifest | None = None
    """The manifest of the row; None: the drafts are those of a pair in the job file."""
    place: int = 0
    """The row's place in its manifest, for ``Manifest.at``."""
    notes: tuple[RowNote, ...] = ()
    """How the row is not used as it is written."""


@dataclass(frozen=True, slots=True)
class NoteCount:
    """Notes of one kind."""

    rows: int
    """Rows to which the note applies, > 0."""
    first: str
    """The note about the first of them, with its place."""

    def __str__(self) -> str:
        return self.first if self.rows == 1 else f"{self.first} (in {self.rows:,} rows)"


@dataclass(frozen=True, slots=True)
class RowCounts:
    """The rows of a job's manifests, by what became of them. The last four add up to the first."""

    rows: int = 0
    """All rows."""
    used: int = 0
    """Rows that are tasks."""
    repeated: int = 0
    """Rows that name a pair, with its recipe, that the job has named before."""
    left_out: int = 0
    """Rows that the run leaves out, because their tasks are not selected."""
    bad: int = 0
    """Rows that cannot be used."""
    repeated_pairs: int = 0
    """Pairs of the job file that it has named before; they are no rows."""
    notes: tuple[NoteCount, ...] = ()
    """What is not used as it is written, one entry per kind."""


class RowAccount:
    """Counts rows, and remembers those that cannot be used."""

    def __init__(self) -> None:
        self._read = self._used = self._repeated = self._left_out = self._repeated_pairs = 0
        self.bad = 0
        """Rows that cannot be used."""
        self.fatal = 0
        """Rows among them that end the run: those of entries whose ``on_bad_row`` is fail."""
        self.problems: list[Problem] = []
        """The first ``BAD_ROWS_NAMED`` rows that cannot be used."""
        self._notes: dict[What, NoteCount] = {}
        self._names = IdNames()

    def read(self, rows: int) -> None:
        """Count rows that a reader has yielded."""
        self._read += rows

    def refuse(self, problem: Problem, *, skipped: bool) -> None:
        """Count a row that cannot be used. ``skipped``: its entry leaves bad rows out."""
        self.bad += 1
        self.fatal += not skipped
        if len(self.problems) < BAD_ROWS_NAMED:
            self.problems.append(problem)

    def take(
        self, rows: Sequence[RowDrafts], ids: NDArray[np.uint64], new: NDArray[np.bool_]
    ) -> None:
        """Count rows that can be used.

        Args:
            rows: The rows in order.
            ids: The ids of all their drafts, in order.
            new: Which of these drafts the job has not named before.
        """
        single = len(rows) == len(ids) and all(len(row.drafts) == 1 for row in rows)
        of_manifests = sum(row.file is not None for row in rows)
        if single and bool(new.all()):
            self._used += of_manifests
        else:
            at = 0
            for row in rows:
                end = at + len(row.drafts)
                self._count(row, bool(new[at:end].any()), int(end - at - new[at:end].sum()))
                at = end
        if of_manifests:
            self._compare_names(rows, ids, new)
            for row in rows:
                for note in row.notes:
                    self._note(row, note)

    def counts(self) -> RowCounts:
        """Return the counts so far. They add up when all rows read were also taken or refused."""
        return RowCounts(
            rows=self._read,
            used=self._used,
            repeated=self._repeated,
            left_out=self._left_out,
            bad=self.bad,
            repeated_pairs=self._repeated_pairs,
            notes=tuple(self._notes.values()),
        )

    def error(self) -> JobFileError:
        """Return the error for rows that end a run."""
        hidden = self.bad - min(BAD_ROWS_SHOWN, len(self.problems))
        more = f"{hidden:,} more rows cannot be used" if hidden else ""
        advice = (
            f"correct {'the' if more else 'these'} rows, or leave them out with on_bad_row: skip"
        )
        last = f"{more}; {advice}" if more else advice
        shown = self.problems[:BAD_ROWS_SHOWN]
        return JobFileError([*shown, Problem("manifest", None, "", last)])

    def _count(self, row: RowDrafts, is_new: bool, repeated: int) -> None:
        if row.file is None:
            self._repeated_pairs += repeated
        elif not row.drafts:
            self._left_out += 1
        elif is_new:
            self._used += 1
        else:
            self._repeated += 1

    def _compare_names(
        self, rows: Sequence[RowDrafts], ids: NDArray[np.uint64], new: NDArray[np.bool_]
    ) -> None:
        """Note rows whose pair has another name in an earlier row."""
        if all(draft.name is None for row in rows for draft in row.drafts):
            return
        named = [(row, draft) for row in rows for draft in row.drafts]
        names = [draft.name for _, draft in named]
        first_names = self._names.put(ids, names, new)
        told: set[int] = set()
        for at in np.flatnonzero(~new).tolist():
            row, draft = named[at]
            if (
                draft.name is None
                or first_names[at] == IdNames.number(draft.name)
                or id(row) in told
            ):
                continue
            told.add(id(row))
            text = f"{draft.name!r}: the job has this pair before, and its picture keeps that name"
            self._note(row, RowNote("renamed", "name", text))

    def _note(self, row: RowDrafts, note: RowNote) -> None:
        known = self._notes.get(note.what)
        if known is not None:
            self._notes[note.what] = NoteCount(known.rows + 1, known.first)
        elif row.file is not None:
            problem = Problem(row.file.at(row.place), None, note.column, note.text)
            self._notes[note.what] = NoteCount(1, str(problem))
