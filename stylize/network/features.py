"""One look through the network: pictures in, what the probes found at each layer out; and back.

This is autograd's work done by hand, for one function that is called thousands of times: the forward
pass keeps only what the backward pass needs, gradients are added up in place, and the shallow blocks
can be run in strips (``stylize.network.strips``). To autograd all of it is a single function.

Shape suffixes: B pictures, N channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone knows
from torch import Tensor

from stylize.layer_names import CONVS_PER_BLOCK, LAYERS
from stylize.network.layers import (
    POOL_SCALES,
    Padding,
    Pooling,
    channels_last,
    conv,
    conv_backward,
    pool,
    relu_backward,
    split,
)
from stylize.network.probes import Capture, Part, Probe
from stylize.network.strips import STRIP_BLOCKS, Strip, cut, whole
from stylize.network.vgg19 import LAST_OF_BLOCK, VGG19

Findings = dict[str, list[list[Part]]]
"""For each layer and each of its probes the parts that make up the whole."""

SHALLOW = LAYERS[: sum(CONVS_PER_BLOCK[:STRIP_BLOCKS])]
SHALLOW_SCALE = 1 << STRIP_BLOCKS
"""How many times smaller what comes out of the shallow blocks is."""


class Way(NamedTuple):
    """How features come about."""

    pooling: Pooling = "max"
    padding: Padding = "zeros"
    """Of the first convolution; the others pad with zeros."""
    rescale_pooling: bool = False
    dtype: torch.dtype = torch.float32
    """What the convolutions compute in."""
    strip_pixels: int | None = None
    """Run the shallow blocks in strips of about so many pixels; None: all at once."""


DEFAULT_WAY = Way()


class Survey:
    """Looks at pictures (B, 3, H, W), in the network's space, with probes at its layers.

    Stops at the last layer that has a probe. H and W must be at least 2^(b - 1) for a layer in block b.
    """

    def __init__(self, network: VGG19, way: Way, probes: Mapping[str, Sequence[Probe]]) -> None:
        self.network = network
        self.way = way
        self.probes = {name: tuple(found) for name, found in probes.items() if found}
        wanted = LAYERS[: max(LAYERS.index(name) for name in self.probes) + 1]
        self.last = wanted[-1]
        self.shallow = wanted[: len(SHALLOW)] if way.strip_pixels is not None else ()
        """The layers run in strips."""
        self.deep = wanted[len(self.shallow) :]

    def __call__(self, x_B3HW: Tensor) -> Findings:
        """What the probes find. Differentiable, once, with respect to the pictures."""
        layout: list[_Found] = []
        if torch.is_grad_enabled() and x_B3HW.requires_grad:
            flat = _Differentiable.apply(x_B3HW, self, layout)
        else:
            flat = _Look(self, x_B3HW, keep=False).found(layout)
        findings: Findings = {name: [[] for _ in probes] for name, probes in self.probes.items()}
        rest = iter(flat)
        for name, probe, tensors in layout:
            findings[name][probe].append(tuple(next(rest) for _ in range(tensors)))
        return findings


def features(
    network: VGG19, x_B3HW: Tensor, layers: Iterable[str], way: Way = DEFAULT_WAY
) -> dict[str, Tensor]:
    """The outputs after the ReLUs of the named layers, each (B, N, H', W'). Not differentiable."""
    survey = Survey(network, way, {name: [Capture()] for name in layers})
    with torch.no_grad():
        found = survey(x_B3HW)
    return {name: torch.cat([part[0] for part in parts], 2) for name, (parts,) in found.items()}


class _Found(NamedTuple):
    """A part: whose it is, and of how many tensors."""

    layer: str
    probe: int
    tensors: int


class _Differentiable(torch.autograd.Function):
    """Pictures -> everything found, one tensor after the other."""

    @staticmethod
    def forward(
        ctx: Any, x_B3HW: Tensor, survey: Survey, layout: list[_Found]
    ) -> tuple[Tensor, ...]:
        ctx.look = _Look(survey, x_B3HW, keep=True)
        ctx.set_materialize_grads(True)
        found: tuple[Tensor, ...] = ctx.look.found(layout)
        return found

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        return ctx.look.backward(slopes), None, None


class _Look:
    """One pass through all layers, and what is kept for the way back."""

    def __init__(self, survey: Survey, x_B3HW: Tensor, keep: bool) -> None:
        self._survey = survey
        self._dtype = x_B3HW.dtype
        height, width = x_B3HW.shape[2:]
        self._parts: list[tuple[str, int, Part]] = []
        self._strips: list[Strip] = []
        if survey.way.strip_pixels is not None:
            self._strips = list(cut(height, width, survey.way.strip_pixels))
        self._x: Tensor | None = None
        self._deep = _Stage(survey, survey.deep, whole(height))
        # In less precision than the pictures have, the first layer sees to that itself.
        precision = torch.promote_types(survey.way.dtype, self._dtype)
        # Handed over: a name for it here would keep it from going when the first layer is past it.
        self._deep.forward(self._shallow(channels_last(x_B3HW.to(precision)), keep), keep)
        self._parts += self._deep.taken()

    def _shallow(self, x: Tensor, keep: bool) -> Tensor:
        """What the deep layers begin with: the pictures themselves, or their features after strips."""
        if not self._strips:
            return x
        survey, pooled = self._survey, x
        self._x = x if keep else None
        for strip in self._strips:
            stage = _Stage(survey, survey.shallow, strip)
            y = stage.forward(x[:, :, strip.above : strip.below], keep=False)
            self._parts += stage.taken()
            if survey.deep:
                rows = y[:, :, strip.rows(SHALLOW_SCALE)]
                if strip.top == 0:
                    shape = (*rows.shape[:2], x.shape[2] // SHALLOW_SCALE, rows.shape[3])
                    pooled = torch.empty(
                        shape,
                        dtype=rows.dtype,
                        device=rows.device,
                        memory_format=torch.channels_last,
                    )
                first = strip.top // SHALLOW_SCALE
                pooled[:, :, first : first + rows.shape[2]] = rows
                del rows
            del y
        return pooled

    def found(self, layout: list[_Found]) -> tuple[Tensor, ...]:
        """Every tensor of every part; how they belong together is added to ``layout``.

        Nothing here refers to them any more: they refer to what made them, which refers to this look,
        and memory in such a circle is never given back.
        """
        parts, self._parts = self._parts, []
        layout += [_Found(name, probe, len(part)) for name, probe, part in parts]
        return tuple(tensor for _, _, part in parts for tensor in part)

    def backward(self, slopes: Sequence[Tensor]) -> Tensor:
        """The gradient at the pictures, from those at everything found."""
        rest = list(slopes)
        gradient = self._deep.backward(None, rest)
        if not self._strips:
            assert gradient is not None
            return gradient.to(self._dtype)
        assert self._x is not None
        into = torch.zeros_like(self._x, dtype=self._dtype)
        for strip in reversed(self._strips):
            stage = _Stage(self._survey, self._survey.shallow, strip)
            y = stage.forward(self._x[:, :, strip.above : strip.below], keep=True)
            below = None if gradient is None else self._share(gradient, strip, y)
            del y
            piece = stage.backward(below, rest)
            assert piece is not None
            into[:, :, strip.above : strip.below] += piece
        return into

    def _share(self, gradient: Tensor, strip: Strip, like: Tensor) -> Tensor:
        """What of the gradient at the pooled features is this strip's; none is its halo's, which is
        another strip's business."""
        share = torch.zeros_like(like)
        rows = share[:, :, strip.rows(SHALLOW_SCALE)]
        first = strip.top // SHALLOW_SCALE
        rows.copy_(gradient[:, :, first : first + rows.shape[2]])
        return share


class _Stage:
    """Consecutive layers on one strip: forward, and, where that was kept, backward, once."""

    def __init__(self, survey: Survey, names: Sequence[str], strip: Strip) -> None:
        self._survey = survey
        self._names = names
        self._strip = strip
        self._small = survey.way.strip_pixels is not None
        self._back: list[Callable[[Tensor | None], Tensor | None]] = []
        self._parts: list[tuple[str, int, Part]] = []
        self._slopes: list[Tensor] = []

    def forward(self, x: Tensor, keep: bool) -> Tensor:
        """The stage's output."""
        way = self._survey.way
        scale = 1 if not self._small or LAYERS[0] in self._names else SHALLOW_SCALE
        for name in self._names:
            weight, bias = self._survey.network.layer(name, way.dtype)
            padding = way.padding if name == LAYERS[0] else "zeros"
            shape = x.shape
            kernel = weight
            if x.dtype != way.dtype:
                # Pixels rounded to bfloat16 would be a picture of fewer colours, with other edges.
                x, kernel = split(x, way.dtype), torch.cat([weight, weight], 1)
            x = channels_last(conv(x, kernel, bias, padding))
            probes = self._survey.probes.get(name, ())
            pooled = name in LAST_OF_BLOCK and name != self._survey.last
            # The maximum's ReLU is the ReLU's maximum, and that is a quarter of the work.
            late = pooled and way.pooling == "max" and not probes
            if not late:
                x = F.relu_(x)
            if keep:
                self._keep_conv(shape, weight, padding)
                if not late:
                    self._keep_relu(x, needed=bool(probes))
            if probes:
                self._look(name, probes, x, scale, keep)
            if pooled:
                x, unpool = pool(x, way.pooling, self._small)
                scale *= 2
                if late:
                    x = F.relu_(x)
                factor = POOL_SCALES[way.pooling] if way.rescale_pooling else 1.0
                if keep:
                    self._back.append(_given(unpool))
                    if late:
                        self._keep_relu(x, needed=False)
                    if factor != 1:
                        self._back.append(_given(partial(torch.Tensor.mul_, other=factor)))
                if factor != 1:
                    x = x * factor
        return x

    def taken(self) -> list[tuple[str, int, Part]]:
        """The parts that forward found, with layer and number of probe. They are not kept."""
        parts, self._parts = self._parts, []
        return parts

    def backward(self, gradient: Tensor | None, slopes: list[Tensor]) -> Tensor | None:
        """The gradient at the stage's input, from that at its output (None: nothing came after) and
        from those at its parts, which are taken off the end of ``slopes``."""
        self._slopes = slopes
        while self._back:
            gradient = self._back.pop()(gradient)  # and let go of what it kept
        return gradient

    def _look(self, name: str, probes: Sequence[Probe], x: Tensor, scale: int, keep: bool) -> None:
        mine = x[:, :, self._strip.rows(scale)]
        top = self._strip.top // scale
        counts = []
        for number, probe in enumerate(probes):
            part = probe.part(mine, top)
            counts.append(len(part))
            self._parts.append((name, number, part))
        if not keep:
            return

        def pull(gradient: Tensor | None) -> Tensor:
            gradient = torch.zeros_like(x) if gradient is None else gradient
            rows = gradient[:, :, self._strip.rows(scale)]
            for probe, count in zip(reversed(probes), reversed(counts), strict=True):
                probe.pull(mine, top, self._slopes[-count:], rows)
                del self._slopes[-count:]
            return gradient

        self._back.append(pull)

    def _keep_conv(self, shape: torch.Size, weight: Tensor, padding: Padding) -> None:
        self._back.append(_given(lambda g: conv_backward(g, shape, weight, padding)))

    def _keep_relu(self, x: Tensor, needed: bool) -> None:
        """``needed``: the features are kept anyway."""
        passed = x if needed or not self._small else x > 0
        self._back.append(_given(lambda g: relu_backward(g, passed)))


def _given(step: Callable[[Tensor], Tensor]) -> Callable[[Tensor | None], Tensor | None]:
    """Nothing to do where there is no gradient yet."""
    return lambda gradient: None if gradient is None else step(gradient)
