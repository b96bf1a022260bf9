"""Pixel spaces: the three units in which a picture's numbers are written, and the way between them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Space:
    """value = (RGB in [0, 1], channels in this order, - mean) / std."""

    name: str
    order: tuple[int, int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @property
    def grey_level(self) -> float:
        """One of 256 steps from black to white, in this space's units; the mean of its channels."""
        return sum(1 / (255 * std) for std in self.std) / 3

    def from_rgb(self, rgb_B3HW: Tensor) -> Tensor:
        """RGB in [0, 1] -> this space; (B, 3, H, W) -> the same."""
        if self is RGB:
            return rgb_B3HW
        x = self._reordered(rgb_B3HW)
        return (x - self._column(self.mean, x)) / self._column(self.std, x)

    def to_rgb(self, x_B3HW: Tensor) -> Tensor:
        """This space -> RGB, where [0, 1] can be shown; (B, 3, H, W) -> the same."""
        if self is RGB:
            return x_B3HW
        x = x_B3HW * self._column(self.std, x_B3HW) + self._column(self.mean, x_B3HW)
        return self._reordered(x)  # both orders are their own inverse

    def limits(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """What black and white are in this space, each (1, 3, 1, 1): the range that can be shown."""
        mean, std = self._column(self.mean, like), self._column(self.std, like)
        return -mean / std, (1 - mean) / std

    # This is done at every step, so on the device alone: lists of numbers or indices would be copied
    # to it, and torch lets such a copy wait for all that the device has been given to do.

    def _reordered(self, x_B3HW: Tensor) -> Tensor:
        return x_B3HW if self.order == (0, 1, 2) else x_B3HW.flip(1)

    @staticmethod
    def _column(values: tuple[float, float, float], like: Tensor) -> Tensor:
        return torch.cat([like.new_full((1, 1, 1, 1), value) for value in values], 1)


RGB = Space("rgb", (0, 1, 2), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))

IMAGENET = Space("imagenet", (0, 1, 2), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""torchvision's normalisation."""

CAFFE = Space(
    "caffe",
    (2, 1, 0),
    (103.939 / 255, 116.779 / 255, 123.68 / 255),
    (1 / 255, 1 / 255, 1 / 255),
)
"""The original VGG's: BGR, 0 to 255, less the mean (103.939, 116.779, 123.68)."""

SPACES = {space.name: space for space in (RGB, IMAGENET, CAFFE)}


def convert(x_B3HW: Tensor, source: Space, target: Space) -> Tensor:
    """From one space into another; free when they are the same."""
    return x_B3HW if source is target else target.from_rgb(source.to_rgb(x_B3HW))
