"""The door to PyArrow, which takes a third of a second to import."""

from __future__ import annotations

import os
from typing import Any


def arrow() -> Any:
    """Return the package ``pyarrow``."""
    # PyArrow's own allocator keeps what a thread once used, and its threads change, so that a run's memory
    # would grow by a kilobyte per task. The variable is read when PyArrow is first imported.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    import pyarrow

    return pyarrow


def parquet() -> Any:
    """Return the module ``pyarrow.parquet``."""
    arrow()
    import pyarrow.parquet

    return pyarrow.parquet


def csv() -> Any:
    """Return the module ``pyarrow.csv``."""
    arrow()
    import pyarrow.csv

    return pyarrow.csv


def compute() -> Any:
    """Return the module ``pyarrow.compute``."""
    arrow()
    import pyarrow.compute

    return pyarrow.compute


def picture_columns(schema: Any) -> dict[str, str]:
    """Return the columns of a table that hold pictures' files, each with the path of its bytes.

    These are columns of bytes, and structs with a field ``bytes``, as datasets of Hugging Face have them
    beside a field ``path``.

    Args:
        schema: A ``pyarrow.Schema``.
    """
    types = arrow().types
    found = {}
    for field in schema:
        if _is_binary(types, field.type):
            found[field.name] = field.name
        elif types.is_struct(field.type):
            k = field.type.get_field_index("bytes")
            if k >= 0 and _is_binary(types, field.type[k].type):
                found[field.name] = f"{field.name}.bytes"
    return found


def picture_address(table: str, column: str, row: int) -> str:
    """Return the address of a picture in a table, as ``jobs.inputs.archives`` reads it.

    Args:
        table: The address of the Parquet file.
        column: A column of ``picture_columns``.
        row: The row, from 1.
    """
    return f"{table}::{column}/{row}"


def _is_binary(types: Any, kind: Any) -> bool:
    return bool(types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind))
