"""``LocalFiles``: pictures and lists on the disks of this machine."""

from __future__ import annotations

import errno
import glob
import itertools
import os
import re
import stat
from collections.abc import Callable, Iterable
from pathlib import Path, PurePath
from typing import NoReturn

from jobs.errors import InputError, InputNotFoundError, StorageError
from jobs.inputs.data import InputData, InputStat, check_not_empty, check_size, input_data, is_shown
from jobs.inputs.formats import format_unread
from jobs.inputs.globs import escape_folders, first_wildcard, walk
from jobs.storage.base import local_path


class LocalFiles:
    """Files below a folder, or anywhere.

    Args:
        base: The folder that relative paths start at, absolute.
        max_bytes: Limit of every picture.
    """

    def __init__(self, base: Path, max_bytes: int) -> None:
        self.base = base
        self._max_bytes = max_bytes

    def read(self, uri: str) -> InputData:
        """Return a picture. Raises as ``Inputs.read``."""
        path, status = self.regular_file(uri)
        check_size(uri, status.st_size, self._max_bytes)
        try:
            return input_data(uri, path.read_bytes(), None, status.st_mtime)
        except OSError as error:
            _fail(error, uri, path)

    def stat(self, uri: str) -> InputStat | None:
        """Return a picture's size and time; None if there is none. Raises as ``Inputs.stat``."""
        path = self.path(uri)
        try:
            status = path.stat()
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                return None
            _fail(error, uri, path)
        except ValueError:  # a NUL in the name
            return None
        return InputStat(status.st_size, None, status.st_mtime)

    def check(self, uri: str) -> None:
        """Raise as ``read`` would, as far as that shows without reading."""
        path, status = self.regular_file(uri)
        check_size(uri, status.st_size, self._max_bytes)
        if not os.access(path, os.R_OK):
            raise InputError(_forbidden(uri))

    def regular_file(self, uri: str) -> tuple[Path, os.stat_result]:
        """Return the path and status of a file that is not empty.

        Raises:
            InputError: It is missing, empty, forbidden or a folder, or cannot be a name.
            StorageError: The disk does not answer.
        """
        path = self.path(uri)
        try:
            status = path.stat()
        except OSError as error:
            _fail(error, uri, path)
        except ValueError:  # a NUL in the name
            raise InputError(f"{uri!r} cannot be the name of a file.") from None
        if stat.S_ISDIR(status.st_mode):
            raise InputError(f"{uri} is a folder; name a picture in it.")
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{uri} is not a regular file.")
        check_not_empty(uri, status.st_size)
        return path, status

    def openable(self, uri: str) -> Path:
        """Return the path of a file that this user can read. Raises InputError, StorageError."""
        path = self.path(uri)
        try:
            path.open("rb").close()
        except OSError as error:
            _fail(error, uri, path)
        except ValueError:
            raise InputError(f"{uri!r} cannot be the name of a file.") from None
        return path

    def beside(self, uri: str, most: int) -> list[str]:
        """Return what is in the folder that a picture is in, or would be in; at most so many names."""
        folder = PurePath(self.spelling(uri)).parent
        try:
            with os.scandir(self.base / folder) as scan:
                names = [entry.name for entry in itertools.islice(scan, most)]
        except (OSError, ValueError):
            return []
        return [(folder / name).as_posix() for name in names]

    def folders_in(self, folder: str) -> list[str]:
        """Return the names of the folders in a folder, sorted. Raises InputError, StorageError."""
        try:
            with os.scandir(self.path(folder)) as scan:
                return sorted(entry.name for entry in scan if _is_folder(entry))
        except OSError as error:
            _fail(error, folder, self.path(folder))

    def is_folder(self, pattern: str) -> bool:
        """Return whether a pattern is a folder that exists."""
        return self.path(pattern).is_dir()

    def expand(self, pattern: str, wanted: Callable[[str], bool]) -> list[str]:
        """Expand a file, folder or glob to paths, sorted. Raises InputError.

        Args:
            pattern: The pattern.
            wanted: Returns whether a name is among those looked for.
        """
        name = self.spelling(pattern)
        is_glob = glob.has_magic(name)
        if (
            not is_glob
            and format_unread(name) is None
            and wanted(name)
            and not pattern.endswith("/")
        ):
            return [name]
        try:
            if (self.base / name).is_dir():
                return self._files_in(name, wanted)
            if pattern.endswith("/") and not is_glob:
                return []  # the slash says that it is a folder, and there is none
            if pattern.endswith("/"):
                return self._glob(f"{name}/*", wanted)
            if not is_glob or (self.base / name).exists():
                return [name]
            return self._glob(name, wanted)
        except PermissionError:
            raise InputError(f"Permission denied: cannot list {pattern}.") from None
        except (OSError, ValueError):  # too long a name, or a NUL in it: nothing can match
            return []

    def path(self, uri: str) -> Path:
        """Return the path that an address means. Raises InputError for an address of no known kind."""
        scheme, mark, _ = uri.partition("://")
        if mark and scheme != "file" and scheme.isalnum():
            raise InputError(
                f"Pictures cannot be read from {scheme}://; use a path, s3://bucket/key or https://."
            )
        try:
            return local_path(uri, self.base, users=False)
        except StorageError as error:
            raise InputError(str(error)) from None

    def spelling(self, pattern: str) -> str:
        """Return the one spelling of a path: ``./a.jpg`` and ``file:///base/a.jpg`` become ``a.jpg``.

        This is lexical: ``..`` stays, because behind a symbolic link it means another folder.

        Raises:
            InputError: It is of no known kind.
        """
        path = self.path(pattern)
        written = PurePath(pattern)
        if not (pattern.startswith("file://") or written.is_absolute() or "~" in written.parts[:1]):
            return written.as_posix()
        return (path.relative_to(self.base) if path.is_relative_to(self.base) else path).as_posix()

    def _files_in(self, folder: str, wanted: Callable[[str], bool]) -> list[str]:
        with os.scandir(self.base / folder) as scan:
            names = [
                e.name for e in scan if not _is_folder(e) and wanted(e.name) and is_shown(e.name)
            ]
        return sorted((PurePath(folder) / name).as_posix() for name in names)

    def _glob(self, pattern: str, wanted: Callable[[str], bool]) -> list[str]:
        # Path.glob would match hidden files.
        matches: Iterable[str]
        parts = PurePath(pattern).parts
        if "**" in parts:
            wild = first_wildcard(parts, lambda some: self.base.joinpath(*some).is_dir())
            matches = walk(self.base, PurePath(*parts[:wild]), parts[wild:])
        else:
            escaped = escape_folders(self.base, pattern)
            matches = glob.glob(escaped, root_dir=self.base)  # noqa: PTH207
        # A file "a.jpg" is matched by "a.jpg/**", too, as "a.jpg/".
        named = {path for path in matches if wanted(path) and not path.endswith("/")}
        files = {path for path in named if not (self.base / path).is_dir()}
        return sorted(PurePath(path).as_posix() for path in files)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself is no folder; as a picture it fails under its own name
        return False


def _fail(error: OSError, uri: str, path: Path) -> NoReturn:
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        if broken := broken_link(path):
            link = uri if broken == path else str(broken)
            raise InputNotFoundError(
                f"{link} is a link to {broken.readlink()}, which is not there; mend the link or remove it."
            ) from None
        where = "" if str(path) == uri else f" (looked for {path})"
        hint = "" if (variable := taken_literally(uri)) is None else f"; {variable}"
        raise InputNotFoundError(f"There is no file {uri}{where}{hint}.") from None
    if error.errno in (errno.EACCES, errno.EPERM):
        raise InputError(_forbidden(uri)) from None
    if error.errno in (errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL):
        raise InputError(f"{uri} cannot be opened: {os.strerror(error.errno)}.") from None
    raise StorageError(f"Cannot read {uri}: {error.strerror or error}.") from error


_VARIABLE = re.compile(r"\$(\w+|\{\w+\})", re.ASCII)


def taken_literally(uri: str) -> str | None:
    """Return that an environment variable in an address is not filled in, as the rest of a sentence; None: it
    has none."""
    variable = _VARIABLE.search(uri)
    return variable and (
        f"{variable[0]} is taken as it is written, because environment variables may be in output alone; "
        "write the path itself"
    )


def broken_link(path: Path) -> Path | None:
    """Return the part of a path that is a link to something that is not there; None: there is none."""
    for part in (*reversed(path.parents), path):
        if os.path.islink(part) and not os.path.exists(part):  # noqa: PTH110, PTH114 - raise nothing
            return part
    return None


def _forbidden(uri: str) -> str:
    return f"Permission denied: {uri} cannot be read by this user."
