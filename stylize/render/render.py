"""A render from its first picture to its last, segment by segment.

Shape suffixes: B pictures rendered together, H height, W width.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from stylize.errors import DivergedError
from stylize.losses.masks import WeightedStyle
from stylize.losses.objective import Objective
from stylize.losses.target_cache import SHARED
from stylize.network.strips import STRIP_PIXELS
from stylize.optimise.adam import Moments
from stylize.optimise.guard import Guard
from stylize.optimise.iterate_average import IterateAverage
from stylize.optimise.optimiser import resized
from stylize.pictures.colors import keep_chroma, match_colors
from stylize.pictures.inputs import Inputs
from stylize.pictures.picture import Picture
from stylize.pictures.pixel_spaces import RGB, SPACES, convert
from stylize.pictures.resize import add_margin, cut_margin, mirrored, resize, style_shape
from stylize.recipe import Recipe, Segment
from stylize.render.checkpoint import Checkpoint
from stylize.render.first_picture import first_pictures
from stylize.render.recorder import Recorder
from stylize.render.setup import RenderSetup
from stylize.render.steps import descend


class Render:
    """One render of B pictures on one device.

    Args:
        setup: The validated arguments of the render.
        recorder: Counts the steps and delivers their losses.
        on_cut: Called with a checkpoint after each segment except the last. The checkpoint's tensors are
            copies, which the render does not change.
        strips: Whether the shallow blocks run in strips.
        at: The checkpoint to resume from, with tensors on the device; None: start from the beginning.
    """

    def __init__(
        self,
        setup: RenderSetup,
        *,
        recorder: Recorder,
        on_cut: Callable[[Checkpoint], None],
        strips: bool,
        at: Checkpoint | None = None,
    ) -> None:
        recipe = setup.recipe
        if recipe.colors == "content" and recipe.color_method == "histogram":
            setup = replace(setup, inputs=_in_content_colors(setup.inputs))
        self._setup = setup
        self._recorder = recorder
        self._on_cut = on_cut
        self._strips = strips
        self._done = at.segments if at is not None else 0
        self._x: Tensor | None = at.tensors["x"] if at is not None else None
        self._moments = _moments_of(at)
        self._average = _average_of(at, recipe)

    def run(self) -> tuple[Picture, ...]:
        """Paint the remaining segments.

        Returns:
            The finished pictures, each (1, 3, H, W), RGB in [0, 1], on the CPU.

        Raises:
            DivergedError: The loss did not recover after repeated restarts.
            InterruptedRender: The recorder was asked to stop.
        """
        segments = self._setup.recipe.segments()
        objective: Objective | None = None
        for number, segment in enumerate(segments[self._done :], start=self._done + 1):
            if segment.first:
                objective = None  # freed before the next is made, because memory holds only one
                objective = self._begin(segment.size)
            elif objective is None:
                objective = self._objective(segment.size)
            self._paint(segment, objective)
            if number < len(segments):
                self._emit_checkpoint(number)
        assert self._x is not None  # a schedule is never empty
        return self._finished(self._x, segments[-1].size)

    # -- one size ------------------------------------------------------------------------------------

    def _begin(self, size: int) -> Objective:
        """Resize the pictures to a size, on a canvas with a margin, and return the loss at that size."""
        shape = self._setup.shape(size)
        if self._x is None:
            self._x = self._initial(size)
        x_B3HW = add_margin(resize(self._x, *shape), self._setup.recipe.margin)
        h, w = x_B3HW.shape[2:]
        self._moments = resized(self._moments, partial(resize, height=h, width=w))
        decay = self._setup.recipe.average
        self._average = IterateAverage(decay) if decay is not None else None
        self._x = x_B3HW
        return self._objective(size)

    def _objective(self, size: int) -> Objective:
        """Return the loss at a size, on a canvas with a margin, which is cut off at the end of the size."""
        margin = self._setup.recipe.margin
        content_B3HW = self._content(size)
        return Objective(
            self._setup.network,
            self._setup.recipe,
            add_margin(content_B3HW, margin),
            self._blends(content_B3HW),
            strip_pixels=STRIP_PIXELS if self._strips else None,
            targets=SHARED,
        )

    def _paint(self, segment: Segment, objective: Objective) -> None:
        """Make the steps of a segment."""
        assert self._x is not None
        shape = self._setup.shape(segment.size)
        x_B3HW = self._x.detach().clone().requires_grad_(True)
        guard = Guard(x_B3HW, objective.floor_B)
        try:
            moments = descend(
                x_B3HW, objective, segment, guard, self._recorder, self._moments, self._average
            )
        except DivergedError as error:
            error.pictures = self._finished(cut_margin(guard.best, *shape), segment.size)
            raise
        self._moments = moments if self._setup.recipe.carry_moments else None
        x_B3HW = x_B3HW.detach()
        self._x = cut_margin(x_B3HW, *shape) if segment.last else x_B3HW

    def _emit_checkpoint(self, segments: int) -> None:
        """Pass a checkpoint of the completed segments to ``on_cut``."""
        assert self._x is not None
        tensors = {"x": self._x}
        if self._moments is not None:
            tensors |= {
                "first": self._moments.first,
                "second": self._moments.second,
                "adam_steps": self._moments.steps,
            }
        weight = 0.0
        if self._average is not None and self._average.total is not None:
            tensors["average"], weight = self._average.total, self._average.weight
        self._on_cut(
            Checkpoint(
                render=self._setup.fingerprint,
                segments=segments,
                steps=self._recorder.step,
                seconds=time.perf_counter() - self._recorder.began,
                tensors={name: tensor.detach().clone() for name, tensor in tensors.items()},
                average_weight=weight,
                strips=self._strips,
            )
        )

    # -- pictures at a size --------------------------------------------------------------------------

    def _content(self, size: int) -> Tensor:
        """Return the contents at a size, (B, 3, H, W), RGB.

        They are resized on the CPU, because the files can be larger than the device's memory.
        """
        shape = self._setup.shape(size)
        parts = [resize(picture.rgb, *shape).clamp(0, 1) for picture in self._setup.inputs.contents]
        return torch.cat(parts).to(self._setup.device)

    def _blends(self, content_B3HW: Tensor) -> list[list[WeightedStyle]]:
        """Return the blends of styles for contents at the size painted.

        Pictures can have styles and masks in common, so each is resized once.
        """
        pictures: dict[int, Tensor] = {}
        masks: dict[int, Tensor] = {}
        blends: list[list[WeightedStyle]] = []
        for blend in self._setup.inputs.styles:
            blends.append([])
            for picture, share, mask, _ in blend:
                if id(picture) not in pictures:
                    pictures[id(picture)] = self._style(picture, content_B3HW)
                if mask is not None and id(mask) not in masks:
                    masks[id(mask)] = self._mask(mask, content_B3HW)
                resized_mask = None if mask is None else masks[id(mask)]
                blends[-1].append(WeightedStyle(pictures[id(picture)], share, resized_mask))
        return blends

    def _style(self, style: Picture, content_B3HW: Tensor) -> Tensor:
        """Return a style as it is analysed, (1, 3, h, w), for contents at the size painted."""
        height, width = content_B3HW.shape[2:]
        frame = 2 * mirrored(height, width, self._setup.recipe.margin)
        canvas = (height + frame, width + frame)
        shape = style_shape(style.rgb.shape[2], style.rgb.shape[3], canvas, self._setup.recipe)
        return resize(style.rgb, *shape).clamp(0, 1).to(self._setup.device)

    def _mask(self, mask: Tensor, content_B3HW: Tensor) -> Tensor:
        """Return a mask on the canvas, (1, 1, H, W)."""
        at_size = resize(mask, *content_B3HW.shape[2:]).clamp(0, 1)
        return add_margin(at_size, self._setup.recipe.margin).to(self._setup.device)

    def _initial(self, size: int) -> Tensor:
        """Return the initial pictures, (B, 3, H, W), in the recipe's space."""
        content_B3HW = self._content(size)
        blends = self._blends(content_B3HW) if self._setup.recipe.init == "style_stats" else []
        rgb = first_pictures(
            self._setup.recipe,
            content_B3HW,
            self._setup.inputs.inits,
            blends,
            self._setup.network.space,
        )
        return convert(rgb, RGB, SPACES[self._setup.recipe.space])

    def _finished(self, x_B3HW: Tensor, size: int) -> tuple[Picture, ...]:
        """Return the painted tensor as pictures on the CPU, with the contents' alpha channels."""
        rgb_B3HW = SPACES[self._setup.recipe.space].to_rgb(x_B3HW.detach()).clamp(0, 1)
        if (
            self._setup.recipe.colors == "content"
            and self._setup.recipe.color_method == "luminance"
        ):
            rgb_B3HW = keep_chroma(rgb_B3HW, self._content(size))
        shape = self._setup.shape(size)
        return tuple(
            Picture(rgb, None if p.alpha is None else resize(p.alpha, *shape).clamp(0, 1))
            for rgb, p in zip(rgb_B3HW.cpu().unsqueeze(1), self._setup.inputs.contents, strict=True)
        )


def _in_content_colors(inputs: Inputs) -> Inputs:
    """Return the inputs with every style in the colours of its content."""
    styles = [
        [
            part._replace(picture=Picture(match_colors(part.picture.rgb, content.rgb)))
            for part in blend
        ]
        for blend, content in zip(inputs.styles, inputs.contents, strict=True)
    ]
    return replace(inputs, styles=styles)


def _moments_of(at: Checkpoint | None) -> Moments | None:
    if at is None or "first" not in at.tensors:
        return None
    # Copies, because Adam changes them in place and a checkpoint may be resumed twice.
    first, second, steps = (at.tensors[name].clone() for name in ("first", "second", "adam_steps"))
    return Moments(first, second, steps)


def _average_of(at: Checkpoint | None, recipe: Recipe) -> IterateAverage | None:
    if at is None or recipe.average is None or "average" not in at.tensors:
        return None
    return IterateAverage(recipe.average, at.tensors["average"].clone(), at.average_weight)
