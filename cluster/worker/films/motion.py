"""``MotionFiles``: the motion between the frames of films, found once and kept in the output."""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

from jobs.errors import InputError, ObjectNotFoundError
from jobs.inputs.reader import Inputs
from jobs.storage import keys
from jobs.storage.base import Storage
from jobs.tasks.films.part import FilmPart
from stylize.errors import PictureError

log = logging.getLogger(__name__)

FILES = 8
"""Files that a worker holds: its frames come from few places of a film at a time."""


class MotionFiles:
    """Reads the motion between the frames around one, or finds it and keeps it for all workers.

    Of two workers that miss the same file at the same time, both find it, and the same; that is rare, because
    one frame among those between two keys is painted before all others.

    Args:
        storage: The output.
        inputs: Tells whether frames have changed.
        decode: Reads and decodes the frame at an address.
        find: Makes a file of frames, as ``Renderer.find_motion`` does.
    """

    def __init__(
        self,
        storage: Storage,
        inputs: Inputs,
        decode: Callable[[str], Any],
        find: Callable[[Iterable[Any]], bytes],
    ) -> None:
        self._storage = storage
        self._inputs = inputs
        self._decode = decode
        self._find = find
        self._held: OrderedDict[str, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def around(self, part: FilmPart) -> Sequence[bytes]:
        """Return the motion between neighbours of ``part.around``, a file for each two of its joints.

        Args:
            part: A frame's place in its film.

        Raises:
            PictureError: The frames have several sizes.
            StorageError: A store does not answer.
        """
        return [self._between(part, low, high) for low, high in pairwise(part.joints)]

    def _between(self, part: FilmPart, low: int, high: int) -> bytes:
        uris = part.around[low : high + 1]
        key = keys.film_flow(part.film, part.first + low, part.first + high, self._stamp(uris))
        with self._lock:  # held while the file is made, so that a worker makes it once
            if key not in self._held:
                self._held[key] = self._read_or_find(key, uris)
                if len(self._held) > FILES:
                    self._held.popitem(last=False)
            self._held.move_to_end(key)
            return self._held[key]

    def _read_or_find(self, key: str, uris: Sequence[str]) -> bytes:
        try:
            return self._storage.get(key)
        except ObjectNotFoundError:
            data = self._find(self._frames(uris))
            self._storage.put(key, data, content_type="application/octet-stream")
            return data

    def _frames(self, uris: Sequence[str]) -> Iterator[Any]:
        """Yield the frames. One that cannot be used is as the one before it: its own task says what is wrong
        with it, and nothing holds to it."""
        before: Any = None
        missing = 0
        for uri in uris:
            try:
                frame = self._decode(uri)
            except (InputError, PictureError) as error:
                log.info("there is no motion to and from %s: %s", uri, error)
                if before is None:
                    missing += 1
                    continue
                frame = before
            for _ in range(missing):
                yield frame
            missing = 0
            before = frame
            yield frame

    def _stamp(self, uris: Sequence[str]) -> str:
        """Return a digest that changes when a frame is another."""
        digest = hashlib.sha256()
        for uri in uris:
            try:
                there = self._inputs.stat(uri)
            except InputError:
                there = None
            about = None if there is None else (there.size, there.etag or there.modified)
            digest.update(json.dumps([uri, about]).encode("utf-8", "surrogatepass"))
        return digest.hexdigest()[:8]
