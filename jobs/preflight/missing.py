"""``MissingSearch``: find pictures that are missing or cannot be used, without reading any.

Looking must cost a run next to nothing, so it is bounded everywhere. Files are looked at one by one. On S3, a
folder of which many pictures are used is listed once, and others are asked for one by one.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence

from jobs.errors import InputError, StorageError
from jobs.inputs.archives.archive import stored_at
from jobs.inputs.data import no_object
from jobs.inputs.near import MOST_NAMES, near_picture
from jobs.inputs.reader import Inputs
from jobs.parallel import parallel_map

THREADS = 16
CHUNK = 64
"""Files that are looked at in one call: on a disk, a call costs more than the look."""

LIST_FROM = 8
"""Pictures of one S3 folder from which it is listed instead."""

MOST_LISTED = 20_000
"""Objects of a folder that are listed; what is not among them is asked for."""

MOST_ASKED = 500
"""Objects that are asked for one by one."""

MOST_HINTS = 10
"""Missing pictures for which a near name is looked for."""


class MissingSearch:
    """Looks for pictures. Its results may be read while it runs.

    Args:
        inputs: Reads the job's pictures.
        uris: Their addresses, on disks and S3.
    """

    def __init__(self, inputs: Inputs, uris: Iterable[str]) -> None:
        self._inputs = inputs
        self._uris = list(uris)
        self.looked_at = 0
        """Pictures that were looked at."""
        self.missing: dict[str, str] = {}
        """What is wrong with those that cannot be used, by address: the sentence with which a task fails."""
        self.near: dict[str, str] = {}
        """The names that are probably meant, for the first ``MOST_HINTS`` of them."""
        self.unreachable: list[str] = []
        """The errors of stores that do not answer."""

    def run(self, stop: Callable[[], bool]) -> None:
        """Look at all, or until ``stop`` returns True."""
        local = [uri for uri in self._uris if not uri.startswith("s3://")]
        steps = itertools.chain(
            parallel_map(self._check_files, _chunks(local, CHUNK), THREADS),
            self._look_on_s3(stop),
        )
        for found in steps:
            self.looked_at += len(found)
            self.missing.update({uri: why for uri, why in found if why is not None})
            if stop():
                return
        self._look_for_near(stop)

    def _look_for_near(self, stop: Callable[[], bool]) -> None:
        folders: dict[str, list[str]] = {}
        for uri in itertools.islice(self.missing, MOST_HINTS):
            if stop():
                return
            folder = uri.rpartition("/")[0]
            try:
                if folder not in folders:
                    folders[folder] = self._inputs.beside(uri, MOST_NAMES)
                near = near_picture(self._inputs, uri, folders[folder])
            except (InputError, StorageError):
                continue
            if near is not None:
                self.near[uri] = near

    def _check_files(self, uris: Sequence[str]) -> list[tuple[str, str | None]]:
        found: list[tuple[str, str | None]] = []
        for uri in uris:
            try:
                found.append((uri, self._check(uri)))
            except StorageError as error:
                self._note(error)
        return found

    def _check(self, uri: str) -> str | None:
        try:
            self._inputs.check(uri)
        except InputError as error:
            return str(error)
        return None

    def _note(self, error: StorageError) -> None:
        if len(self.unreachable) < MOST_HINTS:
            self.unreachable.append(str(error))

    def _look_on_s3(self, stop: Callable[[], bool]) -> Iterator[list[tuple[str, str | None]]]:
        folders: defaultdict[str, list[str]] = defaultdict(list)
        for uri in self._uris:
            if uri.startswith("s3://"):
                folders[stored_at(uri).rpartition("/")[0]].append(uri)
        asked: list[str] = []
        for uris in folders.values():
            if stop():
                return
            if len(uris) < LIST_FROM:
                asked += uris
                continue
            try:
                listed = self._inputs.beside(stored_at(uris[0]), MOST_LISTED)
            except InputError as error:
                yield [(uri, str(error)) for uri in uris]
                continue
            except StorageError as error:
                self._note(error)
                return
            there = set(listed)
            found: list[str] = []
            others: list[str] = []
            for uri in uris:
                (found if stored_at(uri) in there else others).append(uri)
            yield [(uri, None) for uri in found]
            if len(listed) < MOST_LISTED:
                yield [(uri, str(no_object(stored_at(uri)))) for uri in others]
            else:
                asked += others
        try:
            yield from parallel_map(self._check_one, asked[:MOST_ASKED], THREADS)
        except StorageError as error:  # the others would say the same
            self._note(error)

    def _check_one(self, uri: str) -> list[tuple[str, str | None]]:
        return [(uri, self._check(uri))]


def _chunks(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    return (items[start : start + size] for start in range(0, len(items), size))
