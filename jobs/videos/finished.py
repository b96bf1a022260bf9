"""``FinishedFrames``: what has become of the frames of videos, and why a video cannot be made yet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from jobs.records.segments import Entry
from jobs.tasks.films.frames import missing_text
from jobs.videos.wanted import WantedVideo


class FramePicture(NamedTuple):
    """The finished picture of a frame."""

    key: str
    sha256: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Unmade:
    """Why there is no video."""

    reason: str
    """The rest of a sentence: ``frame 1012 has failed``."""
    has_failed: bool
    """Whether something has failed; else some frames are only not painted yet."""
    is_complete: bool = False
    """Whether all frames are there all the same."""


class FinishedFrames:
    """What the records say of the frames of some videos.

    Args:
        videos: The videos.
        entries: All records of the output, in short.
    """

    def __init__(self, videos: Sequence[WantedVideo], entries: Iterable[Entry]) -> None:
        wanted = {number for video in videos for number in video.tasks.tolist()}
        self._done: dict[int, FramePicture] = {}
        self._failed: dict[int, tuple[str, bool]] = {}
        """Why a frame has failed, and whether that was tried: one that holds to it fails without."""
        for entry in entries:
            number = int(entry.id, 16)
            if number not in wanted:
                continue
            if entry.status == "failed":
                self._failed[number] = (entry.error or "no reason recorded", entry.attempts > 0)
            elif entry.output is not None and entry.sha256 is not None:
                self._done[number] = FramePicture(
                    entry.output, entry.sha256, entry.width, entry.height
                )

    def of(self, video: WantedVideo) -> Sequence[FramePicture] | Unmade:
        """Return the pictures of a video's frames, in their order; or why it cannot be made."""
        numbers, tasks = video.frames.numbers, video.tasks.tolist()
        found = [self._done.get(task) for task in tasks]
        pictures = [picture for picture in found if picture is not None]
        if len(pictures) == len(tasks):
            return _of_one_size(numbers, pictures)
        failed = [at for at, task in enumerate(tasks) if task in self._failed]
        if failed:
            first = next((at for at in failed if self._failed[tasks[at]][1]), failed[0])
            others = f" (and {len(failed) - 1:,} more)" if len(failed) > 1 else ""
            error = self._failed[tasks[first]][0]
            return Unmade(f"frame {numbers[first]} has failed{others}: {error}", has_failed=True)
        missing = [n for n, picture in zip(numbers, found, strict=True) if picture is None]
        count = "a frame is" if len(missing) == 1 else f"{len(missing):,} frames are"
        return Unmade(f"{count} not painted yet: {missing_text(missing)}", has_failed=False)


def _of_one_size(
    numbers: Sequence[int], pictures: Sequence[FramePicture]
) -> Sequence[FramePicture] | Unmade:
    first = pictures[0]
    for number, picture in zip(numbers, pictures, strict=True):
        if (picture.width, picture.height) != (first.width, first.height):
            text = several_sizes_text(
                (numbers[0], (first.width, first.height)),
                (number, (picture.width, picture.height)),
            )
            return Unmade(text, has_failed=True, is_complete=True)
    return pictures


def gone_text(picture: FramePicture) -> str:
    """Return why there is no video where a frame has lost its picture, as the rest of a sentence."""
    return f"{picture.key} is gone; run again with --verify"


def several_sizes_text(one: tuple[int, tuple[int, int]], other: tuple[int, tuple[int, int]]) -> str:
    """Return why there is no video of frames of several sizes, as the rest of a sentence.

    Args:
        one: The number of a frame, and its width and height in pixels.
        other: The same of a frame of another size.
    """
    (number, (width, height)), (other_number, (other_width, other_height)) = one, other
    return (
        f"its frames have several sizes: frame {number} has {width} x {height} px, "
        f"frame {other_number} {other_width} x {other_height} px"
    )
