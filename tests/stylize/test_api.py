"""One render, from pictures to picture: what it does to the loss, and what it tells on the way."""

from __future__ import annotations

import io
import itertools
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from stylize import (
    DivergedError,
    InterruptedRender,
    PictureError,
    Recipe,
    Result,
    Step,
    WeightsError,
    stylize,
)
from stylize.losses.objective import Objective
from stylize.pictures.codec import decode, encode, to_pil
from stylize.pictures.picture import Picture, straight
from stylize.pictures.pixel_spaces import IMAGENET, SPACES
from stylize.pictures.resize import resize
from tests.stylize.support import noise, photo, recipe, tiny_network

CONTENT, STYLE, OTHER = photo(1, 24, 32), noise(2, 40, 30), noise(3, 32, 32)
ADAM: dict[str, Any] = {"optimizer": "adam", "learning_rate": 0.02, "space": "rgb"}
LBFGS: dict[str, Any] = {"optimizer": "lbfgs"}
both_optimizers = pytest.mark.parametrize("optimizer", [ADAM, LBFGS], ids=["adam", "lbfgs"])

STANDING = {**ADAM, "learning_rate": 1e-9, "steps": 1}
"""A step this short leaves the start visible."""


def paint(
    content: Any = CONTENT, style: Any = STYLE, made: Recipe | None = None, **options: Any
) -> Result:
    """``stylize`` with a network of a few channels, on the CPU."""
    options = {"network": tiny_network(IMAGENET), "device": "cpu", **options}
    return stylize(content, style, made or recipe(), **options)


def observed(made: Recipe, **options: Any) -> list[Step]:
    steps: list[Step] = []
    paint(made=made, observer=steps.extend, **options)
    return steps


def same(one: Result, other: Result) -> bool:
    return torch.equal(one.picture.rgb, other.picture.rgb)


# -- painting ----------------------------------------------------------------------------------------


@both_optimizers
def test_the_loss_falls(optimizer: dict[str, Any]) -> None:
    steps = observed(recipe(steps=30, **optimizer))
    assert steps[-1].total < 0.7 * steps[0].total


@pytest.mark.parametrize("preset", ["gatys", "notebook", "neural-style"])
def test_every_preset_paints(preset: str) -> None:
    steps: list[Step] = []
    result = paint(made=recipe(preset=preset, steps=20), observer=steps.extend)
    assert steps[-1].total < steps[0].total
    assert result.picture.rgb.shape == (1, 3, 24, 32)


def test_the_result_says_what_was_done() -> None:
    made = recipe(steps=4)
    result = paint(made=made)
    assert result.picture.rgb.shape == (1, 3, 24, 32)
    assert (result.picture.rgb.dtype, result.picture.rgb.device.type) == (torch.float32, "cpu")
    assert 0 <= result.picture.rgb.min() <= result.picture.rgb.max() <= 1
    assert (result.recipe, result.steps, result.device) == (made, 4, "cpu")
    assert result.seconds > 0


@pytest.mark.parametrize("shape", [(100, 75), (20, 15), (32, 24)])
def test_the_longest_side_becomes_the_size(shape: tuple[int, int]) -> None:
    assert paint(photo(1, *shape)).picture.rgb.shape == (1, 3, 32, 24)


@both_optimizers
def test_a_seed_is_a_picture(optimizer: dict[str, Any]) -> None:
    made = recipe(init="noise", init_noise=1.0, seed=7, **optimizer)
    once, again = paint(made=made), paint(made=made)
    assert same(once, again)
    assert not same(once, paint(made=made.model_copy(update={"seed": 8})))


def test_the_callers_random_numbers_are_left_alone() -> None:
    torch.manual_seed(1)
    paint(made=recipe(init="noise"))
    first = torch.rand(3)
    torch.manual_seed(1)
    assert torch.equal(first, torch.rand(3))


def test_what_is_given_is_left_as_it_was() -> None:
    pictures = [CONTENT, STYLE, OTHER]
    before = [picture.clone() for picture in pictures]
    paint(CONTENT, STYLE, recipe(init="image"), init=OTHER)
    assert all(map(torch.equal, pictures, before))


def test_a_margin_does_not_show_in_the_shape() -> None:
    made = recipe(margin=8, size=64, start_size=32, refine_steps=2, steps=2)
    assert paint(made=made).picture.rgb.shape == (1, 3, 48, 64)


def test_a_margin_wider_than_the_picture_will_do() -> None:
    assert paint(made=recipe(margin=256)).picture.rgb.shape == (1, 3, 24, 32)


def test_a_margin_is_cut_off_where_it_was_added() -> None:
    found = paint(made=recipe(margin=7, **STANDING)).picture.rgb
    torch.testing.assert_close(found, CONTENT)


# -- where it starts ---------------------------------------------------------------------------------


def start(**options: Any) -> Tensor:
    init = options.pop("init_picture", None)
    content = options.pop("content", CONTENT)
    return paint(content, made=recipe(**STANDING, **options), init=init).picture.rgb


def test_init_content_starts_from_the_content() -> None:
    torch.testing.assert_close(start(init="content"), CONTENT)


def test_init_image_starts_from_that_picture() -> None:
    found = start(init="image", init_picture=noise(9, 24, 32))
    torch.testing.assert_close(found, noise(9, 24, 32))


def test_init_image_is_brought_to_the_contents_shape() -> None:
    assert start(init="image", init_picture=noise(9, 50, 20)).shape == (1, 3, 24, 32)


def test_init_noise_lies_about_the_networks_mean_colour() -> None:
    found = start(init="noise", init_noise=0.05, content=photo(1, 200, 200))
    mean, deviation = found.mean((0, 2, 3)), found.std((0, 2, 3))
    torch.testing.assert_close(mean, torch.tensor(IMAGENET.mean), rtol=0, atol=0.01)
    torch.testing.assert_close(deviation, torch.full((3,), 0.05), rtol=0.1, atol=0)


@pytest.mark.parametrize(
    ("init", "picture"), [("image", None), ("content", OTHER), ("noise", OTHER)]
)
def test_a_picture_to_start_from_goes_with_init_image(init: str, picture: Tensor | None) -> None:
    with pytest.raises(PictureError, match="init image"):
        paint(made=recipe(init=init), init=picture)


# -- what the observer sees --------------------------------------------------------------------------


def test_every_step_is_seen_once_and_in_order() -> None:
    steps = observed(recipe(steps=7))
    assert [(step.scale, step.step) for step in steps] == [(32, i) for i in range(8)]
    assert [step.seconds for step in steps] == sorted(step.seconds for step in steps)


def test_coarse_to_fine_is_seen_size_by_size() -> None:
    """The last picture of a size is the first of the next: one count, two scales."""
    made = recipe(size=72, start_size=36, size_factor=2**0.5, steps=3, refine_steps=2)
    seen = [(step.scale, step.step) for step in observed(made)]
    sizes = [(36, i) for i in range(4)], [(51, i) for i in (3, 4, 5)], [(72, i) for i in (5, 6, 7)]
    assert seen == list(itertools.chain(*sizes))


def test_a_larger_size_goes_on_from_the_smaller() -> None:
    made = recipe(size=64, start_size=32, steps=40, refine_steps=3)
    begun = next(step for step in observed(made) if step.scale == 64)
    fresh = observed(recipe(size=64, start_size=None, steps=1))[0]
    assert begun.total < fresh.total


def test_a_term_of_a_step_is_weighted_and_they_add_up() -> None:
    step = observed(recipe(steps=2))[-1]
    assert len(step.style_layers) == len(Recipe().style_layers)
    assert step.style == pytest.approx(sum(step.style_layers), rel=1e-5)
    assert step.total == pytest.approx(step.content + step.style + step.tv, rel=1e-5)


def test_steps_come_in_batches_at_least_as_often_as_asked() -> None:
    batches: list[int] = []
    paint(made=recipe(steps=6), observer=lambda b: batches.append(len(b)), observe_seconds=0.0)
    assert batches == [1] * 7
    batches.clear()
    paint(made=recipe(steps=6), observer=lambda b: batches.append(len(b)), observe_seconds=60.0)
    assert batches == [7]


def test_a_long_render_holds_a_bounded_number_of_steps() -> None:
    """Even for an observer that is in no hurry; with the smallest network there can be."""
    made = recipe(steps=5_000, content_layers=["conv1_1"], style_layers=["conv1_1"], **ADAM)
    batches: list[Sequence[Step]] = []
    paint(
        CONTENT,
        STYLE,
        made,
        network=tiny_network(IMAGENET, widths=(1, 1, 1, 1, 1)),
        observer=batches.append,
        observe_seconds=1e9,
    )
    assert [step.step for batch in batches for step in batch] == list(range(5_001))
    assert max(map(len, batches)) <= 1_000


def test_asked_to_stop_it_stops_between_two_steps() -> None:
    answers = iter([False, False, True])
    with pytest.raises(InterruptedRender):
        paint(made=recipe(steps=1_000_000), should_stop=lambda: next(answers))


@pytest.mark.parametrize("batch", [1, 2])
def test_the_final_losses_are_those_of_the_finished_picture(batch: int) -> None:
    made = recipe(
        steps=6, clamp=True
    )  # so that nothing is clipped between the last loss and the end
    contents = [photo(i, 24, 32) for i in range(batch)]
    result = paint(contents, [STYLE] * batch, made)
    style = resize(STYLE, 32, 24).clamp(0, 1)
    objective = Objective(
        tiny_network(IMAGENET), made, torch.cat(contents), [[(style, 1.0)]] * batch
    )
    finished = torch.cat([picture.rgb for picture in result.pictures])
    losses = objective(SPACES[made.space].from_rgb(finished))
    assert [step.picture for step in result.losses] == list(range(batch))
    assert [step.step for step in result.losses] == [6] * batch
    assert [s.total for s in result.losses] == pytest.approx(losses.total_B.tolist(), rel=1e-3)
    assert [s.content for s in result.losses] == pytest.approx(losses.content_B.tolist(), rel=1e-3)


# -- several together --------------------------------------------------------------------------------


@both_optimizers
def test_two_together_are_the_two_alone(optimizer: dict[str, Any]) -> None:
    # Not more steps: L-BFGS lets the last bits of two convolutions grow into a difference.
    made = recipe(size=64, start_size=32, steps=7, refine_steps=2, init="noise", **optimizer)
    contents, styles = [photo(1, 24, 32), photo(4, 24, 32)], [STYLE, OTHER]
    steps: list[Step] = []
    together = paint(contents, styles, made, observer=steps.extend)
    assert [(s.picture, s.step) for s in steps[:4]] == [(0, 0), (1, 0), (0, 1), (1, 1)]
    for i in range(2):
        alone = paint(contents[i], styles[i], made)
        torch.testing.assert_close(
            together.pictures[i].rgb, alone.picture.rgb, rtol=0, atol=2 / 255
        )
        assert together.losses[i].total == pytest.approx(alone.losses[0].total, rel=1e-2)


def test_a_batch_may_have_a_start_for_each() -> None:
    made = recipe(**STANDING, init="image")
    starts = [noise(8, 24, 32), noise(9, 24, 32)]
    result = paint([CONTENT, CONTENT], [STYLE, STYLE], made, init=starts)
    for picture, begun in zip(result.pictures, starts, strict=True):
        torch.testing.assert_close(picture.rgb, begun)


@pytest.mark.parametrize(
    ("contents", "styles"),
    [
        ([CONTENT, CONTENT], [STYLE]),
        ([CONTENT, photo(1, 30, 32)], [STYLE, STYLE]),
        ([], []),
    ],
)
def test_a_batch_that_does_not_fit_together_is_refused(contents: Any, styles: Any) -> None:
    with pytest.raises(PictureError):
        paint(contents, styles)


# -- styles ------------------------------------------------------------------------------------------


def test_a_whole_share_is_the_single_style() -> None:
    single = paint(style=STYLE)
    assert same(single, paint(style=[(STYLE, 5.0)]))
    assert same(single, paint(style=[(STYLE, 1.0), (OTHER, 0.0)]))


def test_shares_are_relative() -> None:
    once = paint(style=[(STYLE, 0.25), (OTHER, 0.75)])
    assert same(once, paint(style=[(STYLE, 1), (OTHER, 3)]))
    assert not same(once, paint(style=[(STYLE, 3), (OTHER, 1)]))


def test_a_blend_lies_between_its_styles() -> None:
    """Its loss is measured from the mean of the Gram matrices, so it differs from either."""
    results = [paint(style=[(STYLE, a), (OTHER, b)]) for a, b in ((1, 0), (1, 1), (0, 1))]
    first, mixed, last = (result.picture.rgb for result in results)
    apart = (first - last).norm()
    assert 0 < (mixed - first).norm() < apart
    assert 0 < (mixed - last).norm() < apart


@pytest.mark.parametrize("shares", [(-1, 2), (0, 0), (float("nan"), 1), (float("inf"), 1)])
def test_shares_that_are_none_are_refused(shares: tuple[float, float]) -> None:
    with pytest.raises(PictureError, match="shares"):
        paint(style=list(zip((STYLE, OTHER), shares, strict=True)))


def test_an_empty_blend_is_refused() -> None:
    with pytest.raises(PictureError):
        paint(style=[])


@pytest.mark.parametrize(
    ("knobs", "shape"),
    [
        ({}, (32, 24)),  # the style's own proportions
        ({"style_scale": 2.0}, (64, 48)),
        ({"style_scale": 0.75}, (24, 18)),
        ({"style_fit": "squash"}, (24, 32)),  # the content's
        ({"style_scale": 0.05}, (8, 8)),  # no smaller than the network can see
    ],
)
def test_the_style_is_analysed_at_the_size_asked_for(
    knobs: dict[str, Any], shape: tuple[int, int]
) -> None:
    made = recipe(**knobs)
    first = observed(made)[0]
    style = resize(STYLE, *shape).clamp(0, 1)
    objective = Objective(tiny_network(IMAGENET), made, CONTENT, [[(style, 1.0)]])
    expected = objective(SPACES[made.space].from_rgb(CONTENT)).style_BL[0].tolist()
    assert list(first.style_layers) == pytest.approx(expected, rel=1e-4)


def test_a_sliver_will_do_for_a_style() -> None:
    assert paint(style=noise(5, 3, 200)).picture.rgb.shape == (1, 3, 24, 32)


# -- trouble -----------------------------------------------------------------------------------------


def test_a_loss_that_leaves_the_numbers_for_good_is_an_error() -> None:
    made = recipe(steps=100_000, tv_weight=3e38)
    with pytest.raises(DivergedError, match="smaller weights"):
        paint(made=made, observe_seconds=0.05)


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_steps_far_too_long_are_undone_and_shortened(optimizer: str) -> None:
    steps: list[Step] = []
    made = recipe(steps=300, optimizer=optimizer, learning_rate=1e4)
    result = paint(made=made, observer=steps.extend)
    # It did blow up, and what was kept is as good as any picture on the way.
    assert max(step.total for step in steps) > 100 * steps[0].total
    assert result.losses[0].total <= 1.5 * min(step.total for step in steps)
    assert bool((result.picture.rgb >= 0).all())


@pytest.mark.parametrize("space", SPACES)
def test_clamped_pixels_can_be_shown_at_every_step(space: str) -> None:
    """Without clamping such a rate leads far out: the loss of what is outside shows it."""
    rate = 0.3 / SPACES[space].std[0]
    knobs = {**ADAM, "learning_rate": rate, "space": space, "tv_weight": 0.0, "style_weight": 0.0}
    made = recipe(**knobs, steps=20, clamp=True, init="noise", init_noise=1.0)
    result = paint(made=made)
    finished = SPACES[space].from_rgb(result.picture.rgb)
    objective = Objective(tiny_network(IMAGENET), made, CONTENT, [[(OTHER, 1.0)]])
    assert result.losses[0].total == pytest.approx(objective(finished).total_B.item(), rel=1e-3)
    outside = paint(made=made.model_copy(update={"clamp": False}))
    finished = SPACES[space].from_rgb(outside.picture.rgb)
    assert outside.losses[0].total != pytest.approx(objective(finished).total_B.item(), rel=1e-3)


def advice(content: Tensor, made: Recipe) -> tuple[list[str], int]:
    with pytest.raises(PictureError) as caught:
        paint(content, made=made)
    found = re.search(r"set (\w+(?: and \w+)?) to (\d+)", str(caught.value))
    assert found is not None, caught.value
    return found[1].split(" and "), int(found[2])


@pytest.mark.parametrize("sizes", [(32, None), (64, 32), (256, 32)])
def test_a_narrow_picture_is_refused_with_advice_that_works(sizes: tuple[int, int | None]) -> None:
    made = recipe(size=sizes[0], start_size=sizes[1], **STANDING, refine_steps=1)
    sliver = photo(1, 64, 5)
    knobs, enough = advice(sliver, made)
    paint(sliver, made=Recipe.model_validate({**made.model_dump(), **dict.fromkeys(knobs, enough)}))


def test_the_advice_asks_for_no_more_than_is_needed() -> None:
    sliver = photo(1, 64, 5)
    _, enough = advice(sliver, recipe())
    with pytest.raises(PictureError):
        paint(sliver, made=recipe(size=enough - 10))


def test_a_picture_too_narrow_for_any_size_is_not_sent_on_a_fools_errand() -> None:
    with pytest.raises(PictureError) as caught:
        paint(photo(1, 2_000, 1))
    sizes = [int(n) for n in re.findall(r"set \w+ to (\d+)", str(caught.value))]
    assert all(size <= 16_384 for size in sizes)


@pytest.mark.parametrize("shape", [(3, 0, 5), (3, 5, 0), (3, 0, 0)])
@pytest.mark.parametrize("what", ["content", "style"])
def test_a_picture_without_pixels_is_refused(what: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(PictureError):
        paint(**{what: torch.zeros(shape)})


def test_weights_that_cannot_be_found_are_an_error(tmp_path: Path) -> None:
    made = recipe(weights=str(tmp_path / "gone.pth"), weights_input="caffe")
    with pytest.raises(WeightsError, match=r"gone\.pth"):
        stylize(CONTENT, STYLE, made)


def test_a_damaged_picture_is_an_error() -> None:
    with pytest.raises(PictureError, match="not a picture"):
        paint(b"hello")


# -- in and out --------------------------------------------------------------------------------------


def test_every_kind_of_source_gives_the_same_picture(tmp_path: Path) -> None:
    data = encode(Picture(CONTENT))
    file = tmp_path / "content.png"
    file.write_bytes(data)
    rgb = decode(data).rgb
    expected = paint(rgb)
    array = np.asarray(to_pil(Picture(rgb)))
    for source in (data, file, str(file), to_pil(Picture(rgb)), array, rgb[0], Picture(rgb)):
        assert same(paint(source), expected)
        assert same(paint(style=source), paint(style=rgb))


def test_an_array_is_a_mask() -> None:
    mask = np.zeros((24, 32), np.uint8)
    mask[:, 16:] = 255
    arrays = paint(style=[(STYLE, 1.0, mask), (OTHER, 1.0, 1 - mask / 255)])
    pictures = [Image.fromarray(mask), Image.fromarray(255 - mask)]
    assert same(arrays, paint(style=[(STYLE, 1.0, pictures[0]), (OTHER, 1.0, pictures[1])]))


def test_the_contents_alpha_is_the_results() -> None:
    image = Image.new("RGBA", (64, 48), (10, 200, 30, 0))
    image.paste((10, 200, 30, 255), (0, 0, 32, 48))
    alpha = paint(image).picture.alpha
    assert alpha is not None
    assert alpha.shape == (1, 1, 24, 32)
    assert alpha[..., :15].min() > 0.98
    assert alpha[..., 17:].max() < 0.02


def test_a_soft_edge_is_what_was_painted_there() -> None:
    """Not less the white that would come through, of which nothing is left: that would be black."""
    rgba = np.full((32, 48, 4), 250, np.uint8)
    rgba[..., 3] = np.linspace(0, 255, 48).astype(np.uint8)
    dark = Image.new("RGB", (32, 32), (60, 50, 40))
    picture = paint(Image.fromarray(rgba), dark, recipe(init="noise")).picture
    colours = straight(picture)
    assert colours.min() > -1e-3
    assert colours.max() < 1 + 1e-3
    seen = colours[..., 4:]
    assert seen.std() > 0.02
    # As light where half is seen as where all is.
    assert abs(float(seen[..., :20].mean() - seen[..., 24:].mean())) < 0.1


def test_a_style_with_alpha_lies_on_white() -> None:
    half = Image.new("RGBA", (32, 32), (200, 30, 10, 255))
    half.paste((200, 30, 10, 0), (0, 0, 16, 32))
    white = Image.new("RGB", (32, 32), (255, 255, 255))
    white.paste(half, (0, 0), half)
    assert same(paint(style=half), paint(style=white))


def test_the_styles_alpha_is_not_the_results() -> None:
    assert paint(style=Image.new("RGBA", (32, 32), (9, 9, 9, 9))).picture.alpha is None


@pytest.mark.parametrize(
    ("name", "image_format"),
    [
        ("a.png", "PNG"),
        ("a.jpg", "JPEG"),
        ("a.jpeg", "JPEG"),
        ("a.JPG", "JPEG"),
        ("a.webp", "WEBP"),
        ("a.tif", "TIFF"),
        ("a.tiff", "TIFF"),
    ],
)
def test_the_name_says_the_format(tmp_path: Path, name: str, image_format: str) -> None:
    paint(made=recipe(steps=1)).save(tmp_path / name)
    with Image.open(tmp_path / name) as image:
        assert (image.format, image.size) == (image_format, (32, 24))


def test_a_result_can_be_saved_with_16_bits(tmp_path: Path) -> None:
    result = paint(made=recipe(steps=1))
    for name in ("a.png", "a.tif"):
        result.save(tmp_path / name, bit_depth=16)
        suffix = name[2:].replace("tif", "tiff")
        assert (tmp_path / name).read_bytes() == encode(result.picture, suffix, bit_depth=16)
    with pytest.raises(PictureError, match="jpeg has 8 bits"):
        result.save(tmp_path / "a.jpg", bit_depth=16)
    assert not (tmp_path / "a.jpg").exists()


@pytest.mark.parametrize("name", ["a", "a.gif", "a.png.txt"])
def test_a_name_that_says_no_format_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(PictureError, match="must end in"):
        paint(made=recipe(steps=1)).save(tmp_path / name)
    assert not (tmp_path / name).exists()


def test_a_result_can_be_shown() -> None:
    result = paint()
    saved = io.BytesIO(encode(result.picture))
    assert np.array_equal(np.asarray(result.show()), np.asarray(Image.open(saved)))


# -- for real ----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_original_network_paints() -> None:
    steps: list[Step] = []
    made = Recipe(size=64, start_size=None, steps=20)
    began = time.perf_counter()
    result = stylize(photo(1, 48, 64), photo(2, 64, 64), made, device="cpu", observer=steps.extend)
    assert steps[-1].total < 0.4 * steps[0].total
    assert result.picture.rgb.shape == (1, 3, 48, 64)
    assert result.seconds <= time.perf_counter() - began
