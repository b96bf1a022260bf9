"""stylize: paint one picture in the style of another, by optimisation (Gatys et al. 2016).

::

    from stylize import Recipe, stylize

    result = stylize("harbour.jpg", "wave.jpg", Recipe(size=512))
    result.save("harbour-wave.png")

Importing this package imports no torch; the first use of ``stylize`` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stylize.errors import (
    CheckpointError,
    DivergedError,
    InterruptedRender,
    MemoryLimitError,
    PictureError,
    StylizeError,
    WeightsError,
)
from stylize.recipe import Recipe

if TYPE_CHECKING:
    from stylize.api import Result, stylize
    from stylize.film.film import FilmFrame, stylize_film
    from stylize.render.checkpoint import Checkpoint
    from stylize.render.recorder import Step

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "DivergedError",
    "FilmFrame",
    "InterruptedRender",
    "MemoryLimitError",
    "PictureError",
    "Recipe",
    "Result",
    "Step",
    "StylizeError",
    "WeightsError",
    "stylize",
    "stylize_film",
]


def __getattr__(name: str) -> Any:
    if name in ("Result", "stylize"):
        from stylize import api

        return getattr(api, name)
    if name in ("FilmFrame", "stylize_film"):
        from stylize.film import film

        return getattr(film, name)
    if name == "Checkpoint":
        from stylize.render.checkpoint import Checkpoint

        return Checkpoint
    if name == "Step":
        from stylize.render.recorder import Step

        return Step
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
