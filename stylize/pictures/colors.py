"""Painting in the content's colours instead of the style's.

Both methods are from Gatys, Bethge, Hertzmann, Shechtman, *Preserving Color in Neural Artistic Style
Transfer*, 2016: give the style the content's colours before it is analysed (histogram matching, here of
means and covariances), or paint as usual and put the content's chroma under the painting's luminance.

All pictures are RGB in [0, 1], (B, 3, H, W).
"""

from __future__ import annotations

import torch
from torch import Tensor

from stylize.matrix_roots import matrix_root

# NTSC's YIQ: luminance and two axes of chroma.
_YIQ = (
    (0.299, 0.587, 0.114),
    (0.595716, -0.274453, -0.321263),
    (0.211456, -0.522591, 0.311135),
)

RIDGE = 1e-5
"""The multiple of the identity added to colour covariances. A flat or grey picture has no variance in some
directions."""


def match_colors(style_13HW: Tensor, content_13HW: Tensor) -> Tensor:
    """Return the style with the content's mean colour and colour covariance.

    The colours are mapped linearly, by the paper's PCA version: A = S_c^1/2 S_s^-1/2.

    Args:
        style_13HW: The style, (1, 3, H, W), RGB in [0, 1].
        content_13HW: The content, (1, 3, H', W'), RGB in [0, 1].

    Returns:
        The style in the content's colours, (1, 3, H, W), clipped to [0, 1].
    """
    style_mean, style_covariance = color_statistics(style_13HW)
    mean, covariance = color_statistics(content_13HW)
    map_33 = matrix_root(covariance) @ torch.linalg.inv(matrix_root(style_covariance))
    flat_3M = style_13HW[0].flatten(1) - style_mean[:, None]
    matched_3M = map_33.to(flat_3M) @ flat_3M + mean[:, None]
    matched_13HW: Tensor = matched_3M.view_as(style_13HW).clamp(0, 1)
    return matched_13HW


def keep_chroma(painted_B3HW: Tensor, content_B3HW: Tensor) -> Tensor:
    """Return pictures with the luminance of the paintings and the chroma of the contents.

    Args:
        painted_B3HW: The paintings, (B, 3, H, W), RGB in [0, 1].
        content_B3HW: The contents, (B, 3, H, W), RGB in [0, 1].

    Returns:
        The pictures, (B, 3, H, W), clipped to [0, 1].
    """
    to_yiq = torch.tensor(_YIQ, dtype=painted_B3HW.dtype, device=painted_B3HW.device)
    painted = torch.einsum("ij,bjhw->bihw", to_yiq, painted_B3HW)
    content = torch.einsum("ij,bjhw->bihw", to_yiq, content_B3HW)
    mixed = torch.cat([painted[:, :1], content[:, 1:]], dim=1)
    return torch.einsum("ij,bjhw->bihw", torch.linalg.inv(to_yiq), mixed).clamp(0, 1)


def color_statistics(picture_13HW: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean colour and the colour covariance of a picture.

    Args:
        picture_13HW: The picture, (1, 3, H, W), RGB in [0, 1].

    Returns:
        The mean, (3,), and the covariance plus ``RIDGE`` times the identity, (3, 3).
    """
    flat_3M = picture_13HW[0].flatten(1)
    mean = flat_3M.mean(1)
    centred_3M = flat_3M - mean[:, None]
    identity = torch.eye(3, dtype=flat_3M.dtype, device=flat_3M.device)
    return mean, centred_3M @ centred_3M.T / flat_3M.shape[1] + RIDGE * identity
