"""``entries_of``: the headers of a tar, in order; those of a large one on S3 at several places at once.

Each header says where the next one is, so that a shard of ten thousand pictures takes ten thousand requests
one after the other: minutes. But a header can also be found by its looks (``ustar`` and its checksum), from
any place. What begins at such a place is used only if the chain of headers before arrives there: bytes of a
member may look like a header, too.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

from jobs.inputs.archives.source import MOST_THROUGH, RangeFile, Source

BLOCK = tarfile.BLOCKSIZE

MOST_HEADER = 1 << 22
"""Bytes of a header, with the attributes that belong to it."""

PROBE = 64
"""Headers that are read before it is decided how to go on."""

PLACES = 8
"""Places at which headers are read at once: connections to S3."""

LEAST_HEADERS = 50
"""Headers for which another place is worth it."""

MOST_SEARCHED = 1 << 20
"""Bytes in which a header is looked for."""

WINDOW = 1 << 16
"""Bytes of them that are read at a time."""


class Entry(NamedTuple):
    """A member of a tar, as its header has it."""

    offset: int
    """Where its header begins, or the attributes before that."""
    name: str
    data: int
    """Where its bytes begin."""
    size: int
    """Its bytes."""
    is_file: bool
    link: str | None
    """The name that a link leads to; None: it is none."""
    is_symlink: bool


def entries_of(source: Source, *, at_once: bool) -> Iterator[Entry]:
    """Yield the headers of a tar in order.

    Args:
        source: Its bytes.
        at_once: Whether to read at several places at once where that saves time: a read takes long.

    Raises:
        tarfile.TarError, OSError, ValueError: It is damaged, or no tar.
        StorageError: It cannot be read.
    """
    chain = _Chain(source, 0)
    offset = 0
    for number, entry in enumerate(chain, start=1):
        yield entry
        offset = entry.offset
        if at_once and number == PROBE:
            stride = offset // (PROBE - 1)
            places = min(PLACES, (source.stored.size - offset) // max(1, stride) // LEAST_HEADERS)
            if stride > MOST_THROUGH and places > 1:
                break
    else:
        return
    yield from _at_several(source, chain.next, places)


def _at_several(source: Source, start: int, places: int) -> Iterator[Entry]:
    """Yield the headers from one on, whose place is known, read at several places at once."""
    size = source.stored.size
    aims = [start + (size - start) * k // places for k in range(1, places)]
    with ThreadPoolExecutor(places, thread_name_prefix="headers") as threads:
        found = threads.map(lambda aim: _find_header(source, aim), aims)
        starts = sorted({start, *(place for place in found if place is not None and place > start)})
        stops = [*starts[1:], size]
        pieces = threads.map(
            lambda span: _Piece.read(source, *span), zip(starts, stops, strict=True)
        )
        at = start
        for piece in pieces:
            if at not in piece.by_offset:
                # Bytes only looked like a header there, or attributes stand before it: the chain goes on by
                # itself until it comes to one of the piece's headers.
                following = None
                for entry in _Chain(source, at):
                    if entry.offset in piece.by_offset or entry.offset >= piece.stop:
                        following = entry.offset
                        break
                    yield entry
                if following is None:
                    return
                at = following
            if at in piece.by_offset:
                yield from piece.entries[piece.by_offset[at] :]
                if piece.next is None:
                    return
                at = piece.next
    yield from _Chain(source, at)


@dataclass(frozen=True)
class _Piece:
    """Headers from a place on, up to another."""

    entries: list[Entry]
    by_offset: dict[int, int]
    """The index of each, by its offset."""
    stop: int
    next: int | None
    """Where the header after the last one begins; None: the archive ends, or what follows is no header."""

    @classmethod
    def read(cls, source: Source, start: int, stop: int) -> _Piece:
        chain, entries = _Chain(source, start), list[Entry]()
        following: int | None = None
        try:
            for entry in chain:
                if entry.offset >= stop:
                    following = entry.offset
                    break
                entries.append(entry)
        except (tarfile.TarError, OSError, ValueError):
            if entries:  # the chain goes on from the last one, and comes to the same
                following = entries.pop().offset
        return cls(entries, {entry.offset: k for k, entry in enumerate(entries)}, stop, following)


class _Chain:
    """The headers of a tar from a place on, each of which says where the next is."""

    def __init__(self, source: Source, start: int) -> None:
        self._file = RangeFile(source)
        self._file.most = MOST_HEADER
        self._file.seek(start)
        self._size = source.stored.size
        self.next = start
        """Where the next header begins."""

    def __iter__(self) -> Iterator[Entry]:
        if self.next > self._size:  # which is looked at between headers, but not before the first
            raise tarfile.ReadError("unexpected end of data")
        with tarfile.TarFile(fileobj=self._file) as tar:
            while (info := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined]  # it would keep a megabyte for every thousand
                if info.size < 0:  # the next header would be one before this
                    raise ValueError(f"a member has {info.size:,} bytes")
                self.next = tar.offset
                yield Entry(
                    info.offset,
                    info.name,
                    info.offset_data,
                    info.size,
                    info.isreg() and info.sparse is None,
                    info.linkname if info.islnk() or info.issym() else None,
                    info.issym(),
                )


def _find_header(source: Source, aim: int) -> int | None:
    """Return the first place from ``aim`` on at which bytes look like a header; None: none is near."""
    first = -(-aim // BLOCK) * BLOCK
    for at in range(first, min(first + MOST_SEARCHED, source.stored.size), WINDOW):
        data = source.read(at, WINDOW)
        for k in range(0, len(data) - BLOCK + 1, BLOCK):
            if data[k + 257 : k + 262] == b"ustar" and _is_header(data[k : k + BLOCK]):
                return at + k
    return None


def _is_header(block: bytes) -> bool:
    try:
        tarfile.TarInfo.frombuf(block, tarfile.ENCODING, "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True
