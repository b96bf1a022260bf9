"""``find_files``: the files of a manifest that is a folder, with the values that its sub-folders stand for.

Spark, pandas, Polars, DuckDB and Arrow write a table that is partitioned by a column as one folder for each
value, ``style_set=dutch/part-0.parquet``, and leave the column out of the files (Hive's convention).
"""

from __future__ import annotations

import glob
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePosixPath
from urllib.parse import unquote

from jobs.errors import InputError
from jobs.inputs.reader import Inputs
from jobs.manifests.manifest import is_manifest

NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
"""The name of the folder of rows that have no value in the column."""

OWN_FOLDERS = ("_temporary", "_spark_metadata")
"""Sub-folders of Spark's own, with files that are not finished, or no part of the table."""

MOST_OTHERS = 100
"""Sub-folders that stand for no value and in which manifests are looked for, to name them."""


def find_files(
    inputs: Inputs, pattern: str, note: Callable[[str, str], None]
) -> list[tuple[str, Mapping[str, str | None]]]:
    """Return the files that a manifest's pattern names, each with the values of its folders.

    Args:
        inputs: Finds them.
        pattern: A file, a folder, a glob, or an ``s3://`` prefix that ends in ``/``.
        note: Takes each file that is left out, and why, as a phrase.

    Returns:
        (address, value by column), sorted by address; no values for a file that lies in no such folder. One
        that is named by itself may not exist.

    Raises:
        InputError: The pattern cannot be expanded, or is the folder of a Delta table.
        StorageError: The store cannot be listed.
    """

    def wanted(name: str) -> bool:
        if is_manifest(name):
            return True
        if PurePosixPath(name).suffix:  # a folder has none
            note(name, "no manifest")
        return False

    names = inputs.expand(pattern, wanted)
    if not inputs.is_folder(pattern):
        first = next((k for k, part in enumerate(parts_of(pattern)) if glob.has_magic(part)), None)
        return [
            (name, {} if first is None else _values(parts_of(name)[first:-1])) for name in names
        ]
    folder = inputs.spelling(pattern).rstrip("/")
    found: dict[str, Mapping[str, str | None]] = {name: {} for name in names}
    below = inputs.folders_in(pattern)
    if "_delta_log" in below:
        raise InputError(
            f"{folder} is a Delta table, whose folder also has files that are no longer part of it: export "
            "the table, or name its files"
        )
    if any("=" in name for name in below):
        for name in inputs.expand(f"{glob.escape(folder)}/*=*/**/*", is_manifest):
            folders = parts_of(name)[len(parts_of(folder)) : -1]
            if all("=" in part for part in folders):
                found[name] = _values(folders)
            else:
                note(name, "in a folder that stands for no value")
    others = [name for name in below if "=" not in name and name not in OWN_FOLDERS]
    for name in others[:MOST_OTHERS]:
        for left_out in inputs.expand(f"{folder}/{name}/", is_manifest):
            note(left_out, "in a sub-folder")
    return sorted(found.items())


def parts_of(address: str) -> Sequence[str]:
    """Return the parts of an address or pattern between slashes."""
    return address.split("/")


def _values(folders: Sequence[str]) -> dict[str, str | None]:
    """Return the values that folders stand for, by column; None: no value."""
    values: dict[str, str | None] = {}
    for folder in folders:
        column, mark, value = folder.partition("=")
        if mark:
            values[unquote(column)] = None if value == NO_VALUE else unquote(value)
    return values
