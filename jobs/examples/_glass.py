"""A rose window in leaded glass: jewel colours, mottled pieces, dark leads with a faint shine.

The pieces are the Voronoi cells of points in rings, slightly displaced, cut once more by the heavy leads of
the tracery (circles and two wreaths of petals). Everything is a field over the pixels; no line is drawn.
"""

from __future__ import annotations

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
    resample,
    shrink,
    smoothstep,
)

FINEST = 512  # pixels; the window is computed at this width at least
PETALS = 12
BLOCK = 16  # pixels; neighbouring pixels share one short list of near points
NEAR = 11  # with this many candidates, every pixel of a block has its cell and the neighbours
LEAD = 0.0036  # half the width of an ordinary lead
SOLDER = 0.0022  # distance over which solder softens the angle between leads
HEAVY = 0.0060  # half the width of a lead of the tracery

RUBY: tuple[Rgb, ...] = ((188, 16, 34), (222, 44, 40), (146, 10, 48))
COBALT: tuple[Rgb, ...] = ((18, 52, 168), (30, 92, 206), (14, 30, 118), (40, 130, 206))
EMERALD: tuple[Rgb, ...] = ((12, 118, 70), (38, 156, 84), (8, 84, 76))
AMBER: tuple[Rgb, ...] = ((246, 176, 34), (250, 206, 84), (232, 130, 24))
VIOLET: tuple[Rgb, ...] = ((98, 34, 146), (142, 52, 160), (66, 26, 116))
OPAL: tuple[Rgb, ...] = ((232, 226, 190), (196, 220, 210))
LEAD_COLOUR: Rgb = (24, 23, 28)

# The glaziers' plan: for each field of the tracery its usual colours, and the ones strewn in.
PLAN: dict[str, tuple[tuple[Rgb, ...], tuple[Rgb, ...]]] = {
    "eye": (AMBER, OPAL),
    "inner petal": (RUBY, AMBER),
    "inner ground": (COBALT, VIOLET),
    "outer petal": (COBALT, EMERALD),
    "outer ground": (RUBY, VIOLET),
    "rim": (AMBER, RUBY),
    "corner": (EMERALD, COBALT + AMBER[:1]),
}
FIELDS = tuple(PLAN)


@dataclass(frozen=True, slots=True)
class Tracery:
    """The heavy leads: each pixel's distance to the nearest, and its field."""

    distance: Floats
    field: Ints


def _points(rng: np.random.Generator) -> Floats:
    """Return rings of points around the middle, odd rings turned by half a step, slightly displaced."""
    points = [np.zeros((1, 2))]
    for ring, radius in enumerate(np.arange(0.055, 0.78, 0.052)):
        count = PETALS * max(1, round(2 * np.pi * radius / 0.058 / PETALS))
        turn = 2 * np.pi * (np.arange(count) + 0.5 * (ring % 2)) / count
        points.append(radius * np.stack([np.cos(turn), np.sin(turn)], 1))
    placed = np.concatenate(points)
    loose = np.minimum(1, np.hypot(placed[:, 0], placed[:, 1]) / 0.25)[:, None]
    return floats(placed + 0.5 + loose * rng.normal(0, 0.0095, placed.shape))


@dataclass(frozen=True, slots=True)
class Cells:
    """The Voronoi cells over the pixels."""

    owner: Ints
    border: Floats  # distance to the nearest border
    dx: Floats  # from the cell's point
    dy: Floats


def _cells(points: Floats, x: Floats, y: Floats) -> Cells:
    """Return cells with soft corners: where three leads meet, solder fills the angle."""
    blocks = x.shape[0] // BLOCK
    middle = slice(BLOCK // 2, None, BLOCK)
    from_x = x[middle, middle, None] - points[:, 0]
    from_y = y[middle, middle, None] - points[:, 1]
    far = from_x**2 + from_y**2
    near = np.argsort(far, axis=2, kind="stable")[:, :, :NEAR]

    # Pixels by row of blocks, row within, column of blocks, column within: values per block are
    # broadcast over its pixels without copies.
    tiled = (blocks, BLOCK, blocks, BLOCK)
    x, y = x.reshape(tiled), y.reshape(tiled)
    candidates = [
        (
            name[:, None, :, None],
            points[name, 0][:, None, :, None],
            points[name, 1][:, None, :, None],
        )
        for name in np.moveaxis(near, 2, 0)
    ]
    owner = np.zeros(tiled, np.int64)
    own_x, own_y, best = np.zeros_like(x), np.zeros_like(x), np.full_like(x, np.inf)
    for name, px, py in candidates:
        squared = (x - px) ** 2 + (y - py) ** 2
        closer = squared < best
        owner, best = np.where(closer, name, owner), np.where(closer, squared, best)
        own_x, own_y = np.where(closer, px, own_x), np.where(closer, py, own_y)

    total = np.zeros_like(x)
    for name, px, py in candidates:
        squared = (x - px) ** 2 + (y - py) ** 2
        border = (squared - best) / (2 * np.hypot(px - own_x, py - own_y) + 1e-9)
        total += np.where(name == owner, 0, np.exp(-np.minimum(border, 0.15) / SOLDER))
    size = (x.shape[0] * BLOCK, x.shape[0] * BLOCK)
    return Cells(
        owner=owner.reshape(size),
        border=floats(-SOLDER * np.log(total + 1e-30)).reshape(size),
        dx=floats(x - own_x).reshape(size),
        dy=floats(y - own_y).reshape(size),
    )


def _wreath(turn: Floats, low: float, high: float, offset: float) -> Floats:
    """Return the radius of a wreath of round-headed petals at each bearing."""
    # The summand keeps the slope finite between petals, where leads would fray otherwise.
    lobe = np.cos((turn - offset) * PETALS / 2) ** 2 + 0.004
    return floats(low + (high - low) * lobe**0.35)


def _tracery(x: Floats, y: Floats) -> Tracery:
    """Return the tracery: circles and two wreaths of petals."""
    radius, turn = floats(np.hypot(x - 0.5, y - 0.5)), floats(np.arctan2(y - 0.5, x - 0.5))
    inner = radius - _wreath(turn, 0.125, 0.215, 0.0)
    outer = radius - _wreath(turn, 0.265, 0.405, np.pi / PETALS)
    distance = np.full_like(radius, np.inf)
    for curve in (radius - 0.075, inner, radius - 0.245, outer, radius - 0.435, radius - 0.487):
        down, right = np.gradient(curve)
        slope = np.hypot(down, right) * x.shape[0]
        distance = np.minimum(distance, np.abs(curve) / np.maximum(slope, 0.5))
    chosen = np.select(
        [radius < 0.075, inner < 0, radius < 0.245, outer < 0, radius < 0.435, radius < 0.487],
        list(range(6)),
        6,
    )
    return Tracery(floats(distance), chosen.astype(np.int64))


def _colours(rng: np.random.Generator, count: int) -> Floats:
    """Return a colour for each point in each field: (field, point, 3)."""
    table = np.empty((len(FIELDS), count, 3), np.float32)
    for index, name in enumerate(FIELDS):
        usual, strewn = PLAN[name]
        for point in range(count):
            family = strewn if rng.random() < 0.28 else usual
            table[index, point] = family[int(rng.integers(len(family)))]
    return floats(table / 255 * rng.uniform(0.82, 1.12, (len(FIELDS), count, 1)))


def _glass(rng: np.random.Generator, cells: Cells, tracery: Tracery, count: int) -> Floats:
    """Colour the pieces of pot-metal glass: a gradient each, clouds, streaks, seeds and painted veins."""
    shape = cells.owner.shape
    piece = cells.owner * len(FIELDS) + tracery.field
    pieces = count * len(FIELDS)
    colour = _colours(rng, count)[tracery.field, cells.owner]

    bearing = rng.uniform(0, 2 * np.pi, pieces)
    ux, uy = floats(np.cos(bearing))[piece], floats(np.sin(bearing))[piece]
    along, across = cells.dx * ux + cells.dy * uy, cells.dy * ux - cells.dx * uy
    cloud = fractal(rng, shape, 22, 4)
    warp = noise(rng, shape, 45, 45)
    phase, strength = rng.uniform(0, 6.28, pieces), rng.uniform(0.05, 0.22, pieces)
    streak = np.sin(across * 330 + 2.6 * warp + floats(phase)[piece])
    light = 1 + 11 * along + 0.26 * cloud + streak * floats(strength)[piece] + _hammered(rng, shape)
    # Thick middles are deep in colour; thin rims let more light through.
    light = light + 0.30 * np.exp(-np.maximum(cells.border, 0) / 0.010)
    colour = floats(colour * np.clip(light, 0.35, 1.7)[..., None])
    # Clouds also bleed the colour towards white, as in streaky glass.
    milk = 0.38 * smoothstep(0.25, 1.3, floats(cloud + 0.35 * streak))
    colour = mix(colour, floats((1.0, 0.95, 0.82)), milk)
    return _painted(rng, colour, floats(along), floats(across), warp)


def _hammered(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """Return the light on the dimples of rolled glass, each lit on one side."""
    down, right = np.gradient(noise(rng, shape, 95, 95) + 0.5 * noise(rng, shape, 190, 190))
    return floats(np.clip((down + right) * (shape[0] / 1536), -0.5, 0.5) * 0.9)


def _painted(
    rng: np.random.Generator, colour: Floats, along: Floats, across: Floats, warp: Floats
) -> Floats:
    """Paint grisaille: a midrib and slanting veins in brown enamel, and small bright bubbles."""
    shape = (colour.shape[0], colour.shape[1])
    vein = np.abs(np.sin((along - 0.9 * np.abs(across)) * 300 + 0.5 * warp))
    vein = (1 - smoothstep(0.10, 0.34, floats(vein))) * smoothstep(0.002, 0.006, np.abs(across))
    rib = 1 - smoothstep(0.0006, 0.0018, floats(np.abs(across + 0.002 * warp)))
    paint = floats(np.maximum(vein, rib) * (0.34 + 0.12 * warp))
    colour = mix(colour, ink(LEAD_COLOUR), paint)
    bubbles = smoothstep(1.15, 1.5, noise(rng, shape, 170, 170) + 0.5 * warp)
    return mix(colour, 1.0, floats(0.55 * bubbles))


def _leads(rng: np.random.Generator, colour: Floats, cells: Cells, tracery: Tracery) -> Floats:
    """Lay rounded cames of uneven width over the glass, lit from the top left."""
    shape = cells.border.shape
    uneven = 1 + 0.22 * noise(rng, shape, 26, 26)
    thin, heavy = cells.border / (LEAD * uneven), tracery.distance / (HEAVY * uneven)
    edge = np.minimum(thin, heavy)
    round_top = np.sqrt(np.clip(1 - edge**2 * np.sign(edge), 0, 1))
    dents = noise(rng, shape, 150, 150)
    down, right = np.gradient(floats(round_top + 0.07 * dents))
    shine = np.clip(-(down + right) * shape[0] / 700, -0.6, 1)
    metal = ink(LEAD_COLOUR) * (1.1 + 0.3 * dents)[..., None] + 0.55 * np.maximum(shine, 0)[
        ..., None
    ] * floats((0.9, 0.95, 1.0))
    # Grime along a lead takes light before the lead does.
    grime = 1 - 0.38 * np.exp(-np.maximum(edge - 1, 0) / 0.25)
    return mix(floats(colour * grime[..., None]), floats(metal), 1 - smoothstep(0.94, 1.04, edge))


def _glow(colour: Floats) -> Floats:
    """Let bright glass flood its surroundings a little, leads included."""
    size = colour.shape[0]
    small = [resample(floats(colour[..., c]), (size // 24, size // 24)) for c in range(3)]
    flood = np.stack([resample(channel, (size, size)) for channel in small], axis=-1)
    return floats(colour + 0.16 * np.maximum(flood, 0) ** 1.5)


def stained_glass(width: int, seed: int) -> Image.Image:
    """Glaze the window, ``width`` pixels square."""
    rng = np.random.default_rng([seed, 3])
    factor = max(2, -(-FINEST // width))
    used = width * factor
    size = -(-used // BLOCK) * BLOCK  # whole blocks; the surplus is cut off
    grid = (np.mgrid[0:size, 0:size] + 0.5) / used
    # Leads are bent by hand: a gentle warp of the plane makes every line uneven.
    x = floats(grid[1]) + 0.0035 * noise(rng, (size, size), 14, 14)
    y = floats(grid[0]) + 0.0035 * noise(rng, (size, size), 14, 14)
    points = _points(rng)
    cells, tracery = _cells(points, x, y), _tracery(x, y)
    colour = _leads(rng, _glass(rng, cells, tracery, len(points)), cells, tracery)
    return picture(shrink(_glow(colour)[:used, :used], factor))
