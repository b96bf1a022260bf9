"""All results of an output as columns: what the gallery's page finds, sorts and groups by.

A million results take about 100 bytes each: numbers stay numbers from the segments to the page, and a text
that many results share is kept once.
"""

from __future__ import annotations

import base64
import json
from array import array
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from jobs.arrow import arrow, compute
from jobs.errors import printable
from jobs.records.segments import OF_FILMS
from jobs.storage import keys

if TYPE_CHECKING:
    from numpy.typing import NDArray

READ = (
    *("id", "status", "name", "error", "kept", "output", "width", "height", "steps"),
    *(
        "render_seconds",
        "attempts",
        "content",
        "style",
        "recipe",
        "loss",
        "finished",
        "thumbnail",
        "card",
        *OF_FILMS,
    ),
)
"""The columns of segments that are read."""

TEXTS = ("content", "style", "recipe", "error")
"""The columns with texts that results share: a row has the text's number."""

NUMBERS: dict[str, Any] = {
    "id": np.uint64,
    **dict.fromkeys(("loss", "seconds"), np.float32),
    **dict.fromkeys(("steps", "finished", *TEXTS, "width", "height"), np.uint32),
    **dict.fromkeys(("attempts", "ending", "flags"), np.uint8),
}
"""The columns of numbers, and how the page reads them. Times are whole seconds since the epoch."""

FRAMES: dict[str, Any] = {"film": np.uint32, "frame": np.uint32, "held": np.uint8}
"""The same of frames of films, in outputs that have any: the number of the painted film from 1, and 0 of what
is none; the frame's number; and how firmly it is held, from 1 to 255, and 0 where that is unknown."""

FAILED, PROOF, THUMBNAIL, CARD, KEPT, PROMOTED = (1 << bit for bit in range(6))
"""Flags of a row; PROMOTED: a proof whose picture is there in full."""

KINDS = ("pictures", "proofs", "failed", "failed-proofs")
"""The kinds of results, each of which has a tab of its own, in the order of the rows."""


class GalleryRows:
    """Collects the results of an output and of its proofs, and gives them out in order.

    The order is: pictures, proofs, pictures that failed, proofs that failed; within each by name.
    """

    def __init__(self) -> None:
        self.texts: dict[str, dict[str, int]] = {name: {} for name in TEXTS}
        """The texts of each shared column, with their numbers."""
        self.endings: dict[str, int] = {}
        """The endings of pictures' names, with their numbers."""
        self.films: dict[str, int] = {}
        """The painted films, with their numbers from 1."""
        self._parts: dict[str, list[NDArray[Any]]] = {name: [] for name in (*NUMBERS, *FRAMES)}
        self._names = bytearray()
        """All names, one after the other: a list of strings would take three times the memory."""
        self._ends = array("i", (0,))
        self._odd: dict[int, str] = {}
        """Keys of pictures that do not follow from name and id, by row as it was added."""
        self._count = 0
        self._film_of = np.zeros(0, np.uint32)
        """The number of each row's film, once rows are given out."""
        self._at_full_size: dict[str, list[int]] = {}
        """Of films of proofs, once rows are given out: how many frames are there in full, in which film."""

    def add(self, table: Any, valid: NDArray[np.bool_], *, proofs: bool) -> None:
        """Take the rows of a table that count.

        Args:
            table: A ``pyarrow.Table`` from ``Records.tables`` with the columns ``READ``.
            valid: Which of its rows count.
            proofs: Whether they are of the proofs' output.
        """
        if not valid.all():
            table = table.filter(arrow().array(valid))
        if not table.num_rows:
            return
        for chunk in table.column("name").chunks:
            self._add_names(chunk)
        numbers = {
            "id": _plain(table, "id"),
            "loss": _plain(table, "loss"),
            "seconds": _plain(table, "render_seconds"),
            "steps": _plain(table, "steps"),
            "finished": np.clip(_plain(table, "finished"), 0, 2**32 - 1),
            "attempts": np.minimum(_plain(table, "attempts"), 255),
            **{name: numbered(table.column(name), self.texts[name]) for name in TEXTS},
        }
        failed = np.asarray(compute().equal(table.column("status").cast("string"), "failed"))
        flags = failed * FAILED + _plain(table, "thumbnail") * THUMBNAIL
        flags = flags + _plain(table, "card") * CARD + (PROOF if proofs else 0)
        shapes = [_plain(table, name).copy() for name in ("width", "height")]
        endings = np.zeros(table.num_rows, np.uint8)
        for row, key, shape in self._pictures(table, failed):
            if shape is not None:
                flags[row] += KEPT
                shapes[0][row], shapes[1][row] = shape
            endings[row] = self.endings.setdefault(key.rpartition(".")[2], len(self.endings))
        numbers |= {"width": shapes[0], "height": shapes[1], "ending": endings, "flags": flags}
        numbers |= self._frames(table)
        for name, kind in (NUMBERS | FRAMES).items():
            self._parts[name].append(numbers[name].astype(kind))
        self._count += table.num_rows

    def _frames(self, table: Any) -> dict[str, NDArray[Any]]:
        """Return the columns of ``FRAMES``."""
        held = np.nan_to_num(_plain(table, "held"), nan=-1.0)
        return {
            "film": numbered(table.column("film"), self.films, first=1),
            "frame": np.clip(_plain(table, "frame"), 0, 2**32 - 1),
            "held": np.where(held < 0, 0, 1 + np.rint(254 * np.clip(held, 0, 1))),
        }

    def _add_names(self, names: Any) -> None:
        ends = np.cumsum(np.asarray(compute().binary_length(names).fill_null(0)), dtype=np.int64)
        self._ends.frombytes((ends + len(self._names)).astype(np.int32).tobytes())
        for batch in (names[first : first + 4096] for first in range(0, len(names), 4096)):
            self._names += "".join(name or "" for name in batch.to_pylist()).encode()

    def _pictures(
        self, table: Any, failed: NDArray[np.bool_]
    ) -> Iterator[tuple[int, str, tuple[int, int] | None]]:
        """Yield (row, key of its picture, size of a failed render's last good one) of each row that has one,
        and note keys that do not follow from name and id."""
        at = 0
        wanted = table.select(("name", "id", "output", "kept"))
        for batch in wanted.to_batches(4096):  # as Python's objects they take ten times the memory
            columns = (column.to_pylist() for column in batch)
            for row, (name, number, key, kept) in enumerate(zip(*columns, strict=True), at):
                shape = None
                folder = keys.IMAGES
                if failed[row]:
                    if kept is None:
                        continue
                    found = json.loads(kept)
                    key, shape, folder = found["key"], (found["width"], found["height"]), keys.KEPT
                if key is None:
                    self._odd[self._count + row] = ""
                    continue
                if key != f"{folder}{name}-{number:016x}.{key.rpartition('.')[2]}":
                    self._odd[self._count + row] = key
                yield row, key, shape
            at += len(batch)

    def __len__(self) -> int:
        return self._count

    def chunks(self, size: int) -> Iterator[dict[str, Any]]:
        """Yield all rows in order, so many at a time, as JSON values; then the collection is empty.

        Each has ``names`` (a line each), ``odd`` (keys that do not follow from name and id, by row) and the
        columns of ``NUMBERS`` in base64, little-endian; the id is halved into ``high`` and ``low``. Those of
        ``FRAMES``, but for the film, come where there is a frame among the rows.
        """
        columns = {name: _joined(parts) for name, parts in self._parts.items()}
        flags = columns["flags"]
        is_proof = (flags & PROOF > 0).astype(np.uint8)
        kind = np.where(flags & FAILED, 2, 0).astype(np.uint8) + is_proof
        proofs, pictures = np.flatnonzero(kind == 1), np.flatnonzero(kind == 0)
        if len(proofs):
            promoted = proofs[np.isin(columns["id"][proofs], columns["id"][pictures])]
            flags[promoted] |= PROMOTED
            self._find_at_full_size(columns["id"], columns["film"], promoted, pictures)
        pa = arrow()
        names = pa.StringArray.from_buffers(
            self._count, pa.py_buffer(self._ends), pa.py_buffer(self._names)
        )
        by_name = compute().array_sort_indices(names).to_numpy().astype(np.uint32)
        order = np.concatenate([by_name[kind[by_name] == k] for k in range(len(KINDS))])
        del by_name
        self._film_of = columns.pop("film")[order]
        frames = {name: columns.pop(name) for name in FRAMES if name != "film"}
        for first in range(0, len(order), size):
            rows = order[first : first + size]
            values = {name: column[rows] for name, column in columns.items()}
            if self._film_of[first : first + size].any():
                values |= {name: column[rows] for name, column in frames.items()}
            ids = values.pop("id")
            values["high"], values["low"] = (
                half.astype(np.uint32) for half in (ids >> 32, ids & 0xFFFFFFFF)
            )
            odd = {
                line: self._odd[row] for line, row in enumerate(rows.tolist()) if row in self._odd
            }
            yield {
                "names": _lines(names.take(arrow().array(rows)).to_pylist()),
                "odd": odd,
                **{name: _base64(column) for name, column in values.items()},
            }

    def film_rows(self) -> dict[str, Any]:
        """Return which painted film each row belongs to, in the order of ``chunks``, which are given out.

        It is apart from them, because the wall shows a film once, wherever its frames are: ``films``, a list
        of them, and ``rows``, a column in base64 with ``bytes`` each of the film's number, from 1. Of proofs,
        ``at_full_size`` has by the film's name how many frames are there in full, and the number of the film
        that these belong to.
        """
        size = next(n for n in (1, 2, 4) if len(self.films) < 256**n)
        return {
            "films": list(self.films),
            "bytes": size,
            "rows": _base64(self._film_of.astype(f"u{size}")),
            "at_full_size": self._at_full_size,
        }

    def _find_at_full_size(
        self,
        ids: NDArray[np.uint64],
        films: NDArray[np.uint32],
        promoted: NDArray[np.intp],
        pictures: NDArray[np.intp],
    ) -> None:
        """Note which films of proofs were rendered at full size; ``promoted`` and ``pictures`` are rows."""
        frames = promoted[films[promoted] > 0]
        by_id = pictures[np.argsort(ids[pictures])]
        full = films[by_id[np.searchsorted(ids[by_id], ids[frames])]]
        counts = np.bincount(films[frames], minlength=len(self.films) + 1).tolist()
        larger = dict(zip(films[frames].tolist(), full.tolist(), strict=True))
        for name, number in self.films.items():
            if counts[number]:
                self._at_full_size[name] = [counts[number], larger[number]]

    def counts(self) -> dict[str, int]:
        """Return how many rows there are of each of ``KINDS``."""
        flags = np.concatenate([np.zeros(0, np.uint8), *self._parts["flags"]])
        counts = np.bincount(flags & (FAILED | PROOF), minlength=4).tolist()
        return dict(
            zip(KINDS, (counts[at] for at in (0, PROOF, FAILED, FAILED | PROOF)), strict=True)
        )

    def text_pages(self, name: str, size: int) -> Iterator[str]:
        """Yield the texts of a shared column, a line each, so many at a time."""
        texts = list(self.texts[name])
        for first in range(0, len(texts), size):
            yield "\n".join(texts[first : first + size])


def numbered(column: Any, known: dict[str, int], first: int = 0) -> NDArray[Any]:
    """Return the number of each text of a column; 0 for none, whose number nobody asks for.

    Args:
        column: The texts, as a chunked column.
        known: Texts with their numbers; new ones are added.
        first: The number of the first text.
    """
    parts = [np.zeros(0, np.uint32)]
    for chunk in column.chunks:
        encoded = chunk if arrow().types.is_dictionary(chunk.type) else chunk.dictionary_encode()
        used = np.zeros(len(encoded.dictionary) + 1, bool)
        indices = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        used[indices] = True
        codes = np.zeros(len(used), np.uint32)
        texts = [*encoded.dictionary.to_pylist(), None]
        for at in np.flatnonzero(used).tolist():
            if texts[at] is not None:
                codes[at] = known.setdefault(printable(texts[at]), len(known) + first)
        parts.append(codes[indices])
    return np.concatenate(parts)


def _plain(table: Any, name: str) -> NDArray[Any]:
    found: NDArray[Any] = table.column(name).to_numpy()
    return found


def _joined(parts: list[NDArray[Any]]) -> NDArray[Any]:
    """Return the parts as one array, and drop them."""
    joined = np.concatenate(parts)
    parts.clear()
    return joined


def _lines(names: list[str]) -> str:
    """Return names a line each. They come from ``safe_name``; other tools' records may hold anything."""
    joined = "\n".join(names)
    if not joined.replace("\n", "").isprintable() or joined.count("\n") != len(names) - 1:
        joined = "\n".join(map(printable, names))
    return joined


def _base64(column: NDArray[Any]) -> str:
    return base64.b64encode(column.astype(column.dtype.newbyteorder("<")).tobytes()).decode()
