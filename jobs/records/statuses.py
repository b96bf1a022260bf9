"""The statuses of an output's tasks, in a few bytes each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import numpy as np

from jobs.id_sets import IdTable, as_numbers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from jobs.id_sets import Ids
    from jobs.records.record import OutputRecord

Status = Literal["done", "failed"]

ABSENT, DONE, FAILED = 0, 1, 2
"""Codes of a task without a record, and with a record of either status."""

CODES: Mapping[Status, int] = {"done": DONE, "failed": FAILED}


class Ledger:
    """The status of every task that has a record, and the last good pictures of those that failed."""

    def __init__(
        self,
        ids: Ids,
        codes: NDArray[np.uint8],
        kept: Mapping[str, OutputRecord] | None = None,
    ) -> None:
        """Store ``codes``, one per id in ``ids``, and the last good pictures ``kept`` by id (text)."""
        self._table = IdTable(ids, codes)
        self.kept: Mapping[str, OutputRecord] = kept or {}

    @classmethod
    def of(cls, statuses: Mapping[str, Status]) -> Ledger:
        """Return a ledger of statuses by id."""
        codes = np.fromiter((CODES[status] for status in statuses.values()), np.uint8)
        return cls(as_numbers(statuses), codes)

    def __len__(self) -> int:
        return len(self._table)

    def count(self, status: Status) -> int:
        """Return the number of tasks with this status."""
        return int((self._table.values == CODES[status]).sum())

    def codes(self, ids: Ids) -> NDArray[np.uint8]:
        """Return ABSENT, DONE or FAILED for each of these ids."""
        return self._table.find(ids, ABSENT)
