"""What a caller of ``stylize`` gives, read and checked: pictures to paint, their styles, their inits."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor

from stylize.errors import PictureError
from stylize.pictures.codec import read
from stylize.pictures.picture import Picture
from stylize.pictures.resize import check_shape
from stylize.recipe import Recipe

PictureLike = Picture | Image.Image | Tensor | bytes | str | Path
StyleInputLike = tuple[PictureLike, float] | tuple[PictureLike, float, PictureLike | None]
StyleLike = PictureLike | Sequence[StyleInputLike]
"""One picture, or several as (picture, share) or (picture, share, mask). Shares are relative, among
those with the same mask. A mask is grey, of the content's proportions: white where the style applies."""

MASK_TOLERANCE = 0.02
"""By so much a mask's proportions may differ from the content's: rounding, at some other size."""


class StyleInput(NamedTuple):
    """One picture of a style, as it was read."""

    picture: Picture
    share: float
    mask: Tensor | None
    """(1, 1, H, W) in [0, 1], of a size of its own."""


@dataclass(frozen=True)
class Inputs:
    """B contents of one shape, with a style for each, and inits: as many, or none."""

    contents: list[Picture]
    styles: list[list[StyleInput]]
    inits: list[Picture]

    def __len__(self) -> int:
        return len(self.contents)

    def select(self, pictures: slice) -> Inputs:
        """Some of them."""
        return Inputs(self.contents[pictures], self.styles[pictures], self.inits[pictures])

    @property
    def mask_count(self) -> int:
        """How many the styles of one picture have, at most."""
        return max(
            len({id(part.mask) for part in blend if part.mask is not None}) for blend in self.styles
        )

    def tensors(self) -> Iterator[Tensor]:
        """All pixels, in order."""
        for picture in (*self.contents, *self.inits):
            yield picture.rgb
        for blend in self.styles:
            for part in blend:
                yield part.picture.rgb
                if part.mask is not None:
                    yield part.mask

    def shares(self) -> list[list[tuple[float, bool]]]:
        """What is not pixels: of every style picture the share, and whether it has a mask."""
        return [[(part.share, part.mask is not None) for part in blend] for blend in self.styles]


def read_inputs(
    content: PictureLike | Sequence[PictureLike],
    style: StyleLike | Sequence[StyleLike],
    init: PictureLike | Sequence[PictureLike] | None,
    recipe: Recipe,
) -> Inputs:
    """Read what ``stylize`` is given. Raises PictureError."""
    together = isinstance(content, list | tuple)
    reader = _Reader()
    contents = [reader(picture) for picture in _as_list(content, together)]
    styles = [_read_blend(blend, reader) for blend in _as_list(style, together)]
    inits = [] if init is None else [reader(picture) for picture in _as_list(init, together)]
    if not contents:
        raise PictureError("there is no content picture")
    if len(styles) != len(contents):
        raise PictureError(f"there are {len(contents)} contents but {len(styles)} styles")
    if len({tuple(picture.rgb.shape) for picture in contents}) > 1:
        raise PictureError("contents rendered together must have one shape")
    if (recipe.init == "image") != bool(inits) or (inits and len(inits) != len(contents)):
        raise PictureError(
            "a picture to start from goes with init image, and one with every content"
        )
    height, width = contents[0].rgb.shape[2:]
    check_shape(height, width, recipe)
    for blend in styles:
        for part in blend:
            _check_mask(part.mask, height, width)
    return Inputs(contents, styles, inits)


class _Reader:
    """Reads every picture and every mask once, however often it is given: a batch of many contents
    in one style holds that style once."""

    def __init__(self) -> None:
        self._read: dict[object, Picture] = {}
        self._masks: dict[object, Tensor] = {}

    def __call__(self, source: PictureLike) -> Picture:
        key = _identity(source)
        if key not in self._read:
            self._read[key] = read(source)
        return self._read[key]

    def mask(self, source: PictureLike | None) -> Tensor | None:
        """Grey by Rec. 601's luma, which leaves what is grey as it is."""
        if source is None:
            return None
        key = _identity(source)
        if key not in self._masks:
            weights = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
            self._masks[key] = (read(source).rgb * weights).sum(1, keepdim=True)
        return self._masks[key]


def _identity(source: PictureLike) -> object:
    """Equal for what is the same picture; the caller holds all of them, so no id is given twice."""
    return str(source) if isinstance(source, str | Path) else id(source)


def _as_list(value: Any, together: bool) -> list[Any]:
    if not together:
        return [value]
    if not isinstance(value, list | tuple):
        raise PictureError("with a list of contents, styles (and inits) are lists as long")
    return list(value)


def _read_blend(style: Any, reader: _Reader) -> list[StyleInput]:
    if not isinstance(style, list | tuple):
        return [StyleInput(reader(style), 1.0, None)]
    if not all(isinstance(part, tuple | list) and len(part) in (2, 3) for part in style):
        raise PictureError(
            "a blend of styles is a list of (picture, share) or (picture, share, mask)"
        )
    blend = [
        StyleInput(reader(picture), float(share), reader.mask(mask[0] if mask else None))
        for picture, share, *mask in style
    ]
    shares = [part.share for part in blend]
    if not blend or not all(0 <= share < math.inf for share in shares) or sum(shares) <= 0:
        raise PictureError("the shares of blended styles must be finite, from 0, not all 0")
    return blend


def _check_mask(mask: Tensor | None, height: int, width: int) -> None:
    if mask is None:
        return
    h, w = mask.shape[2:]
    # One pixel more or less is rounding, however small the mask is.
    slack = max(MASK_TOLERANCE, 1 / h + 1 / w)
    if abs(w * height / (h * width) - 1) > slack:
        raise PictureError(
            f"a mask is {w} x {h} px and the content {width} x {height} px: a mask has the content's "
            "proportions"
        )
