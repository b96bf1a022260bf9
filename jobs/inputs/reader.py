"""Where pictures come from: paths, globs and folders, ``s3://`` and ``https://``.

Whose fault an error is decides what becomes of the task. A picture that is missing, too large or forbidden is
the user's fault: InputError, never retried. A store or server that does not answer is the machine's:
StorageError, retried.
"""

from __future__ import annotations

import errno
import glob
import hashlib
import itertools
import os
import posixpath
import re
import ssl
import stat
import threading
from collections.abc import Callable, Container
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, NoReturn

from jobs.errors import (
    AddressError,
    InputError,
    InputNotFoundError,
    ObjectNotFoundError,
    StorageError,
)
from jobs.inputs.addresses import display, is_web
from jobs.inputs.archives import (
    MARK,
    Archive,
    Archives,
    Member,
    Source,
    Stored,
    check_archive,
    is_archive,
    member_of,
    names_archives,
    no_member,
)
from jobs.inputs.formats import Unread, check_format, format_unread
from jobs.inputs.globs import escape_folders, first_wildcard, matches_glob
from jobs.inputs.web import download, too_large
from jobs.storage import keys
from jobs.storage.addresses import fault_of, split_url
from jobs.storage.authorities import trusting
from jobs.storage.base import StorageOptions, local_path, resolve_options
from jobs.storage.scratch import scratch_errors

if TYPE_CHECKING:
    from jobs.storage.s3 import S3Storage

MAX_BYTES = 256 * 1024 * 1024
"""Default limit of one picture, in bytes as it is stored."""


@dataclass(frozen=True, slots=True)
class InputData:
    """A picture's bytes, and the values by which a later change shows."""

    uri: str = field(repr=False)  # may hold a signature, see display()
    """The address that was read."""
    data: bytes = field(repr=False)
    """The file, not decoded; not empty."""
    sha256: str
    """Hex digest of ``data``."""
    size: int
    """Bytes."""
    etag: str | None
    """The server's ETag; None for files, and where the server gives none."""
    modified: float | None
    """Seconds since the epoch; None where the server does not say."""


@dataclass(frozen=True, slots=True)
class InputStat:
    """The values by which a change of a picture shows, without its bytes."""

    size: int
    """Bytes."""
    etag: str | None
    """The server's ETag; None for files, and where the server gives none."""
    modified: float | None
    """Seconds since the epoch."""


class Inputs:
    """Reads the pictures of one job. Safe to share between threads, and to pickle.

    Args:
        base: The folder that relative paths start at: the job file's.
        options: How to reach S3, and whose certificates to trust on the web, too.
        allow_private: Fetch ``http(s)://`` pictures from private addresses, too. False by default, because a
            job file could make a farm fetch what only the farm can see.
        max_bytes: Limit of every picture.
        own: The pictures that the job itself has made, which ``expand`` leaves out; None: there are none.
    """

    def __init__(
        self,
        base: Path,
        options: StorageOptions | None = None,
        *,
        allow_private: bool = False,
        max_bytes: int = MAX_BYTES,
        own: Container[str] | None = None,
    ) -> None:
        self.base = base.absolute()
        self.options = resolve_options(options, self.base)
        self.allow_private = allow_private
        self.max_bytes = max_bytes
        self.own: Container[str] = () if own is None else own
        self.left_out = 0
        """The job's own pictures that ``expand`` has left out, each as often as a pattern matched it."""
        self.of_others: dict[str, int] = {}
        """Pictures in outputs of other jobs that globs have come upon and left out, by output."""
        self.unread = Unread()
        """Pictures of formats that are not read, which patterns match and ``expand`` leaves out."""
        self._archives = Archives(self._find_archive)
        self._buckets: dict[str, S3Storage] = {}
        self._trusting: ssl.SSLContext | None = None
        self._lock = threading.Lock()

    def read(self, uri: str) -> InputData:
        """Read one picture.

        Args:
            uri: A path, ``file://``, ``s3://`` or ``http(s)://`` address; no pattern.

        Returns:
            Its bytes, size, digest, ETag and time.

        Raises:
            InputError: The picture is missing, empty, too large or forbidden, or the address is malformed.
            StorageError: The disk, store or server does not answer; a retry may succeed.
        """
        if (member := member_of(uri)) is not None:
            return self._read_member(uri, member)
        if uri.startswith("s3://"):
            return self._read_s3(uri)
        if is_web(uri):
            return _input_data(
                uri, *download(uri, self.max_bytes, self.allow_private, self._authorities())
            )
        return self._read_file(uri)

    def stat(self, uri: str) -> InputStat | None:
        """Return the size, ETag and time of a picture on a disk or on S3, without reading it.

        Args:
            uri: A path, ``file://`` or ``s3://`` address; no pattern.

        Returns:
            None when there is no such picture.

        Raises:
            InputError: The picture cannot be inspected, or is on the web, whose servers answer unreliably.
            StorageError: The disk or store does not answer; a retry may succeed.
        """
        if is_web(uri):
            raise InputError(
                f"{display(uri)} is not inspected: what web servers say about their files is not reliable."
            )
        if (member := member_of(uri)) is not None:
            return self._stat_member(member)
        if uri.startswith("s3://"):
            bucket, key = _split_s3(uri)
            there = self._bucket(bucket).stat(key)
            if there is None:
                return None
            return InputStat(there.size, there.etag or None, there.modified)
        path = self._path(uri)
        try:
            status = path.stat()
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                return None
            _fail_local(error, uri, path)
        except ValueError:  # a NUL in the name
            return None
        return InputStat(status.st_size, None, status.st_mtime)

    def check(self, uri: str) -> None:
        """Raise as ``read`` would, as far as that shows without reading the picture.

        Args:
            uri: A path, ``file://`` or ``s3://`` address; no pattern.

        Of an archive on S3, only whether it is there is looked at.

        Raises:
            InputError: The picture is missing, empty, too large or forbidden, or the address is malformed.
            StorageError: The disk or store does not answer; a retry may succeed.
        """
        if (member := member_of(uri)) is not None:
            self._check_member(uri, member)
            return
        if not uri.startswith("s3://"):
            path, _ = self._regular_file(uri)
            if not os.access(path, os.R_OK):
                raise InputError(_forbidden(uri))
            return
        self._named_s3(uri)
        there = self.stat(uri)
        if there is None:
            raise no_object(uri)
        _check_not_empty(uri, there.size)
        self._check_size(uri, there.size)

    def beside(self, uri: str, most: int) -> list[str]:
        """Return what is in the folder or S3 prefix that a picture is in, or would be in.

        Args:
            uri: A path, ``file://`` or ``s3://`` address, of a picture that may be missing.
            most: The largest number of names to return.

        Returns:
            Addresses as ``expand`` spells them, in no order; none where there is no such folder.

        Raises:
            InputError: The address is malformed.
            StorageError: The store cannot be listed.
        """
        if uri.startswith("s3://"):
            bucket, key = _split_s3(uri)
            listing = self._bucket(bucket).list(key[: key.rfind("/") + 1], deep=False)
            return [f"s3://{bucket}/{entry.key}" for entry in itertools.islice(listing, most)]
        folder = PurePath(self._relative(uri)).parent
        try:
            with os.scandir(self.base / folder) as scan:
                names = [entry.name for entry in itertools.islice(scan, most)]
        except (OSError, ValueError):
            return []
        return [(folder / name).as_posix() for name in names]

    def local_copy(self, uri: str, folder: Path) -> Path:
        """Return the path of a file of any size on this disk.

        Args:
            uri: A path, ``file://`` or ``s3://`` address.
            folder: Where the copy of an ``s3://`` object is written.

        Returns:
            The file itself, or its copy.

        Raises:
            InputError: The file is missing or forbidden, or on the web.
            StorageError: The disk or store does not answer; a retry may succeed.
        """
        if is_web(uri):
            raise InputError(
                f"{display(uri)} cannot be read from the web; copy it to a folder or to s3://."
            )
        if not uri.startswith("s3://"):
            path = self._path(uri)
            try:
                path.open("rb").close()
            except OSError as error:
                _fail_local(error, uri, path)
            except ValueError:
                raise InputError(f"{uri!r} cannot be the name of a file.") from None
            return path
        bucket, key = _split_s3(uri)
        copy = folder / f"{hashlib.sha256(uri.encode()).hexdigest()[:16]}-{PurePath(key).name}"
        try:
            with scratch_errors(f"a copy of {uri}"), copy.open("wb") as file:
                self._bucket(bucket).download(key, file)
        except ObjectNotFoundError:
            raise InputNotFoundError(f"There is no object {uri}.") from None
        return copy

    def expand(self, pattern: str, wanted: Callable[[str], bool] | None = None) -> list[str]:
        """Expand a pattern to addresses for ``read``.

        Args:
            pattern: A file, a folder (its pictures, not those of folders in it), a glob, an ``s3://`` prefix
                that ends in ``/``, an ``s3://`` glob, or a web address. An archive, or a glob of archives,
                means their pictures, or those that a glob behind ``::`` matches.
            wanted: Returns whether a name is among those looked for; None: ``is_picture``.

        Returns:
            Addresses, sorted; none when nothing matches. Paths below ``base`` are relative to it, with ``/``,
            because they are hashed into task ids. A wanted name without ``* ? [`` is returned as it is,
            whether it exists or not, so that a long list costs no access to the disk. What a folder, prefix
            or glob has of ``own`` is left out.

        Raises:
            InputError: A folder is forbidden, the address is of no known kind, or a picture that is named by
                itself is of a format that is not read.
            StorageError: The store cannot be listed.
        """
        if wanted is None and not is_web(pattern) and names_archives(pattern):
            return self._expand_archives(pattern)
        wanted = wanted or self.unread.is_picture
        alone = [self.spelling(pattern)]
        if is_web(pattern):
            return alone
        s3 = pattern.startswith("s3://")
        names = self._expand_s3(pattern, wanted) if s3 else self._expand_local(pattern, wanted)
        if names == alone:
            if not s3 and _VARIABLE.search(pattern) and not os.path.lexists(self._path(pattern)):
                raise InputError(f"{pattern} {_literally(pattern)}")
            if wanted == self.unread.is_picture:
                check_format(pattern)
            return names
        if not names and (advice := _literally(pattern)):
            raise InputError(f"{pattern} {advice}")
        kept = [name for name in names if name not in self.own]
        self.left_out += len(names) - len(kept)
        return self._without_outputs(kept, pattern) if glob.has_magic(pattern) else kept

    def is_folder(self, pattern: str) -> bool:
        """Return whether a pattern is a folder that exists, or an ``s3://`` prefix: it ends in ``/``."""
        if pattern.startswith("s3://"):
            return pattern.endswith("/") and not glob.has_magic(pattern)
        return not is_web(pattern) and self._path(pattern).is_dir()

    def folders_in(self, folder: str) -> list[str]:
        """Return the names of the folders in a folder, sorted.

        Args:
            folder: A folder that exists, or an ``s3://`` prefix that ends in ``/``.

        Raises:
            InputError: The folder is forbidden.
            StorageError: The store cannot be listed.
        """
        if folder.startswith("s3://"):
            bucket, key = _split_s3(folder)
            return sorted(self._bucket(bucket).folders(key))
        try:
            with os.scandir(self._path(folder)) as scan:
                return sorted(entry.name for entry in scan if _is_folder(entry))
        except OSError as error:
            _fail_local(error, folder, self._path(folder))

    def _without_outputs(self, names: list[str], pattern: str) -> list[str]:
        """Return the names that a glob matches, without those in outputs that it only comes upon.

        A glob that begins inside of an output means its pictures; one that begins above it means photos.
        """
        written = self.spelling(pattern)
        outputs: dict[str, bool] = {}
        kept = []
        for name in names:
            output, kind = posixpath.split(posixpath.dirname(name))
            if f"{kind}/" not in (keys.IMAGES, keys.KEPT) or written.startswith(f"{output}/"):
                kept.append(name)
                continue
            if output not in outputs:
                outputs[output] = self._is_output(output)
            if outputs[output]:
                self.of_others[output] = self.of_others.get(output, 0) + 1
            else:
                kept.append(name)
        return kept

    def _is_output(self, folder: str) -> bool:
        """Return whether a run of a job has written to a folder or prefix."""
        if folder.startswith("s3://"):
            bucket, key = _split_s3(folder)
            return self._bucket(bucket).stat(f"{key}/{keys.JOB}".lstrip("/")) is not None
        root = self.base / folder
        return (root / keys.JOB).is_file() and (root / keys.RECORDS).is_dir()

    def spelling(self, uri: str) -> str:
        """Return an address, or a pattern, in the spelling of ``expand``, without access to the disk.

        Raises InputError for an address of no known kind.
        """
        if uri.startswith("s3://") or is_web(uri):
            return uri
        if fault := fault_of(uri):
            raise InputError(
                f"{uri} {fault}" if uri.strip() else "An empty address names no picture."
            )
        return self._relative(uri)

    # Archives

    def _expand_archives(self, pattern: str) -> list[str]:
        """Return the pictures of the archives that a pattern names, as far as what follows ``::`` matches."""
        check_archive(pattern)
        written, mark, inside = pattern.partition(MARK)
        if mark and not glob.has_magic(pattern):
            check_format(pattern)
            return [self.spelling(pattern)]
        found = self.expand(written, is_archive)
        if found == [self.spelling(written)]:
            self._archive(found[0])  # says it if there is none
        parts = (inside or "**/*").split("/")
        names = []
        for uri in found:
            archive = self._archive(uri)
            for name in sorted(archive.names()):
                if _is_shown(name, lambda _: True) and matches_glob(name.split("/"), parts):
                    address = f"{uri}{MARK}{name}"
                    if self.unread.is_picture(address):
                        names.append(address)
        return names

    def _archive(self, uri: str) -> Archive:
        """Return an archive. Raises InputError, StorageError."""
        if is_web(uri):
            raise InputError(
                f"{display(uri)} is an archive on the web: copy it to a folder or to s3://, where pictures "
                "in it can be read one by one"
            )
        if not uri.startswith("s3://"):
            _, status = self._regular_file(uri, limited=False)
            stored = Stored(status.st_size, None, status.st_mtime)
            return self._archives.get(uri, lambda known: known == stored)
        return self._archives.get(uri)

    def _find_archive(self, uri: str) -> Source:
        from jobs.inputs.sources import FileSource, ObjectSource  # botocore is slow to import

        if not uri.startswith("s3://"):
            path, status = self._regular_file(uri, limited=False)
            return FileSource(path, Stored(status.st_size, None, status.st_mtime))
        bucket, key = self._named_s3(uri)
        there = self._bucket(bucket).stat(key)
        if there is None:
            raise no_object(uri)
        return ObjectSource(self._bucket(bucket), there)

    def _archive_with(self, uri: str, member: Member) -> Archive:
        """Return the archive of a member that is there and neither empty nor too large. Raises as ``check``."""
        archive = self._archive(member.archive)
        size = archive.size(member.name)
        if size is None:
            raise no_member(archive, member.name)
        _check_not_empty(uri, size)
        self._check_size(uri, size)
        return archive

    def _read_member(self, uri: str, member: Member) -> InputData:
        archive = self._archive_with(uri, member)
        try:
            data = archive.read(member.name)
        except StorageError:
            self._archives.forget(
                member.archive
            )  # it may have been replaced: another try looks again
            raise
        stored = archive.source.stored
        return _input_data(uri, data, stored.etag, stored.modified)

    def _stat_member(self, member: Member) -> InputStat | None:
        there = self.stat(member.archive)
        if there is None:
            return None
        archive = self._archive(member.archive)
        if archive.source.stored.etag != there.etag:
            self._archives.forget(member.archive)
            archive = self._archive(member.archive)
        size = archive.size(member.name)
        return None if size is None else InputStat(size, there.etag, there.modified)

    def _check_member(self, uri: str, member: Member) -> None:
        if member.archive.startswith("s3://"):
            if self.stat(member.archive) is None:
                raise no_object(member.archive)
            return
        self._archive_with(uri, member)

    # Files

    def _read_file(self, uri: str) -> InputData:
        path, status = self._regular_file(uri)
        try:
            return _input_data(uri, path.read_bytes(), None, status.st_mtime)
        except OSError as error:
            _fail_local(error, uri, path)

    def _regular_file(self, uri: str, *, limited: bool = True) -> tuple[Path, os.stat_result]:
        """Return the path and status of a file that may be a picture, or an archive. Raises as ``check``."""
        path = self._path(uri)
        try:
            status = path.stat()
        except OSError as error:
            _fail_local(error, uri, path)
        except ValueError:  # a NUL in the name
            raise InputError(f"{uri!r} cannot be the name of a file.") from None
        if stat.S_ISDIR(status.st_mode):
            raise InputError(f"{uri} is a folder; name a picture in it.")
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{uri} is not a regular file.")
        _check_not_empty(uri, status.st_size)
        if limited:
            self._check_size(uri, status.st_size)
        return path, status

    def _expand_local(self, pattern: str, wanted: Callable[[str], bool]) -> list[str]:
        name = self._relative(pattern)
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

    def _files_in(self, folder: str, wanted: Callable[[str], bool]) -> list[str]:
        with os.scandir(self.base / folder) as scan:
            names = [e.name for e in scan if not _is_folder(e) and _is_shown(e.name, wanted)]
        return sorted((PurePath(folder) / name).as_posix() for name in names)

    def _glob(self, pattern: str, wanted: Callable[[str], bool]) -> list[str]:
        # Path.glob would match hidden files.
        escaped = escape_folders(self.base, pattern)
        matches = glob.glob(escaped, root_dir=self.base, recursive=True)  # noqa: PTH207
        # A file "a.jpg" is matched by "a.jpg/**", too, as "a.jpg/".
        named = {path for path in matches if wanted(path) and not path.endswith("/")}
        files = {path for path in named if not (self.base / path).is_dir()}
        return sorted(PurePath(path).as_posix() for path in files)

    def _path(self, uri: str) -> Path:
        scheme, mark, _ = uri.partition("://")
        if mark and scheme != "file" and scheme.isalnum():
            raise InputError(
                f"Pictures cannot be read from {scheme}://; use a path, s3://bucket/key or https://."
            )
        try:
            return local_path(uri, self.base, users=False)
        except StorageError as error:
            raise InputError(str(error)) from None

    def _relative(self, pattern: str) -> str:
        """Return the one spelling of a path: ``./a.jpg`` and ``file:///base/a.jpg`` become ``a.jpg``.

        This is lexical: ``..`` stays, because behind a symbolic link it means another folder.
        """
        path = self._path(pattern)
        written = PurePath(pattern)
        if not (pattern.startswith("file://") or written.is_absolute() or "~" in written.parts[:1]):
            return written.as_posix()
        return (path.relative_to(self.base) if path.is_relative_to(self.base) else path).as_posix()

    # S3

    def _read_s3(self, uri: str) -> InputData:
        bucket, key = self._named_s3(uri)
        try:
            info, data = self._bucket(bucket).fetch(key, at_most=self.max_bytes)
        except ObjectNotFoundError:
            raise no_object(uri) from None
        self._check_size(uri, info.size)
        assert data is not None  # left out only above the size just checked
        return _input_data(uri, data, info.etag or None, info.modified)

    def _named_s3(self, uri: str) -> tuple[str, str]:
        """Return bucket and key of a picture. Raises InputError for a folder."""
        bucket, key = _split_s3(uri)
        if not key or key.endswith("/"):
            raise InputError(f"{uri} is a folder; name a picture in it.")
        return bucket, key

    def _expand_s3(self, pattern: str, wanted: Callable[[str], bool]) -> list[str]:
        name, key = _split_s3(pattern)
        if glob.has_magic(key):
            keys = _glob_s3(self._bucket(name), key, wanted)
        elif key and not key.endswith("/"):
            return [pattern]
        else:
            keys = _keys_in(self._bucket(name), key, wanted)
        return sorted(f"s3://{name}/{key}" for key in keys)

    def _bucket(self, name: str) -> S3Storage:
        from jobs.storage.s3 import S3Storage  # here, because botocore is slow to import

        with self._lock:
            if name not in self._buckets:
                self._buckets[name] = S3Storage(f"s3://{name}", self.options)
            return self._buckets[name]

    def _authorities(self) -> ssl.SSLContext | None:
        with self._lock:
            if self._trusting is None and self.options.ca_bundle is not None:
                self._trusting = trusting(self.options.ca_bundle)
            return self._trusting

    def _check_size(self, uri: str, size: int) -> None:
        if size > self.max_bytes:
            raise InputError(too_large(uri, self.max_bytes, size))

    def __getstate__(self) -> dict[str, object]:
        own = ("_archives", "_lock")
        kept = {name: value for name, value in self.__dict__.items() if name not in own}
        return {**kept, "_buckets": {}, "_trusting": None}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state, _archives=Archives(self._find_archive), _lock=threading.Lock())


def _keys_in(bucket: S3Storage, prefix: str, wanted: Callable[[str], bool]) -> list[str]:
    """Return the keys below a prefix that ends in ``/``, or is empty, without those of folders in it."""
    listing = bucket.list(prefix, deep=False)
    return [entry.key for entry in listing if _is_shown(entry.key, wanted)]


def _glob_s3(bucket: S3Storage, pattern: str, wanted: Callable[[str], bool]) -> list[str]:
    """Return the keys that a pattern with wildcards matches."""
    parts = pattern.split("/")
    wild = first_wildcard(parts, lambda folders: bucket.has("/".join(folders) + "/"))
    if not parts[-1]:
        if wild == len(parts) - 1:  # all of it exists as it is written
            return _keys_in(bucket, pattern, wanted)
        parts[-1] = "*"
    above = "".join(f"{part}/" for part in parts[:wild])
    start = re.split(r"[*?\[]", "/".join(parts[wild:]), maxsplit=1)[0]
    matches = []
    for entry in bucket.list(above + start):
        if entry.key == pattern:
            return [pattern]
        if entry.key.startswith(f"{pattern}/"):
            return _keys_in(bucket, f"{pattern}/", wanted)
        if wanted(entry.key) and matches_glob(entry.key.split("/")[wild:], parts[wild:]):
            matches.append(entry.key)
    return matches


_VARIABLE = re.compile(r"\$(\w+|\{\w+\})", re.ASCII)


def _literally(pattern: str) -> str | None:
    """Return what somebody may have meant by a pattern that matches nothing; None: it does not show."""
    if variable := _VARIABLE.search(pattern):
        return (
            f"matches nothing: {variable[0]} is taken as it is written, because environment variables may be "
            "in output alone; write the path itself"
        )
    if "\\" in pattern and os.name != "nt":
        return "matches nothing: write / between folders, not a backslash"
    return None


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself is no folder; as a picture it fails under its own name
        return False


def _is_shown(key: str, wanted: Callable[[str], bool]) -> bool:
    name = PurePath(key).name
    return wanted(name) and not name.startswith(".")


def no_object(uri: str) -> InputNotFoundError:
    """Return the error for an ``s3://`` address without an object."""
    return InputNotFoundError(f"There is no object {uri}; if a folder is meant, end it with '/'.")


def _check_not_empty(uri: str, size: int) -> None:
    if not size:
        raise InputError(f"{display(uri)} is empty (0 bytes).")


def _input_data(uri: str, data: bytes, etag: str | None, modified: float | None) -> InputData:
    _check_not_empty(uri, len(data))
    return InputData(uri, data, hashlib.sha256(data).hexdigest(), len(data), etag, modified)


def _fail_local(error: OSError, uri: str, path: Path) -> NoReturn:
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        if broken := broken_link(path):
            link = uri if broken == path else str(broken)
            raise InputNotFoundError(
                f"{link} is a link to {broken.readlink()}, which is not there; mend the link or remove it."
            ) from None
        where = "" if str(path) == uri else f" (looked for {path})"
        raise InputNotFoundError(f"There is no file {uri}{where}.") from None
    if error.errno in (errno.EACCES, errno.EPERM):
        raise InputError(_forbidden(uri)) from None
    if error.errno in (errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL):
        raise InputError(f"{uri} cannot be opened: {os.strerror(error.errno)}.") from None
    raise StorageError(f"Cannot read {uri}: {error.strerror or error}.") from error


def broken_link(path: Path) -> Path | None:
    """Return the part of a path that is a link to something that is not there; None: there is none."""
    for part in (*reversed(path.parents), path):
        if os.path.islink(part) and not os.path.exists(part):  # noqa: PTH110, PTH114 - raise nothing
            return part
    return None


def _forbidden(uri: str) -> str:
    return f"Permission denied: {uri} cannot be read by this user."


def _split_s3(uri: str) -> tuple[str, str]:
    """Return bucket and key, the key unchanged. Raises InputError."""
    try:
        bucket, _ = split_url(uri)
    except AddressError as error:
        raise InputError(str(error)) from None
    return bucket, uri.removeprefix(f"s3://{bucket}").removeprefix("/")
