"""``card_of``: what the gallery shows about one picture, as a script.

A page that was opened from a folder can neither fetch a record nor read a loss log, but it can load a script.
"""

from __future__ import annotations

from dataclasses import dataclass

from jobs.data_script import data_script
from jobs.records.record import TaskRecord

MOST_ROWS = 400
"""Rows of a loss log in a card at most: more points than a small chart has pixels."""


@dataclass(frozen=True, slots=True)
class Copies:
    """Keys of the small copies of a task's inputs; None: there is none."""

    content: str | None = None
    styles: tuple[tuple[str | None, str | None], ...] = ()
    """Those of each part of the style and of its mask, in order."""
    init: str | None = None


def card_of(record: TaskRecord, log: bytes, copies: Copies) -> bytes:
    """Return the card of a task.

    Args:
        record: The task's record, or one that lacks no more than earlier attempts.
        log: Its loss log, as CSV; empty: there is none.
        copies: The small copies of its inputs.
    """
    last = record.attempts[-1] if record.attempts else None
    picture = record.output or record.kept
    columns, rows = thinned(log)
    parts = []
    for k, (uri, share, *mask) in enumerate(record.styles):
        copy, mask_copy = copies.styles[k] if k < len(copies.styles) else (None, None)
        part = {"uri": uri, "share": share, "copy": copy}
        parts.append({**part, "mask": mask[0] if mask else None, "mask_copy": mask_copy})
    return data_script(
        "card",
        {
            "id": record.id,
            "name": record.name,
            "status": record.status,
            "content": record.content,
            "content_copy": copies.content,
            "styles": parts,
            "init": record.init,
            "init_copy": copies.init,
            "recipe": record.recipe,
            "weights_digest": record.weights_digest,
            "steps": record.steps,
            "precision": record.precision,
            "concessions": record.concessions,
            "seconds": record.seconds,
            "device": last and last.device,
            "worker": last and last.worker,
            "node": last and last.node,
            "finished": record.finished,
            "output": picture and picture.model_dump(include={"key", "width", "height", "size"}),
            "losses": record.losses,
            "film": record.film and record.film.model_dump(exclude={"needs"}),
            "holds_to": [need.index for need in record.film.needs] if record.film else [],
            "columns": columns,
            "rows": rows,
        },
    )


def thinned(log: bytes, most: int = MOST_ROWS) -> tuple[list[str], list[list[float]]]:
    """Return the columns of a loss log, and its rows, or every so manieth of many.

    The first and the last row of each size are always among them, unless there are ``most`` sizes.

    Args:
        log: The log, as CSV.
        most: Rows at most, >= 2.
    """
    header, *lines = log.decode("ascii", "replace").splitlines() or [""]
    scales = [line.partition(",")[0] for line in lines]
    count = len(lines)
    ends = [
        k
        for k, scale in enumerate(scales)
        if k in (0, count - 1) or scale != scales[k - 1] or scale != scales[k + 1]
    ]
    if count <= most:
        kept = list(range(count))
    elif len(ends) >= most:
        kept = [ends[k * (len(ends) - 1) // (most - 1)] for k in range(most)]
    else:
        kept = sorted({*ends, *range(0, count, -(-count // (most - len(ends))))})
    columns = header.split(",") if header else []
    try:
        return columns, [_numbers(lines[k], len(columns)) for k in kept]
    except ValueError:  # damaged, or not a log
        return [], []


def _numbers(line: str, count: int) -> list[float]:
    scale, step, *rest = line.split(",")
    numbers = [int(scale), int(step), *map(float, rest)]
    if len(numbers) != count:
        raise ValueError(line)
    return numbers
