"""A film in one process: coherent, in order, in bounded memory."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from stylize import PictureError, Recipe
from stylize.errors import FilmError
from stylize.film.film import FilmFrame, stylize_film
from stylize.film.references import Neighbour, held_recipe, reference
from stylize.film.structure import KEY_DISTANCE
from stylize.film.warp import Motion
from stylize.pictures.picture import Picture, Reference
from stylize.video.timing import steady
from stylize.video.writer import FilmWriter
from tests.stylize.film.clips import Clip, ball, pan, photo, warping_error
from tests.stylize.support import noise, recipe, tiny_network

HEIGHT, WIDTH = 48, 64
STYLE = noise(2, 48, 64)[0]
MADE = recipe(size=WIDTH, steps=12)


@pytest.fixture(autouse=True)
def firm(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network of random numbers sees hardly a style, beside which what is held counts."""
    monkeypatch.setattr("stylize.losses.objective.FIRMNESS", 30.0)


def film(frames: object, made: Recipe = MADE, **more: object) -> list[FilmFrame]:
    return list(stylize_film(frames, STYLE, made, network=tiny_network(), **more))


def painted(found: list[FilmFrame]) -> list[np.ndarray]:
    return [frame.picture.rgb[0].permute(1, 2, 0).numpy() for frame in found]


def alone(clip: Clip) -> list[np.ndarray]:
    """Frame by frame, each as if there were no other."""
    return painted([frame for one in clip.frames for frame in film([one])])


def test_frames_hold_still_where_single_pictures_flicker():
    clip = ball(7, HEIGHT, WIDTH)
    single, together = alone(clip), painted(film(clip.frames))
    assert warping_error(together, clip) < warping_error(single, clip) / 4
    assert warping_error(together, clip, clip.still) < warping_error(single, clip, clip.still) / 5


def test_a_moving_camera_takes_the_strokes_along():
    clip = pan(5, HEIGHT, WIDTH)
    single, together = alone(clip), painted(film(clip.frames))
    assert warping_error(together, clip) < warping_error(single, clip) / 2


def test_frames_come_in_order_and_are_read_as_needed():
    clip = ball(3 * KEY_DISTANCE + 5, 32, 40, speed=0.3)
    read: list[int] = []

    def frames():
        for index, frame in enumerate(clip.frames):
            read.append(index)
            yield frame

    seen = []
    for frame in stylize_film(frames(), STYLE, recipe(steps=1), network=tiny_network()):
        assert frame.index <= len(read) <= frame.index + KEY_DISTANCE + 1
        seen.append(frame.index)
    assert seen == list(range(len(clip.frames)))


def test_a_cut_begins_anew():
    frames = [*ball(4, HEIGHT, WIDTH).frames, *(photo("coffee", HEIGHT, WIDTH) for _ in range(3))]
    found = film(frames)
    assert [frame.index for frame in found] == list(range(7))
    (first,) = film([frames[4]])
    assert torch.equal(found[4].picture.rgb, first.picture.rgb)
    assert found[3].result.steps < first.result.steps  # held
    told = film(frames[:3], cuts=[1])
    assert [frame.result.steps for frame in told][:2] == [first.result.steps] * 2


def test_a_loop_closes():
    clip = ball(6, HEIGHT, WIDTH, speed=0.0)
    found = painted(film(clip.frames, loop=True))
    assert np.square(found[-1] - found[0]).mean() < 1e-3
    with pytest.raises(PictureError, match="a loop has no cuts"):
        film(clip.frames, loop=True, cuts=[2])


def test_a_film_is_given_by_its_path_too(tmp_path: Path):
    clip = ball(4, HEIGHT, WIDTH)
    path = tmp_path / "clip.mkv"
    with FilmWriter(path, (WIDTH, HEIGHT), steady(Fraction(24), 4), codec="ffv1") as writer:
        for frame in clip.frames:
            writer.write(frame)
    for given in (path, str(path)):
        found = film(given)
        assert len(found) == 4
        assert np.array_equal(painted(found), painted(film(clip.frames)))
    with pytest.raises(FilmError, match=r"clip\.avi"):
        film(tmp_path / "clip.avi")


def test_what_is_no_choice_is_one_sentence():
    frames = ball(2, HEIGHT, WIDTH).frames
    with pytest.raises(ValueError, match="flow is 'farneback': give dis or raft"):
        film(frames, flow="farneback")
    with pytest.raises(ValueError, match="cuts is 'no': give auto, none, or the indices of frames"):
        film(frames, cuts="no")
    one, other = film(frames, cuts="none"), film(frames, cuts=())
    assert np.array_equal(painted(one), painted(other))


def test_one_frame_and_none():
    assert film([]) == []
    (only,) = film([photo("coffee", HEIGHT, WIDTH)])
    assert only.index == 0


def test_frames_of_several_shapes_are_one_sentence():
    frames = [photo("coffee", HEIGHT, WIDTH), photo("coffee", HEIGHT, WIDTH + 2)]
    with pytest.raises(PictureError, match="frame 1 is 66 x 48 px, and those before it 64 x 48 px"):
        film(frames)
    with pytest.raises(PictureError, match="frame 0 is int64"):
        film([np.zeros((4, 4, 3), np.int64)])


def test_frames_of_16_bits_are_those_of_8():
    frame = photo("coffee", HEIGHT, WIDTH)
    (one,), (other,) = film([frame]), film([frame.astype(np.uint16) * 257])
    assert torch.allclose(one.picture.rgb, other.picture.rgb, atol=1e-4)


def test_a_reference_is_the_neighbour_moved():
    frame = photo("coffee", HEIGHT, WIDTH + 5)
    here, there = frame[:, 5:], frame[:, :-5]
    painting = noise(4, HEIGHT, WIDTH)
    flow = np.zeros((HEIGHT, WIDTH, 2), np.float32)
    flow[..., 0] = 5
    # What is 5 to the right of the other frame is here.
    near = Neighbour(Picture(painting), Motion(-flow, flow), 1, np.ascontiguousarray(here))
    held = reference(np.ascontiguousarray(there), [near])
    assert torch.allclose(held.rgb[..., 5:], painting[..., :-5], atol=1e-5)
    assert held.weight[..., 6:].mean() > 0.98
    assert held.weight[..., :5].max() == 0


def test_a_painting_may_be_larger_than_what_its_motion_was_found_in():
    frame = photo("coffee", HEIGHT, WIDTH + 5)
    here, there = frame[:, 5:], frame[:, :-5]
    painting = noise(4, 2 * HEIGHT, 2 * WIDTH)
    flow = np.zeros((HEIGHT, WIDTH, 2), np.float32)
    flow[..., 0] = 5
    near = Neighbour(Picture(painting), Motion(-flow, flow), 1, np.ascontiguousarray(here))
    held = reference(np.ascontiguousarray(there), [near])
    assert torch.allclose(held.rgb[..., 10:], painting[..., :-10], atol=1e-5)
    assert held.weight.shape == (1, 1, 2 * HEIGHT, 2 * WIDTH)
    assert held.weight[..., 12:].mean() > 0.98
    assert held.weight[..., :9].max() == 0


def test_of_two_neighbours_the_nearer_counts_more():
    frame = photo("coffee", HEIGHT, WIDTH)
    still = np.zeros((HEIGHT, WIDTH, 2), np.float32)
    near, far = (
        Neighbour(
            Picture(torch.full((1, 3, HEIGHT, WIDTH), value)), Motion(still, still), distance, frame
        )
        for value, distance in ((0.2, 1), (0.8, -3))
    )
    assert reference(frame, [near, far]).rgb.mean().item() == pytest.approx(0.35, abs=1e-3)


def test_of_several_neighbours_on_a_side_a_farther_one_shows_what_is_hidden_in_the_nearer():
    frame = photo("coffee", HEIGHT, WIDTH)
    still = np.zeros((HEIGHT, WIDTH, 2), np.float32)
    hidden = frame.copy()
    hidden[:, : WIDTH // 4] = (20, 200, 60)  # something goes by there
    far, near = (
        Neighbour(
            Picture(torch.full((1, 3, HEIGHT, WIDTH), value)),
            Motion(still, still),
            distance,
            before,
        )
        for value, distance, before in ((0.2, -32, frame), (0.8, -16, hidden))
    )
    held = reference(frame, [far, near])
    edge = 6
    behind, seen = held.rgb[..., : WIDTH // 4 - edge], held.rgb[..., WIDTH // 4 + edge :]
    assert behind.mean().item() == pytest.approx(0.2, abs=0.03)
    assert seen.mean().item() == pytest.approx(0.8, abs=1e-3)
    assert held.weight.mean() > 0.95


def test_what_was_hidden_at_a_key_comes_out_as_it_was():
    still = ball(1, HEIGHT, WIDTH).frames[0]
    ground, passing = photo("rocket", HEIGHT, WIDTH), still
    # What is before the ground is there at the second key alone.
    frames = [passing if 12 <= k <= 20 else ground for k in range(2 * KEY_DISTANCE + 1)]
    found = painted(film(frames, cuts=()))
    before, at, after = (found[k] for k in (0, KEY_DISTANCE, 2 * KEY_DISTANCE))
    covered = np.abs(passing.astype(int) - ground).max(-1) > 20
    assert covered.mean() > 0.05
    assert np.square(after - before)[covered].mean() < 0.1 * np.square(at - before)[covered].mean()


def test_a_held_frame_takes_fewer_steps_and_an_unheld_one_as_many():
    made = Recipe(size=512)
    colours = torch.zeros(1, 3, 8, 8)
    held = held_recipe(made, Reference(colours, torch.ones(1, 1, 8, 8)))

    def work(of: Recipe) -> int:
        return sum(size**2 * steps for size, steps in of.schedule())

    assert work(held) <= 0.5 * work(made)
    assert held_recipe(made, Reference(colours, torch.zeros(1, 1, 8, 8))) == made
