"""GPU care that can be checked without a GPU: nobody waits for the device, everything is on it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from stylize import Recipe
from stylize.averaging import IterateAverage
from stylize.descent import descend
from stylize.guard import SLOWER, Guard
from stylize.objective import Objective
from stylize.optimisers import make_optimiser
from stylize.recipe import Segment
from stylize.recorder import Recorder
from stylize.spaces import CAFFE, RGB, SPACES, convert
from stylize.vgg import VGG19
from tests.stylize.support import noise, photo, tiny_convs, tiny_network

WAITING = {
    torch.ops.aten._local_scalar_dense.default,  # .item(), float(), bool(), if
    torch.ops.aten.is_nonzero.default,
    torch.ops.aten.equal.default,
    torch.ops.aten.nonzero.default,
    torch.ops.aten.masked_select.default,
}


def waits(func: Any, args: Any) -> bool:
    """Whether this call has to know a number, or how many a mask selects."""
    if func in WAITING:
        return True
    masks = args[1] if func is torch.ops.aten.index.Tensor else ()
    return any(mask is not None and mask.dtype == torch.bool for mask in masks)


RECIPES = [
    {"optimizer": "lbfgs", "history": 4},
    {"optimizer": "adam", "learning_rate": 1.0, "clamp": True, "average": 0.9},
    {"padding": "replicate", "pooling": "average", "tv": "nine-point", "space": "rgb"},
]


class NobodyWaits(TorchDispatchMode):
    """Raises where the host would have to wait for a number from the device."""

    active = True

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if self.active and waits(func, args):
            raise AssertionError(f"{func} waits for the device")
        return func(*args, **(kwargs or {}))


def test_the_watchman_sees_who_waits() -> None:
    for wait in (torch.Tensor.item, bool, lambda x: x[x > 0], float):
        with pytest.raises(AssertionError, match="waits"), NobodyWaits():
            wait(torch.ones(1))


@pytest.mark.parametrize("knobs", RECIPES)
def test_no_step_waits_for_the_device(knobs: dict[str, Any], monkeypatch: Any) -> None:
    recipe = Recipe.model_validate({"size": 32, "start_size": None, **knobs})
    content = torch.cat([photo(seed, 32, 40) for seed in (1, 2)])
    styles = [[(noise(seed, 32, 32), 1.0)] for seed in (3, 4)]
    objective = Objective(tiny_network(CAFFE), recipe, content, styles)
    recorder = Recorder(0.0, None, float("inf"), None)
    watchman = NobodyWaits()
    at_the_end = Guard.finish

    def finish(self: Guard, x: torch.Tensor, total_B: torch.Tensor) -> torch.Tensor:
        watchman.active = False  # here a size is over, and its losses are fetched
        return at_the_end(self, x, total_B)

    monkeypatch.setattr(Guard, "finish", finish)
    x = convert(content, RGB, SPACES[recipe.space]).clone().requires_grad_()
    average = IterateAverage(recipe.average) if recipe.average is not None else None
    with watchman:
        descend(x, objective, Segment(32, 12, True, True), Guard(x), recorder, average=average)
    assert recorder.step == 12


@pytest.mark.parametrize("knobs", RECIPES)
def test_everything_is_on_the_device_of_the_pictures(knobs: dict[str, Any]) -> None:
    """Fake tensors refuse what a GPU would: operands on two devices."""
    recipe = Recipe.model_validate({"size": 32, "start_size": None, **knobs})
    with FakeTensorMode(allow_non_fake_inputs=True):
        network = VGG19([(w.to("cuda"), b.to("cuda")) for w, b in tiny_convs()], CAFFE)
        content = torch.rand(2, 3, 32, 40, device="cuda")
        styles = [[(torch.rand(1, 3, 24, 24, device="cuda"), 1.0)] for _ in range(2)]
        objective = Objective(network, recipe, content, styles)
        x = convert(content, RGB, SPACES[recipe.space]).requires_grad_()
        optimiser, guard = make_optimiser(recipe, x), Guard(x)
        for _ in range(3):
            losses = objective(x)
            gradient = torch.rand_like(x)  # a backward pass asks the driver for a real GPU
            bad_B, gradient = guard.check(x, losses.total_B, gradient)
            optimiser.restart(bad_B, SLOWER)
            optimiser.step(gradient)
        guard.finish(x, objective(x).total_B)
    assert x.device.type == losses.columns().device.type == "cuda"
