"""Archives of pictures: ``photos.tar::a.jpg`` is the member ``a.jpg`` of ``photos.tar``, read by range.

Only the list of members is read besides: of a tar the header before each, of a zip the directory at its end.
"""

from __future__ import annotations

import io
import itertools
import lzma
import posixpath
import struct
import tarfile
import threading
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Collection
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from jobs.errors import InputError, InputNotFoundError, printable
from jobs.inputs.similar import nearest

if TYPE_CHECKING:
    from collections.abc import Iterator

MARK = "::"
"""What stands between an archive and its member."""

ENDINGS = (".tar", ".zip")
"""Extensions of archives whose members can be read one by one."""

PACKED = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".7z", ".rar")
"""Extensions of archives that can be read only as a whole."""

MOST_MEMBERS = 1_000_000
"""Members of an archive."""

MOST_OPEN = 64
"""Archives whose lists of members are kept."""

MOST_COMPARED = 2000
"""Members whose names are compared with a misspelt one."""

MOST_LINKS = 8
"""Links in a tar that lead to each other."""

MOST_PACKING = 1 << 20
"""Bytes by which packing may make a member of a zip larger."""

ZIP_TAIL = 65_536
"""Bytes at the end of a zip in which its directory is looked for first."""


class Member(NamedTuple):
    """A picture in an archive."""

    archive: str
    """The archive's address."""
    name: str
    """The member's name."""


@dataclass(frozen=True, slots=True)
class Stored:
    """What is known of an archive besides its members."""

    size: int
    """Bytes."""
    etag: str | None
    """The server's ETag; None for files."""
    modified: float | None
    """Seconds since the epoch."""


class Source(ABC):
    """An archive's bytes, wherever they are."""

    stored: Stored

    @abstractmethod
    def read(self, start: int, size: int) -> bytes:
        """Return ``size`` bytes from ``start``; fewer at the end.

        Raises:
            StorageError: They cannot be read, or the archive was replaced.
        """


def member_of(uri: str) -> Member | None:
    """Return the archive and member that an address names; None if it names no member of an archive."""
    archive, mark, name = uri.partition(MARK)
    return Member(archive, name) if mark and is_archive(archive) else None


def stored_at(uri: str) -> str:
    """Return the address of what is stored: the archive of a member, else the address itself."""
    member = member_of(uri)
    return uri if member is None else member.archive


def names_archives(pattern: str) -> bool:
    """Return whether a pattern means pictures in archives, readable or not."""
    return pattern.partition(MARK)[0].lower().endswith((*ENDINGS, *PACKED))


def is_archive(name: str) -> bool:
    """Return whether a name has the extension of an archive that can be read."""
    return name.lower().endswith(ENDINGS)


def check_archive(name: str) -> None:
    """Raise InputError for an archive that can be read only as a whole."""
    archive = name.partition(MARK)[0].lower()
    if archive.endswith(PACKED):
        ending = next(ending for ending in PACKED if archive.endswith(ending))
        raise InputError(
            f"{name} is packed as a whole ({ending}), so no picture in it can be read by itself: unpack it, "
            "or pack it as .tar or .zip"
        )


class Archive:
    """An archive with the list of its members. Safe to share between threads.

    Args:
        uri: Its address, for messages.
        source: Its bytes.

    Raises:
        InputError: It is damaged, of another format, or has too many members.
        StorageError: It cannot be read.
    """

    def __init__(self, uri: str, source: Source) -> None:
        self.uri = uri
        self.source = source
        self._lock = threading.Lock()
        self._file = _RangeFile(source)
        self._zip: zipfile.ZipFile | None = None
        self._packed: dict[str, zipfile.ZipInfo] = {}
        """The members of a zip, by name."""
        self._spans: dict[str, tuple[int, int]] = {}
        """Where the bytes of a tar's members begin, and how many they are, by name."""
        with self._understood():
            if uri.lower().endswith(".zip"):
                self._read_directory()
            else:
                self._read_headers()

    def names(self) -> Collection[str]:
        """Return the names of its files, in no order."""
        return self._spans.keys() if self._zip is None else self._packed.keys()

    def size(self, name: str) -> int | None:
        """Return a member's size in bytes; None: there is no such member."""
        name = _plain(name)
        if name in self._packed:
            return self._packed[name].file_size
        return self._spans[name][1] if name in self._spans else None

    def read(self, name: str) -> bytes:
        """Return a member's bytes. Its size, which may be anything, is for the caller to check before.

        Raises:
            InputError: The member is damaged, or packed in a way that cannot be read.
            StorageError: It cannot be read.
        """
        name = _plain(name)
        with self._understood():
            if self._zip is None:
                start, size = self._spans[name]
                data = self.source.read(start, size)
                if len(data) != size:
                    raise EOFError("it ends too early")
                return data
            info = self._packed[name]
            if info.compress_size > info.file_size + MOST_PACKING:
                raise ValueError(f"{name} takes more bytes packed than unpacked")
            with self._lock:  # one member at a time has its bytes at hand
                self._file.load(info.header_offset, info.compress_size + 4096)
                with self._zip.open(info) as file:
                    return file.read(info.file_size)

    def _read_directory(self) -> None:
        self._file.least = ZIP_TAIL
        self._zip = zipfile.ZipFile(self._file)
        self._count(len(self._zip.filelist))
        files = (info for info in self._zip.filelist if not info.is_dir())
        self._packed = {_plain(info.filename): info for info in files}

    def _read_headers(self) -> None:
        links: dict[str, str] = {}
        with tarfile.TarFile(fileobj=self._file) as tar:
            while (info := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined]  # it would keep a megabyte for every thousand
                self._count(len(self._spans) + len(links) + 1)
                name = _plain(info.name)
                # As when it is unpacked, the last of one name counts.
                if info.islnk() or info.issym():
                    folder = posixpath.dirname(name) if info.issym() else ""
                    links[name] = posixpath.normpath(posixpath.join(folder, info.linkname))
                    if links[name] != name:
                        self._spans.pop(name, None)
                elif info.isreg() and info.sparse is None:
                    self._spans[name] = (info.offset_data, info.size)
                    links.pop(name, None)
        for name, target in links.items():
            for _ in range(MOST_LINKS):
                target = links.get(target, target)
            if target in self._spans:
                self._spans[name] = self._spans[target]

    def _count(self, members: int) -> None:
        if members > MOST_MEMBERS:
            raise InputError(
                f"{self.uri} has more than {MOST_MEMBERS:,} members; divide it into several archives"
            )

    @contextmanager
    def _understood(self) -> Iterator[None]:
        """Turn exceptions of the readers in the block into an InputError with one sentence."""
        try:
            yield
        except (
            *(tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
            *(EOFError, OSError, ValueError, LookupError, NotImplementedError, RuntimeError),
        ) as error:
            reason = printable(str(error).splitlines()[0] if str(error) else type(error).__name__)
            raise InputError(
                f"{self.uri} is damaged, or no archive that can be read ({reason})"
            ) from None


def _plain(name: str) -> str:
    """Return a member's name without the ``./`` that programs put before it."""
    while name.startswith("./"):
        name = name[2:]
    return name


class Archives:
    """The archives that were read last, each with its list of members. Safe to share between threads.

    Args:
        find: Returns the bytes of an archive by its address; called once until it changes.
    """

    def __init__(self, find: Callable[[str], Source]) -> None:
        self._find = find
        self._lock = threading.Lock()
        self._known: OrderedDict[str, Archive] = OrderedDict()
        self._opening: dict[str, threading.Lock] = {}

    def get(self, uri: str, is_same: Callable[[Stored], bool] = lambda _: True) -> Archive:
        """Return an archive, whose list of members is read if it is not known.

        Args:
            uri: Its address.
            is_same: Returns whether the archive that is known is still the one that is there.

        Raises:
            InputError, StorageError: As ``Archive``.
        """
        with self._lock:
            turn = self._opening.setdefault(uri, threading.Lock())
        with turn:
            known = self._known.get(uri)
            if known is None or not is_same(known.source.stored):
                known = Archive(uri, self._find(uri))
            with self._lock:
                self._known[uri] = known
                self._known.move_to_end(uri)
                while len(self._known) > MOST_OPEN:
                    old, _ = self._known.popitem(last=False)
                    self._opening.pop(old, None)
            return known

    def forget(self, uri: str) -> None:
        """Have an archive read anew, because it has changed."""
        with self._lock:
            self._known.pop(uri, None)


def no_member(archive: Archive, name: str) -> InputError:
    """Return the error for a member that is not there."""
    if not name or name.endswith("/"):
        return InputError(
            f"{archive.uri}{MARK}{name} is a folder in an archive: write {archive.uri}{MARK}{name}*"
        )
    if MARK in name:
        return InputError(
            f"{archive.uri}{MARK}{name} is in an archive that is itself in one, where nothing is looked for: "
            "unpack the outer one"
        )
    near = nearest(name, itertools.islice(archive.names(), MOST_COMPARED))
    hint = "" if near is None else f"; is {near} meant?"
    return InputNotFoundError(f"There is no {name} in {archive.uri}{hint}")


class _RangeFile(io.RawIOBase):
    """A source as a file that is read in pieces, of which the last one is kept."""

    def __init__(self, source: Source) -> None:
        super().__init__()
        self.least = 2048
        """Bytes of the smallest piece: a header with the attributes that may stand before it."""
        self._source = source
        self._size = source.stored.size
        self._at = 0
        self._start = 0
        self._piece = b""

    def load(self, start: int, size: int) -> None:
        """Read a piece, so that reads in it need no others."""
        self._start = max(0, min(start, self._size))
        self._piece = self._source.read(self._start, min(size, self._size - self._start))

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]
        want = min(len(view), self._size - self._at)
        if want <= 0:
            return 0
        if not self._start <= self._at <= self._at + want <= self._start + len(self._piece):
            size = max(want, self.least)
            # What is looked for at the end lies before it.
            start = self._at if self._at + size <= self._size else max(0, self._size - size)
            self.load(min(start, self._at), max(size, self._at + want - start))
        offset = self._at - self._start
        data = self._piece[offset : offset + want]
        view[: len(data)] = data
        self._at += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise OSError("it ends too early")
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True
