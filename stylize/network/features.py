"""One pass through the network: pictures in, the probes' measurements out, and the gradient back.

The module does autograd's work by hand for one function that is called thousands of times: the forward
pass keeps only what the backward pass needs, gradients are added in place, and the shallow blocks can run
in strips (``stylize.network.strips``). Autograd sees a single function.

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

Measurements = dict[str, list[list[Part]]]
"""The parts of each layer and each of its probes, in the order of the strips. The parts of one probe
together cover the layer."""

SHALLOW = LAYERS[: sum(CONVS_PER_BLOCK[:STRIP_BLOCKS])]
"""The layers that can run in strips."""
SHALLOW_SCALE = 1 << STRIP_BLOCKS
"""The factor by which the output of the shallow blocks is smaller than the picture."""


class ForwardOptions(NamedTuple):
    """The options of the forward pass through the network."""

    pooling: Pooling = "max"
    """How the maps are halved between two blocks."""
    padding: Padding = "zeros"
    """How the first convolution pads the pictures; the other convolutions pad with zeros."""
    rescale_pooling: bool = False
    """Whether pooled maps are multiplied by ``layers.POOL_SCALES``."""
    dtype: torch.dtype = torch.float32
    """The dtype in which the convolutions compute."""
    strip_pixels: int | None = None
    """The approximate size of a strip of the shallow blocks, in pixels; None: no strips."""


DEFAULT_OPTIONS = ForwardOptions()
"""The network as it was trained, in float32 and without strips."""


class FeatureExtractor:
    """Measures the features of pictures with probes at the network's layers.

    The pass stops at the last layer that has a probe.

    Args:
        network: The VGG19 that extracts the features.
        options: The options of the forward pass.
        probes: The probes of each layer, by the layer's name; at least one probe in all.
    """

    def __init__(
        self, network: VGG19, options: ForwardOptions, probes: Mapping[str, Sequence[Probe]]
    ) -> None:
        self.network = network
        self.options = options
        self.probes = {name: tuple(given) for name, given in probes.items() if given}
        used = LAYERS[: max(LAYERS.index(name) for name in self.probes) + 1]
        self.last = used[-1]
        self.shallow = used[: len(SHALLOW)] if options.strip_pixels is not None else ()
        """The layers that run in strips; empty without strips."""
        self.deep = used[len(self.shallow) :]

    def __call__(self, x_B3HW: Tensor) -> Measurements:
        """Return the measurements of all probes. Differentiable once with respect to the pictures.

        Args:
            x_B3HW: The pictures, (B, 3, H, W), in the network's space. H and W must be at least
                2^(b - 1) for a layer in block b.
        """
        layout: list[_PartLayout] = []
        if torch.is_grad_enabled() and x_B3HW.requires_grad:
            flat = _Differentiable.apply(x_B3HW, self, layout)
        else:
            flat = _Pass(self, x_B3HW, keep=False).take_outputs(layout)
        measurements: Measurements = {
            name: [[] for _ in probes] for name, probes in self.probes.items()
        }
        remaining = iter(flat)
        for name, probe, tensors in layout:
            measurements[name][probe].append(tuple(next(remaining) for _ in range(tensors)))
        return measurements


def features(
    network: VGG19, x_B3HW: Tensor, layers: Iterable[str], options: ForwardOptions = DEFAULT_OPTIONS
) -> dict[str, Tensor]:
    """Return the features of pictures at some layers. Not differentiable.

    Args:
        network: The VGG19 that extracts the features.
        x_B3HW: The pictures, (B, 3, H, W), in the network's space.
        layers: The names of the layers.
        options: The options of the forward pass.

    Returns:
        The output of each layer after its ReLU, (B, N, H', W'), by name.
    """
    extractor = FeatureExtractor(network, options, {name: [Capture()] for name in layers})
    with torch.no_grad():
        captured = extractor(x_B3HW)
    return {name: torch.cat([part[0] for part in parts], 2) for name, (parts,) in captured.items()}


class _PartLayout(NamedTuple):
    """The origin of a part and the number of its tensors."""

    layer: str
    """The name of the layer."""
    probe: int
    """The index of the probe at the layer, from 0."""
    tensors: int
    """The number of tensors of the part."""


class _Differentiable(torch.autograd.Function):
    """Pictures -> the tensors of all parts, one after the other."""

    @staticmethod
    def forward(
        ctx: Any, x_B3HW: Tensor, extractor: FeatureExtractor, layout: list[_PartLayout]
    ) -> tuple[Tensor, ...]:
        ctx.forward_pass = _Pass(extractor, x_B3HW, keep=True)
        ctx.set_materialize_grads(True)
        outputs: tuple[Tensor, ...] = ctx.forward_pass.take_outputs(layout)
        return outputs

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        return ctx.forward_pass.backward(grad_outputs), None, None


class _Pass:
    """One pass through all layers, and the state that its backward pass needs."""

    def __init__(self, extractor: FeatureExtractor, x_B3HW: Tensor, keep: bool) -> None:
        self._extractor = extractor
        self._dtype = x_B3HW.dtype
        height, width = x_B3HW.shape[2:]
        self._parts: list[tuple[str, int, Part]] = []
        self._strips: list[Strip] = []
        if extractor.options.strip_pixels is not None:
            self._strips = list(cut(height, width, extractor.options.strip_pixels))
        self._x: Tensor | None = None
        self._deep = _LayerRun(extractor, extractor.deep, whole(height))
        # The first layer itself reduces pictures to a precision below theirs.
        precision = torch.promote_types(extractor.options.dtype, self._dtype)
        self._deep.forward([self._shallow(channels_last(x_B3HW.to(precision)), keep)], keep)
        self._parts += self._deep.take_parts()

    def _shallow(self, x: Tensor, keep: bool) -> Tensor:
        """Return the input of the deep layers: the pictures, or the features pooled from the strips."""
        if not self._strips:
            return x
        extractor, pooled = self._extractor, x
        self._x = x if keep else None
        for strip in self._strips:
            run = _LayerRun(extractor, extractor.shallow, strip)
            y = run.forward([x[:, :, strip.above : strip.below]], keep=False)
            self._parts += run.take_parts()
            if extractor.deep:
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

    def take_outputs(self, layout: list[_PartLayout]) -> tuple[Tensor, ...]:
        """Return every tensor of every part, and append to ``layout`` how they belong together.

        The pass keeps no reference to the tensors: they refer to the function that made them, which refers
        to this pass, and the memory of such a cycle is never freed.
        """
        parts, self._parts = self._parts, []
        layout += [_PartLayout(name, probe, len(part)) for name, probe, part in parts]
        return tuple(tensor for _, _, part in parts for tensor in part)

    def backward(self, grad_outputs: Sequence[Tensor]) -> Tensor:
        """Return the gradient at the pictures, given the gradients at the tensors of all parts."""
        remaining = list(grad_outputs)
        gradient = self._deep.backward(None, remaining)
        if not self._strips:
            assert gradient is not None
            return gradient.to(self._dtype)
        assert self._x is not None
        into = torch.zeros_like(self._x, dtype=self._dtype)
        for strip in reversed(self._strips):
            run = _LayerRun(self._extractor, self._extractor.shallow, strip)
            y = run.forward([self._x[:, :, strip.above : strip.below]], keep=True)
            below = None if gradient is None else self._strip_gradient(gradient, strip, y)
            del y
            piece = run.backward(below, remaining)
            assert piece is not None
            into[:, :, strip.above : strip.below] += piece
        return into

    def _strip_gradient(self, gradient: Tensor, strip: Strip, like: Tensor) -> Tensor:
        """Return this strip's rows of the gradient at the pooled features, with zeros for its halo, whose
        gradient another strip adds."""
        share = torch.zeros_like(like)
        rows = share[:, :, strip.rows(SHALLOW_SCALE)]
        first = strip.top // SHALLOW_SCALE
        rows.copy_(gradient[:, :, first : first + rows.shape[2]])
        return share


class _LayerRun:
    """A run of consecutive layers on one strip: forward, then backward at most once if it was kept."""

    def __init__(self, extractor: FeatureExtractor, names: Sequence[str], strip: Strip) -> None:
        self._extractor = extractor
        self._names = names
        self._strip = strip
        self._compact = extractor.options.strip_pixels is not None
        self._backward_steps: list[Callable[[Tensor | None], Tensor | None]] = []
        self._parts: list[tuple[str, int, Part]] = []
        self._grad_outputs: list[Tensor] = []

    def forward(self, given: list[Tensor], keep: bool) -> Tensor:
        """Return the output of the run's last layer.

        Args:
            given: The run's input alone. It is taken out of the list, because nothing else may keep it alive
                after the first layer: an argument would, before Python 3.11, until this returns.
            keep: Whether a backward pass follows.
        """
        x = given.pop()
        options = self._extractor.options
        scale = 1 if not self._compact or LAYERS[0] in self._names else SHALLOW_SCALE
        for name in self._names:
            weight, bias = self._extractor.network.layer(name, options.dtype)
            padding = options.padding if name == LAYERS[0] else "zeros"
            shape = x.shape
            kernel = weight
            if x.dtype != options.dtype:
                # Pixels rounded to bfloat16 would give a picture with fewer colours and other edges.
                x, kernel = split(x, options.dtype), torch.cat([weight, weight], 1)
            x = channels_last(conv(x, kernel, bias, padding))
            probes = self._extractor.probes.get(name, ())
            pooled = name in LAST_OF_BLOCK and name != self._extractor.last
            # ReLU and maximum commute, and the ReLU of the maximum is a quarter of the work.
            relu_after_pool = pooled and options.pooling == "max" and not probes
            if not relu_after_pool:
                x = F.relu_(x)
            if keep:
                self._keep_conv(shape, weight, padding)
                if not relu_after_pool:
                    self._keep_relu(x, needed=bool(probes))
            if probes:
                self._probe(name, probes, x, scale, keep)
            if pooled:
                x, unpool = pool(x, options.pooling, self._compact)
                scale *= 2
                if relu_after_pool:
                    x = F.relu_(x)
                factor = POOL_SCALES[options.pooling] if options.rescale_pooling else 1.0
                if keep:
                    self._backward_steps.append(_if_gradient(unpool))
                    if relu_after_pool:
                        self._keep_relu(x, needed=False)
                    if factor != 1:
                        self._backward_steps.append(
                            _if_gradient(partial(torch.Tensor.mul_, other=factor))
                        )
                if factor != 1:
                    x = x * factor
        return x

    def take_parts(self) -> list[tuple[str, int, Part]]:
        """Return the parts that ``forward`` measured, with layer and index of the probe, and drop them."""
        parts, self._parts = self._parts, []
        return parts

    def backward(self, gradient: Tensor | None, grad_outputs: list[Tensor]) -> Tensor | None:
        """Return the gradient at the run's input.

        Args:
            gradient: The gradient at the run's output; None: no layer followed.
            grad_outputs: The gradients at the tensors of all parts up to this run's. The run removes
                those of its own parts from the end.
        """
        self._grad_outputs = grad_outputs
        while self._backward_steps:
            gradient = self._backward_steps.pop()(gradient)  # pop: frees what the step kept
        return gradient

    def _probe(self, name: str, probes: Sequence[Probe], x: Tensor, scale: int, keep: bool) -> None:
        features = x[:, :, self._strip.rows(scale)]
        top = self._strip.top // scale
        counts = []
        for number, probe in enumerate(probes):
            part = probe.forward(features, top)
            counts.append(len(part))
            self._parts.append((name, number, part))
        if not keep:
            return

        def add_gradients(gradient: Tensor | None) -> Tensor:
            gradient = torch.zeros_like(x) if gradient is None else gradient
            into = gradient[:, :, self._strip.rows(scale)]
            for probe, count in zip(reversed(probes), reversed(counts), strict=True):
                probe.backward(features, top, self._grad_outputs[-count:], into)
                del self._grad_outputs[-count:]
            return gradient

        self._backward_steps.append(add_gradients)

    def _keep_conv(self, shape: torch.Size, weight: Tensor, padding: Padding) -> None:
        self._backward_steps.append(
            _if_gradient(lambda g: conv_backward(g, shape, weight, padding))
        )

    def _keep_relu(self, x: Tensor, needed: bool) -> None:
        """Keep which values passed the ReLU. ``needed``: the features themselves are kept anyway."""
        passed = x if needed or not self._compact else x > 0
        self._backward_steps.append(_if_gradient(lambda g: relu_backward(g, passed)))


def _if_gradient(step: Callable[[Tensor], Tensor]) -> Callable[[Tensor | None], Tensor | None]:
    """Return a step that does nothing while there is no gradient yet."""
    return lambda gradient: None if gradient is None else step(gradient)
