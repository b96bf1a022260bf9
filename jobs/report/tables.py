"""``write_tables``: all tasks and all loss rows as two tables, for notebooks and spreadsheets."""

from __future__ import annotations

import contextlib
import csv
import errno
import io
import json
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TypeVar

from jobs.arrow import arrow, parquet
from jobs.arrow import csv as arrow_csv
from jobs.errors import ObjectNotFoundError, StorageError
from jobs.parallel import parallel_map
from jobs.records.commit import Records
from jobs.records.record import TaskRecord
from jobs.storage import keys
from jobs.storage.base import Storage

TableFormat = Literal["csv", "parquet"]

READERS = 32
"""Loss logs that are read at the same time."""

BATCH = 4096
"""Tasks, or loss logs, whose rows are in memory at once."""

TERMS = ("total", "content", "style", "tv")
"""The terms of a loss that every recipe has."""

LAYER = "style_"
"""What a layer's column begins with."""

T = TypeVar("T")


@dataclass(frozen=True)
class Written:
    """A table that was written."""

    path: Path
    rows: int


def write_tables(
    storage: Storage,
    folder: Path,
    format_: TableFormat,
    on_unreadable: Callable[[str], None] = lambda _: None,
) -> tuple[Written, Written]:
    """Write ``tasks`` and ``losses`` of an output to a folder of this machine.

    Rows come in the order in which a storage lists its records, that of the ids. A table that exists already
    is replaced when the new one is complete.

    Args:
        storage: The output.
        folder: Where to; made if it is missing.
        format_: The format, which is also the files' ending.
        on_unreadable: Is called with the key of each loss log that is missing or damaged.

    Returns:
        The table of tasks, and that of the rows of their loss logs.

    Raises:
        StorageError: The output cannot be read, or the tables cannot be written.
    """
    logged, steps = array("Q"), array("q")
    layers: set[str] = set()

    def tasks() -> Iterator[dict[str, Any]]:
        for record in Records(storage).all():
            if record.losses_key is not None:
                logged.append(int(record.id, 16))
                steps.append(record.steps)
            layers.update(LAYER + layer for layer in record.recipe.get("style_layers") or ())
            yield _task_row(record)

    with _writing(folder):
        if not folder.exists():
            folder.mkdir(parents=True)
        if not folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "it is not a folder", str(folder))
        of_tasks, of_losses = (folder / f"{name}.{format_}" for name in ("tasks", "losses"))
        with contextlib.ExitStack() as stack:
            # Both replace what is there when both are complete, so that they are of one moment.
            parts = [_part_of(path, stack) for path in (of_tasks, of_losses)]
            task_rows = _write(parts[0], format_, _task_schema(), tasks())
            schema = _loss_schema(sorted(layers))
            rows = _loss_rows(storage, zip(logged, steps, strict=True), schema.names, on_unreadable)
            loss_rows = _write(parts[1], format_, schema, rows)
            for part, path in zip(parts, (of_tasks, of_losses), strict=True):
                part.replace(path)
        return Written(of_tasks, task_rows), Written(of_losses, loss_rows)


def _task_schema() -> Any:
    pa = arrow()
    text, whole, real = pa.string(), pa.int64(), pa.float64()
    columns = {
        **dict.fromkeys(("id", "name", "status", "error", "content", "style", "init"), text),
        "seed": whole,
        "picture": text,
        **dict.fromkeys(("width", "height", "bytes"), whole),
        "sha256": text,
        "steps": whole,
        "precision": text,
        **dict.fromkeys((f"{term}_loss" for term in TERMS), real),
        **dict.fromkeys((f"{phase}_seconds" for phase in PHASES), real),
        **dict.fromkeys(("device", "node", "concessions"), text),
        "attempts": whole,
        "finished": pa.timestamp("ms", tz="UTC"),
        "recipe": text,
    }
    return pa.schema(list(columns.items()))


PHASES = ("fetch", "wait", "render", "store")
"""The phases of an attempt, as records have them."""


def _task_row(record: TaskRecord) -> dict[str, Any]:
    last = record.attempts[-1] if record.attempts else None
    output = record.output
    return {
        "id": record.id,
        "name": record.name,
        "status": record.status,
        "error": record.error,
        "content": record.content,
        "style": _style_text(record),
        "init": record.init,
        "seed": record.recipe.get("seed"),
        "picture": output and output.key,
        "width": output and output.width,
        "height": output and output.height,
        "bytes": output and output.size,
        "sha256": output and output.sha256,
        "steps": record.steps,
        "precision": record.precision,
        **{f"{term}_loss": record.losses.get(term) for term in TERMS},
        **{f"{phase}_seconds": record.seconds.get(phase) for phase in PHASES},
        "device": last and last.device,
        "node": last and last.node,
        "concessions": "; ".join(record.concessions),
        "attempts": len(record.attempts),
        "finished": round(record.finished * 1000),
        "recipe": json.dumps(record.recipe, ensure_ascii=False),
    }


def _style_text(record: TaskRecord) -> str:
    """Return the style's address; a blend as the JSON that the record has."""
    if len(record.styles) == 1 and len(record.styles[0]) == 2:
        return record.styles[0][0]
    return json.dumps(record.styles, ensure_ascii=False)


def _loss_schema(layers: Iterable[str]) -> Any:
    pa = arrow()
    whole, real = pa.int64(), pa.float64()
    columns = {
        "id": pa.string(),
        **dict.fromkeys(("scale", "step"), whole),
        **dict.fromkeys((*TERMS, *layers, "seconds"), real),
    }
    return pa.schema(list(columns.items()))


def _loss_rows(
    storage: Storage,
    logged: Iterable[tuple[int, int]],
    columns: list[str],
    on_unreadable: Callable[[str], None],
) -> Iterator[dict[str, Any]]:
    """Yield the rows of the loss logs of tasks, which are given by number and steps; a term that a log lacks
    is missing in its rows."""

    def read(log: tuple[int, int]) -> tuple[str, int, bytes | None]:
        number, steps = log
        task_id = f"{number:0{keys.ID_LENGTH}x}"
        try:
            return task_id, steps, storage.get(keys.losses(task_id))
        except ObjectNotFoundError:
            return task_id, steps, None

    known = frozenset(columns)
    for task_id, steps, data in parallel_map(read, logged, READERS):
        try:
            rows = [_loss_row(task_id, row, known) for row in _parsed(data)]
            # The last step is in every log of a task that is done; a record of a failed one has no steps.
            if not rows or (steps and rows[-1]["step"] != steps):
                raise ValueError
        except (ValueError, KeyError):
            on_unreadable(keys.losses(task_id))
            continue
        yield from rows


def _parsed(data: bytes | None) -> Iterator[Mapping[str, str]]:
    """Yield the rows of a loss log. Raises ValueError for one that is missing or damaged."""
    if data is None:
        raise ValueError
    for row in csv.DictReader(io.StringIO(data.decode())):
        if None in row or None in row.values():
            raise ValueError
        yield row


def _loss_row(task_id: str, row: Mapping[str, str], known: frozenset[str]) -> dict[str, Any]:
    values: dict[str, Any] = {"id": task_id, "scale": int(row["scale"]), "step": int(row["step"])}
    for name, text in row.items():
        if name in known and name not in values:
            values[name] = float(text)
    return values


def _part_of(path: Path, stack: contextlib.ExitStack) -> Path:
    """Return where a file is written until it is complete; it is gone when the stack is closed."""
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, f"{path.name} is a folder", str(path))
    part = path.with_name(f".{path.name}.part")
    stack.callback(part.unlink, missing_ok=True)
    return part


def _write(path: Path, format_: TableFormat, schema: Any, rows: Iterable[dict[str, Any]]) -> int:
    """Write a table, a batch at a time; return the number of its rows."""
    count = 0
    with _open(path, format_, schema) as writer:
        for batch in _batches(rows):
            count += len(batch)
            writer.write_table(arrow().Table.from_pylist(batch, schema))
    return count


def _open(path: Path, format_: TableFormat, schema: Any) -> Any:
    """Return PyArrow's writer of a format."""
    if format_ == "parquet":
        return parquet().ParquetWriter(path, schema, compression="zstd")
    return arrow_csv().CSVWriter(path, schema)


def _batches(rows: Iterable[T]) -> Iterator[list[T]]:
    rest = iter(rows)
    while batch := list(islice(rest, BATCH)):
        yield batch


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"the tables cannot be written to {folder}: {error.strerror or error}"
        ) from error
