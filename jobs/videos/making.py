"""``make_video``: the pictures of a film's frames, written as a video, one after the other."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jobs.errors import InputError, ObjectNotFoundError
from jobs.inputs.reader import Inputs
from jobs.parallel import parallel_map
from jobs.records.record import TaskRecord
from jobs.spec.films.frame_numbers import as_text
from jobs.storage.base import Storage
from jobs.storage.scratch import scratch_errors
from jobs.videos.finished import FramePicture, gone_text
from jobs.videos.record import MadeFrom, VideoRecord
from jobs.videos.wanted import WantedVideo
from stylize.errors import FilmError, PictureError

if TYPE_CHECKING:
    from stylize.video.writer import FilmWriter

READERS = 2
"""Pictures that are read and decoded at a time; up to twice as many wait for the encoder."""

PIECE = 1 << 20
"""Bytes of a file that are hashed at a time."""


def make_video(
    video: WantedVideo,
    pictures: Sequence[FramePicture],
    first: TaskRecord,
    output: Storage,
    inputs: Inputs,
    made_from: MadeFrom,
    path: Path,
    on_frame: Callable[[int], None],
) -> VideoRecord:
    """Write a video to a file on this machine.

    Args:
        video: The video.
        pictures: The finished pictures of its frames, in their order, all of one size.
        first: The record of its first frame.
        output: Has the pictures.
        inputs: Reads the film file that it has its times and its sound of.
        made_from: What it is made from.
        path: The file to write.
        on_frame: Called with the number of frames written so far; what it raises ends the writing.

    Returns:
        Its record.

    Raises:
        InputError: A picture is not as it was recorded, or the film file cannot be used.
        StorageError: The output or the film file does not answer, or there is no room on this machine.
    """
    with _in_words(video.key, path), contextlib.ExitStack() as stack:
        writer = stack.enter_context(_writer(video, pictures, output, inputs, path, stack))
        alpha = writer.has_alpha
        frames = parallel_map(lambda picture: _values(output, picture, alpha), pictures, READERS)
        stack.callback(frames.close)  # type: ignore[attr-defined]
        for count, values in enumerate(frames, 1):
            writer.write(values)
            on_frame(count)
        writer.close()
    with scratch_errors("a video"):
        sha256, size = _digest(path)
    timing, options = writer.timing, video.options
    return VideoRecord(
        key=video.key,
        sha256=sha256,
        size=size,
        film=video.frames.id,
        film_name=video.frames.name,
        first_task=first.id,
        styles=first.styles,
        recipe=first.recipe,
        numbers=as_text(video.frames.numbers),
        frames=len(pictures),
        width=writer.stored_size[0],
        height=writer.stored_size[1],
        seconds=float(timing.seconds(len(timing)) - timing.seconds(0)),
        rate=str(timing.rate.limit_denominator(1_000_000)),
        container=options.written_container,
        codec=options.written_codec,
        bits=writer.coding.bits,
        has_alpha=alpha,
        has_sound=writer.has_sound,
        timecode=writer.timecode,
        made_from=made_from,
        versions=_versions(),
        finished=time.time(),
    )


def _writer(
    video: WantedVideo,
    pictures: Sequence[FramePicture],
    output: Storage,
    inputs: Inputs,
    path: Path,
    stack: contextlib.ExitStack,
) -> FilmWriter:
    """Return what writes a video; ``stack`` closes the film file. Raises as ``make_video``."""
    from stylize.video.codecs import bits_for, takes_alpha
    from stylize.video.pixels.tags import BT709, ColourTags
    from stylize.video.timing import steady
    from stylize.video.writer import FilmWriter, film_like

    options, numbers, step = video.options, video.frames.numbers, video.step
    size = pictures[0].width, pictures[0].height
    how: dict[str, Any] = {
        "codec": options.written_codec,
        "container": options.written_container,
        "quality": options.quality,
    }
    if takes_alpha(options.written_codec, options.quality):
        # A frame whose file has alpha has it, opaque or not; of numbered frames, some may have none.
        some = {at: pictures[at] for at in (0, len(pictures) // 2, -1)}
        how["alpha"] = any(_values(output, one).shape[2] == 4 for one in some.values())
    asked = options.bits
    if video.frames.file is None:
        timing = steady(Fraction(options.per_second), len(numbers), step)
        bits = bits_for(
            options.written_codec, asked, 8 * _values(output, pictures[0]).dtype.itemsize
        )
        # What is unsaid, players take for the primaries of old television where a film is small.
        tags = ColourTags(BT709, BT709, BT709)
        return FilmWriter(path, size, timing, bits=bits, tags=tags, **how)
    film = stack.enter_context(inputs.open_film(video.frames.file))
    if numbers[-1] > len(film):
        raise InputError(
            f"{film.name} has {len(film):,} frames now, and the video has frame {numbers[-1]} of it."
        )
    if len(range(numbers[0], numbers[-1] + 1, step)) == len(numbers):
        start, stop = numbers[0] - 1, numbers[-1]
        return film_like(
            film,
            path,
            start=start,
            stop=stop,
            step=step,
            size=size,
            bits=asked,
            sound=options.sound,
            **how,
        )
    # What is heard between pieces of a film belongs to none of them.
    timing = film.timing.joined([number - 1 for number in numbers], step)
    bits = bits_for(options.written_codec, asked, film.facts.bits)
    return FilmWriter(path, size, timing, bits=bits, tags=film.facts.tags, **how)


def _values(output: Storage, picture: FramePicture, alpha: bool | None = None) -> Any:
    """Return a frame's picture, uint8 or uint16: (H, W, 4) with alpha, (H, W, 3) without; None: as it is.

    Raises InputError.
    """
    from stylize.pictures.reading.shown import values_of  # Pillow is slow to import

    try:
        data = output.get(picture.key)
    except ObjectNotFoundError:
        raise InputError(f"{gone_text(picture)}.") from None
    if hashlib.sha256(data).hexdigest() != picture.sha256:
        raise InputError(f"{picture.key} is not as it was recorded; run again with --verify.")
    try:
        values = values_of(data, picture.key, keep_alpha=alpha is not False)
    except PictureError as error:
        raise InputError(str(error)) from None
    if alpha and values.shape[2] == 3:
        opaque = np.full_like(values[..., :1], np.iinfo(values.dtype).max)
        values = np.concatenate([values, opaque], 2)
    return values


@contextlib.contextmanager
def _in_words(key: str, path: Path) -> Iterator[None]:
    """Put a video's key into errors of its writer, in place of a temporary file's name."""
    try:
        with scratch_errors("a video"):
            yield
    except FilmError as error:
        raise InputError(str(error).replace(str(path), key)) from None


def _digest(path: Path) -> tuple[str, int]:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            digest.update(piece)
        return digest.hexdigest(), file.tell()


def _versions() -> dict[str, str]:
    from stylize.video.library import load_av

    return {"stylefarm": version("stylefarm"), "av": load_av().__version__}
