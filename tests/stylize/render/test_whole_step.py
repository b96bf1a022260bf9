"""A step as a whole: torch's compiler takes it in one piece, once, and a recording of it can be replayed.

The compiler refuses, here, what a host would have to wait for or to decide: numbers fetched from tensors,
shapes that depend on them, and whatever changes in Python from one step to the next. A recording is made here
as CUDA makes it, but of torch's calls instead of kernels: it tells what is not where it was recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from stylize import Result, stylize
from stylize.losses import functions, style
from stylize.losses.objective import Objective
from stylize.matrix_roots import _by_iteration
from stylize.network.vgg19 import VGG19
from stylize.optimise.guard import Guard
from stylize.optimise.iterate_average import IterateAverage
from stylize.optimise.optimiser import make_optimiser
from stylize.render import graphs
from stylize.render.graphs import WARM_UP, ReplayedStep
from stylize.render.setup import RenderSetup
from stylize.render.steps import Stepper
from tests.stylize.support import noise, recipe, tiny_convs, tiny_network

HISTORY = 3

CASES: dict[str, dict[str, Any]] = {
    "lbfgs, wasserstein": {"history": HISTORY},
    "lbfgs, wasserstein, bfloat16": {"history": 2 * HISTORY, "precision": "bfloat16"},
    "adam, gram": {"preset": "notebook", "average": 0.9, "clamp": True},
}
every_case = pytest.mark.parametrize("knobs", CASES.values(), ids=CASES)


def a_step(
    knobs: dict[str, Any],
    masked: bool = False,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> tuple[Tensor, Stepper]:
    """Pictures, and the step that changes them."""
    made = recipe(**knobs)
    content, style, other, start = (
        noise(seed, *shape, dtype).to(device)
        for seed, shape in ((1, (32, 40)), (2, (24, 24)), (5, (24, 24)), (3, (32, 40)))
    )
    blend: list[tuple[Any, ...]] = [(style, 1.0)]
    if masked:
        mask = noise(4, 32, 40)[:, :1].to(device)
        blend = [(style, 1.0, mask), (other, 1.0, 1 - mask)]
    network = tiny_network(dtype=dtype)
    if device != "cpu":
        network = VGG19([(w.to(device), b.to(device)) for w, b in tiny_convs()], network.space)
    objective = Objective(network, made, content, [blend])
    x = objective.space.from_rgb(start).clone()
    guard = Guard(x, objective.floor_B)
    average = None if made.average is None else IterateAverage(made.average)
    return x, Stepper(x, objective, guard, make_optimiser(made, x), average)


def as_on_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """The style loss without eigenvalues, and of several layers at once."""
    monkeypatch.setattr(functions, "overlap", _by_iteration)
    monkeypatch.setattr(style, "_grouped", lambda targets: [list(targets)[3:], list(targets)[:3]])


@every_case
@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_a_step_is_compiled_whole_and_once(
    knobs: dict[str, Any], device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if device == "gpu":
        as_on_gpus(monkeypatch)
    (x, step), (compiled_x, compiled_step) = (a_step(knobs, masked=device == "gpu") for _ in (0, 1))
    for _ in range(2 + HISTORY):  # until L-BFGS's memory is full
        assert torch.equal(step(), compiled_step())
    torch.compiler.reset()
    whole = torch.compile(
        lambda: compiled_step(), fullgraph=True, dynamic=False, backend="aot_eager"
    )
    for number in range(6):
        with torch.compiler.set_stance("fail_on_recompile" if number else "default"):
            found = whole()
        torch.testing.assert_close(found, step(), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(compiled_x, x, rtol=1e-4, atol=1e-4)


# -- recorded and replayed ---------------------------------------------------------------------------


def tensors_in(held: Any, seen: set[int]) -> Iterator[Tensor]:
    """All tensors that something holds, however deep."""
    if id(held) in seen:
        return
    seen.add(id(held))
    if isinstance(held, Tensor):
        yield held
        return
    if isinstance(held, dict):
        held = held.values()
    elif hasattr(held, "__dict__") and not isinstance(held, type):
        held = vars(held).values()
    elif not isinstance(held, list | tuple):
        return
    for part in list(held):
        yield from tensors_in(part, seen)


class Recorder(TorchDispatchMode):
    """Keeps every call that computes something, with its tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, Any, Any, list[Tensor]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default:
            raise RuntimeError("operation not permitted when stream is capturing\nand so on")
        result = func(*args, **(kwargs or {}))
        schema = func._schema
        is_view = not schema.is_mutable and any(r.alias_info is not None for r in schema.returns)
        if not is_view and "empty" not in func.name():
            made = [] if schema.is_mutable else [r for r in tree_leaves(result) if _is_tensor(r)]
            self.calls.append((func, args, kwargs or {}, made))
        return result


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor)


class OnTheCpu:
    """A recording as CUDA makes it: of calls with the places of their tensors, and nothing of Python."""

    replays = 0

    def __init__(self, step: Any) -> None:
        self._step = step

    def record(self, work: Callable[[], Tensor]) -> Tensor:
        lasting = list(tensors_in(self._step, set()))
        before = [tensor.clone() for tensor in lasting]
        with Recorder() as recorder:
            result = work()
        for tensor, value in zip(lasting, before, strict=True):
            tensor.copy_(value)  # as if nothing had been done
        self._calls = recorder.calls
        return result

    def replay(self) -> None:
        self.replays += 1
        for func, args, kwargs, made in self._calls:
            again = [r for r in tree_leaves(func(*args, **kwargs)) if _is_tensor(r)]
            for tensor, value in zip(made, again, strict=False):
                tensor.copy_(value)


@every_case
@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_a_replayed_step_is_the_step(
    knobs: dict[str, Any], device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if device == "gpu":
        as_on_gpus(monkeypatch)
    (x, step), (replayed_x, replayed_step) = (a_step(knobs, device == "gpu") for _ in (0, 1))
    step.settle()  # for the same bits
    recording = OnTheCpu(replayed_step)
    again = ReplayedStep(replayed_step, recording, pytest.fail)
    rows = []
    for number in range(WARM_UP + 3 * HISTORY):
        rows.append(again())
        assert torch.equal(rows[-1], step()), number
        assert torch.equal(replayed_x, x), number
    assert recording.replays == 3 * HISTORY
    assert len({row.data_ptr() for row in rows}) == len(rows)
    found, expected = (
        optimiser.carried() for optimiser in (replayed_step._optimiser, step._optimiser)
    )
    for one, other in zip(found or (), expected or (), strict=True):
        assert torch.equal(one, other)


@every_case
def test_settling_changes_no_step(knobs: dict[str, Any]) -> None:
    # The products are of other shapes, so they round otherwise, and L-BFGS lets that grow: a last bit into a
    # whole step of bfloat16, and at the third step into levels of a picture.
    dtype = torch.float32 if "precision" in knobs else torch.float64
    knobs = {"history_precision": "float32", **knobs}
    (x, step), (settled_x, settled) = a_step(knobs, dtype=dtype), a_step(knobs, dtype=dtype)
    settled.settle()
    rtol, steps = (1e-5, 3 * HISTORY) if dtype == torch.float64 else (0.01, 2)
    for _ in range(steps):
        torch.testing.assert_close(settled(), step(), rtol=rtol, atol=1e-4)
    torch.testing.assert_close(settled_x, x, rtol=rtol, atol=100 * rtol)


DECIDE = graphs.Replays.of


def paint(
    monkeypatch: pytest.MonkeyPatch, device: str, asked: graphs.Graphs = "auto", **knobs: Any
) -> tuple[Result, list[Any]]:
    """A picture, and what was recorded, on what passes for a card."""
    made: list[Any] = []

    def cuda_graph(device: torch.device) -> Any:
        assert device.type == "cuda"
        made.append(OnTheCpu(steps[-1]))
        return made[-1]

    steps: list[Stepper] = []
    monkeypatch.setattr(graphs, "CudaGraph", cuda_graph)

    def seen(replays: Any, step: Any, count: int) -> Any:
        steps.append(step)
        replays.device = torch.device(device)
        return DECIDE(replays, step, count)

    monkeypatch.setattr(graphs.Replays, "of", seen)
    size = {"size": 64, "start_size": 32, "steps": 12, "refine_steps": 10, "history": 2}
    result = stylize(
        noise(1, 64, 40),
        noise(2, 24, 24),
        recipe(**{**size, **knobs}),
        network=tiny_network(),
        device="cpu",
        graphs=asked,
    )
    return result, made


def test_a_render_records_each_size_and_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, nothing = paint(monkeypatch, "cpu")
    assert nothing == []
    found, made = paint(monkeypatch, "cuda")
    assert [recording.replays for recording in made] == [12 - WARM_UP, 10 - WARM_UP]
    assert found.concessions == ()
    assert found.losses[0].total == pytest.approx(plain.losses[0].total, rel=0.02)


@pytest.mark.parametrize("knobs", [{"strips": "on"}, {"steps": WARM_UP + 1, "refine_steps": 2}])
def test_what_does_not_pay_is_not_recorded(
    knobs: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    result, made = paint(monkeypatch, "cuda", **knobs)
    assert made == []
    assert "graphs" not in " ".join(result.concessions)


@pytest.mark.parametrize("device", ["cpu", "mps", "xpu"])
def test_no_other_device_records(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert paint(monkeypatch, device)[1] == []


def test_a_render_that_cannot_be_recorded_goes_on_without(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, _ = paint(monkeypatch, "cpu")
    check = Guard.check

    def waits(guard: Guard, x: Tensor, total_B: Tensor, gradient: Tensor) -> Any:
        float(total_B.sum())
        return check(guard, x, total_B, gradient)

    monkeypatch.setattr(Guard, "check", waits)
    found, made = paint(monkeypatch, "cuda")
    assert len(made) == 1  # and not at the next size
    assert found.concessions == (
        "painted without CUDA graphs: operation not permitted when stream is capturing",
    )
    assert found.losses[0].total == pytest.approx(plain.losses[0].total, rel=0.02)


def test_nothing_is_recorded_unless_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert RenderSetup.graphs == "off"
    assert paint(monkeypatch, "cuda", "off")[1] == []


def test_cuda_records_and_replays_on_the_device_that_renders(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And disturbs no other thread that does something with a device meanwhile."""
    on: list[Any] = []

    @contextmanager
    def current(device: torch.device) -> Iterator[None]:
        on.append(device)
        yield
        on.pop()

    @contextmanager
    def recording(graph: Any, stream: Any, capture_error_mode: str) -> Iterator[None]:
        assert (stream, capture_error_mode) == ((second,), "thread_local")
        yield

    class Graph:
        def replay(self) -> None:
            replayed.append(list(on))

    second, replayed = torch.device("cuda:1"), []
    for name, fake in {"device": current, "graph": recording, "CUDAGraph": Graph}.items():
        monkeypatch.setattr(torch.cuda, name, fake)
    monkeypatch.setattr(torch.cuda, "Stream", lambda *args: args)
    graph = graphs.CudaGraph(second)
    result = torch.ones(1)
    assert graph.record(lambda: result if on == [second] else torch.zeros(1)) is result
    graph.replay()
    assert replayed == [[second]]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
@every_case
@pytest.mark.parametrize("masked", [False, True])
def test_a_card_replays_its_steps(knobs: dict[str, Any], masked: bool) -> None:
    (x, step), (replayed_x, replayed_step) = (a_step(knobs, masked, "cuda") for _ in (0, 1))
    step.settle()
    again = graphs.Replays(x.device, "auto", pytest.fail).of(replayed_step, 100)
    for _ in range(3 * WARM_UP):
        torch.testing.assert_close(again(), step(), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(replayed_x, x, rtol=1e-2, atol=1e-2)
