"""``idle_knobs``: the knobs of a recipe that change nothing, such as a seed where nothing is random."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol


class Knobs(Protocol):
    """The knobs of a recipe that can make others idle."""

    @property
    def init(self) -> str: ...
    @property
    def optimizer(self) -> str: ...
    @property
    def style_loss(self) -> str: ...
    @property
    def colors(self) -> str: ...
    @property
    def tv_weight(self) -> float: ...
    @property
    def pooling(self) -> str: ...
    @property
    def weights(self) -> str: ...
    def schedule(self) -> Sequence[tuple[int, int]]:
        """Return the sizes painted, each with its steps."""


Why = Callable[[Knobs], "str | None"]
"""Returns why a knob is idle in a recipe, as the end of "it has no effect where ...", or None."""


def _where(reason: str, holds: Callable[[Knobs], bool]) -> Why:
    return lambda recipe: reason if holds(recipe) else None


def _start(recipe: Knobs) -> str | None:
    return f"init is {recipe.init}" if recipe.init in ("content", "image") else None


def _optimizer(wanted: str) -> Why:
    return lambda r: None if r.optimizer == wanted else f"optimizer is {r.optimizer}"


_one_size = _where("the picture is painted at one size only", lambda r: len(r.schedule()) == 1)
_not_gram = _where("style_loss is wasserstein", lambda r: r.style_loss == "wasserstein")

IDLE: Mapping[str, tuple[Why, ...]] = {
    "seed": (_start,),
    "init_noise": (lambda r: None if r.init == "noise" else f"init is {r.init}",),
    "size_factor": (_one_size,),
    "refine_steps": (_one_size,),
    "beta2": (_optimizer("adam"),),
    "carry_moments": (_optimizer("adam"), _one_size),
    "history": (_optimizer("lbfgs"),),
    "history_precision": (_optimizer("lbfgs"),),
    "preconditioner": (_optimizer("lbfgs"),),
    "gram": (_not_gram,),
    "style_norm": (_not_gram,),
    "color_method": (_where("colors is style", lambda r: r.colors == "style"),),
    "tv": (_where("tv_weight is 0", lambda r: r.tv_weight == 0),),
    "rescale_pooling": (_where("pooling is max", lambda r: r.pooling == "max"),),
    "weights_input": (
        lambda r: f"weights is {r.weights}" if r.weights in ("caffe", "torchvision") else None,
    ),
}
"""The knobs that other knobs can make idle, with what does."""


def idle_knobs(recipe: Knobs) -> dict[str, str]:
    """Return the knobs that have no effect in a recipe, each with the reason.

    Args:
        recipe: A complete recipe.

    Returns:
        By knob, the end of the sentence "it has no effect where ...".
    """
    found = {}
    for knob, reasons in IDLE.items():
        for why in reasons:
            reason = why(recipe)
            if reason is not None:
                found[knob] = reason
                break
    return found
