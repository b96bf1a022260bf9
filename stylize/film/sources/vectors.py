"""``read_vectors``: the motion in the channels of an OpenEXR file, as Blender and Nuke write it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from stylize.errors import PictureError
from stylize.film.flow import Flow
from stylize.pictures.reading.decoders.exr import read_channels
from stylize.pictures.reading.raster import Floats


def read_vectors(data: bytes, direction: Literal["forward", "backward"], limit: int) -> Flow:
    """Return the motion that an OpenEXR file has; this folder's README has the table of channels.

    Args:
        data: The file.
        direction: Whether the motion to the next frame is meant, or that to the one before.
        limit: The most pixels.

    Raises:
        PictureError: It has no channels that are known. The text has no name yet.
        RuntimeError: The file is damaged.
    """
    channels, _ = read_channels(data, limit, every_part=True)
    layers: dict[str, dict[str, Floats]] = {}
    for name, values in channels.items():
        layer, _, channel = name.rpartition(".")
        layers.setdefault(layer, {})[channel] = values
    found = _of_nuke(layers, direction)
    if found is None:
        found = _of_blender(layers, direction)
    if found is None:
        known = ", ".join(sorted(channels)) or "none"
        raise PictureError(
            f"has no channels {direction}.u and {direction}.v, as Nuke writes them, nor one layer with X, "
            f"Y, Z and W, as Blender does; it has {known}"
        )
    right, up = found
    if right.shape != up.shape:
        raise PictureError("has channels of several sizes")
    flow: Flow = np.stack([right, -up], -1).astype(np.float32)
    return flow


Channels = Mapping[str, Mapping[str, Floats]]


def _of_nuke(layers: Channels, direction: str) -> tuple[Floats, Floats] | None:
    """Return how far each pixel moves to the right and up; None: there are no such channels."""
    layer = next((found for name, found in layers.items() if _last(name) == direction), {})
    return (layer["u"], layer["v"]) if {"u", "v"} <= layer.keys() else None


def _of_blender(layers: Channels, direction: str) -> tuple[Floats, Floats] | None:
    """Return the same of the pass Vector, alone or among others: X and Y lead to the frame before; Z and W
    lead from the next frame here, so that they are turned round."""
    with_four = {name: found for name, found in layers.items() if {*"XYZW"} <= found.keys()}
    named = {name: found for name, found in with_four.items() if _last(name) == "Vector"}
    found = list((named or with_four).values())
    if len(found) != 1:
        return None
    if direction == "backward":
        return found[0]["X"], found[0]["Y"]
    return -found[0]["Z"], -found[0]["W"]


def _last(layer: str) -> str:
    return layer.rpartition(".")[2]
