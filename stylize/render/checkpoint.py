"""Where a render stands between two segments: enough to go on from, to the same picture, bit for bit.

At a cut the optimiser's memory is dropped by definition (``Recipe.segments``). What is left is the
picture and, for recipes that keep them, Adam's moments and the average of the iterates.
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
from stylize.recipe import Recipe

FORMAT = "stylefarm checkpoint 1"

_COMMON = frozenset({"adam_steps"})
"""Tensors that are all pictures'; the others have one row for each."""


@dataclass(frozen=True)
class Checkpoint:
    """A render of B pictures after some of its segments. Plain data: JSON and tensors."""

    render: str
    """Which render: the fingerprint of what goes into it."""
    segments: int
    """So many are made."""
    steps: int
    seconds: float
    """Since the render began, pauses not counted."""
    tensors: dict[str, Tensor]
    """x: (B, 3, H, W) in the recipe's space, within a size with its margin. Where the recipe keeps
    them first, second, adam_steps: Adam's moments; average: the sum of iterates."""
    average_weight: float = 0.0
    strips: bool = False
    """Whether strips were needed. They change how numbers are rounded, so it stays as it was."""

    alone_renders: tuple[str, ...] = ()
    """Of a batch: the fingerprints of its pictures, each as a render of its own."""

    def alone(self, picture: int) -> Checkpoint:
        """That of one picture, from which it can be gone on with without the others."""
        if not self.alone_renders:
            return self
        part = self.select(slice(picture, picture + 1))
        return replace(part, render=self.alone_renders[picture], alone_renders=())

    def select(self, pictures: slice) -> Checkpoint:
        """That of some of the pictures."""
        parts = {k: v if k in _COMMON else v[pictures] for k, v in self.tensors.items()}
        return replace(self, tensors=parts)

    def to(self, device: torch.device) -> Checkpoint:
        """With its tensors on a device."""
        return replace(self, tensors={k: v.to(device) for k, v in self.tensors.items()})

    def to_bytes(self) -> bytes:
        """A safetensors file."""
        from safetensors.torch import save

        plain = {k: v for k, v in vars(self).items() if k != "tensors"}
        tensors = {k: v.detach().cpu().contiguous() for k, v in self.tensors.items()}
        data: bytes = save(tensors, {"format": FORMAT, "state": json.dumps(plain)})
        return data

    @classmethod
    def from_bytes(cls, data: bytes) -> Checkpoint:
        """What ``to_bytes`` wrote. Raises CheckpointError."""
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
            state = json.loads(metadata["state"])
            # JSON knows no tuples.
            alone = tuple(dict(state).pop("alone_renders", ()))
            return cls(tensors=tensors, **{**state, "alone_renders": alone})
        except (ValueError, KeyError, TypeError, RecursionError, SafetensorError) as error:
            raise CheckpointError(f"the checkpoint is damaged ({error})") from error


def fingerprint(recipe: Recipe, weights_digest: str, tensors: Iterable[Tensor], **more: Any) -> str:
    """Of a render: its recipe, its network, its pictures. Checkpoints of others are refused."""
    hashed = hashlib.sha256()
    plain = {"recipe": recipe.identity(), "weights": weights_digest, **more}
    hashed.update(json.dumps(plain, sort_keys=True).encode())
    for tensor in tensors:
        hashed.update(str(tuple(tensor.shape)).encode())
        hashed.update(tensor.detach().to("cpu", torch.float32).contiguous().numpy().data)
    return hashed.hexdigest()
