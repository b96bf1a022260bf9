"""Columns of segments: texts that come again and again, as Arrow dictionaries, and back.

A million tasks have a few thousand contents and styles and a handful of recipes. A dictionary holds each
text once, in the file and in memory.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from jobs.arrow import arrow

if TYPE_CHECKING:
    from numpy.typing import NDArray

T = TypeVar("T")


def kind_of_few() -> Any:
    """Return the Arrow type of a column with few distinct texts."""
    pa = arrow()
    return pa.dictionary(pa.int32(), pa.string())


def of_few(texts: Iterable[str | None]) -> Any:
    """Return texts as an array of ``kind_of_few``."""
    pa = arrow()
    known: dict[str, int] = {}
    indices = [None if text is None else known.setdefault(text, len(known)) for text in texts]
    return pa.DictionaryArray.from_arrays(
        pa.array(indices, pa.int32()), pa.array(list(known), pa.string())
    )


def values_of(column: Any) -> list[Any]:
    """Return the values of an array of any kind. Those of a dictionary are made once, and shared."""
    if not arrow().types.is_dictionary(column.type):
        return list(column.to_pylist())
    # The last is for rows without a value, whose index is -1.
    values = [*column.dictionary.to_pylist(), None]
    return [values[k] for k in column.indices.fill_null(-1).to_pylist()]


def mapped(column: Any, codes: Mapping[Any, int], other: int) -> NDArray[np.uint8]:
    """Return a number for each value of a chunked column of texts.

    Args:
        column: Texts, as a dictionary or plain.
        codes: The numbers, 0 to 255.
        other: The number of any other text, and of none.
    """
    parts = [np.zeros(0, np.uint8)]
    for chunk in column.chunks:
        encoded = chunk if arrow().types.is_dictionary(chunk.type) else chunk.dictionary_encode()
        known = [codes.get(text, other) for text in encoded.dictionary.to_pylist()]
        indices = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        parts.append(np.asarray([*known, other], np.uint8)[indices])
    return np.concatenate(parts)


def encoded(table: Any, names: Collection[str]) -> Any:
    """Return a table whose columns of these names are dictionaries, as those of earlier versions are not."""
    for k, name in enumerate(table.schema.names):
        column = table.column(k)
        if name in names and not arrow().types.is_dictionary(column.type):
            table = table.set_column(k, name, column.dictionary_encode())
    return table


def joined(tables: Sequence[Any]) -> Any:
    """Return tables of one schema as one, each column in one piece, with one dictionary."""
    return arrow().concat_tables(tables).unify_dictionaries().combine_chunks()
