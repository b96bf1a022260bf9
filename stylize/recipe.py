"""``Recipe``: every knob of a render with its default, range and meaning.

A preset is a set of values for these knobs and nothing else, so any knob can be overridden and no preset
has a code path of its own. This module imports no torch, so that job files are checked and planned in a
fraction of a second.
"""

from __future__ import annotations

import difflib
import itertools
import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from stylize.idle_knobs import idle_knobs
from stylize.layer_names import LAYERS, block_of
from stylize.presets import AUTO, NEUTRAL, PRESETS, USUAL_FIRST_STEPS, USUAL_STEPS

SMALLEST_SIZE = 32
"""The minimum of ``Recipe.size``, in pixels."""
LARGEST_SIZE = 16384
"""The maximum of ``Recipe.size``, in pixels."""

FEWER_FIRST_STEPS = 60
"""The steps at the first size after which a render ends within 1% of the loss of ``USUAL_FIRST_STEPS``."""
FEWER_STEPS = 24
"""The steps that reach within 1% of the loss of ``USUAL_STEPS`` with the help of the size before."""
LARGE_CANVAS = 1 << 20
"""The pixels from which L-BFGS remembers fewer pairs, whose memory is 12 bytes per pixel each."""


def _layers_as_mapping(value: object) -> object:
    """Accept ``[conv1_1, conv2_1]`` for ``{conv1_1: 1, conv2_1: 1}``."""
    if isinstance(value, list | tuple) and all(isinstance(name, str) for name in value):
        return dict.fromkeys(value, 1.0)
    if not isinstance(value, dict):
        raise PydanticCustomError("layers", "is neither a list of layers nor layers with weights")
    return value


def _known_layers(value: dict[str, float]) -> dict[str, float]:
    if not value:
        raise PydanticCustomError("layers", "names no layer; give at least one, e.g. conv4_2")
    for name in value:
        if name not in LAYERS:
            near = difflib.get_close_matches(name, LAYERS, n=1, cutoff=0.8)
            raise PydanticCustomError(
                "layers",
                "{name} is not a layer of VGG19{hint}; the layers are conv1_1 to conv5_4",
                {"name": name, "hint": f" (did you mean {near[0]}?)" if near else ""},
            )
    return {name: float(value[name]) for name in LAYERS if name in value}


Layers = Annotated[
    dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]],
    BeforeValidator(_layers_as_mapping),
    AfterValidator(_known_layers),
]
"""Layers with their weights, each at least 0. A list of layers gives each of them the weight 1."""

Preset = Literal["studio", "gatys", "notebook", "neural-style", "wasserstein"]
"""The names of the presets."""


class Segment(NamedTuple):
    """Consecutive steps at one size. A render can be resumed at the end of each segment."""

    size: int
    """Longest side of the picture, in pixels."""
    steps: int
    """Number of optimiser steps."""
    first: bool
    """Whether this is the first segment of its size."""
    last: bool
    """Whether this is the last segment of its size."""


class Recipe(BaseModel):
    """The knobs that decide how one picture is rendered. A recipe is immutable and validated on creation.

    ``Recipe(preset="gatys", size=1024)`` takes the preset's values and replaces those given. Each field's
    description states its meaning, unit and range.

    The loss of a picture with features F, of a content with features P and of a style S is::

        content_weight * sum over content_layers of w_l * mean((F - P)^2)
      + style_weight   * sum over style_layers   of w_l * d_l(F, S)
      + tv_weight      * total variation

    With style_loss gram, d_l = c_l * mean((G - A)^2) for Gram matrices G and A of picture and style, where
    layer l has N channels and M = height x width positions. With wasserstein, d_l is the squared
    Wasserstein-2 distance of the features' distributions (``losses.functions.wasserstein_loss``).

    Raises:
        pydantic.ValidationError: A knob is unknown or has no valid value, or two knobs conflict.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    preset: Preset = Field(
        "studio", description="The preset that supplies the values of all knobs not given here."
    )
    size: int = Field(
        512,
        ge=SMALLEST_SIZE,
        le=LARGEST_SIZE,
        description="Longest side of the finished picture, in pixels, 32 to 16384.",
    )
    steps: Annotated[int, Field(ge=1, le=10_000_000)] | Literal["auto"] = Field(
        "auto",
        description="Optimiser steps at the first (or only) size, 1 to 10,000,000. auto: 60 with "
        "preconditioner frequency and style_loss wasserstein, whose longer steps reach the loss of 80 "
        "shorter ones within 1%; otherwise 80.",
    )
    start_size: int | None = Field(
        128,
        ge=SMALLEST_SIZE,
        le=LARGEST_SIZE,
        description="Coarse to fine: the longest side of the first size painted, at least about this many "
        "pixels, 32 to 16384. null: paint at one size only.",
    )
    size_factor: float | None = Field(
        2.0,
        ge=1.1,
        le=16,
        description="Coarse to fine: the factor from each size to the next, 1.1 to 16. null: from "
        "start_size straight to size.",
    )
    refine_steps: Annotated[int, Field(ge=1, le=10_000_000)] | Literal["auto"] = Field(
        "auto",
        description="Optimiser steps at each size after the first, 1 to 10,000,000. auto: 24 with "
        "preconditioner frequency and style_loss wasserstein, which reach the loss of 30 without that help "
        "within 1%; otherwise 30.",
    )
    segment: int | None = Field(
        None,
        ge=1,
        le=10_000_000,
        description="Cut the steps of each size into segments of about this many steps, 1 to 10,000,000. At "
        "a cut the optimiser drops its memory, and a render can be resumed from there. null: "
        "cut only between sizes.",
    )
    optimizer: Literal["lbfgs", "adam"] = Field(
        "lbfgs", description="The optimiser: lbfgs is L-BFGS without line search; adam is Adam."
    )
    learning_rate: float = Field(
        1.0,
        gt=0,
        le=1e4,
        allow_inf_nan=False,
        description="Step length, above 0, at most 10,000. adam: in the units of space; lbfgs: the factor "
        "of each step, 1 being the whole step.",
    )
    beta2: float = Field(
        0.999,
        gt=0,
        lt=1,
        description="Adam: decay rate of the mean of squared gradients, between 0 and 1.",
    )
    carry_moments: bool = Field(
        False,
        description="Adam: whether its two moments are resized and kept from one size to the next.",
    )
    average: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Decay rate of the moving average of the iterates, between 0 and 1. The average is the "
        "finished picture and the start of the next size. null: use the last iterate.",
    )
    history: int = Field(
        20,
        ge=1,
        le=1000,
        description="L-BFGS: the number of pairs remembered, 1 to 1000; in float32 each takes 24 bytes per "
        "pixel.",
    )
    history_precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto",
        description="L-BFGS: how pairs are remembered. float32; bfloat16: in half the bytes; auto: with "
        "preconditioner frequency and style_loss wasserstein in bfloat16 and half as many as history says, "
        "a quarter of the bytes, which ends within 0.5% of the same loss; otherwise float32.",
    )
    preconditioner: Literal["none", "frequency"] = Field(
        "frequency",
        description="L-BFGS: the curvature assumed before the first step. frequency: smooth changes are up "
        "to twenty times less curved than fine ones, and the first step moves one grey level; "
        "this saves about a quarter of the steps. With style_loss wasserstein, steps are 1.4 times as long, "
        "and each larger size gets the curvature by place from the size before it and, if painted from the "
        "content, half of the content's detail back; this saves another fifth. none: all changes are "
        "equally curved.",
    )
    init: Literal["content", "noise", "style_stats", "image"] = Field(
        "content",
        description="The picture from which the optimisation starts. content: the content; noise: noise "
        "with the standard deviation init_noise; style_stats: noise in the style's colours; "
        "image: the picture given as init in the pair.",
    )
    init_noise: float = Field(
        1 / 255,
        ge=0,
        le=1,
        description="With init noise: standard deviation about the network's mean colour, 0 to 1, where 1 "
        "is the distance from black to white.",
    )
    seed: int = Field(
        0,
        ge=0,
        le=2**63 - 1,
        description="Seed of the noise, 0 to 2^63 - 1. It has no effect without noise.",
    )
    content_weight: float = Field(
        0.01, ge=0, allow_inf_nan=False, description="Factor of the content loss, at least 0."
    )
    content_layers: Layers = Field(
        default={"conv4_2": 1.0},
        description="The layers of the content loss: a list, or layers with weights of at least 0.",
    )
    style_weight: float = Field(
        1.0, ge=0, allow_inf_nan=False, description="Factor of the style loss, at least 0."
    )
    style_layers: Layers = Field(
        default={f"conv{block}_1": 0.75 / 4 ** (block - 1) for block in range(1, 5)},
        description="The layers of the style loss: a list, or layers with weights of at least 0.",
    )
    style_loss: Literal["gram", "wasserstein"] = Field(
        "wasserstein",
        description="The style loss at each layer. gram: squared differences of Gram matrices; wasserstein: "
        "the Wasserstein-2 distance of the features' means and covariances, to which gram and "
        "style_norm do not apply.",
    )
    gram: Literal["positions", "elements", "none"] = Field(
        "elements",
        description="The divisor of the Gram matrix F F^T of N channels at M positions. positions: M; "
        "elements: N M; none: 1.",
    )
    style_norm: Literal["none", "channels", "elements", "paper"] = Field(
        "none",
        description="The factor c_l of each layer's Gram loss, for N channels at M positions. none: 1; "
        "channels: 1/N^2; elements: 1/(N M); paper: 1/(4 M^2), which with gram none is the 2016 "
        "paper's 1/(4 N^2 M^2) of the sum.",
    )
    style_fit: Literal["keep", "squash"] = Field(
        "keep",
        description="The shape at which the style is analysed. keep: its own proportions, with the longest "
        "side at size times style_scale; squash: the content's shape.",
    )
    style_scale: float = Field(
        1.0,
        ge=0.05,
        le=8,
        description="With style_fit keep: the style's longest side relative to the picture's, 0.05 to 8. "
        "Larger values make larger strokes.",
    )
    colors: Literal["style", "content"] = Field(
        "style", description="The source of the picture's colours: the style or the content."
    )
    color_method: Literal["luminance", "histogram"] = Field(
        "luminance",
        description="With colors content. luminance: put the content's chroma under the painting's "
        "luminance; histogram: give the style the content's colours before it is analysed.",
    )
    tv_weight: float = Field(
        0.3,
        ge=0,
        allow_inf_nan=False,
        description="Factor of the total variation, at least 0. The total variation smooths the picture.",
    )
    tv: Literal["squares", "absolute", "nine-point"] = Field(
        "nine-point",
        description="The total variation. squares, absolute: the sum of the squared or absolute differences "
        "of neighbours; nine-point: the mean of the squared differences, diagonal neighbours "
        "included.",
    )
    space: Literal["caffe", "imagenet", "rgb"] = Field(
        "caffe",
        description="Units of the optimised pixels, which Adam's step length and the total variation are "
        "measured in. caffe: BGR, 0 to 255, less the mean; imagenet: RGB, normalised by mean "
        "and deviation; rgb: RGB, 0 to 1.",
    )
    clamp: bool = Field(
        False,
        description="Whether pixels are clipped to the displayable range after every step instead of only "
        "at the end.",
    )
    margin: int = Field(
        8,
        ge=0,
        le=256,
        description="Width of the mirrored margin on every side of the canvas, in pixels, 0 to 256. It is "
        "cut off at the end. Without it the zeros that the network pads with show as a frame.",
    )
    padding: Literal["zeros", "replicate"] = Field(
        "zeros",
        description="How the network's first convolution pads the picture: with zeros, or with replicate, "
        "which repeats the pixels at the edge.",
    )
    pooling: Literal["max", "average", "l2"] = Field(
        "max",
        description="How the network halves its maps: by the max, the average or the l2 norm of 2 x 2 "
        "values.",
    )
    rescale_pooling: bool = Field(
        False,
        description="Whether average pooling is multiplied by 2 and l2 pooling by 0.78. That makes their "
        "maps about as large as those of max pooling, for which the network was trained.",
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto",
        description="The precision of the network's convolutions and of the products in statistics; sums and "
        "losses are always float32. auto: bfloat16 on devices that are measured to be faster with it, "
        "float32 on others. It counts as float32 in a task's id.",
    )
    strips: Literal["auto", "on", "off"] = Field(
        "auto",
        description="Whether the network runs strip by strip, slower and in a fraction of the memory. The "
        "picture is the same. auto: as few of its blocks as memory requires; on: all blocks.",
    )
    weights: str = Field(
        "caffe",
        min_length=1,
        description="The weights of VGG19. caffe: the original ones, installed with the package; "
        "torchvision: downloaded once; otherwise the path or URL of a state dict, .safetensors "
        "or .pth.",
    )
    weights_input: Literal["caffe", "torchvision"] | None = Field(
        None,
        description="With a path or URL in weights: the input that the network expects. caffe: BGR, 0 to "
        "255, less the mean; torchvision: normalised RGB.",
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_from_preset(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        name = data.get("preset", "studio")
        preset = PRESETS.get(name, {}) if isinstance(name, str) else {}
        return {**preset, **data}

    @model_validator(mode="after")
    def _agree(self) -> Recipe:
        if self.weights not in ("caffe", "torchvision") and self.weights_input is None:
            raise PydanticCustomError(
                "weights_input",
                "weights is a file, so weights_input must say caffe or torchvision",
            )
        if self.style_fit == "squash" and self.style_scale != 1:
            raise PydanticCustomError(
                "style_scale", "style_scale has no meaning with style_fit squash; leave one out"
            )
        return self

    def schedule(self) -> tuple[tuple[int, int], ...]:
        """Return the sizes painted, coarse to fine, each with its steps.

        With a ``size_factor`` f the sizes are size / f^k, rounded, down to the last that is not below
        ``start_size``. Without a ``size_factor`` they are ``start_size`` and ``size``.

        Returns:
            Pairs (longest side in pixels, optimiser steps): ``((128, 80), (256, 30), (512, 30))``.
        """
        sizes = [self.size]
        if self.start_size is not None and self.start_size < self.size:
            if self.size_factor is None:
                sizes = [self.start_size, self.size]
            else:
                # A hair of tolerance, so that 512 / 2 / 2 reaches 128 in spite of rounding.
                ratio = math.log(self.size / self.start_size) / math.log(self.size_factor)
                levels = math.floor(ratio + 1e-9)
                sizes = [round(self.size / self.size_factor**k) for k in range(levels, -1, -1)]
        return tuple((s, self._first if k == 0 else self._refine) for k, s in enumerate(sizes))

    @property
    def _first(self) -> int:
        """The steps at the first size."""
        if self.steps != "auto":
            return self.steps
        return FEWER_FIRST_STEPS if self.is_hastened else USUAL_FIRST_STEPS

    @property
    def _refine(self) -> int:
        """The steps at each size after the first."""
        if self.refine_steps != "auto":
            return self.refine_steps
        return FEWER_STEPS if self.is_hastened else USUAL_STEPS

    @property
    def assumes_curvature(self) -> bool:
        """Whether L-BFGS begins with an expected curvature."""
        return self.optimizer == "lbfgs" and self.preconditioner == "frequency"

    @property
    def is_hastened(self) -> bool:
        """Whether each size is helped by what the size before has seen. The help is for distances of
        distributions, which are nearly quadratic; with Gram matrices, which are of fourth order, longer
        steps and fewer pairs cost more steps than they save."""
        return self.assumes_curvature and self.style_loss == "wasserstein"

    @property
    def remembers_in_bfloat16(self) -> bool:
        """Whether L-BFGS remembers its pairs in bfloat16, 12 bytes per pixel and pair instead of 24."""
        if self.history_precision == "auto":
            return self.is_hastened
        return self.history_precision == "bfloat16"

    def remembered_pairs(self, pixels: int) -> int:
        """Return the number of pairs that L-BFGS remembers: ``history``, but half as many where
        ``history_precision`` is auto and the render is hastened; on large canvases, where they are a third
        of all memory, two fifths.

        Args:
            pixels: The pixels of the canvas, its margin included.
        """
        if self.history_precision != "auto" or not self.is_hastened:
            return self.history
        share = 5 if pixels < LARGE_CANVAS else 4
        return -(-self.history * share // 10)

    def segments(self) -> tuple[Segment, ...]:
        """Return the schedule cut into segments.

        Returns:
            Segments in order. The segments of one size have steps as equal as possible, about
            ``segment`` each.
        """
        segments = []
        for size, steps in self.schedule():
            count = 1 if self.segment is None else max(1, round(steps / self.segment))
            # As equal as possible: in a short segment the optimiser has no time to learn anything.
            cuts = [steps * k // count for k in range(count + 1)]
            segments += [
                Segment(size, end - begin, first=begin == 0, last=end == steps)
                for begin, end in itertools.pairwise(cuts)
            ]
        return tuple(segments)

    def resumed_at(self, segments: int, steps: int) -> Recipe:
        """Return the recipe that has a cut after so many segments and steps.

        Args:
            segments: The number of segments made.
            steps: The number of steps made, over all sizes.

        Returns:
            The recipe itself; or, if its auto had that cut only when it stood for the usual numbers of steps,
            as it did in earlier versions, the recipe with these.
        """
        usual = {"steps": USUAL_FIRST_STEPS, "refine_steps": USUAL_STEPS}
        before = self.model_copy(
            update={knob: number for knob, number in usual.items() if getattr(self, knob) == "auto"}
        )
        if before == self or self._steps_after(segments) == steps:
            return self
        return before if before._steps_after(segments) == steps else self

    def _steps_after(self, segments: int) -> int:
        return sum(segment.steps for segment in self.segments()[:segments])

    def identity(self) -> dict[str, Any]:
        """Return the values that determine the picture, as plain JSON; equal for equal pictures.

        The identity leaves out the preset's name, because it has all of the preset's values; ``weights``,
        because the digest of the weights identifies them; and ``strips`` and ``history_precision``, because
        they change no picture by more than a rounding or a step would. It also leaves out the knobs that
        have their value in ``presets.NEUTRAL``. A value of auto counts as that in ``presets.AUTO``, because
        auto paints the same picture, only faster.
        """
        left_out = {"preset", "weights", "strips", "history_precision"}
        values = self.model_dump(mode="json", exclude=left_out)
        values |= {knob: value for knob, value in AUTO.items() if values[knob] == "auto"}
        return {k: v for k, v in values.items() if k not in NEUTRAL or v != NEUTRAL[k]}

    def usual(self) -> Recipe:
        """Return the recipe with the preset's values of knobs without effect; itself if it has these.

        Recipes that differ in such knobs only paint the same picture. Their identities differ all the same,
        because outputs that exist have ids from such knobs, too.
        """
        plain = PRESETS[self.preset]
        usual = {
            knob: plain.get(knob, Recipe.model_fields[knob].default) for knob in idle_knobs(self)
        }
        changes = {knob: value for knob, value in usual.items() if getattr(self, knob) != value}
        return self.model_copy(update=changes) if changes else self

    @property
    def total_steps(self) -> int:
        """The number of optimiser steps over all sizes."""
        return sum(steps for _, steps in self.schedule())

    def work_at(self, step: int) -> int:
        """Return the work of the first ``step`` steps.

        A step takes time in proportion to its pixels, so the work measures the progress of a render and
        the number of steps does not.

        Args:
            step: The number of steps, counted over all sizes, 0 to ``total_steps``.

        Returns:
            The work, in steps times pixels of a square picture.
        """
        work = 0
        for size, steps in self.schedule():
            made = min(step, steps)
            work += made * size**2
            step -= made
        return work

    @property
    def total_work(self) -> int:
        """The work of all steps, in the unit of ``work_at``."""
        return self.work_at(self.total_steps)

    @property
    def smallest_side(self) -> int:
        """The minimum height and width, in pixels, of a picture that reaches the deepest layer used."""
        deepest = max(LAYERS.index(name) for name in (*self.content_layers, *self.style_layers))
        return 1 << (block_of(LAYERS[deepest]) - 1)


def resolve(*patches: Mapping[str, Any]) -> Recipe:
    """Return the recipe that several partial recipes form together.

    Args:
        patches: Knobs with their values. A later patch overrides an earlier one; every patch overrides
            the values of the preset, whichever patch names the preset.

    Raises:
        pydantic.ValidationError: A knob is unknown or has no valid value, or two knobs conflict.
    """
    merged: dict[str, Any] = {}
    for patch in patches:
        merged.update(patch)
    return Recipe.model_validate(merged)
