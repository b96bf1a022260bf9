"""How films are encoded: which codec in which container, in how many bits, and what a quality is to each."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Literal, get_args

from stylize.errors import FilmError
from stylize.video.library import load_av
from stylize.video.pixels.planes import rgb_name, yuv_name

CodecName = Literal["h264", "h265", "av1", "prores", "ffv1"]
ContainerName = Literal["mp4", "mov", "mkv", "webm"]

CONTAINERS: dict[CodecName, tuple[ContainerName, ...]] = {
    "h264": ("mp4", "mov", "mkv"),
    "h265": ("mp4", "mov", "mkv"),
    "av1": ("mp4", "mkv", "webm"),
    "prores": ("mov", "mkv"),
    "ffv1": ("mkv", "mp4"),
}
"""Which containers take a codec; the first is what it is written to unless another is asked for."""

BITS: dict[CodecName, tuple[int, ...]] = {
    "h264": (8, 10),
    "h265": (8, 10),
    "av1": (8, 10),
    "prores": (10,),
    "ffv1": (8, 10, 12, 16),
}

MUXERS: dict[ContainerName, str] = {
    "mp4": "mp4",
    "mov": "mov",
    "mkv": "matroska",
    "webm": "webm",
}
"""FFmpeg's names."""

DEFAULT_QUALITY = 75
"""Of 1 to 100. The texture of a painting is fine and lost first."""

NEAREST = 95
"""From this quality on x264 spends as much on every place, and on colours as on light."""

SHORT = 8
"""Below so many frames a film has no B-frames in H.265."""

TINY = 64
"""Below so many columns or rows x265 plans without looking at what later frames use of earlier ones (cutree),
which may end the process there, and SVT-AV1 does not divide frames among threads, for which it may wait for
ever."""

ALPHA_FROM = 90
"""From this quality on ProRes is 4444, which has alpha."""

_PRORES = ((ALPHA_FROM, 4, "4444"), (70, 3, "HQ"), (50, 2, "422"), (25, 1, "LT"), (0, 0, "Proxy"))
"""From which quality on, and FFmpeg's number of the profile."""


@dataclass(frozen=True, slots=True)
class Coding:
    """What an encoder is told."""

    encoder: str
    """FFmpeg's name."""
    muxer: str
    """The same."""
    pixels: str
    """FFmpeg's name of the layout."""
    bits: int
    steps: tuple[int, int] | None
    """How many columns and rows of luma share a sample of chroma; None: R'G'B'."""
    options: dict[str, str] = field(default_factory=dict)
    tag: str = ""
    """The container's name of the codec, of four letters; empty: the usual one."""
    has_full_range: bool = True
    fastest: int | None = None
    """How many frames per second it may be told of; None: any number."""


def check_written(codec: CodecName) -> None:
    """Raise FilmError unless PyAV is installed, with an FFmpeg that can write a codec."""
    av = load_av()
    name = coding_of(codec, CONTAINERS[codec][0], BITS[codec][0], None, SHORT).encoder
    try:
        av.Codec(name, "w")
    except ValueError:
        raise FilmError(
            f"{codec} cannot be written: the FFmpeg of this PyAV lacks {name}, which that of "
            "pip install av has"
        ) from None


def container_for(codec: CodecName, asked: ContainerName | None, path: object) -> ContainerName:
    """Return the container to write.

    Args:
        codec: What is in it.
        asked: By the caller; None: nothing.
        path: Where it goes to. The ending of a path says the container; a file object says nothing.

    Raises:
        FilmError: The container does not take the codec, or there is none of the name.
    """
    _check_known(codec)
    taken = CONTAINERS[codec]
    suffix = PurePath(path).suffix.lower().lstrip(".") if isinstance(path, str | PurePath) else ""
    chosen = asked or suffix or taken[0]
    for name in taken:
        if chosen == name:
            return name
    raise FilmError(f"{codec} is not written to {chosen} but to {' or '.join(taken)}")


def codec_for(container: ContainerName | None) -> CodecName:
    """Return the codec that is written to a container unless another is asked for; None: to the usual one."""
    return next(
        codec for codec, taken in CONTAINERS.items() if container is None or container in taken
    )


def bits_for(codec: CodecName, asked: int | None, source: int) -> int:
    """Return the bits of a value to write.

    Args:
        codec: The codec.
        asked: By the caller; None: as the source has, or the nearest.
        source: How many the source has.

    Raises:
        FilmError: The codec is not written with so many, or there is none of the name.
    """
    _check_known(codec)
    allowed = BITS[codec]
    if asked is None:
        return next((bits for bits in allowed if bits >= source), allowed[-1])
    if asked not in allowed:
        raise FilmError(
            f"{codec} is not written with {asked} bits but with {' or '.join(map(str, allowed))}"
        )
    return asked


def takes_alpha(codec: CodecName, quality: int | None) -> bool:
    """Return whether a codec is written with alpha.

    Args:
        codec: The codec.
        quality: 1 to 100; None: 75.
    """
    return codec == "ffv1" or (codec == "prores" and (quality or DEFAULT_QUALITY) >= ALPHA_FROM)


def coding_of(
    codec: CodecName,
    container: ContainerName,
    bits: int,
    quality: int | None,
    frames: int,
    size: tuple[int, int] = (TINY, TINY),
    alpha: bool = False,
) -> Coding:
    """Return what to tell the encoder.

    Args:
        codec: The codec.
        container: One of ``CONTAINERS[codec]``.
        bits: One of ``BITS[codec]``.
        quality: 1 to 100; None: 75. ``ffv1`` has none.
        frames: How many the film has.
        size: Width and height of these, in pixels.
        alpha: Whether these have alpha.

    Raises:
        FilmError: The quality is out of range, or the codec has none; or no alpha.
    """
    muxer = MUXERS[container]
    if alpha and not takes_alpha(codec, quality):
        raise FilmError(
            f"{codec} is written without alpha; with it are ffv1, and prores from quality "
            f"{ALPHA_FROM} on"
        )
    if codec == "ffv1":
        if quality is not None:
            raise FilmError("ffv1 is lossless and has no quality; leave quality out")
        name = ("bgra" if alpha else "bgr0") if bits == 8 else rgb_name(bits, alpha)
        return Coding("ffv1", muxer, name, bits, None, {"level": "3", "slicecrc": "1"})
    quality = DEFAULT_QUALITY if quality is None else quality
    if not 1 <= quality <= 100:
        raise FilmError(f"the quality of a film is {quality}; use 1 to 100")
    if codec == "prores":
        profile = next(number for least, number, _ in _PRORES if quality >= least)
        steps = (1, 1) if profile == 4 else (2, 1)
        options = {"profile": str(profile), "vendor": "apl0"}
        pixels = yuv_name(steps, bits, alpha)
        return Coding("prores_ks", muxer, pixels, bits, steps, options, "", has_full_range=False)
    pixels = yuv_name((2, 2), bits)
    crf = str(crf_of(codec, quality))
    if codec == "av1":
        parameters = "chroma-sample-position=left" + (":lp=1" if min(size) < TINY else "")
        options = {"crf": crf, "preset": "6", "svtav1-params": parameters}
        return Coding("libsvtav1", muxer, pixels, bits, (2, 2), options, fastest=240)
    if codec == "h265":
        # With one or two frames and B-frames x265 gives times of decoding that were never set.
        order = ":bframes=0" if frames < SHORT else ""
        order += ":cutree=0" if min(size) < TINY else ""
        options = {"crf": crf, "x265-params": f"log-level=none{order}"}
        # By this name Apple's players take it.
        tag = "hvc1" if container in ("mp4", "mov") else ""
        return Coding("libx265", muxer, pixels, bits, (2, 2), options, tag)
    options = {"crf": crf}
    if quality >= NEAREST:
        # Else x264 gives flat places and colours fewer bits than others, also when there are plenty.
        options["x264-params"] = "aq-mode=0:chroma-qp-offset=-6"
    return Coding("libx264", muxer, pixels, bits, (2, 2), options)


def crf_of(codec: CodecName, quality: int) -> int:
    """Return the encoder's own number for a quality, the better the lower.

    100 is 1 of 51 (of 63 for AV1), 75 is 16 (h264), 18 (h265) or 20 (AV1), 50 is 31, 33 or 39.

    Args:
        codec: ``h264``, ``h265`` or ``av1``.
        quality: 1 to 100.
    """
    worst, offset = (63, 1.0) if codec == "av1" else (51, 3.0 if codec == "h265" else 1.0)
    slope = 0.76 if codec == "av1" else 0.6
    return min(worst, round(offset + slope * (100 - quality)))


def _check_known(codec: str) -> None:
    if codec not in CONTAINERS:
        raise FilmError(
            f"there is no codec {codec!r} for films; use {', '.join(get_args(CodecName))}"
        )
