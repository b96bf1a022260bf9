"""``VideoRecord``: what a video was made from. It lies beside the video, and is written after it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from jobs.errors import InputError, ObjectNotFoundError
from jobs.inputs.reader import Inputs
from jobs.records.record import Line, StyleRecord
from jobs.storage import keys
from jobs.storage.base import Storage
from jobs.videos.finished import FramePicture
from jobs.videos.wanted import WantedVideo


class SourceRecord(BaseModel):
    """The film file that a video has its times and its sound of, as it was."""

    model_config = ConfigDict(frozen=True)

    size: int | None
    """Bytes."""
    etag: str | None
    """The server's ETag; None for files."""
    modified: float | None
    """Seconds since the epoch."""


class MadeFrom(BaseModel):
    """All that a video depends on: it is made again when this is other than it was."""

    model_config = ConfigDict(frozen=True)

    asked: dict[str, Any]
    """``container``, ``codec``, ``quality``, ``bits``, ``sound``, ``rate``, ``step`` and, the film file's
    address, ``source``; null: as the source has it, or nothing."""
    frames_sha256: str
    """Hex digest of the digests of the frames' pictures, in their order."""
    source: SourceRecord | None = None
    """None: the frames are files of their own."""


class VideoRecord(BaseModel):
    """What a video is, and what it was made from."""

    model_config = ConfigDict(frozen=True)

    version: Literal[1] = 1
    """Version of this format."""
    key: str
    """The video's key in the output."""
    sha256: str
    """Hex digest of the file."""
    size: int
    """Bytes."""
    film: str
    """The film's id, as in the records of its frames."""
    film_name: Line
    """What it is called in the names of pictures."""
    first_task: str
    """The id of the task of its first frame."""
    styles: list[StyleRecord]
    """As in the records of its frames."""
    recipe: dict[str, Any]
    """The same."""
    numbers: str
    """The numbers of its frames, such as ``1001-1100``."""
    frames: int
    width: int
    """Pixels, as shown."""
    height: int
    """Pixels, as shown."""
    seconds: float
    """How long it is."""
    rate: str
    """Frames per second, on average: ``30000/1001``."""
    container: str
    codec: str
    bits: int
    has_alpha: bool = False
    has_sound: bool
    timecode: str | None = None
    """Of the first frame; None: the film file has none."""
    made_from: MadeFrom
    versions: dict[str, str]
    """The programs that made it."""
    finished: float
    """Seconds since the epoch."""


def digest_of(pictures: Iterable[FramePicture]) -> str:
    """Return the digest of all pictures of a video, in their order."""
    digest = hashlib.sha256()
    for picture in pictures:
        digest.update(bytes.fromhex(picture.sha256))
    return digest.hexdigest()


def made_from(video: WantedVideo, pictures: Sequence[FramePicture], inputs: Inputs) -> MadeFrom:
    """Return what a video would be made from now.

    Args:
        video: The video.
        pictures: Those of its frames, in their order.
        inputs: Says what its film file is.

    Raises:
        InputError: The film file is gone, or cannot be looked at.
        StorageError: The store that has the film file does not answer.
    """
    return MadeFrom(
        asked=video.identity, frames_sha256=digest_of(pictures), source=_source(video, inputs)
    )


def made_before(
    storage: Storage, video: WantedVideo, pictures: Sequence[FramePicture], inputs: Inputs
) -> VideoRecord | None:
    """Return the record of a video that is there and was made from the same; its film file may be gone.

    Args:
        storage: The output.
        video: The video.
        pictures: Those of its frames now, in their order.
        inputs: Says what its film file is now.

    Raises:
        StorageError: The output, or the store that has the film file, does not answer.
    """
    try:
        record = VideoRecord.model_validate_json(storage.get(video.record_key))
    except (ObjectNotFoundError, ValidationError):
        return None
    was = record.made_from
    if (was.asked, was.frames_sha256) != (video.identity, digest_of(pictures)):
        return None
    there = storage.stat(record.key)
    if there is None or there.size != record.size:
        return None
    try:
        return record if was.source == _source(video, inputs) else None
    except InputError:
        return record


def video_keys(storage: Storage) -> list[str]:
    """Return the keys of an output's videos that are whole, which their records say. Raises StorageError."""
    there = [stat.key for stat in storage.list(keys.VIDEOS)]
    whole = {key.removesuffix(".json") for key in there if key.endswith(".json")}
    return [key for key in there if not key.endswith(".json") and key.rpartition(".")[0] in whole]


def _source(video: WantedVideo, inputs: Inputs) -> SourceRecord | None:
    file = video.frames.file
    if file is None:
        return None
    stat = inputs.stat(file)
    if stat is None:
        raise InputError(f"{file}, which the video has its times and its sound of, is gone.")
    return SourceRecord(size=stat.size, etag=stat.etag, modified=stat.modified)
