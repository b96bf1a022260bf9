"""Read and validate the arguments of ``stylize``: the contents, their styles and their initial pictures."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from stylize.errors import PictureError
from stylize.pictures.codec import read
from stylize.pictures.mask import Mask, make_mask, read_mask
from stylize.pictures.picture import Picture, Reference, grounded, straight
from stylize.pictures.resize import check_shape
from stylize.recipe import Recipe

PictureLike = Picture | Image.Image | NDArray[Any] | Tensor | bytes | str | Path
"""Anything that ``codec.read`` takes."""
MaskLike = Mask | PictureLike
"""A mask that was read, or a picture that is one."""
StyleInputLike = tuple[PictureLike, float] | tuple[PictureLike, float, MaskLike | None]
"""One picture of a blend: (picture, share) or (picture, share, mask)."""
StyleLike = PictureLike | Sequence[StyleInputLike]
"""One picture, or several as (picture, share) or (picture, share, mask). Shares are relative among the
pictures with the same mask. A mask is grey and has the content's proportions: white where the style
applies, black or transparent where it does not."""

MASK_TOLERANCE = 0.02
"""The relative difference allowed between the proportions of a mask and of the content, which come from
rounding at other sizes."""


class StyleInput(NamedTuple):
    """One picture of a style, as it was read."""

    picture: Picture
    """The decoded picture, of its own size."""
    share: float
    """The picture's share among the pictures with the same mask, >= 0; shares are relative."""
    mask: Tensor | None
    """The mask, (1, 1, H, W) in [0, 1], of its own size; None: the whole picture."""
    mask_name: str = "a mask"
    """What an error message calls the mask."""


@dataclass(frozen=True)
class Inputs:
    """The validated pictures of a render of B pictures."""

    contents: list[Picture]
    """The B contents, all of one shape."""
    styles: list[list[StyleInput]]
    """The blend of styles of each content."""
    inits: list[Picture]
    """The initial picture of each content; empty unless the recipe's init is image."""
    references: tuple[Reference, ...] = ()
    """What each picture holds to; empty: none holds to any."""

    def __len__(self) -> int:
        return len(self.contents)

    def select(self, pictures: slice) -> Inputs:
        """Return the inputs of a slice of the pictures."""
        return Inputs(
            self.contents[pictures],
            self.styles[pictures],
            self.inits[pictures],
            self.references[pictures],
        )

    @property
    def mask_count(self) -> int:
        """The maximum number of different masks that the styles of one picture have."""
        return max(
            len({id(part.mask) for part in blend if part.mask is not None}) for blend in self.styles
        )

    def tensors(self) -> Iterator[Tensor]:
        """Yield the tensors of all contents, inits, styles, masks and references, in order."""
        for picture in (*self.contents, *self.inits):
            yield picture.rgb
        for blend in self.styles:
            for part in blend:
                yield part.picture.rgb
                if part.mask is not None:
                    yield part.mask
        for reference in self.references:
            yield reference.rgb
            yield reference.weight

    def shares(self) -> list[list[tuple[float, bool]]]:
        """Return each style picture's share and whether it has a mask: the inputs that are not pixels."""
        return [[(part.share, part.mask is not None) for part in blend] for blend in self.styles]


def read_inputs(
    content: PictureLike | Sequence[PictureLike],
    style: StyleLike | Sequence[StyleLike],
    init: PictureLike | Sequence[PictureLike] | None,
    recipe: Recipe,
    references: Sequence[Reference] = (),
) -> Inputs:
    """Read and validate the pictures that ``stylize`` takes.

    Args:
        content: A picture, or a list of pictures of one shape.
        style: A style, or a list with one style per content.
        init: The initial picture, or a list with one per content; None: none.
        recipe: The knobs of the render.
        references: What each picture holds to; empty: none does.

    Returns:
        The decoded pictures. A picture or mask given several times is read and held once.

    Raises:
        PictureError: A picture cannot be read, is too narrow for the recipe, or does not fit the others.
    """
    together = isinstance(content, list | tuple)
    reader = _Reader()
    contents = [grounded(reader(picture)) for picture in _as_list(content, together)]
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
            _check_mask(part, height, width)
    _check_references(references, contents)
    return Inputs(contents, styles, inits, tuple(references))


class _Reader:
    """Reads every picture and every mask once, however often it is given, so that a batch of many contents
    in one style holds that style once."""

    def __init__(self) -> None:
        self._read: dict[object, Picture] = {}
        self._masks: dict[object, tuple[Tensor, str]] = {}

    def __call__(self, source: PictureLike) -> Picture:
        key = _identity(source)
        if key not in self._read:
            self._read[key] = read(source)
        return self._read[key]

    def mask(self, source: MaskLike | None) -> tuple[Tensor | None, str]:
        """Return the mask, (1, 1, H, W) in [0, 1], and its name. A doubt about one that is read here is a
        warning."""
        if source is None:
            return None, ""
        key = _identity(source)
        if key not in self._masks:
            mask = _as_mask(source)
            if mask.doubt is not None and not isinstance(source, Mask):
                warnings.warn(f"{mask.name} {mask.doubt}", stacklevel=2)
            self._masks[key] = torch.from_numpy(mask.weight)[None, None], mask.name
        return self._masks[key]


def _as_mask(source: MaskLike) -> Mask:
    if isinstance(source, Mask):
        return source
    if not isinstance(source, Picture | Tensor):
        return read_mask(source)
    picture = read(source)
    colours = picture.rgb[0].permute(1, 2, 0).numpy()
    if picture.alpha is None:
        return make_mask(colours, None, 1)
    seen = straight(picture)[0].permute(1, 2, 0).numpy()
    return make_mask(seen.clip(0, 1), picture.alpha[0, 0].numpy(), 1)


def _identity(source: MaskLike) -> object:
    """Return a key that is equal for the same source. The caller holds all sources, so ids are unique."""
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
        StyleInput(reader(picture), float(share), *reader.mask(mask[0] if mask else None))
        for picture, share, *mask in style
    ]
    shares = [part.share for part in blend]
    if not blend or not all(0 <= share < math.inf for share in shares) or sum(shares) <= 0:
        raise PictureError("the shares of blended styles must be finite, from 0, not all 0")
    return blend


def _check_references(references: Sequence[Reference], contents: Sequence[Picture]) -> None:
    if references and len(references) != len(contents):
        raise PictureError(f"there are {len(contents)} contents but {len(references)} references")
    height, width = contents[0].rgb.shape[2:]
    for reference in references:
        h, w = reference.rgb.shape[2:]
        if reference.weight.shape != (1, 1, h, w) or reference.rgb.shape[:2] != (1, 3):
            raise PictureError("a reference has colours (1, 3, H, W) and weights (1, 1, H, W)")
        if not _is_like(h, w, height, width):
            raise PictureError(
                f"a reference is {w} x {h} px and the content {width} x {height} px: it has the content's "
                "proportions"
            )


def _is_like(h: int, w: int, height: int, width: int) -> bool:
    """Return whether a picture has the proportions of another, but for rounding."""
    # A difference of one pixel is rounding, however small the picture is.
    slack = max(MASK_TOLERANCE, 1 / h + 1 / w)
    return abs(w * height / (h * width) - 1) <= slack


def _check_mask(part: StyleInput, height: int, width: int) -> None:
    if part.mask is None:
        return
    h, w = part.mask.shape[2:]
    if not _is_like(h, w, height, width):
        raise PictureError(
            f"{part.mask_name} is {w} x {h} px and the content {width} x {height} px: a mask has the "
            "content's proportions"
        )
