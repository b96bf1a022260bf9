"""``VideoOptions``: how the finished frames of a film become a video."""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, ValidationInfo
from pydantic_core import PydanticCustomError

from jobs.spec.films.film import with_film
from jobs.spec.values import Section, has_value, replace_schema, shown
from stylize.errors import FilmError
from stylize.video.codecs import (
    BITS,
    CONTAINERS,
    CodecName,
    ContainerName,
    bits_for,
    codec_for,
    coding_of,
    container_for,
)

RATE = Fraction(24)
"""Frames per second of numbered frames, unless others are asked for: those of cinema."""

MOST_RATE = 1000

_TELEVISION = tuple(Fraction(whole * 1000, 1001) for whole in (24, 30, 48, 60, 120))
"""Rates that are written as 23.976, 29.97 and so on."""

_RATE = r"\s*\d{1,7}(\.\d{1,6})?\s*(/\s*[1-9]\d{0,6}\s*)?"


def rate_of(text: str) -> Fraction:
    """Return frames per second.

    Args:
        text: A number, or two with a slash: ``25``, ``30000/1001``. 23.976, 29.97 and the like mean the rates
            of television that are written so: 24000/1001, 30000/1001.

    Raises:
        ValueError: It is no rate above 0, up to ``MOST_RATE``.
    """
    if re.fullmatch(_RATE, text) is None:
        raise ValueError(text)
    number, _, divisor = text.replace(" ", "").partition("/")
    rate = Fraction(number) / int(divisor or 1)
    if "." in number and rate.denominator > 1:
        rate = next((exact for exact in _TELEVISION if abs(exact - rate) < Fraction(7, 1000)), rate)
    if not 0 < rate <= MOST_RATE:
        raise ValueError(text)
    return rate


def _rate(rate: object) -> object:
    if rate is None:
        return None
    try:
        if isinstance(rate, bool) or not isinstance(rate, int | float | str):
            raise ValueError(rate)
        return str(rate_of(f"{rate:f}" if isinstance(rate, float) else str(rate)))
    except ValueError:
        raise PydanticCustomError(
            "rate",
            "{given} is no frame rate: write 25, 23.976 or 30000/1001, above 0, up to {most}",
            {"given": shown(rate), "most": MOST_RATE},
        ) from None


def _fits(check: Callable[[CodecName, Any], object]) -> AfterValidator:
    """Return a validator that puts what a codec cannot have into a sentence at its key.

    Args:
        check: Gets the codec and the value, and raises FilmError.
    """

    def validate(value: Any, others: ValidationInfo) -> Any:
        said: dict[str, Any] = {**others.data, str(others.field_name): value}
        # A codec that is named says enough, also beside a container that is wrong.
        known = "codec" in said and (said["codec"] is not None or "container" in said)
        if value is None or not known:
            return value  # what it depends on is wrong itself
        try:
            check(said["codec"] or codec_for(said["container"]), value)
        except FilmError as error:
            raise PydanticCustomError("video", "{fault}", {"fault": str(error)}) from None
        return value

    return AfterValidator(validate)


def _schema() -> dict[str, Any]:
    """Return what JSON Schema says of a codec and its container, bits and quality."""
    rules: list[dict[str, Any]] = []
    for codec, containers in CONTAINERS.items():
        allowed: dict[str, Any] = {
            "container": {"enum": [*containers, None]},
            "bits": {"enum": [*BITS[codec], None]},
        }
        if codec == "ffv1":
            allowed["quality"] = {"type": "null"}
        named = {"required": ["codec"], "properties": {"codec": {"const": codec}}}
        rules.append({"if": named, "then": {"properties": allowed}})
    usual = sorted(set.intersection(*(set(BITS[codec_for(c)]) for c in (None, "mp4", "webm"))))
    without = {"properties": {"bits": {"enum": [*usual, None]}}}
    rules.append({"if": {"not": has_value("codec")}, "then": without})
    return {"allOf": rules}


class VideoOptions(Section):
    """How the finished frames of a film become a video."""

    model_config = ConfigDict(json_schema_extra=_schema())

    # The first field, because the validators of the others read it.
    codec: CodecName | None = Field(
        None,
        description="h264, h265, av1, prores, or ffv1, which is lossless. Default: h264, in webm av1.",
    )
    container: Annotated[
        ContainerName | None, _fits(lambda codec, container: container_for(codec, container, ""))
    ] = Field(None, description="mp4, mov, mkv or webm. Default: mp4, or the codec's usual one.")
    quality: Annotated[
        int | None,
        _fits(lambda codec, quality: coding_of(codec, CONTAINERS[codec][0], 8, quality, 8)),
    ] = Field(None, ge=1, le=100, description="1 to 100; default: 75. Not for ffv1.")
    bits: Annotated[int | None, _fits(lambda codec, bits: bits_for(codec, bits, 8))] = Field(
        None,
        description="Bits of a value: 8, 10, 12 or 16, as the codec has them. Default: as the film, or as "
        "the pictures of numbered frames.",
    )
    sound: bool = Field(True, description="Whether the video has the sound of its film file.")
    rate: Annotated[str | None, BeforeValidator(_rate)] = Field(
        None,
        description="Frames per second of numbered frames, such as 25, 23.976 or 30000/1001; default: 24. A "
        "film file has its own times.",
        json_schema_extra=lambda s: replace_schema(
            s,
            {
                "anyOf": [
                    {"type": "number", "exclusiveMinimum": 0, "maximum": MOST_RATE},
                    {"type": "string", "pattern": f"^{_RATE}$"},
                ]
            },
        ),
    )

    @property
    def written_codec(self) -> CodecName:
        """The codec that is written."""
        return self.codec or codec_for(self.container)

    @property
    def written_container(self) -> ContainerName:
        """The container that is written."""
        return container_for(self.written_codec, self.container, "")

    @property
    def per_second(self) -> Fraction:
        """Frames per second of numbered frames."""
        return RATE if self.rate is None else rate_of(self.rate)


def _given(video: Any) -> Any:
    return {"container": video} if isinstance(video, str) else video


Video = Annotated[VideoOptions | None, BeforeValidator(_given), AfterValidator(with_film)]
"""Written as options, or as the container alone; None: no video is made."""


def video_schema(schema: dict[str, Any]) -> None:
    """Change the JSON Schema of optional ``VideoOptions``, in place, to that of ``Video``."""
    schema["anyOf"].insert(0, {"enum": ["mp4", "mov", "mkv", "webm"]})
