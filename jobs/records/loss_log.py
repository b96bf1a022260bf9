"""Loss rows to bytes and back: one CSV per task, readable while the task still runs.

Columns: ``scale`` (longest side, pixels), ``step`` (steps made), the weighted loss terms ``total``,
``content``, ``style``, ``style_<layer>`` for each layer, ``tv``, and ``seconds`` since the render began.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import NamedTuple


class LossRow(NamedTuple):
    """The weighted losses of one picture after ``step`` steps, at one size."""

    scale: int
    """Longest side, pixels."""
    step: int
    """Steps made so far, over all sizes."""
    total: float
    content: float
    style: float
    """Sum of ``style_layers``."""
    style_layers: tuple[float, ...]
    """One per style layer, in the recipe's order."""
    tv: float
    """Total variation."""
    seconds: float
    """Seconds since the render began."""


class LossLog:
    """Collects the rows to keep: one per ``every`` steps, and the first and last of each size.

    Args:
        style_layers: Names of the style layers, for the columns.
        every: Steps between two rows, >= 1.
    """

    def __init__(self, style_layers: Sequence[str], every: int) -> None:
        self.style_layers = tuple(style_layers)
        self.columns = (
            *("scale", "step", "total", "content", "style"),
            *(f"style_{layer}" for layer in style_layers),
            *("tv", "seconds"),
        )
        self._every = every
        self.clear()

    def clear(self) -> None:
        """Drop all rows."""
        self._text = io.StringIO()
        self._writer = csv.writer(self._text, lineterminator="\n")
        self._writer.writerow(self.columns)
        self._waiting: LossRow | None = None
        self._scale: int | None = None
        self.last: LossRow | None = None

    def add(self, rows: Sequence[LossRow]) -> None:
        """Take rows, in the order of their steps."""
        for row in rows:
            if row.scale != self._scale:
                self._keep_waiting()
                self._scale = row.scale
                self._write(row)
            elif row.step % self._every == 0:
                self._waiting = None
                self._write(row)
            else:
                self._waiting = row
            self.last = row

    def to_bytes(self) -> bytes:
        """Return the log so far as CSV, with a header and the newest row."""
        text = self._text.getvalue()
        if self._waiting is not None:
            extra = io.StringIO()
            csv.writer(extra, lineterminator="\n").writerow(_cells(self._waiting))
            text += extra.getvalue()
        return text.encode()

    def final_losses(self) -> dict[str, float]:
        """Return the loss terms of the newest row by column name; empty before the first row."""
        if self.last is None:
            return {}
        cells = (
            self.last.total,
            self.last.content,
            self.last.style,
            *self.last.style_layers,
            self.last.tv,
        )
        return dict(zip(self.columns[2:-1], cells, strict=True))

    def _keep_waiting(self) -> None:
        if self._waiting is not None:
            self._write(self._waiting)
            self._waiting = None

    def _write(self, row: LossRow) -> None:
        self._writer.writerow(_cells(row))


def parse(data: bytes) -> list[LossRow]:
    """Return the rows of a log, for reports and for resuming.

    Raises:
        ValueError: The bytes are no loss log.
    """
    reader = csv.reader(io.StringIO(data.decode()))
    columns = next(reader, [])
    if columns[:5] != ["scale", "step", "total", "content", "style"]:
        raise ValueError("this is not a loss log")
    rows = []
    for scale, step, total, content, style, *layers, tv, seconds in reader:
        rows.append(
            LossRow(
                scale=int(scale),
                step=int(step),
                total=float(total),
                content=float(content),
                style=float(style),
                style_layers=tuple(float(layer) for layer in layers),
                tv=float(tv),
                seconds=float(seconds),
            )
        )
    return rows


def _cells(row: LossRow) -> tuple[object, ...]:
    numbers = (row.total, row.content, row.style, *row.style_layers, row.tv)
    return (row.scale, row.step, *(f"{n:.7g}" for n in numbers), f"{row.seconds:.3f}")
