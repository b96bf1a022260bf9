"""``video_states``: which videos of a job are there, and why others are not, without reading a frame."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from jobs.errors import InputError
from jobs.inputs.reader import Inputs
from jobs.records.commit import Records
from jobs.storage.base import Storage
from jobs.tasks.todo import Agenda
from jobs.videos.finished import FinishedFrames, Unmade
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
    frames = FinishedFrames(wanted, Records(storage).entries())
    inputs = Inputs(agenda.job.base, agenda.job.spec.storage)
    for video in wanted:
        yield VideoState(video.key, video.name, _why_not(video, frames, storage, inputs))


def _why_not(
    video: WantedVideo, frames: FinishedFrames, storage: Storage, inputs: Inputs
) -> Unmade | None:
    pictures = frames.of(video)
    if isinstance(pictures, Unmade):
        return pictures
    if made_before(storage, video, pictures, inputs) is not None:
        return None
    try:
        made_from(video, pictures, inputs)
    except InputError as error:
        return Unmade(str(error), has_failed=True, is_complete=True)
    if storage.stat(video.key) is None:
        return Unmade("all its frames are painted; the next run makes it", has_failed=False)
    return Unmade("it is of earlier frames; the next run makes it anew", has_failed=False)
