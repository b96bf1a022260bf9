"""Pixel spaces: the three units in which pixel values are written, and the conversion between them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Space:
    """A linear unit of pixel values: value = (RGB in [0, 1], channels reordered, - mean) / std."""

    name: str
    """The name of the space in ``Recipe.space``."""
    order: tuple[int, int, int]
    """The RGB channel of each channel: (0, 1, 2) for RGB, (2, 1, 0) for BGR."""
    mean: tuple[float, float, float]
    """The mean of each channel, in the space's order, as a value in [0, 1]."""
    std: tuple[float, float, float]
    """The deviation of each channel, in the space's order, > 0."""

    @property
    def grey_level(self) -> float:
        """The distance between two adjacent of 256 grey levels, in this space's units, averaged over the
        channels."""
        return sum(1 / (255 * std) for std in self.std) / 3

    def from_rgb(self, rgb_B3HW: Tensor) -> Tensor:
        """Convert pictures from RGB to this space.

        Args:
            rgb_B3HW: The pictures, (B, 3, H, W), RGB, where [0, 1] can be shown.

        Returns:
            The pictures in this space, (B, 3, H, W).
        """
        if self is RGB:
            return rgb_B3HW
        x = self._reordered(rgb_B3HW)
        return (x - self._column(self.mean, x)) / self._column(self.std, x)

    def to_rgb(self, x_B3HW: Tensor) -> Tensor:
        """Convert pictures from this space to RGB.

        Args:
            x_B3HW: The pictures in this space, (B, 3, H, W).

        Returns:
            The pictures in RGB, (B, 3, H, W), where [0, 1] can be shown; values are not clipped.
        """
        if self is RGB:
            return x_B3HW
        x = x_B3HW * self._column(self.std, x_B3HW) + self._column(self.mean, x_B3HW)
        return self._reordered(x)  # both orders are their own inverse

    def gradient_at_rgb(self, gradient_B3HW: Tensor) -> Tensor:
        """Return the gradient of a function at RGB, given that at this space, (B, 3, H, W)."""
        if self is RGB:
            return gradient_B3HW
        return self._reordered(gradient_B3HW / self._column(self.std, gradient_B3HW))

    def gradient_from_rgb(self, gradient_B3HW: Tensor) -> Tensor:
        """Return the gradient of a function at this space, given that at RGB, (B, 3, H, W)."""
        if self is RGB:
            return gradient_B3HW
        return self._reordered(gradient_B3HW) * self._column(self.std, gradient_B3HW)

    def limits(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return black and white in this space: the limits of the values that can be shown.

        Args:
            like: A tensor with the dtype and device of the result.

        Returns:
            Black and white, each (1, 3, 1, 1).
        """
        mean, std = self._column(self.mean, like), self._column(self.std, like)
        return -mean / std, (1 - mean) / std

    # These run at every step, and therefore on the device alone: lists of numbers or indices would be
    # copied to it, and torch makes such a copy wait for all work in flight on the device.

    def _reordered(self, x_B3HW: Tensor) -> Tensor:
        return x_B3HW if self.order == (0, 1, 2) else x_B3HW.flip(1)

    @staticmethod
    def _column(values: tuple[float, float, float], like: Tensor) -> Tensor:
        return torch.cat([like.new_full((1, 1, 1, 1), value) for value in values], 1)


RGB = Space("rgb", (0, 1, 2), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
"""RGB, 0 to 1."""

IMAGENET = Space("imagenet", (0, 1, 2), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""torchvision's normalisation: RGB, less the mean and divided by the deviation."""

CAFFE = Space(
    "caffe",
    (2, 1, 0),
    (103.939 / 255, 116.779 / 255, 123.68 / 255),
    (1 / 255, 1 / 255, 1 / 255),
)
"""The original VGG's input: BGR, 0 to 255, less the mean (103.939, 116.779, 123.68)."""

SPACES = {space.name: space for space in (RGB, IMAGENET, CAFFE)}
"""The spaces by name."""


def convert(x_B3HW: Tensor, source: Space, target: Space) -> Tensor:
    """Convert pictures from one space to another, without a copy if the two are the same.

    Args:
        x_B3HW: The pictures, (B, 3, H, W), in the source space.
        source: The space of the pictures.
        target: The space to convert to.

    Returns:
        The pictures in the target space, (B, 3, H, W).
    """
    return x_B3HW if source is target else target.from_rgb(source.to_rgb(x_B3HW))


def gradient_before(gradient_B3HW: Tensor, source: Space, target: Space) -> Tensor:
    """Return the gradient of a function at pictures before ``convert``, without a copy if the spaces are the
    same.

    Args:
        gradient_B3HW: The gradient at the converted pictures, (B, 3, H, W), in the target space.
        source: The space of the pictures before.
        target: The space of the pictures after.
    """
    if source is target:
        return gradient_B3HW
    return source.gradient_from_rgb(target.gradient_at_rgb(gradient_B3HW))
