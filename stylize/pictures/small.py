"""Small pictures to be looked at: thumbnails, copies of inputs and previews, as WebP in sRGB."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from stylize.pictures.codec import encode
from stylize.pictures.gamuts import PRIMARIES, Gamut, to_xyz
from stylize.pictures.mask import Mask
from stylize.pictures.picture import Picture, on_white
from stylize.pictures.resize import shape_at


def small_webp(
    picture: Picture | Mask, longest: int, quality: int, *, gamut: Gamut = "srgb"
) -> bytes:
    """Return a picture, small, as a WebP file. Torch's operations run in the calling thread's cores.

    Args:
        picture: The picture, whose alpha is kept, or a mask, which is shown in grey.
        longest: The longest side of the result at most, in pixels. A smaller picture keeps its size.
        quality: 1 to 100.
        gamut: The colour space of the picture.
    """
    if isinstance(picture, Mask):
        weight_11HW = torch.from_numpy(np.asarray(picture.weight, np.float32))[None, None]
        small = Picture(shrunk(weight_11HW, longest).expand(-1, 3, -1, -1))
    else:
        alpha = None if picture.alpha is None else shrunk(picture.alpha, longest).cpu()
        small = Picture(_in_srgb(shrunk(on_white(picture), longest).cpu(), gamut), alpha)
    return encode(small, "webp", quality)


def shrunk(x_BCHW: Tensor, longest: int) -> Tensor:
    """Return pictures or masks with a longest side of at most ``longest`` pixels, on their device.

    Each pixel is a mean over those that it covers, with weights that fall off linearly. A picture that is
    not larger is returned as it is.
    """
    height, width = x_BCHW.shape[2:]
    if max(height, width) <= longest:
        return x_BCHW
    shape = shape_at(height, width, longest)
    return F.interpolate(x_BCHW, shape, mode="bilinear", align_corners=False, antialias=True)


def _in_srgb(rgb_13HW: Tensor, gamut: Gamut) -> Tensor:
    """Return the colours of a gamut in sRGB, clipped; both have the same curve."""
    if gamut == "srgb":
        return rgb_13HW
    matrix = np.linalg.solve(to_xyz(PRIMARIES["srgb"]), to_xyz(PRIMARIES[gamut]))
    coded = rgb_13HW.clamp(0, 1)
    light = torch.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4)
    light = torch.einsum("ij,bjhw->bihw", torch.from_numpy(matrix).to(light), light).clamp(0, 1)
    return torch.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
