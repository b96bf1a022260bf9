"""``MotionFiles``: the motion between the frames of films, found once and kept in the output."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

from pydantic import TypeAdapter, ValidationError

from cluster.worker.renderer import GivenFile
from jobs.errors import InputError, ObjectNotFoundError
from jobs.inputs.addresses import display
from jobs.inputs.reader import Inputs
from jobs.records.record import InputRecord, input_record
from jobs.storage import keys
from jobs.storage.base import Storage
from jobs.tasks.films.kept_motion import motion_key
from jobs.tasks.films.part import FilmPart, Way
from jobs.tasks.films.stretch import Stretch, stretches_of
from stylize.errors import PictureError, SizesDifferError

log = logging.getLogger(__name__)

FILES = 8
"""Files that a worker holds: its frames come from few places of a film at a time."""


READ = TypeAdapter(list[InputRecord])


class MotionMaker(Protocol):
    """What makes files of motion: ``cluster.worker.renderer.Renderer`` says how."""

    def find_motion(self, frames: Iterable[Any], way: Way = "dis") -> bytes: ...

    def pack_motion(self, frame: Any, files: Iterable[tuple[GivenFile, GivenFile]]) -> bytes: ...


class MotionFiles:
    """Reads the motion between the frames around one, or finds it and keeps it for all workers.

    Of two workers that miss the same file at the same time, both find it, and the same; that is rare, because
    one frame among those between two keys is painted before all others.

    Args:
        storage: The output.
        inputs: Tells whether frames have changed, and reads files with motion.
        decode: Reads and decodes the frame at an address.
        maker: Makes a file of frames, or of files with their motion.
    """

    def __init__(
        self, storage: Storage, inputs: Inputs, decode: Callable[[str], Any], maker: MotionMaker
    ) -> None:
        self._storage = storage
        self._inputs = inputs
        self._decode = decode
        self._maker = maker
        self._held: OrderedDict[str, tuple[bytes, Sequence[InputRecord]]] = OrderedDict()
        self._lock = threading.Lock()

    def around(self, part: FilmPart) -> tuple[list[bytes], list[InputRecord]]:
        """Return the motion between neighbours of ``part.around``, a file for each two of its joints; and
        what was read for it, which is nothing where it was found.

        Args:
            part: A frame's place in its film.

        Raises:
            InputError: A file with motion is missing.
            PictureError: The frames have several sizes, or a file with motion cannot be used.
            StorageError: A store does not answer.
        """
        files: list[bytes] = []
        read: list[InputRecord] = []
        for stretch in stretches_of(part):
            file, about = self._between(stretch)
            files.append(file)
            read += about
        return files, read

    def ensure(self, stretch: Stretch) -> bool:
        """Have the motion of a stretch kept in the output; return whether it was not there yet. Raises as
        ``around``."""
        key = self._key(stretch)
        if self._storage.stat(key) is not None:
            return False
        self._make(key, stretch)
        return True

    def _between(self, stretch: Stretch) -> tuple[bytes, Sequence[InputRecord]]:
        key = self._key(stretch)
        with self._lock:  # held while the file is made, so that a worker makes it once
            if key not in self._held:
                self._held[key] = self._read_or_make(key, stretch)
                if len(self._held) > FILES:
                    self._held.popitem(last=False)
            self._held.move_to_end(key)
            return self._held[key]

    def _key(self, stretch: Stretch) -> str:
        return motion_key(stretch, self._inputs)

    def _read_or_make(self, key: str, stretch: Stretch) -> tuple[bytes, Sequence[InputRecord]]:
        try:
            data = self._storage.get(key)
            about = self._storage.get(keys.about_flow(key)) if stretch.given else b"[]"
            return data, READ.validate_json(about)
        except (ObjectNotFoundError, ValidationError):
            return self._make(key, stretch)

    def _make(self, key: str, stretch: Stretch) -> tuple[bytes, Sequence[InputRecord]]:
        read: list[InputRecord] = []
        if stretch.given:
            first = next(self._frames(stretch.uris), None)
            data = self._maker.pack_motion(first, self._files(stretch.given, read))
            # First, so that where there is motion there is this.
            about = READ.dump_json(read)
            self._storage.put(keys.about_flow(key), about, content_type="application/json")
        else:
            try:
                data = self._maker.find_motion(self._frames(stretch.uris), stretch.way)
            except SizesDifferError as error:
                raise PictureError(f"{display(stretch.uris[error.index])} {error.fault}") from None
        self._storage.put(key, data, content_type="application/octet-stream")
        return data, read

    def _files(
        self, given: Sequence[tuple[str, str]], read: list[InputRecord]
    ) -> Iterator[tuple[GivenFile, GivenFile]]:
        """Yield the files with motion; note them in ``read``."""
        for both in given:
            forward, backward = (self._inputs.read(uri) for uri in both)
            read += [input_record(forward), input_record(backward)]
            yield (
                (f"motion {display(forward.uri)}", forward.data),
                (f"motion {display(backward.uri)}", backward.data),
            )

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
