"""Styles: a picture, a picture with a mask, or a blend; as they are written and as they are rendered."""

from __future__ import annotations

import re
from typing import Annotated, Any, NamedTuple

from pydantic import (
    AfterValidator,
    BeforeValidator,
    InstanceOf,
    PlainSerializer,
)
from pydantic_core import PydanticCustomError

from jobs.spec.values import Section, shown
from jobs.storage.addresses import fault_of


class StylePart(NamedTuple):
    """One picture of a style."""

    uri: str
    """Its path or URL; in a ``StylePattern`` a pattern."""
    share: float
    """Its weight, > 0, relative to the other parts with the same mask."""
    mask: str | None = None
    """Path or URL of a grey picture, white where the style applies; None: everywhere."""


StyleMix = tuple[StylePart, ...]
"""One style as it is rendered: the pictures that it is blended from, with their shares and masks."""


MOST_SHARE = 1e9
"""The largest share that a job file may give."""


MASK_FIELD = "{content}"
"""Stands for the content's name in a mask, so that one entry serves a folder of photos."""


class StylePattern(NamedTuple):
    """One style as it is written, with a pattern as the uri of each part."""

    parts: StyleMix
    blended: bool
    """True: all matches of all parts make one style; False: each match is a style."""


def _as_list(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]


def address(text: str) -> str:
    """Return the address of a picture, or a pattern; raise PydanticCustomError where it leads nowhere."""
    if fault := fault_of(text):
        raise PydanticCustomError("address", "{given} {fault}", {"given": text, "fault": fault})
    return text


def _pattern(item: object) -> object:
    if not isinstance(item, str) or not item.strip():
        raise PydanticCustomError(
            "pictures", "{given} is not a path, glob, folder or URL", {"given": shown(item)}
        )
    return address(item)


def _mask(value: object) -> object:
    if not isinstance(value, str) or not value.strip():
        raise PydanticCustomError(
            "mask", "{given} is not a path or URL of a picture", {"given": shown(value)}
        )
    if re.search("[{}]", value.replace(MASK_FIELD, "")):
        raise PydanticCustomError(
            "mask",
            "{given} has other braces than {content}, which stands for the content's name",
            {"given": shown(value)},
        )
    return address(value)


def _share(value: object) -> object:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 < value <= MOST_SHARE:  # type: ignore[operator]
        raise PydanticCustomError(
            "share",
            "{given} is not a share: give a number above 0, at most {most}",
            {"given": shown(value), "most": f"{MOST_SHARE:,.0f}"},
        )
    return value


def _blend_part(value: object) -> object:
    return value if isinstance(value, dict | BlendPart) else {"share": _share(value)}


def _all_named(parts: dict[str, BlendPart]) -> dict[str, BlendPart]:
    if not parts or not all(picture.strip() for picture in parts):
        raise PydanticCustomError("blend", "takes pictures, each with its share: {wave.jpg: 0.7}")
    return parts


Mask = Annotated[str, BeforeValidator(_mask)]


class StylePicture(Section):
    """A style that is one picture, or each that a pattern matches, with a mask."""

    picture: Annotated[str, BeforeValidator(_pattern)]
    mask: Mask | None = None


class BlendPart(Section):
    """The share and mask of one picture of a blend."""

    share: Annotated[float, BeforeValidator(_share)] = 1.0
    mask: Mask | None = None


def _with_shares(blend: object) -> object:
    """Refuse a list of pictures, with the mapping to write instead."""
    if isinstance(blend, dict):
        return blend
    shares: dict[Any, Any] = {}
    for item in _as_list(blend):
        shares |= item if isinstance(item, dict) else {item: 1} if isinstance(item, str) else {}
    written = ", ".join(f"{picture}: {share}" for picture, share in shares.items())
    raise PydanticCustomError(
        "blend",
        "takes each picture with its share: write {example}",
        {"example": f"{{{written}}}" if 0 < len(written) <= 60 else "{wave.jpg: 1, scream.jpg: 1}"},
    )


class _Blend(Section):
    blend: Annotated[
        dict[str, Annotated[BlendPart, BeforeValidator(_blend_part)]],
        AfterValidator(_all_named),
        BeforeValidator(_with_shares),
    ]


def _style(item: object) -> object:
    """Return a written style as a StylePattern. Errors of its parts keep their places below the style's."""
    if isinstance(item, StylePattern):
        return item
    if isinstance(item, str) and item.strip():
        return StylePattern((StylePart(address(item), 1.0),), blended=False)
    if isinstance(item, dict) and "blend" in item:
        if len(item) > 1:
            beside = ", ".join(f"{key}:" for key in item if key != "blend")
            raise PydanticCustomError(
                "blend",
                "blend: takes no other key beside it, such as {beside}; a mask: belongs to its picture",
                {"beside": beside},
            )
        parts = _Blend.model_validate(item).blend.items()
        mix = tuple(StylePart(address(picture), part.share, part.mask) for picture, part in parts)
        return StylePattern(mix, blended=True)
    if isinstance(item, dict) and not set(item).isdisjoint(StylePicture.model_fields):
        one = StylePicture.model_validate(item)
        return StylePattern((StylePart(one.picture, 1.0, one.mask),), blended=False)
    raise PydanticCustomError(
        "style",
        "{given} is not a style: give a path, glob, folder or URL, picture: with mask:, or blend: "
        "with pictures and shares",
        {"given": shown(item)},
    )


def _style_as_written(style: StylePattern) -> object:
    if style.blended:
        return {
            "blend": {
                uri: share if mask is None else {"share": share, "mask": mask}
                for uri, share, mask in style.parts
            }
        }
    ((uri, _, mask),) = style.parts
    return uri if mask is None else {"picture": uri, "mask": mask}


def _some(value: list[Any]) -> list[Any]:
    if not value:
        raise PydanticCustomError("empty", "is empty; give at least one picture")
    return value


_MASK_SCHEMA: dict[str, Any] = {
    "type": ["string", "null"],
    "pattern": r"^([^{}]|\{content\})+$",
    "description": "A grey picture, white where this style applies, black or transparent where not, of the "
    "content's proportions: path or URL; {content} stands for the content's name.",
}


_SHARE_SCHEMA: dict[str, Any] = {
    "type": "number",
    "exclusiveMinimum": 0,
    "maximum": MOST_SHARE,
    "description": "Weight of the picture, relative to the others with the same mask.",
}


def _object_schema(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    schema = {"type": "object", "additionalProperties": False, "properties": properties}
    return schema | ({"required": list(required)} if required else {})


STYLE_SCHEMA: dict[str, Any] = {
    "anyOf": [
        {"type": "string", "minLength": 1},
        _object_schema(
            {
                "picture": {
                    "type": "string",
                    "minLength": 1,
                    "description": "The painting: path, glob, folder or URL.",
                },
                "mask": _MASK_SCHEMA,
            },
            "picture",
        ),
        _object_schema(
            {
                "blend": {
                    "type": "object",
                    "additionalProperties": {
                        "anyOf": [
                            _SHARE_SCHEMA,
                            _object_schema(
                                {
                                    "share": {**_SHARE_SCHEMA, "type": ["number", "null"]},
                                    "mask": _MASK_SCHEMA,
                                }
                            ),
                        ]
                    },
                    "minProperties": 1,
                }
            },
            "blend",
        ),
    ]
}


Patterns = Annotated[
    list[Annotated[str, BeforeValidator(_pattern)]],
    BeforeValidator(_as_list),
    AfterValidator(_some),
]


Styles = Annotated[
    list[
        Annotated[
            InstanceOf[StylePattern], BeforeValidator(_style), PlainSerializer(_style_as_written)
        ]
    ],
    BeforeValidator(_as_list),
    AfterValidator(_some),
]
