"""``ArchivedPictures``: pictures in archives on this machine's disks and on S3."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from jobs.errors import InputError, StorageError
from jobs.inputs.addresses import display, is_web
from jobs.inputs.archives.archive import MARK, Member, Members, is_table
from jobs.inputs.archives.film import FilmFrames, film_from
from jobs.inputs.archives.known import Archives
from jobs.inputs.archives.source import Source, Stored
from jobs.inputs.buckets import Buckets, named
from jobs.inputs.data import InputData, InputStat, check_size, input_data, is_shown, no_object
from jobs.inputs.globs import matches_glob
from jobs.inputs.local import LocalFiles
from jobs.spec.films.film import is_film

if TYPE_CHECKING:
    from stylize.video.codecs import ContainerName
    from stylize.video.film import Film


class ArchivedPictures:
    """Members of archives as pictures. Safe to share between threads, and to pickle.

    Args:
        files: Archives on disks.
        buckets: Archives on S3.
        max_bytes: Limit of every picture.
    """

    def __init__(self, files: LocalFiles, buckets: Buckets, max_bytes: int) -> None:
        self._files = files
        self._buckets = buckets
        self._max_bytes = max_bytes
        self.on_read: Callable[[], None] | None = None
        """Called after each read of an archive on S3, of whose list of members there may be many."""
        self._archives = Archives(self._find)

    def read(self, uri: str, member: Member) -> InputData:
        """Return a picture. Raises as ``Inputs.read``."""
        archive = self._archive_with(uri, member)
        try:
            data = archive.read(member.name)
        except StorageError:
            # It may have been replaced: another try looks again.
            self._archives.forget(member.archive)
            raise
        check_size(uri, len(data), self._max_bytes)  # of a table, that shows only now
        stored = archive.source.stored
        return input_data(uri, data, stored.etag, stored.modified)

    def stat(self, member: Member) -> InputStat | None:
        """Return a picture's size, and its archive's ETag and time. Raises as ``Inputs.stat``."""
        place = self._buckets if member.archive.startswith("s3://") else self._files
        there = place.stat(member.archive)
        if there is None:
            return None
        assert there.size is not None  # as of every file and object
        stored = Stored(there.size, there.etag, there.modified)
        archive = self._archives.get(member.archive, lambda known: known == stored)
        if not archive.holds(member.name):
            return None
        return InputStat(archive.size(member.name), there.etag, there.modified)

    def check(self, uri: str, member: Member) -> None:
        """Raise as ``read`` would; of an archive on S3, only if it is not there."""
        if not member.archive.startswith("s3://"):
            self._archive_with(uri, member)
        elif self._buckets.stat(member.archive) is None:
            raise no_object(member.archive)

    def matching(self, uri: str, pattern: str, wanted: Callable[[str], bool]) -> list[str]:
        """Return the pictures of an archive whose names a glob matches, sorted; those of a table by row.

        Args:
            uri: The archive.
            pattern: The glob.
            wanted: Returns whether an address is among those looked for.

        Raises:
            InputError, StorageError: The archive cannot be read.
        """
        parts = pattern.split("/")
        archive = self._archive(uri)
        names = [
            name
            for name in archive.names()
            if is_shown(name) and matches_glob(name.split("/"), parts)
        ]
        if is_table(uri) or is_film(uri):  # what they hold is all pictures
            if not names and archive.names():
                raise archive.no_member(pattern)
            return [f"{uri}{MARK}{name}" for name in names]
        return [address for name in names if wanted(address := f"{uri}{MARK}{name}")]

    def frame_count(self, uri: str) -> int:
        """Return the number of frames of a film file. Raises as ``Inputs.frame_count``."""
        film = self._archive(uri)
        assert isinstance(film, FilmFrames)
        return len(film)

    def check_sound(self, uri: str, container: ContainerName) -> None:
        """Check a film file's sound. Raises as ``Inputs.check_sound``."""
        film = self._archive(uri)
        assert isinstance(film, FilmFrames)
        film.check_sound(container)

    def open_film(self, uri: str) -> Film:
        """Return a film file, open for its one reader. Raises as ``Inputs.open_film``."""
        return film_from(uri, self._find(uri))

    def _archive(self, uri: str) -> Members:
        if is_web(uri):
            raise InputError(
                f"{display(uri)} is an archive on the web: copy it to a folder or to s3://, where pictures "
                "in it can be read one by one"
            )
        if uri.startswith("s3://"):
            return self._archives.get(uri)  # a read fails if it was replaced
        _, status = self._files.regular_file(uri)
        stored = Stored(status.st_size, None, status.st_mtime)
        return self._archives.get(uri, lambda known: known == stored)

    def _archive_with(self, uri: str, member: Member) -> Members:
        """Return the archive of a member that is there and, if that shows, neither empty nor too large."""
        archive = self._archive(member.archive)
        if not archive.holds(member.name):
            raise archive.no_member(member.name)
        check_size(uri, archive.size(member.name), self._max_bytes)
        return archive

    def _find(self, uri: str) -> Source:
        from jobs.inputs.archives.sources import (  # botocore is slow to import
            FileSource,
            ObjectSource,
        )

        if not uri.startswith("s3://"):
            path, status = self._files.regular_file(uri)
            return FileSource(path, Stored(status.st_size, None, status.st_mtime))
        bucket, _ = named(uri)
        there = self._buckets.find(uri)
        if there is None:
            raise no_object(uri)
        return ObjectSource(self._buckets.bucket(bucket), there, self.on_read)

    def __getstate__(self) -> dict[str, object]:
        kept = {name: value for name, value in self.__dict__.items() if name != "_archives"}
        return {**kept, "on_read": None}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state, _archives=Archives(self._find))
