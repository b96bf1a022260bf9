"""Where pictures come from: paths, globs and folders, archives, ``s3://`` and ``https://``.

Whose fault an error is decides what becomes of the task. A picture that is missing, too large or forbidden is
the user's fault: InputError, never retried. A store or server that does not answer is the machine's:
StorageError, retried.
"""

from __future__ import annotations

import glob
import hashlib
import os
import posixpath
import ssl
import threading
from collections.abc import Callable, Container
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from jobs.errors import InputError
from jobs.inputs.addresses import display, is_web
from jobs.inputs.archives.archive import (
    MARK,
    check_archive,
    is_archive,
    member_of,
    names_archives,
)
from jobs.inputs.archives.archived import ArchivedPictures
from jobs.inputs.buckets import Buckets, split
from jobs.inputs.data import MAX_BYTES, InputData, InputStat, input_data
from jobs.inputs.formats import Unread, check_format
from jobs.inputs.local import LocalFiles, taken_literally
from jobs.inputs.web import check_address, download
from jobs.spec.films.film import is_film
from jobs.storage import keys
from jobs.storage.addresses import fault_of
from jobs.storage.authorities import trusting
from jobs.storage.base import StorageOptions, resolve_options

if TYPE_CHECKING:
    from stylize.video.codecs import ContainerName
    from stylize.video.film import Film


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
        self._files = LocalFiles(self.base, max_bytes)
        self._buckets = Buckets(self.options, max_bytes)
        self._archived = ArchivedPictures(self._files, self._buckets, max_bytes)
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
            return self._archived.read(uri, member)
        if is_web(uri):
            read = download(uri, self.max_bytes, self.allow_private, self._authorities())
            return input_data(uri, *read)
        return self._place(uri).read(uri)

    def watch(self, on_read: Callable[[], None]) -> None:
        """Have a function called after each read of an archive on S3, also while its list is read."""
        self._archived.on_read = on_read

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
            return self._archived.stat(member)
        return self._place(uri).stat(uri)

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
            self._archived.check(uri, member)
        else:
            self._place(uri).check(uri)

    def frame_count(self, uri: str) -> int:
        """Return the number of frames of a film file, which is read for that.

        Args:
            uri: A path, ``file://`` or ``s3://`` address of a film file.

        Raises:
            InputError: The film is missing, forbidden, damaged, or of a kind that is not read.
            StorageError: The disk or store does not answer; a retry may succeed.
        """
        return self._archived.frame_count(self.spelling(uri))

    def check_sound(self, uri: str, container: ContainerName) -> None:
        """Check that a video can have the sound of a film file.

        Args:
            uri: As of ``frame_count``.
            container: What the video is written to.

        Raises:
            InputError: It cannot, or as of ``frame_count``.
            StorageError: The disk or store does not answer; a retry may succeed.
        """
        self._archived.check_sound(self.spelling(uri), container)

    def open_film(self, uri: str) -> Film:
        """Return a film file, open for reading: its times, its sound, and its frames.

        Args:
            uri: As of ``frame_count``.

        Raises:
            InputError: As of ``frame_count``.
            StorageError: The disk or store does not answer; a retry may succeed.
        """
        return self._archived.open_film(self.spelling(uri))

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
        return self._place(uri).beside(uri, most)

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
            return self._files.openable(uri)
        copy = folder / f"{hashlib.sha256(uri.encode()).hexdigest()[:16]}-{PurePath(uri).name}"
        self._buckets.copy(uri, copy)
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
        names = self._place(pattern).expand(pattern, wanted)
        if names == alone:
            if (
                not pattern.startswith("s3://")
                and taken_literally(pattern)
                and not os.path.lexists(self._files.path(pattern))
            ):
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
        return not is_web(pattern) and self._files.is_folder(pattern)

    def folders_in(self, folder: str) -> list[str]:
        """Return the names of the folders in a folder, sorted.

        Args:
            folder: A folder that exists, or an ``s3://`` prefix that ends in ``/``.

        Raises:
            InputError: The folder is forbidden.
            StorageError: The store cannot be listed.
        """
        return self._place(folder).folders_in(folder)

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
            bucket, key = split(folder)
            job = f"{key}/{keys.JOB}".lstrip("/")
            return self._buckets.bucket(bucket).stat(job) is not None
        root = self.base / folder
        return (root / keys.JOB).is_file() and (root / keys.RECORDS).is_dir()

    def spelling(self, uri: str) -> str:
        """Return an address, or a pattern, in the spelling of ``expand``, without access to the disk.

        Raises InputError for an address of no known kind, or a web address without a host.
        """
        if uri.startswith("s3://"):
            return uri
        if is_web(uri):
            check_address(uri)
            return uri
        if fault := fault_of(uri):
            raise InputError(
                f"{uri} {fault}" if uri.strip() else "An empty address names no picture."
            )
        return self._files.spelling(uri)

    def _place(self, uri: str) -> LocalFiles | Buckets:
        return self._buckets if uri.startswith("s3://") else self._files

    def _expand_archives(self, pattern: str) -> list[str]:
        """Return the pictures of the archives that a pattern names, as far as what follows ``::`` matches."""
        check_archive(pattern)
        written, mark, inside = pattern.partition(MARK)
        if mark and not glob.has_magic(pattern):
            check_format(pattern)
            return [self.spelling(pattern)]
        names: list[str] = []
        for uri in self.expand(written, is_film if is_film(written) else is_archive):
            names += self._archived.matching(uri, inside or "**/*", self.unread.is_picture)
        return names

    def _authorities(self) -> ssl.SSLContext | None:
        with self._lock:
            if self._trusting is None and self.options.ca_bundle is not None:
                self._trusting = trusting(self.options.ca_bundle)
            return self._trusting

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_trusting": None, "_lock": None}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())


def _literally(pattern: str) -> str | None:
    """Return what somebody may have meant by a pattern that matches nothing; None: it does not show."""
    if variable := taken_literally(pattern):
        return f"matches nothing: {variable}"
    if "\\" in pattern and os.name != "nt":
        return "matches nothing: write / between folders, not a backslash"
    return None
