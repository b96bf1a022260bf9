"""What became of an output's tasks, in a few bytes for each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import numpy as np

from jobs.task_ids import IdTable, as_numbers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from jobs.records.record import OutputRecord
    from jobs.task_ids import Ids

Status = Literal["done", "failed"]

ABSENT, DONE, FAILED = 0, 1, 2
CODES: Mapping[Status, int] = {"done": DONE, "failed": FAILED}


class Ledger:
    """The status of every task that has a record, and the last good pictures of those that failed."""

    def __init__(
        self,
        ids: Ids,
        codes: NDArray[np.uint8],
        kept: Mapping[str, OutputRecord] | None = None,
    ) -> None:
        """``ids`` as numbers, ``codes`` one for each; ``kept`` by id."""
        self._table = IdTable(ids, codes)
        self.kept: Mapping[str, OutputRecord] = kept or {}

    @classmethod
    def of(cls, statuses: Mapping[str, Status]) -> Ledger:
        """From statuses by id."""
        codes = np.fromiter((CODES[status] for status in statuses.values()), np.uint8)
        return cls(as_numbers(statuses), codes)

    def __len__(self) -> int:
        return len(self._table)

    def count(self, status: Status) -> int:
        """How many tasks ended so."""
        return int((self._table.values == CODES[status]).sum())

    def codes(self, ids: Ids) -> NDArray[np.uint8]:
        """ABSENT, DONE or FAILED for each of these ids."""
        return self._table.find(ids, ABSENT)
