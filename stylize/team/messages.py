"""What a team and its members say to each other, over one pipe for each member. Tensors travel in files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from stylize.pictures.inputs import Inputs
from stylize.recipe import Recipe
from stylize.render.checkpoint import Checkpoint
from stylize.render.recorder import Step


@dataclass(frozen=True)
class Order:
    """One render, as the file of an order holds it."""

    inputs: Inputs
    """The pictures."""
    recipe: Recipe
    """The knobs. The precision is not auto."""
    fingerprint: str
    """The digest of the whole render."""
    strips: int
    """The number of leading blocks in strips."""
    at: Checkpoint | None
    """The checkpoint to resume from."""
    first_picture: int
    """The index of the first picture in the whole batch."""
    seconds: float
    """The time spent on the render before, in seconds."""
    observe_seconds: float
    """Time between two batches of losses, in seconds."""


@dataclass(frozen=True)
class Paint:
    """To every member: paint the order in a file."""

    path: str


@dataclass(frozen=True)
class StopPainting:
    """To the first member: interrupt the render at its next step."""


@dataclass(frozen=True)
class Ready:
    """From a member: its network is loaded."""


@dataclass(frozen=True)
class Taken:
    """From a member: it has the order, whose file need have no name any more."""


@dataclass(frozen=True)
class Observed:
    """From the first member: the losses of the last steps."""

    steps: list[Step]


@dataclass(frozen=True)
class CutAt:
    """From the first member: a checkpoint, in a file that the receiver deletes."""

    path: str


@dataclass(frozen=True)
class Finished:
    """From a member: the render ended well. The first member's has a file with the pictures, to delete."""

    path: str | None
    losses: list[Step]


@dataclass(frozen=True)
class Ended:
    """From a member: the render ended otherwise."""

    why: Literal["interrupted", "diverged", "memory", "error"]
    """All members end alike where a render was interrupted or diverged; else the others still wait for it."""
    message: str
    path: str | None = None
    """The file of the best pictures of a render that diverged, to delete."""
    error: Exception | None = None
    """An unexpected error, where it can be sent."""
    traceback: str = ""
    """Where an unexpected error was raised."""


FromMember = Ready | Taken | Observed | CutAt | Finished | Ended
ToMember = Paint | StopPainting

Pipe = Any
"""A ``multiprocessing.connection.Connection``."""
