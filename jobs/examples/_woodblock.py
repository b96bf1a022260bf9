"""Great waves as a wood-block print: flat inks in bands, bold key lines, graded sky, grained paper.

A print is made from two plates: a *colour* plate, and a *key* plate with the dark lines. Shapes are drawn
from back to front, and each shape covers what is behind it on both plates.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from PIL import Image, ImageDraw

from jobs.examples._raster import (
    Floats,
    Rgb,
    floats,
    fractal,
    ink,
    mix,
    noise,
    picture,
    ramp,
)

ASPECT = 0.75
BLOCK_WIDTH = 1536  # pixels; the plates are at least this wide, so no cut is thinner than a pixel

PAPER: Rgb = (240, 226, 194)
FOAM: Rgb = (244, 236, 212)
SHADE: Rgb = (168, 192, 196)
SUN: Rgb = (206, 84, 54)
KEY: Rgb = (20, 28, 54)
BANDS: tuple[Rgb, ...] = (
    (22, 42, 92), (38, 76, 132), (92, 138, 168), (30, 58, 112), (150, 182, 188), (26, 48, 100),
    (60, 106, 152), (196, 206, 192),
)  # fmt: skip
# From the top: a strip of dark grey-blue that fades into the paper, and warmth over the horizon.
SKY: tuple[Rgb, ...] = (
    (70, 84, 112), (132, 140, 146), (196, 190, 168), (228, 206, 164), (232, 190, 146),
    (222, 172, 134), (214, 170, 140),
)  # fmt: skip


def _smooth(points: Floats, count: int) -> Floats:
    """Return a Catmull-Rom curve of ``count`` points through ``points``."""
    padded = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    place = np.linspace(0, len(points) - 1.0001, count)
    node = place.astype(np.int64)
    t = (place - node)[:, None]
    a, b, c, d = (padded[node + k] for k in range(4))
    curve = b + t / 2 * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
    return floats(curve)


def _ribbon(curve: Floats, width: Floats) -> Floats:
    """Return the outline of a stroke along ``curve`` with ``width`` at each of its points."""
    along = np.gradient(curve, axis=0)
    along /= np.hypot(along[:, 0], along[:, 1])[:, None] + 1e-9
    across = np.stack([-along[:, 1], along[:, 0]], 1) * width[:, None] / 2
    return floats(np.concatenate([curve + across, (curve - across)[::-1]]))


def _hook(start: Floats, heading: float, length: float, curl: float) -> Floats:
    """Return a curve that begins along ``heading`` and bends more and more: a claw of foam."""
    u = np.linspace(0, 1, 14)
    bearing = heading + curl * u**1.4
    steps = np.stack([np.cos(bearing), np.sin(bearing)], 1) * (length / len(u))
    return floats(start + np.cumsum(steps, axis=0))


@dataclass(slots=True)
class Plates:
    """The colour plate and the key plate; all lengths are fractions of the picture's width."""

    pixels: int
    colour: Image.Image
    key: Image.Image
    _inks: ImageDraw.ImageDraw = field(init=False)
    _lines: ImageDraw.ImageDraw = field(init=False)

    def __post_init__(self) -> None:
        self._inks = ImageDraw.Draw(self.colour)
        self._lines = ImageDraw.Draw(self.key)

    def _flat(self, points: Floats) -> list[float]:
        return [float(value) for value in (points * self.pixels).ravel()]

    def area(self, outline: Floats, fill: Rgb) -> None:
        """Draw a shape of one ink, in front of everything so far."""
        flat = self._flat(outline)
        self._inks.polygon(flat, fill=fill)
        self._lines.polygon(flat, fill=0)

    def line(self, curve: Floats, width: float, rng: np.random.Generator) -> None:
        """Draw a carved line: it swells and thins, and ends in points."""
        u = np.linspace(0, 1, len(curve))
        swell = 0.75 + 0.35 * np.sin(rng.uniform(4, 9) * u + rng.uniform(0, 6.28))
        ends = np.minimum(1, 6 * np.minimum(u, 1 - u) + 0.25)
        self._lines.polygon(self._flat(_ribbon(curve, floats(width * swell * ends))), fill=255)

    def tint(self, curve: Floats, width: Floats, fill: Rgb) -> None:
        """Draw a stroke of ink that covers no key lines."""
        self._inks.polygon(self._flat(_ribbon(curve, width)), fill=fill)

    def merged(self, shapes: list[Floats], fill: Rgb, edge: float) -> None:
        """Draw many shapes as one body, outlined where it ends and not where its parts meet.

        All outlines are drawn first, as lines around each shape; the bodies then cover the parts of outlines
        that lie inside a neighbour.
        """
        for shape in shapes:
            flat = self._flat(np.concatenate([shape, shape[:2]]))
            self._lines.line(
                flat, fill=255, width=max(1, round(2 * edge * self.pixels)), joint="curve"
            )
        for shape in shapes:
            self.area(shape, fill)


def _circle(x: float, y: float, radius: float) -> Floats:
    turn = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    return floats(np.stack([x + radius * np.cos(turn), y + radius * np.sin(turn)], 1))


def _sky(plates: Plates, rng: np.random.Generator) -> None:
    """Draw a sun, wind in carved lines, and bars of cloud. (The gradation is printed with the paper.)"""
    x = np.linspace(-0.02, 1.02, 90)
    sun = _circle(0.715, 0.190, 0.078)
    plates.area(sun, SUN)
    for index, y in enumerate(np.arange(0.008, 0.46, 0.0095)):
        drift = 0.010 * np.sin(5 * x + 0.25 * index) + 0.006 * np.sin(13 * x - 0.4 * index)
        curve = floats(np.stack([x, y + drift], 1))
        first = int(rng.integers(0, 30))
        last = int(rng.integers(60, 91))
        plates.line(curve[first:last], 0.0016, rng)
        first = int(rng.integers(0, 60))
        streak = curve[first : first + 30] + floats([0, 0.005])
        width = floats(0.0045 * np.sin(np.linspace(0, np.pi, len(streak))))
        plates.tint(streak, width, (150, 146, 140) if index % 2 else PAPER)
    for y, left, right in (
        (0.075, -0.05, 0.30), (0.105, 0.08, 0.44), (0.060, 0.70, 1.05), (0.205, 0.52, 0.83),
        (0.232, 0.66, 1.05), (0.290, 0.40, 0.66), (0.150, 0.86, 1.05),
    ):  # fmt: skip
        _cloud(plates, rng, y, left, right)


def _cloud(plates: Plates, rng: np.random.Generator, y: float, left: float, right: float) -> None:
    """Draw a bar of mist with round ends, streaked along its length."""
    u = np.linspace(0, 1, 50)
    x = left + (right - left) * u
    drift = 0.006 * np.sin(9 * x + rng.uniform(0, 6.28))
    curve = floats(np.stack([x, y + drift], 1))
    ends = np.sqrt(np.clip(1 - np.abs(2 * u - 1) ** 14, 0, 1))
    plates.merged([_ribbon(curve, floats(0.026 * ends))], (232, 216, 184), 0.0016)
    for offset in (-0.006, 0.0, 0.006):
        cut = slice(int(rng.integers(2, 18)), int(rng.integers(30, 48)))
        plates.tint(
            curve[cut] + floats([0, offset]),
            floats(0.0030 * np.sin(np.pi * u[cut]) + 0.0006),
            (206, 168, 140),
        )


def _swell(
    plates: Plates, rng: np.random.Generator, y: float, height: float, waves: float, bands: int
) -> None:
    """Draw one row of the sea: pointed crests, and bands below that follow them ever more calmly."""
    x = np.linspace(-0.03, 1.03, 260)
    phase = rng.uniform(0, 1) + waves * x + 0.12 * np.sin(7 * x + rng.uniform(0, 6.28))
    tip = 1 - 2 * np.abs(np.sin(np.pi * phase)) ** 0.75  # sharp crests, broad troughs
    size = 0.75 + 0.35 * np.sin(2.3 * x + rng.uniform(0, 6.28))
    step = height * 0.42
    start = int(rng.integers(0, len(BANDS)))
    for band in range(bands):
        calm = 0.93**band
        lag = np.interp(x - 0.006 * band, x, tip * size)
        level = y - height * calm * lag + step * band * (1 + 0.15 * np.sin(11 * x + band))
        curve = floats(np.stack([x, level], 1))
        floor = floats([[1.03, 1.0], [-0.03, 1.0]])
        plates.area(np.concatenate([curve, floor]), BANDS[(start + band) % len(BANDS)])
        plates.line(curve, 0.0052 if band == 0 else 0.0030, rng)
        for part in (0.2, 0.4, 0.6, 0.8):  # fine cuts inside a band, here and there
            cut = slice(int(rng.integers(0, 130)), int(rng.integers(150, 260)))
            plates.line(curve[cut] + floats([0, step * part]), 0.0015, rng)
    _whitecaps(plates, rng, floats(np.stack([x, y - height * tip * size], 1)), height)


def _whitecaps(plates: Plates, rng: np.random.Generator, crest: Floats, height: float) -> None:
    """Draw foam on the crests of a row."""
    level = crest[:, 1]
    peaks = np.flatnonzero((level[1:-1] < level[:-2]) & (level[1:-1] <= level[2:])) + 1
    for peak in peaks:
        shapes = []
        for offset in np.linspace(-9, 9, 8):
            at = crest[int(np.clip(peak + offset, 0, len(crest) - 1))]
            length = height * float(rng.uniform(0.4, 0.75))
            claw = _hook(at, float(rng.uniform(-0.2, 0.5)), length, 1.5)
            shapes.append(_ribbon(claw, floats(np.linspace(0.3, 0.05, len(claw)) * height)))
            shapes.append(_circle(float(at[0]), float(at[1]) + 0.08 * height, 0.15 * height))
        plates.merged(shapes, FOAM, 0.0013)


@dataclass(frozen=True, slots=True)
class Wave:
    """A breaking wave. Its shape is drawn for a foot of width 1 at the origin, and then placed."""

    x: float
    y: float
    size: float
    facing: float  # 1 breaks to the right, -1 to the left

    def place(self, shape: Floats) -> Floats:
        """Return a shape in the picture's coordinates, where up is negative."""
        return floats(shape * [self.facing, -1] * self.size + [self.x, self.y])

    # Both sides run from the foot to the tip of the lip, so that the bands between them rise along
    # the wave and meet there.
    def back(self) -> Floats:
        return _smooth(floats([
            (-1.05, -0.35), (-0.80, 0.00), (-0.55, 0.36), (-0.28, 0.70), (0.02, 0.93),
            (0.32, 1.00), (0.58, 0.90), (0.72, 0.70), (0.72, 0.54),
        ]), 90)  # fmt: skip

    def face(self) -> Floats:
        return _smooth(floats([
            (1.15, -0.35), (0.72, -0.12), (0.38, 0.10), (0.17, 0.34), (0.12, 0.56),
            (0.22, 0.73), (0.40, 0.80), (0.57, 0.74), (0.70, 0.56),
        ]), 90)  # fmt: skip


def _breaker(plates: Plates, rng: np.random.Generator, wave: Wave, bands: int) -> None:
    """Draw a great wave: bands up its body, key lines between them, and foam along its lip."""
    back, face = wave.back(), wave.face()
    start = int(rng.integers(0, len(BANDS)))
    edges = np.linspace(0, 1, bands + 1) ** 0.9
    curves = [wave.place(floats(back + (face - back) * edge)) for edge in edges]
    for index, (near, far) in enumerate(pairwise(curves)):
        plates.area(np.concatenate([near, far[::-1]]), BANDS[(start + index) % len(BANDS)])
    for near, far in pairwise(curves):
        plates.line(near, 0.0034, rng)
        for part in np.linspace(0.2, 0.85, 3 + round(5 * wave.size)):
            cut = slice(int(rng.integers(0, 25)), int(rng.integers(40, 80)))
            plates.line(floats(near + (far - near) * part)[cut], 0.0014, rng)
    for outline in (curves[0], curves[-1]):
        plates.line(outline, 0.0075, rng)
    _lip(plates, rng, wave, back, face)


def _lip(plates: Plates, rng: np.random.Generator, wave: Wave, back: Floats, face: Floats) -> None:
    """Draw foam: claws that reach forward, the ragged belt along the crest that they grow from, spray."""
    crest = np.gradient(back, axis=0)
    headings = np.arctan2(crest[:, 1], crest[:, 0])
    # Outside, claws stream over the back; inside, they hang from the lip into the hollow. They are drawn
    # from the tip backwards, and each overlaps the one before.
    for first, deep, turn, count in ((0.44, 0.06, 0.55, 19), (0.60, 0.62, -0.9, 17)):
        for share in np.linspace(1.0, first, count):
            index = int(share * (len(back) - 1))
            base = floats(back[index] + deep * (face[index] - back[index]))
            _claw(plates, rng, wave, base, float(headings[index]) + turn)
    balls = []
    for share in np.linspace(0.40, 0.98, 36):
        index = int(share * (len(back) - 1))
        full = float(np.sin(np.pi * (share - 0.34) / 0.66))
        radius = (0.014 + 0.046 * full) * rng.uniform(0.8, 1.15)
        deep = 0.10 + 0.14 * full * rng.uniform(0, 2)
        x, y = wave.place(floats(back[index] + deep * (face[index] - back[index])))
        balls.append((float(x), float(y), radius * wave.size))
    plates.merged([_circle(*ball) for ball in balls], FOAM, 0.0019)
    for x, y, radius in balls:
        _curl(plates, rng, x, y, radius, wave.facing)
    _spray(plates, rng, wave)


def _claw(
    plates: Plates, rng: np.random.Generator, wave: Wave, base: Floats, heading: float
) -> None:
    """Draw a finger of foam with smaller ones on it, a blue shadow and a carved line down its middle."""
    length = float(rng.uniform(0.15, 0.27))
    finger = _hook(base, heading + float(rng.uniform(-0.2, 0.2)), length, -1.7)
    u = np.linspace(0, 1, len(finger))
    width = floats(0.075 * np.sqrt(np.minimum(1, 0.05 + u / 0.3)) * (1 - 0.85 * u))
    shapes = [_ribbon(finger, width)]
    for at, turn in ((3, 0.8), (5, -0.9), (7, 0.8), (9, -0.8)):
        small = _hook(finger[at], heading + turn, length * float(rng.uniform(0.3, 0.5)), -2.0)
        shapes.append(_ribbon(small, floats(np.linspace(0.036, 0.008, len(small)))))
    plates.merged([wave.place(shape) for shape in shapes], FOAM, 0.0016)
    spine = wave.place(finger)
    plates.tint(spine[1:-1], width[1:-1] * wave.size * 0.45, SHADE)
    plates.line(spine[1:-3], 0.0014, rng)


def _curl(
    plates: Plates, rng: np.random.Generator, x: float, y: float, radius: float, facing: float
) -> None:
    """Draw a pale crescent and a carved arc inside a ball of foam."""
    turn = np.linspace(0.3, 2.6, 12) + rng.uniform(-2.0, 0.5)
    for share, width in ((0.72, 0.22), (0.38, 0.16)):
        arc = floats(np.stack(
            [x + facing * share * radius * np.cos(turn), y + share * radius * np.sin(turn)], 1
        ))  # fmt: skip
        plates.tint(arc, floats(width * radius * np.sin(np.linspace(0.2, 2.9, 12))), SHADE)
        plates.line(arc, 0.0015, rng)


def _spray(plates: Plates, rng: np.random.Generator, wave: Wave) -> None:
    """Draw drops ahead of the crest, smaller further out."""
    for _ in range(90):
        far = float(rng.uniform(0, 1))
        bearing = float(rng.uniform(-0.5, 2.2))
        reach = floats([(0.45 + 0.30 * far), (0.36 + 0.25 * far)])
        x, y = wave.place(floats(reach * [np.cos(bearing), np.sin(bearing)] + [0.38, 0.72]))
        radius = wave.size * (0.013 - 0.008 * far)
        plates.merged([_circle(float(x), float(y), radius)], FOAM, 0.0009)


def _draw(plates: Plates, rng: np.random.Generator) -> None:
    """Draw the whole composition, from the sky to the wave in front."""
    _sky(plates, rng)
    _swell(plates, rng, 0.400, 0.020, 11, 6)
    _breaker(plates, rng, Wave(0.86, 0.500, 0.17, -1), 8)
    _swell(plates, rng, 0.460, 0.026, 7, 7)
    _breaker(plates, rng, Wave(0.30, 0.560, 0.47, 1), 16)
    _swell(plates, rng, 0.565, 0.034, 5, 7)
    _breaker(plates, rng, Wave(0.80, 0.680, 0.27, -1), 10)
    _swell(plates, rng, 0.675, 0.038, 4, 8)


def _grain(rng: np.random.Generator, shape: tuple[int, int]) -> tuple[Floats, Floats]:
    """Return wood grain (rings cut lengthwise) and paper fibres, both around 0."""
    bend = noise(rng, shape, 2, 5)
    y = np.linspace(0, ASPECT, shape[0])[:, None]
    wood = np.sin(2 * np.pi * (y * 62 + 2.6 * bend)) * 0.6 + noise(rng, shape, 9, 240)
    fibres = noise(rng, shape, 260, 200) + noise(rng, shape, 40, 260) + noise(rng, shape, 420, 40)
    return floats(wood), floats(fibres)


def _print(colour: Floats, key: Floats, rng: np.random.Generator) -> Floats:
    """Print ink on paper: pigment takes up the block's grain, and is thin where the pressure was low."""
    shape = (key.shape[0], key.shape[1])
    wood, fibres = _grain(rng, shape)
    blotch = fractal(rng, shape, 7, 4)
    dark = 1 - colour.mean(axis=2)
    cover = floats(np.clip(1 - dark * (0.10 + 0.10 * wood + 0.10 * blotch), 0.6, 1))
    paper = ink(PAPER)
    inked = paper + (colour - paper) * cover[..., None]
    worn = np.clip(0.94 + 0.10 * blotch + 0.05 * fibres, 0, 1)
    printed = mix(floats(inked), ink(KEY), floats(key * worn))
    return floats(printed * (1 + 0.022 * fibres + 0.028 * wood)[..., None])


def woodblock(width: int, seed: int) -> Image.Image:
    """Print the waves, ``width`` pixels wide and three quarters of it high."""
    rng = np.random.default_rng([seed, 2])
    height = round(width * ASPECT)
    factor = max(3, -(-BLOCK_WIDTH // width))
    pixels = width * factor
    size = (pixels, height * factor)
    plates = Plates(pixels, Image.new("RGB", size, PAPER), Image.new("L", size, 0))
    fade = np.linspace(0, 1, height * factor) / 0.55
    column = picture(ramp(floats(np.clip(fade, 0, 1)), SKY)[:, None, :])
    plates.colour.paste(column.resize(size))
    _draw(plates, rng)
    colour = floats(np.asarray(plates.colour.reduce(factor)) / 255)
    key = floats(np.asarray(plates.key.reduce(factor)) / 255)
    # The key block never lands exactly on the colours.
    slip = round(width / 700)
    key = floats(np.pad(key, ((slip, 0), (slip, 0)), mode="edge")[:height, :width])
    return picture(_print(colour, key, rng))
