"""A night landscape in oil: thousands of curved strokes that follow one swirling field.

The painter works in three steps. A small *scene* has, for each place, the direction of the brush, its colour
and the thing (sky, a hill) that it paints. Layers of strokes, coarse to fine, are traced through the scene
and laid over each other; each pixel keeps only the number of its topmost brush sample. At the end each pixel
is shaded once, from its place within its stroke.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from jobs.examples._raster import (
    Floats,
    Ints,
    Rgb,
    floats,
    fractal,
    ink,
    mix,
    noise,
    picture,
    ramp,
    shrink,
    smoothstep,
)

ASPECT = 0.75
SUPERSAMPLE = 2
SCENE_WIDTH = 640  # pixels; the scene is smooth, so its maps need not grow with the picture
CONTROL_POINTS = 15
SAMPLES_AT_ONCE = 1_000_000  # bounds the memory of laying down a layer
BRISTLE = 1 / 400  # a bristle's width
PITCH = 0.38  # outward per round in a whirl, as a tangent
CANVAS_GROUND = 0.35  # brightness of the toned canvas where no stroke covers it

SKY: tuple[Rgb, ...] = (
    (13, 22, 66), (22, 44, 112), (30, 74, 150), (46, 116, 168), (110, 174, 184), (206, 220, 176),
)  # fmt: skip
GLOW: tuple[Rgb, ...] = (
    (255, 246, 206), (255, 214, 92), (247, 158, 38), (214, 92, 40), (190, 170, 96), (96, 158, 164),
)  # fmt: skip
HILLS: tuple[tuple[Rgb, ...], ...] = (
    ((40, 44, 104), (72, 74, 142), (120, 112, 168), (182, 150, 172)),
    ((18, 58, 84), (34, 98, 110), (82, 140, 116), (170, 178, 108)),
    ((30, 52, 46), (72, 96, 44), (140, 138, 48), (226, 178, 70)),
    ((22, 20, 58), (48, 42, 98), (104, 62, 100), (224, 122, 62)),
)
ACCENT: Rgb = (244, 128, 44)


@dataclass(frozen=True, slots=True)
class Disc:
    """A thing that the flow turns around: a glowing disc, a whirl of air or a round tree."""

    x: float
    y: float
    radius: float
    turn: float  # strength of the rotation; the sign is its sense

    def offset(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Return distance, in radii, and bearing."""
        dx, dy = x - self.x, y - self.y
        return floats(np.hypot(dx, dy) / self.radius), floats(np.arctan2(dy, dx))

    def stream(self, x: Floats, y: Floats) -> Floats:
        """Return this disc's part of the stream function, whose level lines the brush follows."""
        distance, _ = self.offset(x, y)
        return floats(self.turn * self.radius * np.exp(-distance / 1.6))


@dataclass(frozen=True, slots=True)
class Scene:
    """Maps of one size: direction of the brush, colour, the thing that is painted, and its detail."""

    dx: Floats
    dy: Floats
    colour: Floats
    thing: Ints
    detail: Floats

    def at(self, x: Floats, y: Floats) -> tuple[Ints, Ints]:
        """Return row and column of a place; beyond the frame, those of the nearest place inside."""
        rows, columns = self.thing.shape
        row = np.clip(y * columns, 0, rows - 1).astype(np.int64)
        return row, np.clip(x * columns, 0, columns - 1).astype(np.int64)


@dataclass(frozen=True, slots=True)
class Layer:
    """One pass over the canvas with one brush."""

    width: float
    length: float
    coverage: float  # area of all strokes per area of the canvas
    hue_jitter: float
    light_jitter: float
    relief: float  # thickness of the paint
    only_detail: bool = False  # paint only where the scene has detail


LAYERS = (
    Layer(0.030, 0.150, 2.2, 0.03, 0.09, 0.6),
    Layer(0.016, 0.095, 1.5, 0.05, 0.13, 0.9),
    Layer(0.0095, 0.066, 1.0, 0.07, 0.17, 1.2),
    Layer(0.0060, 0.040, 1.1, 0.08, 0.20, 1.3, only_detail=True),
)


@dataclass(frozen=True, slots=True)
class Strokes:
    """The strokes of one layer: centre lines, widths, and a colour for either edge."""

    x: Floats  # strokes by control points
    y: Floats
    width: Floats
    left: Floats  # strokes by 3: a loaded brush is seldom of one colour
    right: Floats
    streak: Ints  # offset of each stroke's brush in the bristle pattern
    along: int  # samples along a stroke
    across: int  # samples across a stroke
    relief: float

    @property
    def samples(self) -> int:
        """Number of brush samples in the layer."""
        return len(self.width) * self.along * self.across

    def bristle(self, stroke: Ints | slice, t: Floats) -> Ints:
        """Return the bristle at ``t`` (-1..1) across each stroke; all brushes have the same bristles."""
        return ((t + 1) * self.width[stroke] / 2 / BRISTLE).astype(np.int64) + self.streak[stroke]


def _ridges(rng: np.random.Generator, x: Floats) -> list[Floats]:
    """Return the skyline of each hill, from the furthest to the nearest."""
    lines = []
    for index, base in enumerate((0.455, 0.515, 0.575, 0.665)):
        line = np.full_like(x, base)
        for wave, height in ((1.2, 0.042), (2.7, 0.020), (6.1, 0.006)):
            phase, stretch = rng.uniform(0, 2 * np.pi), rng.uniform(0.8, 1.2)
            line += height * np.sin(2 * np.pi * wave * stretch * x + phase + index)
        lines.append(floats(line))
    return lines


def _lights(rng: np.random.Generator) -> list[Disc]:
    """Return glowing discs: a large one, and smaller ones all over the sky."""
    places = (
        (0.185, 0.150, 0.060), (0.425, 0.085, 0.024), (0.585, 0.185, 0.031), (0.735, 0.075, 0.027),
        (0.900, 0.185, 0.043), (0.045, 0.330, 0.022), (0.395, 0.330, 0.020), (0.790, 0.345, 0.021),
    )  # fmt: skip
    shift = rng.uniform(-0.012, 0.012, (len(places), 2))
    return [
        Disc(x + sx, y + sy, radius, 11.0 if index % 2 else -11.0)
        for index, ((x, y, radius), (sx, sy)) in enumerate(zip(places, shift, strict=True))
    ]


def _whirls(rng: np.random.Generator) -> list[Disc]:
    """Return spirals of air between the lights."""
    places = ((0.375, 0.215, 0.085, 4.0), (0.680, 0.290, 0.070, -4.0), (0.185, 0.365, 0.060, -3.5))
    shift = rng.uniform(-0.015, 0.015, (len(places), 2))
    return [
        Disc(x + sx, y + sy, radius, turn)
        for (x, y, radius, turn), (sx, sy) in zip(places, shift, strict=True)
    ]


def _trees(rng: np.random.Generator, ridges: list[Floats]) -> list[Disc]:
    """Return round trees along the two middle hills."""
    trees = []
    for ridge in ridges[1:3]:
        for x in np.arange(0.03, 1.0, 0.085) + rng.uniform(-0.03, 0.03, 12):
            column = int(np.clip(x, 0, 0.999) * ridge.shape[1])
            y = float(ridge[0, column]) + rng.uniform(0.012, 0.045)
            trees.append(Disc(float(x), y, float(rng.uniform(0.012, 0.022)), 5.0))
    return trees


def _sky_colour(
    x: Floats, y: Floats, stream: Floats, lump: Floats, lights: list[Disc], whirls: list[Disc]
) -> Floats:
    """Colour the sky: bands of blue along the flow, pale spiral arms, and rings of warm light."""
    tone = 0.22 + 0.50 * y / 0.5 + 0.16 * np.sin(stream * 75 + 3 * lump) + 0.14 * lump
    for whirl in whirls:
        distance, bearing = whirl.offset(x, y)
        arms = np.sin(2 * bearing - np.sign(whirl.turn) * 2 / PITCH * np.log(distance + 0.15))
        tone += 0.34 * arms * np.exp(-((distance / 1.7) ** 2))
    colour = ramp(floats(np.clip(tone, 0, 1)), SKY)
    for light in lights:
        distance, _ = light.offset(x, y)
        ring = distance / 2.7 + 0.07 * np.sin(distance * 7.5) * (distance > 1)
        colour = mix(colour, ramp(floats(ring), GLOW), 1 - smoothstep(1.5, 3.0, distance))
    return colour


def _hill_colour(
    x: Floats, y: Floats, depth: Floats, lump: Floats, index: int, trees: list[Disc]
) -> Floats:
    """Colour a hill: furrows along the slope, a lit crest, and trees lit from the top left."""
    tone = 0.42 + 0.26 * np.sin(depth * (230 - 35 * index) + 3.5 * lump) + 0.22 * lump
    tone += 0.45 * np.exp(-depth / 0.010)
    for tree in trees:
        distance, _ = tree.offset(x, y)
        lit = 0.35 - 0.55 * ((x - tree.x) + (y - tree.y)) / tree.radius
        lit += 0.18 * np.sin(distance * 9)
        inside = 1 - smoothstep(0.9, 1.25, distance)
        tone = tone + (lit - tone) * inside
    return ramp(floats(np.clip(tone, 0, 1)), HILLS[index])


def _unwound(
    x: Floats, y: Floats, dx: Floats, dy: Floats, whirls: list[Disc]
) -> tuple[Floats, Floats]:
    """Return unit directions; around whirls the closed rings of the stream open into spiral arms."""
    speed = np.hypot(dx, dy) + 1e-9
    dx, dy = floats(dx / speed), floats(dy / speed)
    for whirl in whirls:
        distance, bearing = whirl.offset(x, y)
        outwards = PITCH * np.exp(-((distance / 2) ** 2))
        dx = floats(dx + outwards * np.cos(bearing))
        dy = floats(dy + outwards * np.sin(bearing))
    speed = np.hypot(dx, dy) + 1e-9
    return floats(dx / speed), floats(dy / speed)


def _scene(rng: np.random.Generator) -> Scene:
    """Compose the landscape."""
    shape = (round(SCENE_WIDTH * ASPECT), SCENE_WIDTH)
    grid = np.mgrid[0 : shape[0], 0 : shape[1]] / SCENE_WIDTH
    y, x = floats(grid[0]), floats(grid[1])
    lump = fractal(rng, shape, 5, 3)
    ridges, lights, whirls = _ridges(rng, x), _lights(rng), _whirls(rng)
    trees = _trees(rng, ridges)

    stream = y + 0.05 * noise(rng, shape, 4, 4)
    for disc in lights + whirls:
        stream = stream + disc.stream(x, y)
    colour = _sky_colour(x, y, floats(stream), lump, lights, whirls)
    # Low air follows the line of the hills; otherwise strokes would hit the skyline head on.
    settle = smoothstep(-0.07, 0.0, y - ridges[0])
    stream = stream * (1 - settle) + (y - ridges[0]) * settle
    detail = np.zeros(shape, np.float32)
    for light in lights:
        detail = np.maximum(detail, 1 - smoothstep(1.2, 3.2, light.offset(x, y)[0]))

    thing = np.zeros(shape, np.int64)
    for index, ridge in enumerate(ridges):
        below = y > ridge
        depth = floats(np.where(below, y - ridge, 0))
        slope = y - ridge + 0.01 * lump
        for tree in trees:
            slope = slope + tree.stream(x, y)
        stream = np.where(below, slope, stream)
        colour = np.where(below[..., None], _hill_colour(x, y, depth, lump, index, trees), colour)
        thing[below] = index + 1
    detail = np.maximum(detail, np.where(thing > 0, floats(0.5), floats(0.18)))
    for tree in trees:
        detail = np.maximum(detail, 1 - smoothstep(1.0, 1.5, tree.offset(x, y)[0]))

    down, right = np.gradient(stream)
    dx, dy = _unwound(x, y, floats(down), floats(-right), whirls)
    return Scene(dx, dy, floats(colour), thing, detail)


def _trace(scene: Scene, x: Floats, y: Floats, length: Floats) -> tuple[Floats, Floats]:
    """Return centre lines through the seeds ``(x, y)``, along the field both ways.

    A line stops where another thing begins: the brush is lifted at the edge of a hill.
    """
    half = CONTROL_POINTS // 2
    step = length / (2 * half)
    home = scene.thing[scene.at(x, y)]
    sides = []
    for sense in (-1.0, 1.0):
        px, py, down = x, y, np.ones_like(x)
        side = []
        for _ in range(half):
            place = scene.at(px, py)
            nx = floats(px + sense * step * down * scene.dx[place])
            ny = floats(py + sense * step * down * scene.dy[place])
            down = floats(down * (scene.thing[scene.at(nx, ny)] == home))
            px, py = floats(px + (nx - px) * down), floats(py + (ny - py) * down)
            side.append((px, py))
        sides.append(side)
    line = [*reversed(sides[0]), (x, y), *sides[1]]
    return floats(np.stack([p[0] for p in line], 1)), floats(np.stack([p[1] for p in line], 1))


def _jitter(rng: np.random.Generator, colour: Floats, layer: Layer) -> Floats:
    """Return each stroke's colour a little lighter or darker, and of a slightly different hue."""
    light = rng.normal(1, layer.light_jitter, (len(colour), 1))
    hue = rng.normal(0, layer.hue_jitter, colour.shape)
    return floats(np.clip(colour * light + hue, 0, 1))


def _strokes(rng: np.random.Generator, scene: Scene, layer: Layer, pixels: int) -> Strokes:
    """Seed, trace and colour one layer. ``pixels`` is the width of the canvas."""
    spacing = float(np.sqrt(layer.width * layer.length / layer.coverage))
    grid = np.mgrid[0 : 1 + spacing : spacing, 0 : ASPECT + spacing : spacing].reshape(2, -1)
    seeds = floats(rng.permutation((grid + rng.uniform(-0.5, 0.5, grid.shape) * spacing).T))
    if layer.only_detail:
        keep = rng.random(len(seeds)) < scene.detail[scene.at(seeds[:, 0], seeds[:, 1])]
        seeds = seeds[keep]
    count = len(seeds)
    place = scene.at(seeds[:, 0], seeds[:, 1])
    length = layer.length * rng.uniform(0.6, 1.3, count) * (1 - 0.55 * scene.detail[place])
    x, y = _trace(scene, seeds[:, 0], seeds[:, 1], floats(length))
    colour = scene.colour[place]
    stray = rng.random(count) < 0.012
    colour = mix(colour, ink(ACCENT), floats(0.6 * stray))
    return Strokes(
        x=x,
        y=y,
        width=floats(layer.width * rng.uniform(0.65, 1.15, count)),
        left=_jitter(rng, colour, layer),
        right=_jitter(rng, colour, layer),
        streak=rng.integers(0, 4096, count),
        # One sample per 0.8 pixels leaves no holes, even on the outside of a bend.
        along=max(8, round(layer.length * 1.3 * pixels / 0.8)),
        across=max(4, round(layer.width * 1.15 * pixels / 0.8)),
        relief=layer.relief,
    )


def _bristles(rng: np.random.Generator) -> Floats:
    """Return the paint on each bristle of an endless brush, at a stroke's start and at its end."""
    raw = rng.normal(0, 1, (2, 8192))
    return floats(np.clip(raw + 0.6 * np.roll(raw, 1, axis=1), -2, 2) / 2)


def _positions(strokes: Strokes, part: slice, bristles: Floats, pixels: int, height: int) -> Ints:
    """Return the pixel of each brush sample, or one past the last where it leaves no paint."""
    place = np.linspace(0, CONTROL_POINTS - 1.001, strokes.along)
    node = place.astype(np.int64)
    rest = floats(place - node)

    def along(line: Floats) -> tuple[Floats, Floats]:
        change = np.diff(line, axis=1)
        slope = np.gradient(line, axis=1)
        smooth = slope[:, node] * (1 - rest) + slope[:, node + 1] * rest
        return floats(line[:, node] + change[:, node] * rest), floats(smooth)

    x, dx = along(strokes.x[part] * pixels)
    y, dy = along(strokes.y[part] * pixels)
    s = floats(np.linspace(0, 1, strokes.along))
    taper = np.minimum(s / 0.12, 1) ** 0.5 * np.minimum((1 - s) / 0.5, 1) ** 0.6
    reach = strokes.width[part, None] * pixels / 2 * taper / (np.hypot(dx, dy) + 1e-6)
    t = floats(np.linspace(-1, 1, strokes.across))
    column = (x[..., None] - (dy * reach)[..., None] * t).astype(np.int64)
    row = (y[..., None] + (dx * reach)[..., None] * t).astype(np.int64)
    # Bristles run dry one by one, so a stroke ends ragged.
    load = bristles[1, strokes.bristle(part, t[:, None]).T]
    painted = s[:, None] < (0.92 + 0.10 * load)[:, None, :]
    inside = painted & (column >= 0) & (column < pixels) & (row >= 0) & (row < height)
    return np.where(inside, row * pixels + column, pixels * height)


def _lay(
    top: Ints, strokes: Strokes, first: int, bristles: Floats, pixels: int, height: int
) -> None:
    """Lay a layer on the canvas, with its samples numbered upwards from ``first``.

    A later sample covers an earlier one. ``maximum.at`` gives that in any order of work; assignment through
    repeated indices would leave the winner to the implementation.
    """
    per_stroke = strokes.along * strokes.across
    group = max(1, SAMPLES_AT_ONCE // per_stroke)
    for start in range(0, len(strokes.width), group):
        where = _positions(strokes, slice(start, start + group), bristles, pixels, height).ravel()
        number = first + start * per_stroke + np.arange(where.size)
        np.maximum.at(top, where, number)


def _shade(strokes: Strokes, sample: Ints, bristles: Floats, pixels: int) -> tuple[Floats, Floats]:
    """Return colour and paint height of brush samples, from their places in their strokes."""
    stroke, within = np.divmod(sample, strokes.along * strokes.across)
    s_index, t_index = np.divmod(within, strokes.across)
    s = floats(s_index / (strokes.along - 1))
    t = floats(t_index / (strokes.across - 1) * 2 - 1)
    bristle = strokes.bristle(stroke, t)
    load = bristles[0, bristle] * (1 - s) + bristles[1, bristle] * s
    colour = mix(strokes.left[stroke], strokes.right[stroke], floats(t / 2 + 0.5))
    colour = floats(colour * (1 + 0.34 * load)[:, None])
    height = strokes.relief * (np.sqrt(1.02 - t * t) + 0.45 * load)
    return colour, floats(height * min(1.0, pixels / 1536))


def _layers(rng: np.random.Generator, scene: Scene, pixels: int) -> Iterator[tuple[int, Strokes]]:
    """Yield each layer's strokes, with the number of its first brush sample."""
    first = 0
    for layer in LAYERS:
        strokes = _strokes(rng, scene, layer, pixels)
        yield first, strokes
        first += strokes.samples


def _lit(colour: Floats, height: Floats) -> Floats:
    """Light the paint from the top left: facing edges brighten, the others darken."""
    down, right = np.gradient(height)
    slope = np.clip(-(down + right), -0.8, 0.8)
    return floats(colour * (1 + 0.42 * slope)[..., None] + 0.05 * np.maximum(slope, 0)[..., None])


def flow(width: int, seed: int) -> Image.Image:
    """Paint the landscape, ``width`` pixels wide and three quarters of it high."""
    rng = np.random.default_rng([seed, 1])
    pixels = width * SUPERSAMPLE
    height = round(width * ASPECT) * SUPERSAMPLE
    scene, bristles = _scene(rng), _bristles(rng)
    layers = list(_layers(rng, scene, pixels))
    top = np.full(pixels * height + 1, -1, np.int64)  # the last one is for samples off the canvas
    for first, strokes in layers:
        _lay(top, strokes, first, bristles, pixels, height)
    top = top[:-1]

    grid = np.mgrid[0:height, 0:pixels].reshape(2, -1) / pixels
    place = scene.at(floats(grid[1]), floats(grid[0]))
    # Where there is detail the ground is light, and shines through gaps in lamps and trees.
    colour = scene.colour[place] * np.maximum(scene.detail[place], CANVAS_GROUND)[:, None]
    relief = np.zeros(top.size, np.float32)
    for first, strokes in layers:
        mine = np.flatnonzero((top >= first) & (top < first + strokes.samples))
        colour[mine], relief[mine] = _shade(strokes, top[mine] - first, bristles, pixels)
    lit = _lit(colour.reshape(height, pixels, 3), relief.reshape(height, pixels))
    return picture(shrink(lit, SUPERSAMPLE))
