"""``video_states``: which videos of a job are there, and why others are not, without reading a frame."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from jobs.errors import InputError
from jobs.inputs.reader import Inputs
from jobs.records.commit import Records
from jobs.storage import keys
from jobs.storage.base import Storage
from jobs.tasks.todo import Agenda
from jobs.videos.finished import FinishedFrames, Unmade, gone_text
from jobs.videos.record import made_before, made_from
from jobs.videos.wanted import WantedVideo, wanted_videos


@dataclass(frozen=True, slots=True)
class VideoState:
    """A video that a job asks for."""

    key: str
    """Its key in the output."""
    name: str
    """Its name before ``-<id>``."""
    unmade: Unmade | None
    """Why it is not there; None: it is, and it is made of the frames as they are."""


def video_states(agenda: Agenda, storage: Storage) -> Iterator[VideoState]:
    """Yield each video that a job asks for.

    Args:
        agenda: The job.
        storage: Its output.

    Raises:
        JobFileError: The films' shots cannot be found.
        StorageError: The output, or a store that has a film file, does not answer.
    """
    wanted = list(wanted_videos(agenda))
    if not wanted:
        return
    look = _Look(FinishedFrames(wanted, Records(storage).entries()), agenda, storage)
    for video in wanted:
        yield VideoState(video.key, video.name, look.why_not(video))


class _Look:
    """Looks for videos in an output."""

    def __init__(self, frames: FinishedFrames, agenda: Agenda, storage: Storage) -> None:
        self._frames = frames
        self._storage = storage
        self._inputs = Inputs(agenda.job.base, agenda.job.spec.storage)

    @cached_property
    def _images(self) -> frozenset[str]:
        """The keys of all pictures that are there: listed only for a video that is not."""
        return frozenset(stat.key for stat in self._storage.list(keys.IMAGES))

    def why_not(self, video: WantedVideo) -> Unmade | None:
        """Return why a video is not there; None: it is. Raises StorageError."""
        pictures = self._frames.of(video)
        if isinstance(pictures, Unmade):
            return pictures
        if made_before(self._storage, video, pictures, self._inputs) is not None:
            return None
        try:
            made_from(video, pictures, self._inputs)
        except InputError as error:
            return Unmade(str(error), has_failed=True, is_complete=True)
        gone = next((picture for picture in pictures if picture.key not in self._images), None)
        if gone is not None:
            return Unmade(gone_text(gone), has_failed=True, is_complete=True)
        if self._storage.stat(video.key) is None:
            return Unmade("all its frames are painted; the next run makes it", has_failed=False)
        if self._storage.stat(video.record_key) is None:
            return Unmade("it has no record; the next run makes it anew", has_failed=False)
        return Unmade(
            "its frames or its film file are others now; the next run makes it anew",
            has_failed=False,
        )
