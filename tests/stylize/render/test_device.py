"""GPU care that can be checked without a GPU: nobody waits for the device, everything is on it.

Fake tensors have a device, a shape and no numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from stylize import Recipe, matrix_roots
from stylize.losses.masks import WeightedStyle
from stylize.losses.objective import Objective
from stylize.matrix_roots import precise
from stylize.network.vgg19 import VGG19
from stylize.optimise import adam, iterate_average, lbfgs, pair_ring
from stylize.optimise.guard import Guard
from stylize.optimise.iterate_average import IterateAverage
from stylize.pictures.colors import keep_chroma, match_colors
from stylize.pictures.pixel_spaces import CAFFE, RGB, convert
from stylize.recipe import Segment
from stylize.render.first_picture import first_pictures
from stylize.render.recorder import Recorder
from stylize.render.steps import descend
from tests.stylize.support import tiny_convs

BATCH = 3

aten = torch.ops.aten

WAITING = {
    aten._local_scalar_dense.default,  # .item(), float(), bool(), if
    aten.is_nonzero.default,
    aten.equal.default,
    aten.nonzero.default,
    aten.masked_select.default,
    aten._linalg_eigh.default,  # asks whether it converged
}

INDEXING = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default}


def waits(func: Any, args: Any) -> bool:
    """Whether this call has to know a number, or how many a mask selects."""
    if func in WAITING:
        return True
    masks = args[1] if func in INDEXING else ()
    return any(mask is not None and mask.dtype == torch.bool for mask in masks)


class Watchman(TorchDispatchMode):
    """Sees every call, what goes in and what comes out."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        self.before(func, args)
        result = func(*args, **kwargs)
        leaves = tree_leaves((args, kwargs, result))
        self.after(func, [leaf for leaf in leaves if isinstance(leaf, Tensor)])
        return result

    def before(self, func: Any, args: Any) -> None:
        """Judge a call that is about to be made."""

    def after(self, func: Any, tensors: list[Tensor]) -> None:
        """Judge it by all tensors that have to do with it."""


class NobodyWaits(Watchman):
    """Raises where the host would have to wait for a number from the device."""

    def __init__(self, allowed: Collection[Any] = ()) -> None:
        super().__init__()
        self._allowed = allowed

    def before(self, func: Any, args: Any) -> None:
        if waits(func, args) and func not in self._allowed:
            raise AssertionError(f"{func} waits for the device")


class NobodyLeaves(Watchman):
    """Raises at a tensor that is not on the device. What is copied from one to the other is waited for;
    and a number on the CPU, which torch tolerates among the tensors of a device, is copied."""

    def __init__(self, device: str) -> None:
        super().__init__()
        self._device = device

    def after(self, func: Any, tensors: list[Tensor]) -> None:
        for tensor in tensors:
            if tensor.device.type != self._device:
                raise AssertionError(f"{func} with {tuple(tensor.shape)} on {tensor.device}")


class NobodyDoubles(Watchman):
    """Raises at double precision, which Apple's GPUs have not."""

    def after(self, func: Any, tensors: list[Tensor]) -> None:
        for tensor in tensors:
            if tensor.dtype in (torch.float64, torch.complex128):
                raise AssertionError(f"{func} in {tensor.dtype}")


class Case(NamedTuple):
    """What is painted, and how."""

    knobs: dict[str, Any]
    masked: bool = False
    strip_pixels: int | None = None

    @property
    def allowed(self) -> Collection[Any]:
        """What may wait on the CPU, where it is no waiting: the Wasserstein distance's eigenvalues."""
        wasserstein = self.knobs.get("style_loss") != "gram"
        return (aten._linalg_eigh.default,) if wasserstein else ()


GRAM = {"style_loss": "gram"}
ADAM = {"optimizer": "adam", "learning_rate": 1.0, "clamp": True, "average": 0.9}
ROUNDABOUT = {"padding": "replicate", "pooling": "average", "tv": "nine-point", "space": "rgb"}
WASSERSTEIN = {"style_loss": "wasserstein", "space": "imagenet"}
BFLOAT16 = {"precision": "bfloat16"}
STRIPS = 16 * 40

CASES = {
    "lbfgs": Case({**GRAM, "history": 4}),
    "adam": Case({**GRAM, **ADAM}),
    "roundabout": Case({**GRAM, "history": 2, **ROUNDABOUT}),
    "l2": Case({"history": 2, "pooling": "l2", "rescale_pooling": True, "tv": "absolute"}),
    "wasserstein": Case({"history": 2, **WASSERSTEIN}),
    "masks": Case({**GRAM, "history": 2}, masked=True),
    "strips": Case({**ADAM, **ROUNDABOUT}, strip_pixels=STRIPS),
    "wasserstein-masks-strips": Case({**ADAM, **WASSERSTEIN}, True, STRIPS),
    "bfloat16-masks-strips": Case({**GRAM, **ADAM, **BFLOAT16}, True, STRIPS),
}
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


class Recorded(Recorder):
    """A recorder that leaves the losses on the device, where fake ones have to stay."""

    def flush(self) -> None:
        pass


def random_pictures(batch: int, height: int, width: int, device: str) -> Tensor:
    return torch.rand(batch, 3, height, width, device=device)


def make_network(device: str) -> VGG19:
    return VGG19([(w.to(device), b.to(device)) for w, b in tiny_convs()], CAFFE)


def make_objective(case: Case, device: str, network: VGG19) -> Objective:
    """Of pictures of 32 x 40 px with a style each; with masks, two regions."""
    recipe = Recipe.model_validate({"size": 32, "start_size": None, **case.knobs})
    styles: list[list[tuple[Any, ...]]] = []
    for _ in range(BATCH):
        styles.append([(random_pictures(1, 24, 24, device), 1.0)])
        if case.masked:
            mask = torch.rand(1, 1, 32, 40, device=device)
            styles[-1].append((random_pictures(1, 24, 32, device), 1.0, mask))
    content = random_pictures(BATCH, 32, 40, device)
    with patch(
        "stylize.losses.objective.target_key", lambda *_: object()
    ):  # fake pixels have no digest
        return Objective(network, recipe, content, styles, strip_pixels=case.strip_pixels)


def make_steps(
    x: Tensor, objective: Objective, steps: int, watchmen: Sequence[TorchDispatchMode]
) -> None:
    """The steps themselves, watched until the losses of a finished size are fetched."""
    average = IterateAverage(0.9) if objective.recipe.average is not None else None
    recorder = Recorded(0.0, None, float("inf"), None)

    class Watched(Guard):
        def finish(self, x: Tensor, total_B: Tensor) -> Any:
            super().finish(x, total_B)
            watch.close()  # here a size is over
            return np.zeros(BATCH, dtype=bool)  # a fake tensor does not know which were replaced

    with ExitStack() as watch:
        for watchman in watchmen:
            watch.enter_context(watchman)
        moments = descend(
            x, objective, Segment(32, steps, True, True), Watched(x), recorder, average=average
        )
    assert recorder.step == steps
    found = [x, *(columns for *_, columns in recorder._rows), *(moments or ())[:2]]
    assert {tensor.device for tensor in found} == {x.device}


# -- the watchmen ------------------------------------------------------------------------------------


@pytest.mark.parametrize("wait", [Tensor.item, bool, float, lambda x: x[x > 0]])
def test_the_watchman_sees_who_waits(wait: Callable[[Tensor], Any]) -> None:
    with pytest.raises(AssertionError, match="waits"), NobodyWaits():
        wait(torch.ones(1))


@pytest.mark.parametrize("wait", [Tensor.item, bool, float])
def test_it_sees_who_waits_for_a_fake(wait: Callable[[Tensor], Any]) -> None:
    with FakeTensorMode():
        x = torch.rand(1, device="cuda")
        with pytest.raises(AssertionError, match="waits"), NobodyWaits():
            wait(x)


ASTRAY: dict[str, Callable[[Tensor], Any]] = {
    "cpu": Tensor.cpu,
    "to": lambda x: x.to("cpu"),
    "copy": lambda x: x.copy_(torch.ones(2, 3)),
    "new": lambda x: torch.zeros(len(x)),
    "number": lambda x: x * torch.tensor(2.0),
    "numbers": lambda x: x * torch.tensor([1.0, 2.0, 3.0], device=x.device),
    "indices": lambda x: x[:, [2, 1, 0]],
}


@pytest.mark.parametrize("astray", ASTRAY.values(), ids=ASTRAY)
def test_it_sees_what_is_not_on_the_device(astray: Callable[[Tensor], Any]) -> None:
    with FakeTensorMode():
        x = torch.rand(2, 3, device="cuda")
        with pytest.raises(AssertionError, match="on cpu"), NobodyLeaves("cuda"):
            astray(x)


@pytest.mark.parametrize(
    "doubled", [Tensor.double, lambda x: x + torch.rand(2, dtype=torch.float64)]
)
def test_it_sees_double_precision(doubled: Callable[[Tensor], Any]) -> None:
    with pytest.raises(AssertionError, match="float64"), NobodyDoubles():
        doubled(torch.rand(2))


# -- nobody waits ------------------------------------------------------------------------------------


@every_case
def test_no_step_waits_for_the_device(case: Case) -> None:
    objective = make_objective(case, "cpu", make_network("cpu"))
    x = random_pictures(BATCH, 32, 40, "cpu")
    make_steps(x, objective, 6, [NobodyWaits(case.allowed)])


# -- everything is on the device ---------------------------------------------------------------------


@every_case
def test_everything_is_on_the_device_of_the_pictures(case: Case) -> None:
    """The targets too: fake tensors refuse what a GPU would, operands on two devices."""
    with FakeTensorMode(allow_non_fake_inputs=True):
        objective = make_objective(case, "cuda", make_network("cuda"))
        x = random_pictures(BATCH, 32, 40, "cuda")
        make_steps(x, objective, 4, [NobodyWaits(), NobodyLeaves("cuda")])


# -- where there is no double precision --------------------------------------------------------------


def test_double_precision_is_for_devices_that_have_it() -> None:
    with FakeTensorMode():
        assert precise(torch.rand(2, device="cuda")).dtype == torch.float64
        assert precise(torch.rand(2, device="mps")).dtype == torch.float32


@pytest.fixture
def as_on_mps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Most of torch needs a Mac for a tensor on "mps", so the CPU takes its place."""
    for module in (matrix_roots, adam, iterate_average, lbfgs, pair_ring):
        monkeypatch.setattr(module, "precise", lambda a: a)


@every_case
@pytest.mark.usefixtures("as_on_mps")
def test_no_step_is_in_double_precision_on_mps(case: Case) -> None:
    network = make_network("cpu")
    with NobodyDoubles():
        objective = make_objective(case, "cpu", network)
        x = random_pictures(BATCH, 32, 40, "cpu")
        make_steps(x, objective, 2, [])


@pytest.mark.parametrize("init", ["content", "noise", "style_stats"])
@pytest.mark.usefixtures("as_on_mps")
def test_nor_is_what_comes_before_and_after(init: Any) -> None:
    with NobodyDoubles():
        content, style = (random_pictures(1, 32, 40, "cpu") for _ in range(2))
        matched = match_colors(style, content)
        mixes = [[WeightedStyle(matched, 1.0)]]
        rgb = first_pictures(Recipe(init=init), content, [], mixes, CAFFE)
        keep_chroma(CAFFE.to_rgb(convert(rgb, RGB, CAFFE)), content)
