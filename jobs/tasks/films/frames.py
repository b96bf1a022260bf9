"""``Frames``: the frames of a film in order; ``Numbered``: names with a number in them."""

from __future__ import annotations

import glob
import hashlib
import itertools
import json
import posixpath
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import overload

from jobs.inputs.archives.archive import MARK
from jobs.spec.films.film import is_film
from jobs.spec.films.flow_names import PLACEHOLDER
from jobs.spec.films.frame_numbers import as_text

_DIGITS = re.compile(r"(.*?)(\d+)(\D*)", re.DOTALL)
"""The last number in a name."""

MISSING_SHOWN = 8
"""Numbers, or ranges of them, that an error names."""


@dataclass(frozen=True, slots=True)
class Numbered:
    """Names with a number in them: ``shots/a.####.png``."""

    head: str
    """What comes before the number."""
    width: int
    """The fewest digits of a number; shorter ones begin with zeros."""
    tail: str
    """What comes after it."""

    def name(self, number: int) -> str:
        """Return the name with this number."""
        return f"{self.head}{number:0{self.width}d}{self.tail}"

    @property
    def pattern(self) -> str:
        """The glob that matches all of these names, and others."""
        return f"{glob.escape(self.head)}*{glob.escape(self.tail)}"

    def number_in(self, name: str) -> int | None:
        """Return the number in a name; None: it is none of these names."""
        digits = name[len(self.head) : len(name) - len(self.tail)]
        if not (digits.isascii() and digits.isdigit()):
            return None
        return int(digits) if self.name(int(digits)) == name else None

    def __str__(self) -> str:
        return f"{self.head}{'#' * self.width}{self.tail}"


def find_number(written: str) -> tuple[str, int, str] | None:
    """Return (what comes before the number, its digits, what comes after it) in an address such as
    ``shots/a.%04d.png``; None: its last part has no place for a number, or has several."""
    name = posixpath.basename(written)
    found = list(PLACEHOLDER.finditer(name))
    if len(found) != 1:
        return None
    width = len(found[0][2] or "") or int(found[0][1] or 1)
    folder = written[: len(written) - len(name)]
    return folder + name[: found[0].start()], width, name[found[0].end() :]


def numbered_in(names: Sequence[str]) -> Numbered | None:
    """Return the one sequence whose names these are; None: they are of no or of several sequences."""
    matches = [_DIGITS.fullmatch(posixpath.basename(name)) for name in names]
    digits = [match[2] for match in matches if match is not None]
    if len(digits) < len(names) or not digits:
        return None
    padded = {len(d) for d in digits if d[0] == "0" and len(d) > 1}
    width = min(map(len, digits)) if padded else 1
    name, match = names[0], matches[0]
    assert match is not None
    folder = name[: len(name) - len(posixpath.basename(name))]
    one = Numbered(folder + match[1], width, match[3])
    return one if all(one.number_in(name) is not None for name in names) else None


def several_in(names: Sequence[str]) -> str | None:
    """Return what a folder has that is to have one sequence, as ``frames of a.#.png and of b.#.png``.

    None: there is none of three or more frames and no two of two, or all names are of one.

    Args:
        names: Names of pictures.
    """
    kinds: Counter[tuple[str, str] | str] = Counter()
    for name in map(posixpath.basename, names):
        match = _DIGITS.fullmatch(name)
        kinds[name if match is None else (match[1], match[3])] += 1
    (most, count), *others = kinds.most_common()
    if not others or (count < 3 and others[0][1] < 2):
        return None
    other = others[0][0]
    shown = f"also {other}" if isinstance(other, str) else f"of {other[0]}#{other[1]}"
    more = f" and {len(others) - 1:,} more" if len(others) > 1 else ""
    return f"frames of {most[0]}#{most[1]} and {shown}{more}"


class _Names(Sequence[str]):
    """The names of numbered frames, made when they are asked for: there may be millions."""

    def __init__(self, numbered: Numbered, numbers: Sequence[int]) -> None:
        self._numbered = numbered
        self._numbers = numbers

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, at: int) -> str: ...

    @overload
    def __getitem__(self, at: slice) -> Sequence[str]: ...

    def __getitem__(self, at: int | slice) -> str | Sequence[str]:
        if isinstance(at, slice):
            return _Names(self._numbered, self._numbers[at])
        return self._numbered.name(self._numbers[at])


@dataclass(frozen=True)
class Frames:
    """The frames of a film, in order."""

    name: str
    """What the film is called in the names of pictures."""
    numbers: Sequence[int]
    """The frames' numbers as the source counts, ascending: those in their names, or from 1 in a folder whose
    names are no sequence."""
    uris: Sequence[str]
    """Their addresses."""
    numbered: Numbered | None
    """Their names; None: they are no sequence."""

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def file(self) -> str | None:
        """The address of the film file that they are in; None: they are files of their own."""
        head = "" if self.numbered is None else self.numbered.head
        file = head.removesuffix(MARK)
        return file if file != head and is_film(file) else None

    @cached_property
    def id(self) -> str:
        """The film's id: the same for the same frames, whichever number the last one has, in every job."""
        steps = {b - a for a, b in itertools.pairwise(self.numbers)}
        what: object
        if self.numbered is not None and len(steps) <= 1:
            what = [self.numbered.head, self.numbered.tail, self.uris[0], *(steps or {1})]
        else:
            what = list(self.uris)
        text = json.dumps(what, ensure_ascii=False)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def named_frames(numbered: Numbered, numbers: Sequence[int]) -> Frames:
    """Return frames of a sequence.

    Args:
        numbered: Their names.
        numbers: Their numbers, ascending.
    """
    return Frames(_film_name(numbered), numbers, _Names(numbered, numbers), numbered)


def listed_frames(folder: str, uris: Sequence[str]) -> Frames:
    """Return frames whose names are no sequence; they are numbered from 1.

    Args:
        folder: The address of their folder.
        uris: Their addresses, in order.
    """
    name = posixpath.basename(folder.rstrip("/")) or "film"
    return Frames(name, range(1, len(uris) + 1), uris, None)


def in_natural_order(uris: Iterable[str]) -> list[str]:
    """Return names in the order in which people count: a2 before a10."""

    def key(uri: str) -> list[tuple[int, int, str]]:
        parts = re.split(r"(\d+)", uri)
        return [
            (1, int(part), part) if k % 2 and part.isascii() else (0, 0, part)
            for k, part in enumerate(parts)
        ]

    return sorted(uris, key=key)


def missing_text(numbers: Iterable[int]) -> str:
    """Return missing frames in the words of an error, such as 1005,1007-1009; ``numbers`` ascend."""
    return as_text(numbers, MISSING_SHOWN)


def _film_name(numbered: Numbered) -> str:
    """Return what is left of a sequence's name without number: ``shots/a.####.png`` -> ``a``."""
    if numbered.head.endswith(MARK):  # a film file
        return posixpath.splitext(posixpath.basename(numbered.head[: -len(MARK)]))[0] or "film"
    folder, name = posixpath.split(numbered.head)
    bare = name.rstrip("._- ") or posixpath.splitext(f"-{numbered.tail}")[0].strip("._- ")
    return bare or posixpath.basename(folder.rpartition("::")[2] or folder) or "film"
