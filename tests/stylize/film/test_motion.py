"""Motion: found, chained, followed, and told where it cannot be trusted."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from stylize.film.background import settled
from stylize.film.motions import between, motion_between, nearest
from stylize.film.warp import Motion, chained, followed, trusted
from tests.stylize.film.clips import ball, pan

HEIGHT, WIDTH = 96, 144


def even(height: int, width: int, right: float, down: float) -> np.ndarray:
    """A flow that is the same everywhere."""
    return np.broadcast_to(np.array([right, down], np.float32), (height, width, 2)).copy()


def motion_of(frames: list[np.ndarray], one: int, other: int) -> tuple[Motion, int]:
    return between([[motion_between(a, b) for a, b in pairwise(frames)]], one, other)


def test_a_moving_camera_is_found():
    clip = pan(2, HEIGHT, WIDTH, (3.0, 1.5))
    motion = motion_between(clip.frames[1], clip.frames[0])
    inner = motion.there[8:-8, 8:-8]
    assert np.median(np.abs(inner - (3.0, 1.5))) < 0.15
    assert np.median(np.abs(motion.back[8:-8, 8:-8] + (3.0, 1.5))) < 0.15


def test_a_flash_of_light_is_no_motion():
    frame = pan(1, HEIGHT, WIDTH).frames[0]
    lit = np.clip(frame.astype(np.float32) * 1.25 + 12, 0, 255).astype(np.uint8)
    motion = motion_between(frame, lit)
    assert np.median(np.abs(motion.there)) < 0.2


def test_motions_of_neighbours_make_longer_ones():
    clip = pan(9, HEIGHT, WIDTH, (2.0, 1.0))
    motion, distance = motion_of(clip.frames, 8, 0)
    assert distance == -8
    assert np.median(np.abs(motion.there[12:-24, 12:-24] - (16.0, 8.0))) < 0.5
    other, _ = motion_of(clip.frames, 0, 8)
    assert np.array_equal(other.there, motion.back)


def test_motions_of_several_stretches_are_one():
    clip = pan(9, HEIGHT, WIDTH, (2.0, 1.0))
    motions = [motion_between(a, b) for a, b in pairwise(clip.frames)]
    for one, other in ((0, 8), (7, 1), (5, 8), (2, 3), (4, 3)):
        (there, back), distance = between([motions], one, other)
        (split, split_back), apart = between([motions[:4], motions[4:7], motions[7:]], one, other)
        assert distance == apart == other - one
        assert np.abs(there - split)[12:-24, 12:-24].max() < 0.5
        assert np.abs(back - split_back)[24:-12, 24:-12].max() < 0.5
        if max(one, other) <= 4:
            assert np.array_equal(there, split)


def test_chains_of_whole_pixels_are_exact():
    """Golden: two shifts of everything by whole pixels are one shift by their sum."""
    one = Motion(even(20, 30, 2, 1), even(20, 30, -2, -1))
    other = Motion(even(20, 30, 3, -1), even(20, 30, -3, 1))
    both = chained([one, other])
    assert np.allclose(both.there, (5, 0), atol=1e-4)
    assert np.allclose(both.back, (-5, 0), atol=1e-4)


def test_a_loop_is_followed_the_short_way():
    assert [nearest(place, 0, 6) for place in (1, 3, 5)] == [0, 0, 6]
    assert nearest(5, 4, 6) == 4


def test_whole_pixels_are_looked_up_unchanged():
    values = np.random.default_rng(0).random((12, 16, 3), np.float32)
    moved = followed(values, even(12, 16, 2, 1), sharp=True)
    assert np.allclose(moved[:-1, :-2], values[1:, 2:], atol=1e-6)


def test_what_leaves_the_frame_or_is_hidden_is_not_trusted():
    clip = pan(2, HEIGHT, WIDTH, (6.0, 0.0))
    trust = trusted(motion_between(clip.frames[1], clip.frames[0]))
    assert trust[:, :-12].mean() > 0.9
    assert trust[:, -3:].mean() == 0

    clip = ball(2, HEIGHT, WIDTH, speed=8.0)
    trust = trusted(motion_between(clip.frames[1], clip.frames[0]))
    hidden = ~clip.seen[0] & (np.abs(clip.flows[0]).sum(-1) == 0)
    assert trust[hidden].mean() < 0.5


def test_still_ground_stays_to_the_bit_and_up_to_what_moves():
    clip = ball(9, HEIGHT, WIDTH)
    motion, _ = motion_of(clip.frames, 8, 0)
    before = trusted(motion)
    after, trust = settled(motion, clip.frames[8], clip.frames[0], before)
    same = (clip.frames[8] == clip.frames[0]).all(-1)
    assert trust[same].mean() > 0.97 > before[same].mean()
    assert (np.abs(after.there[same]).max(-1) == 0).mean() > 0.97
    # What the ball has uncovered was not seen before.
    uncovered = np.abs(clip.frames[8].astype(int) - clip.frames[0]).max(-1) > 40
    assert trust[uncovered].mean() < before[uncovered].mean() + 0.05


def test_grain_does_not_unsettle_still_ground():
    random = np.random.default_rng(1)
    clip = ball(5, HEIGHT, WIDTH)
    grainy = [
        np.clip(frame + random.normal(0, 2, frame.shape), 0, 255).astype(np.uint8)
        for frame in clip.frames
    ]
    motion, _ = motion_of(grainy, 4, 0)
    after, trust = settled(motion, grainy[4], grainy[0], trusted(motion))
    same = (clip.frames[4] == clip.frames[0]).all(-1)
    still = same & (np.abs(after.there).sum(-1) == 0) & (trust > 0)
    assert still.sum() > 0.9 * same.sum()


def test_a_moving_camera_is_shared_by_what_has_no_texture():
    """A wall without texture moves with the rest, though flow sees nothing of it."""
    clip = pan(2, HEIGHT, WIDTH, (3.0, 0.0))
    frames = [frame.copy() for frame in clip.frames]
    frames[0][20:70, 63:113] = frames[1][20:70, 60:110] = 128
    motion = motion_between(frames[1], frames[0])
    after, _ = settled(motion, frames[1], frames[0], trusted(motion))
    assert np.abs(after.there[30:60, 70:100] - (3.0, 0.0)).max() < 0.6


def test_what_went_by_is_not_followed():
    """Flows over ground that a ball has crossed lead to the ball; what is seen there is something else."""
    clip = ball(17, HEIGHT, WIDTH, speed=4.0)
    motion, _ = motion_of(clip.frames, 16, 0)
    after, trust = settled(motion, clip.frames[16], clip.frames[0], trusted(motion))
    moved = followed(clip.frames[0].astype(np.float32), after.there)
    ground = np.abs(clip.frames[16].astype(np.float32) - clip.frames[0]).max(-1) == 0
    wrong = np.abs(moved - clip.frames[16]).mean(-1) > 25
    assert (trust[ground & wrong] > 0).sum() < 0.01 * ground.sum()


def test_a_flicker_of_light_unsettles_nothing():
    clip = ball(5, HEIGHT, WIDTH)
    lit = [*clip.frames[:4], np.clip(clip.frames[4] * 1.2 + 8.0, 0, 255).astype(np.uint8)]
    motion, _ = motion_of(lit, 4, 0)
    after, trust = settled(motion, lit[4], lit[0], trusted(motion))
    same = (clip.frames[4] == clip.frames[0]).all(-1)
    assert (trust[same] > 0).mean() > 0.9
    assert (np.abs(after.there[same]).sum(-1) == 0).mean() > 0.9
