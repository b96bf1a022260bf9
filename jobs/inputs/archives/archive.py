"""Archives of pictures: ``photos.tar::a.jpg`` is the member ``a.jpg`` of ``photos.tar``, read by range.

Only the list of members is read besides: of a tar the header before each, of a zip the directory at its end.
"""

from __future__ import annotations

import itertools
import lzma
import posixpath
import struct
import tarfile
import threading
import zipfile
import zlib
from abc import ABC, abstractmethod
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from jobs.errors import InputError, InputNotFoundError, printable
from jobs.inputs.archives.headers import entries_of
from jobs.inputs.archives.source import RangeFile, Source
from jobs.inputs.archives.unpacking import METHODS, unpack
from jobs.inputs.similar import nearest
from jobs.spec.films.film import is_film

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

MARK = "::"
"""What stands between an archive and its member."""

ENDINGS = (".tar", ".zip")
"""Extensions of archives whose members can be read one by one."""

TABLES = (".parquet",)
"""Extensions of tables with columns of pictures, ``data.parquet::image/7``."""

PACKED = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".7z", ".rar")
"""Extensions of archives that can be read only as a whole."""

MOST_MEMBERS = 1_000_000
"""Members of an archive."""

MOST_COMPARED = 2000
"""Members whose names are compared with a misspelt one."""

MOST_LINKS = 8
"""Links in a tar that lead to each other."""

MOST_PACKING = 1 << 20
"""Bytes by which packing may make a member of a zip larger."""

MOST_DIRECTORY = 1 << 27
"""Bytes of a zip's directory."""

ZIP_TAIL = 65_536
"""Bytes at the end of a zip in which its directory is looked for first."""


class Member(NamedTuple):
    """A picture in an archive."""

    archive: str
    """The archive's address."""
    name: str
    """The member's name."""


def member_of(uri: str) -> Member | None:
    """Return the archive and member that an address names; None if it names no member of an archive."""
    archive, mark, name = uri.partition(MARK)
    return Member(archive, name) if mark and (is_archive(archive) or is_film(archive)) else None


def stored_at(uri: str) -> str:
    """Return the address of what is stored: the archive of a member, else the address itself."""
    member = member_of(uri)
    return uri if member is None else member.archive


def names_archives(pattern: str) -> bool:
    """Return whether a pattern means pictures in archives, readable or not."""
    archive, mark, _ = pattern.partition(MARK)
    return archive.lower().endswith((*ENDINGS, *TABLES, *PACKED)) or bool(mark and is_film(archive))


def is_archive(name: str) -> bool:
    """Return whether a name has the extension of an archive that can be read, or of a table."""
    return name.lower().endswith((*ENDINGS, *TABLES))


def is_table(name: str) -> bool:
    """Return whether a name has the extension of a table."""
    return name.lower().endswith(TABLES)


def check_archive(name: str) -> None:
    """Raise InputError for an archive that can be read only as a whole."""
    archive = name.partition(MARK)[0].lower()
    if archive.endswith(PACKED):
        ending = next(ending for ending in PACKED if archive.endswith(ending))
        raise InputError(
            f"{name} is packed as a whole ({ending}), so no picture in it can be read by itself: unpack it, "
            "or pack it as .tar or .zip"
        )


class Members(ABC):
    """What lies in an archive or a table. Safe to share between threads."""

    uri: str
    """Its address, for messages."""
    source: Source
    """Its bytes."""

    @abstractmethod
    def names(self) -> Sequence[str]:
        """Return the names of its files, in the order in which a pattern yields them. Raises InputError."""

    @abstractmethod
    def holds(self, name: str) -> bool:
        """Return whether there is a member of a name."""

    @abstractmethod
    def size(self, name: str) -> int | None:
        """Return the bytes of a member that there is; None: that shows only when it is read."""

    @abstractmethod
    def read(self, name: str) -> bytes:
        """Return the bytes of a member that there is. Its size, if known, is for the caller to check before.

        Raises:
            InputError: The member is damaged, or packed in a way that cannot be read.
            StorageError: It cannot be read.
        """

    def rest(self) -> None:  # noqa: B027  # most keep nothing
        """Give back the memory that is kept to read on."""

    @abstractmethod
    def no_member(self, name: str) -> InputError:
        """Return the error for a member that is not there."""


class Archive(Members):
    """A tar or a zip with the list of its members.

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
        self._file = RangeFile(source)
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

    def names(self) -> Sequence[str]:
        return sorted(self._members)

    @property
    def _members(self) -> Collection[str]:
        return self._spans.keys() if self._zip is None else self._packed.keys()

    def holds(self, name: str) -> bool:
        return _plain(name) in self._members

    def size(self, name: str) -> int | None:
        name = _plain(name)
        return self._spans[name][1] if self._zip is None else self._packed[name].file_size

    def read(self, name: str) -> bytes:
        name = _plain(name)
        with self._understood():
            if self._zip is None:
                start, size = self._spans[name]
                data = self.source.read(start, size)
                if len(data) != size:
                    raise EOFError("it ends too early")
                return data
            info = self._packed[name]
            if info.flag_bits & 1:
                raise InputError(
                    f"{name} in {self.uri} is encrypted, which is not read: pack it without a password"
                )
            if info.compress_size > info.file_size + MOST_PACKING:
                raise ValueError(f"{name} takes more bytes packed than unpacked")
            with self._lock:  # one member at a time has its bytes at hand
                self._file.load(info.header_offset, info.compress_size + 4096)
                local = self._file.piece
                with self._zip.open(info) as file:
                    if info.compress_type not in METHODS:
                        return file.read(info.file_size)
                return unpack(info, local)

    def no_member(self, name: str) -> InputError:
        if not name or name.endswith("/"):
            return InputError(
                f"{self.uri}{MARK}{name} is a folder in an archive: write {self.uri}{MARK}{name}*"
            )
        if MARK in name:
            return InputError(
                f"{self.uri}{MARK}{name} is in an archive that is itself in one, where nothing is looked "
                "for: unpack the outer one"
            )
        near = nearest(name, itertools.islice(self._members, MOST_COMPARED))
        hint = "" if near is None else f"; is {near} meant?"
        return InputNotFoundError(f"There is no {name} in {self.uri}{hint}")

    def _read_directory(self) -> None:
        self._file.least = ZIP_TAIL
        self._file.most = MOST_DIRECTORY
        self._zip = zipfile.ZipFile(self._file)
        self._count(len(self._zip.filelist))
        files = (info for info in self._zip.filelist if not info.is_dir())
        self._packed = {_plain(info.filename): info for info in files}

    def _read_headers(self) -> None:
        links: dict[str, str] = {}
        entries = entries_of(self.source, at_once=self.source.is_remote)
        for number, entry in enumerate(entries, start=1):
            self._count(number)
            name = _plain(entry.name)
            # As when it is unpacked, the last of one name counts.
            if entry.link is not None:
                folder = posixpath.dirname(name) if entry.is_symlink else ""
                links[name] = posixpath.normpath(posixpath.join(folder, entry.link))
                if links[name] != name:
                    self._spans.pop(name, None)
            elif entry.is_file:
                self._spans[name] = (entry.data, entry.size)
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
