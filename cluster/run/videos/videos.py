"""``make_videos``: make the videos that a job asks for and that are not there, when a run has rendered."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cluster.events.events import Listener, NoVideo, VideoMade, VideoProgress
from cluster.messages import Asked
from jobs.errors import InputError, JobFileError, LeaseLostError, StorageError
from jobs.inputs.reader import Inputs
from jobs.jobfile.job import Job
from jobs.records.commit import Records
from jobs.storage.base import Storage
from jobs.storage.scratch import scratch_folder
from jobs.tasks.todo import Agenda
from jobs.videos.finished import FinishedFrames, FramePicture, Unmade
from jobs.videos.making import make_video
from jobs.videos.record import VideoRecord, made_before, made_from
from jobs.videos.source import check_source
from jobs.videos.verify import damage_of
from jobs.videos.wanted import WantedVideo, wanted_videos

log = logging.getLogger(__name__)

PROGRESS_SECONDS = 2.0
"""The interval between two events about how far a video is, in seconds."""

MOST_TOLD = 50
"""Videos that cannot be made yet of which a run tells: of a sweep, more say nothing new."""

CONTENT_TYPES = {
    "mp4": "video/mp4",
    "mov": "video/quicktime",
    "mkv": "video/x-matroska",
    "webm": "video/webm",
}
"""The media type of each container."""


@dataclass(slots=True)
class Made:
    """What became of the videos of a run."""

    made: int = 0
    failed: int = 0
    """Those that could not be made though all their frames are there."""
    asked: Asked = "no"
    """Whether the run was asked to end meanwhile; the next one goes on."""


class _EndedError(Exception):
    """The run is asked to end."""


class Videos:
    """The videos of one run.

    Args:
        job: The job, or that of its proofs.
        agenda: All its tasks.
        storage: The output.
        records: The output's records.
        guard: Raises LeaseLostError when the output belongs to another run; called before each write.
        listen: Hears what is made, and what is not and why.
        asked: Returns whether the run is asked to end; called after each frame.
        verify: Whether videos that are there are read, and made again where they are damaged.
    """

    def __init__(
        self,
        job: Job,
        agenda: Agenda,
        storage: Storage,
        records: Records,
        guard: Callable[[], None],
        listen: Listener,
        asked: Callable[[], Asked],
        *,
        verify: bool = False,
    ) -> None:
        self._verify = verify
        self._agenda = agenda
        self._storage = storage
        self._records = records
        self._guard = guard
        self._listen = listen
        self._asked = asked
        self._inputs = Inputs(job.base, job.spec.storage)
        self._result = Made()
        self._told = 0

    def make(self) -> Made:
        """Make each video whose frames are all there, unless it is there and made of the same.

        What goes wrong with one of them is told, and does not keep the others from being made.

        Raises:
            StorageError: The records cannot be read.
            LeaseLostError: Another run has the output.
        """
        try:
            wanted = list(wanted_videos(self._agenda))
        except JobFileError as error:  # shots that cannot be found, as the driver has reported
            log.warning("no video is made: %s", error)
            return self._result
        if not wanted:
            return self._result
        frames = FinishedFrames(wanted, self._records.entries())
        for video in wanted:
            pictures = frames.of(video)
            if isinstance(pictures, Unmade):
                self._result.failed += pictures.is_complete
                self._tell(video, pictures)
                continue
            try:
                self._make(video, pictures)
            except LeaseLostError:
                raise
            except _EndedError:
                self._tell(
                    video,
                    Unmade("the run was asked to end; the next one makes it", has_failed=False),
                )
                break
            except (InputError, StorageError) as error:
                self._result.failed += 1
                self._tell(video, Unmade(str(error), has_failed=True))
        return self._result

    def _make(self, video: WantedVideo, pictures: Sequence[FramePicture]) -> None:
        """Make a video and store it, and then its record, unless it is there."""
        if self._is_there(video, pictures):
            return
        began = time.monotonic()
        self._check_asked()
        sources = made_from(video, pictures, self._inputs)
        first = self._records.read(f"{int(video.tasks[0]):016x}")
        if first is None:
            raise InputError("the record of its first frame is gone; run again.")
        check_source(video, self._records, self._inputs)
        progress = _Progress(video, len(pictures), self._listen)

        def on_frame(count: int) -> None:
            self._check_asked()
            progress.told(count)

        with scratch_folder("a video") as folder:
            path = Path(folder) / f"video.{video.options.written_container}"
            record = make_video(
                video, pictures, first, self._storage, self._inputs, sources, path, on_frame
            )
            self._store(video, record, path)
        self._result.made += 1
        self._listen(
            VideoMade(
                id=video.id,
                name=video.name,
                video=record.key,
                frames=record.frames,
                length=round(record.seconds, 3),
                size=record.size,
                seconds=round(time.monotonic() - began, 3),
            )
        )

    def _is_there(self, video: WantedVideo, pictures: Sequence[FramePicture]) -> bool:
        """Return whether a video is there that was made from the same, and is as it was stored."""
        record = made_before(self._storage, video, pictures, self._inputs)
        if record is None or not self._verify:
            return record is not None
        return damage_of(self._storage, record, read=True) is None

    def _store(self, video: WantedVideo, record: VideoRecord, path: Path) -> None:
        """Store a video, then its record, which so is never one of another video."""
        self._guard()
        self._storage.delete(video.record_key)
        self._guard()
        kind = CONTENT_TYPES[video.options.written_container]
        self._storage.put_file(record.key, path, content_type=kind)
        self._guard()
        data = record.model_dump_json(indent=1).encode()
        self._storage.put(video.record_key, data, content_type="application/json")

    def _check_asked(self) -> None:
        self._result.asked = self._asked()
        if self._result.asked != "no":
            raise _EndedError

    def _tell(self, video: WantedVideo, why: Unmade) -> None:
        self._told += 1
        if self._told <= MOST_TOLD:
            self._listen(
                NoVideo(
                    id=video.id,
                    name=video.name,
                    reason=why.reason,
                    failed=why.has_failed,
                    video=video.key,
                )
            )


class _Progress:
    """Tells how far a video is, every few seconds."""

    def __init__(self, video: WantedVideo, frames: int, listen: Listener) -> None:
        self._video = video.key
        self._frames = frames
        self._listen = listen
        self._at = time.monotonic()

    def told(self, count: int) -> None:
        now = time.monotonic()
        if now - self._at >= PROGRESS_SECONDS:
            self._at = now
            self._listen(VideoProgress(video=self._video, frame=count, frames=self._frames))
