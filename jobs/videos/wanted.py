"""``wanted_videos``: which videos a job asks for, and of which tasks' pictures each is made."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from jobs.inputs.addresses import display
from jobs.spec.films.video import VideoOptions
from jobs.spec.styles import StyleMix
from jobs.storage import keys
from jobs.storage.keys import safe_name
from jobs.tasks.films.frames import Frames
from jobs.tasks.task import SHOWN_STYLES, stem_of
from jobs.tasks.todo import Agenda
from stylize.video.codecs import DEFAULT_QUALITY

if TYPE_CHECKING:
    from jobs.id_sets import Ids


@dataclass(frozen=True, eq=False)
class WantedVideo:
    """A film in one style, with one recipe, as a video."""

    frames: Frames
    """The film."""
    step: int
    """For how many frames of the source each is shown."""
    options: VideoOptions
    name: str
    """The name of its file before ``-<id>``, safe on any system."""
    tasks: Ids
    """(N,): the tasks of its frames, in their order."""

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What is asked for, besides the frames, as plain values; the usual ones are written out."""
        options = self.options
        codec = options.written_codec
        quality = DEFAULT_QUALITY if options.quality is None else options.quality
        is_file = self.frames.file is not None
        return {
            "container": options.written_container,
            "codec": codec,
            "quality": None if codec == "ffv1" else quality,
            "bits": options.bits,
            "sound": options.sound and is_file,
            "rate": None if is_file else str(options.per_second),
            "step": self.step,
            "source": None if self.frames.file is None else display(self.frames.file),
        }

    @cached_property
    def id(self) -> str:
        """16 hex digits: the same for the same frames, asked for in the same way."""
        digest = hashlib.sha256(json.dumps(self.identity, sort_keys=True).encode())
        digest.update(np.ascontiguousarray(self.tasks, dtype=">u8").tobytes())
        return digest.hexdigest()[:16]

    @property
    def key(self) -> str:
        """The key of the video."""
        return keys.video(self.name, self.id, self.options.written_container)

    @property
    def record_key(self) -> str:
        """The key of what it was made from."""
        return keys.video(self.name, self.id, "json")


def wanted_videos(agenda: Agenda) -> Iterator[WantedVideo]:
    """Yield each video that a job asks for once, whatever the agenda's view leaves out.

    Args:
        agenda: The job.

    Raises:
        JobFileError, StorageError: The films' shots cannot be found.
    """
    if all(film.video is None for film in agenda.films):
        return
    # Of knobs without effect each value has an id, and only the first of them is painted.
    painted: dict[int, int] = {}
    made: set[str] = set()
    for film in agenda.films:
        drafts = agenda.frames_of(film)
        length, kinds = len(film.frames), len(film.recipes)
        for style in film.styles:
            tasks = np.zeros((kinds, length), np.uint64)
            for n, draft in enumerate(itertools.islice(drafts, length * kinds)):
                assert draft.spot is not None
                number = painted.setdefault(draft.effect, draft.number)
                tasks[n % kinds, draft.spot.index] = number
            if film.video is None:
                continue
            for one in tasks:
                video = WantedVideo(
                    film.frames, film.step, film.video, _name(film.frames, style), one
                )
                if video.id not in made:
                    made.add(video.id)
                    yield video


def _name(frames: Frames, style: StyleMix) -> str:
    styles = "+".join(stem_of(part.uri) for part in itertools.islice(style, SHOWN_STYLES))
    return safe_name(f"{frames.name}--{styles}")
