"""``Archives``: the archives and tables that were read last."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

from jobs.inputs.archives.archive import Archive, Members, is_table
from jobs.inputs.archives.film import FilmFrames
from jobs.inputs.archives.source import Source, Stored
from jobs.inputs.archives.table import PictureTable
from jobs.spec.films.film import is_film

AT_HAND = 3
"""Archives that keep memory to read on."""

MOST_OPEN = 64
"""Archives whose lists of members are kept."""


class Archives:
    """The archives and tables that were read last. Safe to share between threads.

    Args:
        find: Returns the bytes of an archive by its address; called once until it changes.
    """

    def __init__(self, find: Callable[[str], Source]) -> None:
        self._find = find
        self._lock = threading.Lock()
        self._known: OrderedDict[str, Members] = OrderedDict()
        self._opening: dict[str, threading.Lock] = {}

    def get(self, uri: str, is_same: Callable[[Stored], bool] = lambda _: True) -> Members:
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
                known = self._open(uri)
            with self._lock:
                self._known[uri] = known
                self._known.move_to_end(uri)
                resting = [*self._known.values()][-AT_HAND - 1 : -AT_HAND]
                while len(self._known) > MOST_OPEN:
                    old, _ = self._known.popitem(last=False)
                    self._opening.pop(old, None)
            for members in resting:
                members.rest()
            return known

    def _open(self, uri: str) -> Members:
        source = self._find(uri)
        if is_film(uri):
            return FilmFrames(uri, source)
        return PictureTable(uri, source) if is_table(uri) else Archive(uri, source)

    def forget(self, uri: str) -> None:
        """Have an archive read anew, because it has changed."""
        with self._lock:
            self._known.pop(uri, None)
