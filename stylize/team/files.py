"""What a team and its members leave to each other in files: a picture of 8192 px is too much for a pipe.

Files are read as they are used, from the memory that the system holds of them once for all processes.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import torch

from stylize.layer_names import LAYERS
from stylize.network.vgg19 import VGG19
from stylize.pictures.pixel_spaces import SPACES

NETWORK = "network.pt"
"""The name of the network's file in the team's folder."""


def store(what: Any, folder: Path) -> str:
    """Write an object with tensors to a new file of a team's folder, and return its path."""
    handle, path = tempfile.mkstemp(suffix=".pt", dir=folder)
    with os.fdopen(handle, "wb") as file:
        torch.save(what, file)
    return path


def load(path: str | Path) -> Any:
    """Read an object that a process of the same team stored."""
    return torch.load(path, map_location="cpu", mmap=True, weights_only=False)


def store_network(network: VGG19, folder: Path) -> None:
    """Write a network for the members of a team."""
    convs = [
        tuple(getattr(network, f"{name}_{what}").cpu() for what in ("weight", "bias"))
        for name in LAYERS
    ]
    kept = {"convs": convs, "space": network.space.name, "digest": network.digest}
    torch.save(kept, folder / NETWORK)


def load_network(folder: Path, device: torch.device) -> VGG19:
    """Return the network that ``store_network`` wrote, on a device."""
    kept = load(folder / NETWORK)
    return VGG19(kept["convs"], SPACES[kept["space"]], kept["digest"]).to(device)
