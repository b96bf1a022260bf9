"""A checkpoint of a render between two segments: enough to resume it to the same picture, bit for bit.

By definition (``Recipe.segments``) the optimiser's memory is dropped at the end of a segment. What
remains is the picture and, for recipes that keep them, Adam's moments or the local curvature that L-BFGS
has seen, and the average of the iterates.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from stylize.errors import CheckpointError
from stylize.network.strips import SHALLOW
from stylize.recipe import Recipe

FORMAT = "stylefarm checkpoint 1"
"""The name and the version of the format, which every checkpoint file records."""

_COMMON = frozenset({"adam_steps"})
"""Tensors shared by all pictures; every other tensor has one row per picture."""


@dataclass(frozen=True)
class Checkpoint:
    """The state of a render of B pictures between two segments. Plain data: JSON and tensors."""

    render: str
    """The fingerprint of the recipe, the network and the pictures that identify the render."""
    segments: int
    """The number of segments completed."""
    steps: int
    """The number of steps made, over all sizes."""
    seconds: float
    """The time spent rendering, in seconds, without pauses."""
    tensors: dict[str, Tensor]
    """x: (B, 3, H, W) in the recipe's space, including the margin within a size. For recipes that keep them:
    first, second and adam_steps, Adam's moments; curvature, L-BFGS's local curvature (B, 1, h, w), which
    checkpoints of earlier versions lack; average, the decayed sum of the iterates."""
    average_weight: float = 0.0
    """The sum of the iterates' weights in ``average``, 0 to 1; 0 without an average."""
    strips: int = 0
    """The number of leading blocks of the network in strips, one of ``strips.LEVELS``. Strips change
    rounding, so a resumed render keeps this choice."""
    precision: str = "float32"
    """The precision of the convolutions, which a resumed render keeps on any device."""
    alone_renders: tuple[str, ...] = ()
    """For a batch: the fingerprint of each picture as a render of its own."""

    def alone(self, picture: int) -> Checkpoint:
        """Return the checkpoint of one picture of a batch, from which it is resumed without the others.

        Args:
            picture: The picture's index, from 0.
        """
        if not self.alone_renders:
            return self
        part = self.select(slice(picture, picture + 1))
        return replace(part, render=self.alone_renders[picture], alone_renders=())

    def select(self, pictures: slice) -> Checkpoint:
        """Return the checkpoint of a slice of the pictures. Its fingerprint stays that of the whole batch."""
        parts = {k: v if k in _COMMON else v[pictures] for k, v in self.tensors.items()}
        return replace(self, tensors=parts)

    def to(self, device: torch.device) -> Checkpoint:
        """Return a copy whose tensors are on ``device``."""
        return replace(self, tensors={k: v.to(device) for k, v in self.tensors.items()})

    def to_bytes(self) -> bytes:
        """Return the checkpoint as a safetensors file."""
        from safetensors.torch import save

        plain = {k: v for k, v in vars(self).items() if k != "tensors"}
        tensors = {k: v.detach().cpu().contiguous() for k, v in self.tensors.items()}
        data: bytes = save(tensors, {"format": FORMAT, "state": json.dumps(plain)})
        return data

    @classmethod
    def from_bytes(cls, data: bytes) -> Checkpoint:
        """Read a checkpoint that ``to_bytes`` wrote.

        Raises:
            CheckpointError: The data is damaged or has another format.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load

        try:
            header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
            metadata = header["__metadata__"]
            if metadata["format"] != FORMAT:
                raise CheckpointError(f"the checkpoint is {metadata['format']!r}, not {FORMAT!r}")
            tensors = load(data)
            if "x" not in tensors:
                raise CheckpointError("the checkpoint has no picture")
            state = dict(json.loads(metadata["state"]))
            # JSON has no tuples.
            alone = tuple(state.pop("alone_renders", ()))
            # Checkpoints once said only whether there were strips, of blocks 1 and 2.
            strips = SHALLOW.last if state.get("strips") is True else int(state.get("strips", 0))
            return cls(tensors=tensors, **{**state, "alone_renders": alone, "strips": strips})
        except (ValueError, KeyError, TypeError, RecursionError, SafetensorError) as error:
            raise CheckpointError(f"the checkpoint is damaged ({error})") from error


def fingerprint(recipe: Recipe, weights_digest: str, tensors: Iterable[Tensor], **more: Any) -> str:
    """Return the digest that identifies a render, so that checkpoints of other renders can be refused.

    Args:
        recipe: The recipe, whose ``identity`` counts.
        weights_digest: The digest of the network's weights.
        tensors: All pictures and masks of the render, in order.
        **more: Other values that determine the pictures, as plain JSON.

    Returns:
        The SHA-256 of all of them, 64 hex digits.
    """
    hashed = hashlib.sha256()
    plain = {"recipe": recipe.identity(), "weights": weights_digest, **more}
    hashed.update(json.dumps(plain, sort_keys=True).encode())
    for tensor in tensors:
        hashed.update(str(tuple(tensor.shape)).encode())
        hashed.update(tensor.detach().to("cpu", torch.float32).contiguous().numpy().data)
    return hashed.hexdigest()
