"""One pass through the network: pictures in, the probes' measurements out, and the gradient back.

The module does autograd's work by hand for one function that is called thousands of times: the forward
pass keeps only what the backward pass needs, gradients are added in place, and the shallow blocks can run
in strips (``stylize.network.strips``). Autograd has no part in it.

Where a picture is split (``stylize.bands``), every stage is given the rows of its band and those of its
neighbours that it needs, and the gradient at the latter goes back to them.

Shape suffixes: B pictures, N channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone knows
from torch import Tensor

from stylize.bands.band import Band
from stylize.layer_names import LAYERS, block_of
from stylize.network.layers import (
    POOL_SCALES,
    Kernel,
    Padding,
    Pooling,
    channels_last,
    conv,
    conv_backward,
    pool,
    relu_backward,
    split,
)
from stylize.network.probes import Capture, Part, Probe, Slope
from stylize.network.strips import ALL_BLOCKS, Stage, Strip, cut, stages, whole
from stylize.network.vgg19 import LAST_OF_BLOCK, VGG19

Measurements = dict[str, list[list[Part]]]
"""The parts of each layer and each of its probes, in the order of the strips. The parts of one probe
together cover the layer."""
Slopes = Mapping[str, Sequence[Slope]]
"""The slope of the loss at each layer and each of its probes."""
_PartOf = tuple[str, int, Part]
"""A part with its layer and the index of its probe."""


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
    """The approximate size of a strip of blocks 1 and 2, in pixels; None: no strips."""
    strip_blocks: int = ALL_BLOCKS
    """The number of leading blocks that run in strips, one of ``strips.LEVELS``, if any do."""


DEFAULT_OPTIONS = ForwardOptions()
"""The network as it was trained, in float32 and without strips."""


class FeatureExtractor:
    """Measures the features of pictures with probes at the network's layers.

    The pass stops at the last layer that has a probe.

    Args:
        network: The VGG19 that extracts the features.
        options: The options of the forward pass.
        probes: The probes of each layer, by the layer's name; at least one probe in all. They see the rows
            of the band alone.
        band: The rows of the pictures; None: all.
    """

    def __init__(
        self,
        network: VGG19,
        options: ForwardOptions,
        probes: Mapping[str, Sequence[Probe]],
        band: Band | None = None,
    ) -> None:
        self.network = network
        self.options = options
        self.band = None if band is None or band.is_whole else band
        self.probes = {name: tuple(given) for name, given in probes.items() if given}
        used = LAYERS[: max(LAYERS.index(name) for name in self.probes) + 1]
        self.last = used[-1]
        blocks = 0 if options.strip_pixels is None else options.strip_blocks
        # The halo of a stage is a few rows; that of all blocks at once would be 128 of the picture's.
        in_strips, rest = stages(blocks if self.band is None else ALL_BLOCKS)
        runs = [(stage, True) for stage in in_strips]
        if rest is not None:
            runs.append((rest, False))
        self.runs = [
            (stage, names, strips)
            for stage, strips in runs
            if (names := [n for n in used if stage.first <= block_of(n) <= stage.last])
        ]
        """The stages with their layers, and whether each runs in strips."""

    @torch.no_grad()
    def __call__(self, x_B3HW: Tensor) -> Measurements:
        """Return the measurements of all probes. Not differentiable.

        Args:
            x_B3HW: The pictures, (B, 3, H, W), in the network's space. H and W must be at least
                2^(b - 1) for a layer in block b.
        """
        return _Pass(self, x_B3HW, keep=False).take_measurements()

    @torch.no_grad()
    def with_backward(self, x_B3HW: Tensor) -> tuple[Measurements, Callable[[Slopes], Tensor]]:
        """Return the measurements of all probes, and the function from the slopes of a loss of them to its
        gradient at the pictures, (B, 3, H, W). That function can be called once.

        Args:
            x_B3HW: The pictures, as for a call.
        """
        forward_pass = _Pass(self, x_B3HW, keep=True)
        return forward_pass.take_measurements(), forward_pass.backward


def features(
    network: VGG19,
    x_B3HW: Tensor,
    layers: Iterable[str],
    options: ForwardOptions = DEFAULT_OPTIONS,
    band: Band | None = None,
) -> dict[str, Tensor]:
    """Return the features of pictures at some layers. Not differentiable.

    Args:
        network: The VGG19 that extracts the features.
        x_B3HW: The pictures, (B, 3, H, W), in the network's space.
        layers: The names of the layers.
        options: The options of the forward pass.
        band: The rows of the pictures; None: all.

    Returns:
        The output of each layer after its ReLU, (B, N, H', W'), by name.
    """
    extractor = FeatureExtractor(network, options, {name: [Capture()] for name in layers}, band)
    captured = extractor(x_B3HW)
    return {name: Capture.merge(parts)[0] for name, (parts,) in captured.items()}


class _Pass:
    """One pass through all layers, and the state that its backward pass needs."""

    def __init__(self, extractor: FeatureExtractor, x_B3HW: Tensor, keep: bool) -> None:
        self._extractor = extractor
        self._dtype = x_B3HW.dtype
        self._parts: list[_PartOf] = []
        # The first layer itself reduces pictures to a precision below theirs.
        precision = torch.promote_types(extractor.options.dtype, self._dtype)
        given = [channels_last(x_B3HW.to(precision))]
        self._stages: list[_StageRun] = []
        for stage, names, strips in extractor.runs:
            run = _StageRun(extractor, stage, names, strips)
            given = [run.forward(given, keep, self._parts)]
            self._stages.append(run)

    def take_measurements(self) -> Measurements:
        """Return the measurements of all probes, and drop them."""
        parts, self._parts = self._parts, []
        measurements: Measurements = {
            name: [[] for _ in probes] for name, probes in self._extractor.probes.items()
        }
        for name, probe, part in parts:
            measurements[name][probe].append(part)
        return measurements

    def backward(self, slopes: Slopes) -> Tensor:
        """Return the gradient at the pictures."""
        gradient: Tensor | None = None
        while self._stages:
            gradient = self._stages.pop().backward([gradient], slopes, self._dtype)
        assert gradient is not None
        return gradient.to(self._dtype)


class _StageRun:
    """A stage in strips or at once: forward, then backward at most once if it was kept."""

    def __init__(
        self, extractor: FeatureExtractor, stage: Stage, names: Sequence[str], strips: bool
    ) -> None:
        self._extractor = extractor
        self._stage = stage
        self._names = names
        self._in_strips = strips
        self._strips: list[Strip] = []
        self._above = 0
        self._x: Tensor | None = None
        self._whole: _LayerRun | None = None
        self._like: Tensor | None = None

    def forward(self, given: list[Tensor], keep: bool, parts: list[_PartOf]) -> Tensor:
        """Return the stage's output, and append what its probes measured to ``parts``.

        Args:
            given: The stage's input alone, which is taken out of the list.
            keep: Whether a backward pass follows.
            parts: Takes the parts.
        """
        height, width = given[0].shape[2:]
        above = below = 0
        if (band := self._extractor.band) is not None:
            x, above, below = band.with_halo(given.pop(), self._stage.halo, self._stage.scale)
            given.append(x)
            del x
        self._above = above
        if (pixels := self._extractor.options.strip_pixels) is not None and self._in_strips:
            self._strips = list(
                cut(height, width, self._stage.pixels(pixels), self._stage, above, below)
            )
        if len(self._strips) < 2:  # a single strip is kept rather than computed again
            strip = whole(height, above, below)
            run = _LayerRun(self._extractor, self._names, strip)
            y = run.forward(given, keep)
            parts += run.take_parts()
            self._whole = run if keep else None
            if (above or below) and self._names[-1] != self._extractor.last:
                self._strips = [strip]
                self._like = y.new_empty(()).expand(y.shape) if keep else None
                y = channels_last(y[:, :, strip.rows(self._stage.ratio)])
            return y
        x = given.pop()
        self._x = x if keep else None
        ratio, out = self._stage.ratio, x
        for strip in self._strips:
            run = _LayerRun(self._extractor, self._names, strip)
            y = run.forward([x[:, :, above + strip.above : above + strip.below]], keep=False)
            parts += run.take_parts()
            if self._names[-1] != self._extractor.last:
                rows = y[:, :, strip.rows(ratio)]
                if strip.top == 0:
                    shape = (*rows.shape[:2], height // ratio, rows.shape[3])
                    out = _empty(shape, rows)
                first = strip.top // ratio
                out[:, :, first : first + rows.shape[2]] = rows
                del rows
            del y
        return out

    def backward(
        self, gradients: list[Tensor | None], slopes: Slopes, dtype: torch.dtype
    ) -> Tensor | None:
        """Return the gradient at the stage's input.

        Args:
            gradients: The gradient at the stage's output alone, which is taken out of the list; None: no
                layer followed.
            slopes: The slopes of the loss at all layers.
            dtype: The dtype of the gradient at the pictures.
        """
        into = self._backward(gradients, slopes, dtype)
        if into is None or (band := self._extractor.band) is None:
            return into
        return band.without_halo(into, self._stage.halo, self._stage.scale)

    def _backward(
        self, gradients: list[Tensor | None], slopes: Slopes, dtype: torch.dtype
    ) -> Tensor | None:
        """Return the gradient at the stage's input and its halo, as ``backward`` does."""
        gradient = gradients.pop()
        if self._whole is not None:
            if gradient is not None and self._like is not None:
                gradient = self._strip_gradient(gradient, self._strips[0], self._like)
            return self._whole.backward(gradient, slopes)
        x, above = self._x, self._above
        assert x is not None
        into = torch.zeros_like(x, dtype=dtype if self._stage.first == 1 else x.dtype)
        for strip in reversed(self._strips):
            run = _LayerRun(self._extractor, self._names, strip)
            y = run.forward([x[:, :, above + strip.above : above + strip.below]], keep=True)
            below = None if gradient is None else self._strip_gradient(gradient, strip, y)
            del y
            piece = run.backward(below, slopes)
            assert piece is not None
            into[:, :, above + strip.above : above + strip.below] += piece
        return into

    def _strip_gradient(self, gradient: Tensor, strip: Strip, like: Tensor) -> Tensor:
        """Return this strip's rows of the gradient at the stage's output, with zeros for its halo, whose
        gradient another strip adds."""
        share = _empty(tuple(like.shape), like).zero_()
        rows = share[:, :, strip.rows(self._stage.ratio)]
        first = strip.top // self._stage.ratio
        rows.copy_(gradient[:, :, first : first + rows.shape[2]])
        return share


def _empty(shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Return room for maps of this shape, channels last, of the dtype and on the device of others."""
    return torch.empty(
        shape, dtype=like.dtype, device=like.device, memory_format=torch.channels_last
    )


class _LayerRun:
    """A run of consecutive layers on one strip: forward, then backward at most once if it was kept."""

    def __init__(self, extractor: FeatureExtractor, names: Sequence[str], strip: Strip) -> None:
        self._extractor = extractor
        self._names = names
        self._strip = strip
        self._compact = extractor.options.strip_pixels is not None
        self._backward_steps: list[Callable[[Tensor | None], Tensor | None]] = []
        self._parts: list[_PartOf] = []
        self._slopes: Slopes = {}

    def forward(self, given: list[Tensor], keep: bool) -> Tensor:
        """Return the output of the run's last layer.

        Args:
            given: The run's input alone. It is taken out of the list, because nothing else may keep it alive
                after the first layer: an argument would, before Python 3.11, until this returns.
            keep: Whether a backward pass follows.
        """
        x = given.pop()
        options = self._extractor.options
        scale = 1
        for name in self._names:
            network = self._extractor.network
            kernel = used = network.layer(name, options.dtype)
            padding = options.padding if name == LAYERS[0] else "zeros"
            shape = x.shape
            if x.dtype != options.dtype:
                # Pixels rounded to bfloat16 would give a picture with fewer colours and other edges.
                x, used = split(x, options.dtype), network.layer(name, options.dtype, doubled=True)
            x = channels_last(conv(x, used, padding))
            probes = self._extractor.probes.get(name, ())
            pooled = name in LAST_OF_BLOCK and name != self._extractor.last
            # ReLU and maximum commute, and the ReLU of the maximum is a quarter of the work.
            relu_after_pool = pooled and options.pooling == "max" and not probes
            if not relu_after_pool:
                x = F.relu_(x)
            if keep:
                self._keep_conv(shape, kernel, padding)
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
                del unpool  # which holds maps, of a layer whose output may be gone by now
                if factor != 1:
                    x = x * factor
        return x

    def take_parts(self) -> list[_PartOf]:
        """Return the parts that ``forward`` measured, with layer and index of the probe, and drop them."""
        parts, self._parts = self._parts, []
        return parts

    def backward(self, gradient: Tensor | None, slopes: Slopes) -> Tensor | None:
        """Return the gradient at the run's input.

        Args:
            gradient: The gradient at the run's output; None: no layer followed.
            slopes: The slopes of the loss at all layers.
        """
        self._slopes = slopes
        while self._backward_steps:
            gradient = self._backward_steps.pop()(gradient)  # pop: frees what the step kept
        return gradient

    def _probe(self, name: str, probes: Sequence[Probe], x: Tensor, scale: int, keep: bool) -> None:
        features = x[:, :, self._strip.rows(scale)]
        top = self._strip.top // scale
        self._parts += [
            (name, number, probe.forward(features, top)) for number, probe in enumerate(probes)
        ]
        if not keep:
            return

        def add_gradients(gradient: Tensor | None) -> Tensor:
            gradient = torch.zeros_like(x) if gradient is None else gradient
            into = gradient[:, :, self._strip.rows(scale)]
            for probe, slope in zip(probes, self._slopes[name], strict=True):
                probe.backward(features, top, slope, into)
            return gradient

        self._backward_steps.append(add_gradients)

    def _keep_conv(self, shape: torch.Size, kernel: Kernel, padding: Padding) -> None:
        self._backward_steps.append(
            _if_gradient(lambda g: conv_backward(g, shape, kernel, padding))
        )

    def _keep_relu(self, x: Tensor, needed: bool) -> None:
        """Keep which values passed the ReLU. ``needed``: the features themselves are kept anyway."""
        passed = x if needed or not self._compact else x > 0
        self._backward_steps.append(_if_gradient(lambda g: relu_backward(g, passed)))


def _if_gradient(step: Callable[[Tensor], Tensor]) -> Callable[[Tensor | None], Tensor | None]:
    """Return a step that does nothing while there is no gradient yet."""
    return lambda gradient: None if gradient is None else step(gradient)
