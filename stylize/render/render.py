"""A render from its first picture to its last, segment by segment.

Shape suffixes: B pictures rendered together, H height, W width.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
import torch.distributed as dist
from torch import Tensor

from stylize.bands.band import Band
from stylize.errors import DivergedError
from stylize.losses.held import Held, without_drift
from stylize.losses.masks import WeightedStyle
from stylize.losses.objective import Objective
from stylize.losses.target_cache import SHARED
from stylize.network.strips import STRIP_PIXELS
from stylize.optimise.adam import Moments
from stylize.optimise.guard import Guard
from stylize.optimise.iterate_average import IterateAverage
from stylize.optimise.local_curvature import LocalCurvature
from stylize.optimise.optimiser import Carried, resized
from stylize.pictures.colors import keep_chroma, match_colors
from stylize.pictures.inputs import Inputs
from stylize.pictures.picture import Picture, painted
from stylize.pictures.pixel_spaces import RGB, SPACES, convert
from stylize.pictures.resize import add_margin, cut_margin, mirrored, resize, style_shape
from stylize.pictures.rows import canvas_rows
from stylize.pictures.small import shrunk
from stylize.recipe import Recipe, Segment
from stylize.render.checkpoint import Checkpoint
from stylize.render.first_picture import first_pictures
from stylize.render.graphs import Replays
from stylize.render.recorder import OnPreview, Recorder
from stylize.render.setup import RenderSetup
from stylize.render.steps import descend

log = logging.getLogger(__name__)

PREVIEW_SIZE = 512
"""The longest side of a preview at most, in pixels."""

DETAIL = 0.5
"""The share of the content's detail that a picture gets back at each larger size."""


class Render:
    """One render of B pictures on one device.

    Args:
        setup: The validated arguments of the render.
        recorder: Counts the steps and delivers their losses.
        on_cut: Called with a checkpoint after each segment except the last. The checkpoint's tensors are
            copies, which the render does not change.
        strips: The number of leading blocks of the network that run in strips, one of ``strips.LEVELS``.
        concede: Called with a sentence if steps cannot be replayed although they may be.
        at: The checkpoint to resume from, with tensors on the device; None: start from the beginning.
        on_preview: Called after each step; None, or with a group: nobody looks.
        member: The number of this process among those that paint the pictures together, from 0.
        group: These processes; None: this one alone. All of them make the same render, each with its own
            device, and paint a band of rows each.
    """

    def __init__(
        self,
        setup: RenderSetup,
        *,
        recorder: Recorder,
        on_cut: Callable[[Checkpoint], None],
        strips: int,
        concede: Callable[[str], None],
        at: Checkpoint | None = None,
        on_preview: OnPreview | None = None,
        member: int = 0,
        group: dist.ProcessGroup | None = None,
    ) -> None:
        recipe = setup.recipe
        if recipe.colors == "content" and recipe.color_method == "histogram":
            setup = replace(setup, inputs=_in_content_colors(setup.inputs))
        self._setup = setup
        self._recorder = recorder
        self._on_cut = on_cut
        self._strips = strips
        self._member, self._group = member, group
        self._on_preview = on_preview if group is None else None
        self._small_contents: list[Tensor] = []
        """The contents as they are for previews, made for the first."""
        # In strips there is no memory to spare for a recording, and a step has few kernels for its time. A
        # member waits for the others.
        alone = not strips and group is None
        self._replays = Replays(setup.device, setup.graphs if alone else "off", concede)
        self._done = at.segments if at is not None else 0
        # Between segments these are the whole pictures, on every member.
        self._x: Tensor | None = at.tensors["x"] if at is not None else None
        self._carried = _carried_of(at)
        self._average = _average_of(at, recipe)

    def run(self) -> tuple[Picture, ...]:
        """Paint the remaining segments.

        Returns:
            The finished pictures, each (1, 3, H, W), RGB in [0, 1], on the CPU; none but on the first member.

        Raises:
            DivergedError: The loss did not recover after repeated restarts.
            InterruptedRender: The recorder was asked to stop.
        """
        segments = self._setup.recipe.segments()
        objective: Objective | None = None
        for number, segment in enumerate(segments[self._done :], start=self._done + 1):
            if segment.first:
                objective = None  # freed before the next is made, because memory holds only one
                x_B3HW, objective = self._begin(segment.size)
            else:
                assert self._x is not None
                band = self._band(segment.size)
                x_B3HW, self._x = band.cut(self._x).clone(), None
                if objective is None:  # just resumed
                    held = self._held(segment.size, band)
                    objective = self._objective(segment.size, band, held)
                    if self._average is not None and self._average.total is not None:
                        self._average.total = band.cut(self._average.total)
            self._paint(x_B3HW, segment, objective)
            del x_B3HW
            if number < len(segments):
                self._emit_checkpoint(number)
        assert self._x is not None  # a schedule is never empty
        if self._member:
            return ()
        return self._finished(self._x, segments[-1].size)

    # -- one size ------------------------------------------------------------------------------------

    def _band(self, size: int) -> Band:
        """Return the rows of the canvas at a size that this member paints."""
        height, width = self._setup.shape(size)
        canvas = height + 2 * mirrored(height, width, self._setup.recipe.margin)
        return Band(canvas, self._member, self._group)

    def _begin(self, size: int) -> tuple[Tensor, Objective]:
        """Return the band of the pictures at a size, on a canvas with a margin, and the loss at that size."""
        band = self._band(size)
        if self._x is None:
            self._x = self._initial(size)
        x_B3HW, self._x = self._enlarged(self._x, size, band), None
        held = self._held(size, band)
        if held is not None:
            # What is held begins as it is to end, at every size.
            kept_B3HW = convert(held.rgb_B3HW, RGB, SPACES[self._setup.recipe.space])
            x_B3HW += held.weight_B1HW * (kept_B3HW - x_B3HW)
        height, width = band.height, x_B3HW.shape[3]
        self._carried = resized(self._carried, partial(resize, height=height, width=width))
        decay = self._setup.recipe.average
        self._average = IterateAverage(decay) if decay is not None else None
        return x_B3HW, self._objective(size, band, held)

    def _enlarged(self, x_B3HW: Tensor, size: int, band: Band) -> Tensor:
        """Return the band of whole pictures at a size, (B, 3, h, w), on a canvas with a margin.

        In a hastened render that began from the content, they get back a part of the content's detail
        that the smaller size could not show: strokes lie along it, and grow faster from some than from none.
        """
        shape = self._setup.shape(size)
        larger_B3HW = self._on_canvas(x_B3HW, size, band)
        recipe = self._setup.recipe
        if not recipe.is_hastened or recipe.init != "content" or x_B3HW.shape[2:] == shape:
            return larger_B3HW
        space, (h, w) = SPACES[recipe.space], x_B3HW.shape[2:]
        if band.is_whole:
            content_B3HW = convert(self._content(size), RGB, space)
            coarse_B3HW = resize(resize(content_B3HW, h, w), *shape)
            missing_B3HW = add_margin(content_B3HW.sub_(coarse_B3HW), recipe.margin)
        else:
            content_B3HW = convert(self._content_on_canvas(size, band), RGB, space)
            coarse_B3HW = convert(self._content(size, (h, w)), RGB, space)
            missing_B3HW = content_B3HW - self._on_canvas(coarse_B3HW, size, band)
        return larger_B3HW.add_(missing_B3HW, alpha=DETAIL)

    def _on_canvas(self, x_B3HW: Tensor, size: int, band: Band) -> Tensor:
        """Return the band of pictures at a size, on a canvas with a margin; a new tensor."""
        shape, margin = self._setup.shape(size), self._setup.recipe.margin
        if not band.is_whole:
            return canvas_rows(x_B3HW, *shape, margin, band.rows)
        larger_B3HW = add_margin(resize(x_B3HW, *shape), margin)
        # A picture that is as large already may belong to a checkpoint.
        return larger_B3HW.clone() if larger_B3HW is x_B3HW else larger_B3HW

    def _content_on_canvas(self, size: int, band: Band) -> Tensor:
        """Return the band of the contents, (B, 3, h, w), RGB, on a canvas with a margin."""
        parts = [
            self._on_canvas(picture.rgb, size, band).clamp_(0, 1)
            for picture in self._setup.inputs.contents
        ]
        return (parts[0] if len(parts) == 1 else torch.cat(parts)).to(self._setup.device)

    def _objective(self, size: int, band: Band, held: Held | None) -> Objective:
        """Return the loss at a size, on a canvas with a margin, which is cut off at the end of the size."""
        return Objective(
            self._setup.network,
            self._setup.recipe,
            self._content_on_canvas(size, band),
            self._blends(size),
            strip_pixels=STRIP_PIXELS if self._strips else None,
            strip_blocks=self._strips,
            # Members that find different targets in their caches would not meet when they measure others.
            targets=SHARED if self._group is None else None,
            band=band,
            held=held,
        )

    def _held(self, size: int, band: Band) -> Held | None:
        """Return what the pictures hold to at a size, on a canvas with a margin; None: nothing."""
        kept, margin = self._kept(size), self._setup.recipe.margin
        if kept is None:
            return None
        rgb_B3HW, weight_B1HW = (
            band.cut(add_margin(part, margin)) for part in (kept.rgb_B3HW, kept.weight_B1HW)
        )
        return Held(rgb_B3HW, weight_B1HW)

    def _kept(self, size: int) -> Held | None:
        """Return what the pictures hold to at a size, without a margin; None: nothing."""
        references = self._setup.inputs.references
        if not references:
            return None
        shape = self._setup.shape(size)

        def at_size(parts: list[Tensor]) -> Tensor:
            fitted = torch.cat([resize(part, *shape).clamp(0, 1) for part in parts])
            return fitted.to(self._setup.device)

        return Held(
            at_size([reference.rgb for reference in references]),
            at_size([reference.weight for reference in references]),
        )

    def _paint(self, x_B3HW: Tensor, segment: Segment, objective: Objective) -> None:
        """Make the steps of a segment.

        Args:
            x_B3HW: The band of the pictures on their canvas, which is changed in place.
            segment: The segment.
            objective: The loss.
        """
        shape = self._setup.shape(segment.size)
        band = objective.band
        guard = Guard(x_B3HW, objective.floor_B)
        start = self._carried
        if isinstance(start, Moments) and not band.is_whole:
            start = Moments(
                band.cut(start.first).clone(), band.cut(start.second).clone(), start.steps
            )
        self._carried = None
        try:
            carried = descend(
                x_B3HW,
                objective,
                segment,
                guard,
                self._recorder,
                start,
                self._average,
                self._replays,
                None if self._on_preview is None else partial(self._look, segment.size),
            )
        except DivergedError as error:
            best_B3HW = band.joined(guard.best)
            if not self._member:
                error.pictures = self._finished(cut_margin(best_B3HW, *shape), segment.size)
            raise
        del guard, start
        kept = self._setup.recipe.carry_moments or not isinstance(carried, Moments)
        self._carried = carried if kept else None
        whole_B3HW = band.joined(x_B3HW)
        self._x = cut_margin(whole_B3HW, *shape) if segment.last else whole_B3HW

    def _emit_checkpoint(self, segments: int) -> None:
        """Pass a checkpoint of the completed segments to ``on_cut``."""
        assert self._x is not None
        tensors = {"x": self._x}
        if isinstance(self._carried, Moments):
            tensors |= {
                "first": self._carried.first,
                "second": self._carried.second,
                "adam_steps": self._carried.steps,
            }
        if isinstance(self._carried, LocalCurvature):
            tensors["curvature"] = self._carried.relative_B1hw
        weight = 0.0
        if self._average is not None and self._average.total is not None:
            total_B3HW, weight = self._average.total, self._average.weight
            size = self._setup.recipe.segments()[segments - 1].size
            tensors["average"] = self._band(size).joined(total_B3HW)
        if self._member:
            return
        self._on_cut(
            Checkpoint(
                render=self._setup.fingerprint,
                segments=segments,
                steps=self._recorder.step,
                seconds=time.perf_counter() - self._recorder.began,
                tensors={name: tensor.detach().clone() for name, tensor in tensors.items()},
                average_weight=weight,
                strips=self._strips,
                precision=self._setup.recipe.precision,
            )
        )

    def _look(self, size: int, x_B3HW: Tensor) -> None:
        """Offer previews of the pictures on their canvas at a size."""
        if self._on_preview is None:
            return
        try:
            first = self._recorder.first_picture
            pictures = range(first, first + len(self._setup.inputs))
            self._on_preview(pictures, lambda: self._preview(x_B3HW, size))
        except Exception as error:  # such as no memory for it; the render goes on without
            self._on_preview = None
            log.warning("there are no previews of this render any more: %s", error)

    @torch.no_grad()
    def _preview(self, x_B3HW: Tensor, size: int) -> tuple[Picture, ...]:
        """Return the pictures as they are so far, small, on the CPU."""
        recipe = self._setup.recipe
        cut_B3HW = cut_margin(x_B3HW.detach(), *self._setup.shape(size))
        small_B3HW = shrunk(cut_B3HW, PREVIEW_SIZE)
        # Not the device's work: what is left is little.
        rgb_B3HW = SPACES[recipe.space].to_rgb(small_B3HW.float().cpu()).clamp(0, 1)
        if recipe.colors == "content" and recipe.color_method == "luminance":
            shape = rgb_B3HW.shape[2:]
            if not self._small_contents:
                contents = self._setup.inputs.contents
                self._small_contents = [shrunk(p.rgb, PREVIEW_SIZE) for p in contents]
            parts = [resize(content, *shape).clamp(0, 1) for content in self._small_contents]
            rgb_B3HW = keep_chroma(rgb_B3HW, torch.cat(parts))
        return tuple(Picture(rgb) for rgb in rgb_B3HW.unsqueeze(1))

    # -- pictures at a size --------------------------------------------------------------------------

    def _content(self, size: int, then: tuple[int, int] | None = None) -> Tensor:
        """Return the contents at a size, (B, 3, H, W), RGB.

        They are resized on the CPU, because the files can be larger than the device's memory.

        Args:
            size: The size.
            then: Height and width to which they are resized once more, colour by colour, so that they never
                exist at ``size`` in all colours; None: they are not.
        """
        shape = self._setup.shape(size)
        contents = self._setup.inputs.contents
        if then is None:
            parts = [resize(picture.rgb, *shape).clamp(0, 1) for picture in contents]
        else:
            parts = [
                torch.cat(
                    [resize(resize(c, *shape).clamp(0, 1), *then) for c in picture.rgb.chunk(3, 1)],
                    1,
                )
                for picture in contents
            ]
        return torch.cat(parts).to(self._setup.device)

    def _blends(self, size: int) -> list[list[WeightedStyle]]:
        """Return the blends of styles for contents at a size.

        Pictures can have styles and masks in common, so each is resized once.
        """
        pictures: dict[int, Tensor] = {}
        masks: dict[int, Tensor] = {}
        blends: list[list[WeightedStyle]] = []
        for blend in self._setup.inputs.styles:
            blends.append([])
            for picture, share, mask, _ in blend:
                if id(picture) not in pictures:
                    pictures[id(picture)] = self._style(picture, size)
                if mask is not None and id(mask) not in masks:
                    masks[id(mask)] = self._mask(mask, size)
                resized_mask = None if mask is None else masks[id(mask)]
                blends[-1].append(WeightedStyle(pictures[id(picture)], share, resized_mask))
        return blends

    def _style(self, style: Picture, size: int) -> Tensor:
        """Return a style as it is analysed, (1, 3, h, w), for contents at a size."""
        height, width = self._setup.shape(size)
        frame = 2 * mirrored(height, width, self._setup.recipe.margin)
        canvas = (height + frame, width + frame)
        shape = style_shape(style.rgb.shape[2], style.rgb.shape[3], canvas, self._setup.recipe)
        return resize(style.rgb, *shape).clamp(0, 1).to(self._setup.device)

    def _mask(self, mask: Tensor, size: int) -> Tensor:
        """Return a mask on the whole canvas, (1, 1, H, W)."""
        at_size = resize(mask, *self._setup.shape(size)).clamp(0, 1)
        return add_margin(at_size, self._setup.recipe.margin).to(self._setup.device)

    def _initial(self, size: int) -> Tensor:
        """Return the initial pictures, (B, 3, H, W), in the recipe's space."""
        content_B3HW = self._content(size)
        blends = self._blends(size) if self._setup.recipe.init == "style_stats" else []
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
        rgb_B3HW = SPACES[self._setup.recipe.space].to_rgb(x_B3HW.detach())
        held = self._kept(size)
        if held is not None:
            rgb_B3HW = without_drift(rgb_B3HW, held)
        rgb_B3HW = rgb_B3HW.clamp(0, 1)
        if (
            self._setup.recipe.colors == "content"
            and self._setup.recipe.color_method == "luminance"
        ):
            rgb_B3HW = keep_chroma(rgb_B3HW, self._content(size))
        shape = self._setup.shape(size)
        return tuple(
            painted(rgb, None if p.alpha is None else resize(p.alpha, *shape).clamp(0, 1))
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


def _carried_of(at: Checkpoint | None) -> Carried | None:
    if at is None:
        return None
    if "curvature" in at.tensors:
        return LocalCurvature(at.tensors["curvature"])
    if "first" not in at.tensors:
        return None
    # Copies, because Adam changes them in place and a checkpoint may be resumed twice.
    first, second, steps = (at.tensors[name].clone() for name in ("first", "second", "adam_steps"))
    return Moments(first, second, steps)


def _average_of(at: Checkpoint | None, recipe: Recipe) -> IterateAverage | None:
    if at is None or recipe.average is None or "average" not in at.tensors:
        return None
    return IterateAverage(recipe.average, at.tensors["average"].clone(), at.average_weight)
