"""``film`` and what belongs to it: the values of the keys, and which keys go together."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ValidationInfo
from pydantic_core import PydanticCustomError

from jobs.spec.films.frame_numbers import NUMBERS, numbers_of
from jobs.spec.values import has_value, shown
from jobs.storage.addresses import fault_of

FILE_ENDINGS = (".mp4", ".m4v", ".3gp", ".3g2", ".mov", ".qt", ".mkv", ".webm")
"""Extensions of film files, whose frames are pictures, ``shot.mp4::000001``."""

NOT_FOR_FILMS = ("content", "combine", "init", "manifest", "on_bad_row")
"""Keys that an entry with a film cannot have."""


def is_film(name: str) -> bool:
    """Return whether a name has the extension of a film file."""
    return name.lower().endswith(FILE_ENDINGS)


def _film(film: str | None, others: ValidationInfo) -> str | None:
    if film is None:
        return None
    if fault := fault_of(film):
        raise PydanticCustomError("address", "{given} {fault}", {"given": film, "fault": fault})
    if re.match(r"https?://", film):
        raise PydanticCustomError(
            "film",
            "{given} is on the web: copy the frames to a folder or to s3://",
            {"given": film},
        )
    if others.data.get("manifest") is not None:
        raise PydanticCustomError(
            "beside_manifest", "cannot be combined with manifest:, whose rows name pictures"
        )
    return film


def with_film(given: Any, others: ValidationInfo) -> Any:
    """Validate a key that only an entry with a film has."""
    if given is not None and others.data.get("film", ()) is None:
        raise PydanticCustomError("no_film", "needs film:, which is not given")
    return given


def _frames(frames: str | None) -> str | None:
    try:
        numbers_of(frames or "0")
    except ValueError as error:
        raise PydanticCustomError(
            "frames", "{given} {fault}", {"given": shown(frames), "fault": str(error)}
        ) from None
    return frames


def _cuts(cuts: object) -> object:
    if cuts in ("auto", "none") and isinstance(cuts, str):
        return cuts
    wrong = PydanticCustomError(
        "cuts",
        "{given} is neither auto, none nor a list of the frames that begin a shot, such as [1040, 1093]",
        {"given": shown(cuts)},
    )
    if not isinstance(cuts, list) or not cuts:
        raise wrong
    numbers = []
    for cut in cuts:
        whole = isinstance(cut, int) or (isinstance(cut, float) and cut.is_integer())
        if isinstance(cut, bool) or not whole or cut < 0:
            raise wrong
        numbers.append(int(cut))
    return numbers


def _one_shot(loop: bool, others: ValidationInfo) -> bool:
    if loop and isinstance(others.data.get("cuts"), list):
        raise PydanticCustomError(
            "loop", "makes the film one shot, which has no cuts: leave cuts out"
        )
    return loop


def _one(film: object) -> object:
    if isinstance(film, list):
        raise PydanticCustomError("film", "is a list: write an entry of pairs for each film")
    return film


Film = Annotated[str | None, BeforeValidator(_one), AfterValidator(_film)]
"""A sequence such as ``shots/a.####.png`` or ``shots/a.%04d.png``, or a folder; None: the entry has none."""

Frames = Annotated[str | None, AfterValidator(_frames), AfterValidator(with_film)]
"""Frame numbers as ``numbers_of`` takes them; None: all that exist."""

Cuts = Annotated[
    Literal["auto", "none"] | list[int], BeforeValidator(_cuts), AfterValidator(with_film)
]
"""``auto``: they are looked for; ``none``: the film is one shot; or the numbers of frames that begin one."""

Loop = Annotated[bool, AfterValidator(with_film), AfterValidator(_one_shot)]
"""Whether the first frame follows the last again."""

FILM_SCHEMA: dict[str, Any] = {"type": "string", "minLength": 1, "pattern": "^(?!https?://)"}

FRAMES_SCHEMA: dict[str, Any] = {"type": "string", "pattern": f"^{NUMBERS.pattern}$"}

CUTS_SCHEMA: dict[str, Any] = {
    "anyOf": [
        {"enum": ["auto", "none"]},
        {"type": "array", "minItems": 1, "items": {"type": "integer", "minimum": 0}},
    ]
}

ENTRY_SCHEMA: dict[str, Any] = {
    "allOf": [has_value("film"), has_value("style")],
    "not": {"anyOf": [has_value(key) for key in NOT_FOR_FILMS]},
    "if": {"required": ["loop"], "properties": {"loop": {"const": True}}},
    "then": {"properties": {"cuts": {"enum": ["auto", "none", None]}}},
}
"""The JSON Schema of an entry that has a film."""
