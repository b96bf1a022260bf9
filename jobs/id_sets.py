"""Sets and tables of millions of task ids, in a few bytes each.

A Python set takes about 100 bytes per id, a sorted run of 64-bit numbers takes 8. Ids come in batches, so
that numpy does the work.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ids = NDArray[np.uint64]

MERGE_RATIO = 2
"""A run is merged into the one before it unless that is at least this many times as long. So the number of
runs, and how often an id is moved, grow with the logarithm of the number of ids."""


def as_numbers(ids: Iterable[str]) -> Ids:
    """Return task ids (16 hex digits) as 64-bit numbers."""
    return np.fromiter((int(task_id, 16) for task_id in ids), np.uint64)


class IdSet:
    """A set of ids, as 64-bit numbers, that grows by batches and is asked about batches."""

    def __init__(self) -> None:
        self._runs: list[Ids] = []

    def __len__(self) -> int:
        return sum(len(run) for run in self._runs)

    def contains(self, ids: Ids) -> NDArray[np.bool_]:
        """Return which of these ids are in the set, one bool per id."""
        present = np.zeros(len(ids), dtype=bool)
        for run in self._runs:
            present |= _among(ids, run)
        return present

    def add_new(self, ids: Ids) -> NDArray[np.bool_]:
        """Add ids, and return which of them are new: not in the set, nor earlier in the same batch."""
        new = np.zeros(len(ids), dtype=bool)
        unique, first = np.unique(ids, return_index=True)
        fresh = ~self.contains(unique)
        new[first[fresh]] = True
        self._push(unique[fresh])
        return new

    def _push(self, run: Ids) -> None:
        if len(run):
            self._runs.append(run)
        while len(self._runs) > 1 and len(self._runs[-2]) < MERGE_RATIO * len(self._runs[-1]):
            last = self._runs.pop()
            merged = np.concatenate([self._runs.pop(), last])
            merged.sort(kind="stable")  # two sorted runs are merged in one pass
            self._runs.append(merged)


class IdNames:
    """The names that ids were first given, each as a 64-bit number. Ids without a name cost nothing."""

    def __init__(self) -> None:
        self._runs: list[tuple[Ids, NDArray[np.int64]]] = []

    @staticmethod
    def number(name: str | None) -> int:
        """Return the number of a name; 0 for None."""
        return 0 if name is None else hash(name)

    def put(
        self, ids: Ids, names: Sequence[str | None], new: NDArray[np.bool_]
    ) -> NDArray[np.int64]:
        """Remember the names of a batch of ids.

        Args:
            ids: The ids.
            names: The name of each; None: it has none.
            new: Which of them occur for the first time.

        Returns:
            The number of the name that each id was first given.
        """
        numbers = np.fromiter(map(self.number, names), np.int64, len(names))
        self._push(IdTable(ids[new], numbers[new]))
        first = np.zeros(len(ids), np.int64)
        old = ~new
        for run, values in self._runs if old.any() else ():
            at = np.minimum(np.searchsorted(run, ids[old]), len(run) - 1)
            first[old] = np.where(run[at] == ids[old], values[at], first[old])
        return first

    def _push(self, table: IdTable) -> None:
        if len(table):
            self._runs.append((table.ids, table.values))
        while len(self._runs) > 1 and len(self._runs[-2][0]) < MERGE_RATIO * len(self._runs[-1][0]):
            last, before = self._runs.pop(), self._runs.pop()
            merged = IdTable(*(np.concatenate(pair) for pair in zip(before, last, strict=True)))
            self._runs.append((merged.ids, merged.values))


class IdTable:
    """An immutable map from ids to numbers: sorted ids beside their values."""

    def __init__(self, ids: Ids, values: NDArray[Any]) -> None:
        """Sort ``ids``, each with the value at its index. Where an id comes twice, its last value counts."""
        order = np.argsort(ids, kind="stable")
        ids = ids[order]
        last = np.ones(len(ids), dtype=bool)
        last[:-1] = ids[1:] != ids[:-1]
        self.ids: Ids = ids[last]
        self.values = values[order][last]

    def __len__(self) -> int:
        return len(self.ids)

    def find(self, ids: Ids, default: int = 0) -> NDArray[Any]:
        """Return the value of each of these ids, ``default`` for those that are not in the table."""
        values = np.full(len(ids), default, dtype=self.values.dtype)
        if len(self.ids):
            at = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)
            here = self.ids[at] == ids
            values[here] = self.values[at[here]]
        return values


def _among(ids: Ids, run: Ids) -> NDArray[np.bool_]:
    if not len(run):
        return np.zeros(len(ids), dtype=bool)
    at = np.minimum(np.searchsorted(run, ids), len(run) - 1)
    return np.asarray(run[at] == ids)
