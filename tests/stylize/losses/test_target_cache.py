"""A style is looked at once in a process, and no picture tells whether it was."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from stylize import Recipe, Result, stylize
from stylize.losses.masks import WeightedStyle
from stylize.losses.objective import Objective
from stylize.losses.style import Statistics
from stylize.losses.target_cache import MOST_BYTES, SHARED, TargetCache
from stylize.network.features import FeatureExtractor
from stylize.network.vgg19 import VGG19
from stylize.pictures.pixel_spaces import CAFFE, IMAGENET
from stylize.render.render import Render
from tests.stylize.support import noise, photo, recipe, tiny_convs, tiny_network

CONTENT, STYLE, OTHER = photo(1, 24, 32), noise(2, 40, 30), noise(3, 32, 32)


@pytest.fixture(autouse=True)
def nothing_kept() -> Iterator[None]:
    SHARED.clear()
    yield
    SHARED.clear()


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The shapes of the styles that go through the network."""
    seen: list[tuple[int, ...]] = []
    extract = Objective._extract_statistics

    def counted(objective: Objective, style: Tensor) -> Any:
        seen.append(tuple(style.shape[2:]))
        return extract(objective, style)

    monkeypatch.setattr(Objective, "_extract_statistics", counted)
    return seen


def paint(
    content: Any = CONTENT, style: Any = STYLE, made: Recipe | None = None, **options: Any
) -> Result:
    options = {"network": tiny_network(IMAGENET), "device": "cpu", **options}
    return stylize(content, style, made or recipe(), **options)


# -- how often a style is looked at ------------------------------------------------------------------


def test_the_second_render_of_a_style_has_one_pass_through_the_network_less(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    passes = []
    extract = FeatureExtractor.__call__

    def counted(self: FeatureExtractor, x_B3HW: Tensor) -> Any:
        passes.append(x_B3HW.shape)
        return extract(self, x_B3HW)

    monkeypatch.setattr(FeatureExtractor, "__call__", counted)
    counts = []
    for content in (CONTENT, photo(9, 24, 32)):
        passes.clear()
        paint(content)
        counts.append(len(passes))
    assert counts == [counts[1] + 1, counts[0] - 1]


def test_a_style_is_looked_at_once_at_each_size(looks: list[tuple[int, ...]]) -> None:
    made = recipe(size=64, start_size=32, steps=2, refine_steps=2)
    for content in (CONTENT, photo(9, 24, 32), photo(10, 24, 32)):
        paint(content, made=made)
    assert looks == [(32, 24), (64, 48)]


@pytest.mark.parametrize("copies", [False, True])
def test_a_style_that_a_batch_shares_is_looked_at_once(
    copies: bool, looks: list[tuple[int, ...]]
) -> None:
    styles = [STYLE.clone() if copies else STYLE for _ in range(3)]
    paint([CONTENT] * 3, styles)
    assert len(looks) == 1


def test_so_it_is_in_regions_and_in_blends(looks: list[tuple[int, ...]]) -> None:
    left = torch.zeros(3, 24, 32)
    left[..., :16] = 1
    paint(style=[(STYLE, 1.0, left), (STYLE, 1.0, 1 - left), (OTHER, 1.0, left), (OTHER, 2.0)])
    assert len(looks) == 2


def test_it_is_looked_at_again_where_anything_of_it_differs(looks: list[tuple[int, ...]]) -> None:
    paint()
    changed = STYLE.clone()
    changed[0, 0, 0, 0] += 1e-3
    others: list[dict[str, Any]] = [
        {"style": changed},
        {"style": STYLE.flip(3)},
        {"made": recipe(size=48)},
        {"made": recipe(margin=2)},
        {"made": recipe(style_scale=2.0)},
        {"made": recipe(style_fit="squash")},
        {"made": recipe(style_layers=["conv1_1", "conv2_1"])},
        {"made": recipe(style_loss="gram")},
        {"made": recipe(style_loss="gram", gram="none")},
        {"made": recipe(pooling="average")},
        {"made": recipe(pooling="average", rescale_pooling=True)},
        {"made": recipe(padding="replicate")},
        {"made": recipe(precision="bfloat16")},
        {"made": recipe(strips="on")},
        {"made": recipe(colors="content", color_method="histogram")},
        {"network": tiny_network(CAFFE)},
        {"network": tiny_network(IMAGENET, seed=1)},
    ]
    for count, other in enumerate(others, start=1):
        paint(**other)
        assert len(looks) == 1 + count, other
    for other in others:
        paint(**other)
    assert len(looks) == 1 + len(others)


def test_what_does_not_concern_it_may_differ(looks: list[tuple[int, ...]]) -> None:
    for more in (
        {},
        {"steps": 1},
        {"optimizer": "adam"},
        {"style_weight": 3.0, "content_weight": 0.0},
        {"style_layers": {f"conv{block}_1": 0.5 for block in range(1, 5)}},
        {"style_norm": "channels"},
        {"space": "rgb"},
        {"colors": "content"},
        {"seed": 5, "init": "noise"},
    ):
        paint(made=recipe(**more))
    assert len(looks) == 1


def test_a_histogram_is_matched_to_every_content_anew(looks: list[tuple[int, ...]]) -> None:
    made = recipe(colors="content", color_method="histogram")
    paint([CONTENT, photo(9, 24, 32)], [STYLE] * 2, made)
    assert len(looks) == 2


def test_networks_of_one_digest_share_and_those_of_none_do_not(
    looks: list[tuple[int, ...]],
) -> None:
    for digest, expected in (("sha256:1", 1), ("", 3)):
        for _ in range(2):
            paint(network=VGG19(tiny_convs(), IMAGENET, digest))
        assert len(looks) == expected


def test_a_file_of_weights_counts_once_for_each_input_it_is_read_as(
    looks: list[tuple[int, ...]],
) -> None:
    for space in (IMAGENET, CAFFE):
        paint(network=VGG19(tiny_convs(), space, "sha256:1"))
    assert len(looks) == 2


def test_more_threads_add_up_in_another_order(looks: list[tuple[int, ...]]) -> None:
    threads = torch.get_num_threads()
    try:
        for count in (1, 2, 1):
            torch.set_num_threads(count)
            paint()
    finally:
        torch.set_num_threads(threads)
    assert len(looks) == 2


def test_an_objective_by_itself_keeps_to_itself(looks: list[tuple[int, ...]]) -> None:
    for _ in range(2):
        Objective(tiny_network(), recipe(), CONTENT, [[WeightedStyle(STYLE, 1.0)]])
    assert len(looks) == 2
    assert len(SHARED) == 0


# -- that it shows nowhere ---------------------------------------------------------------------------

KINDS: dict[str, dict[str, Any]] = {
    "gram": {"style_loss": "gram"},
    "wasserstein": {"style_loss": "wasserstein"},
    "in strips": {"strips": "on", "size": 64},
    "coarse to fine": {"size": 64, "start_size": 32, "refine_steps": 3},
    "bfloat16": {"precision": "bfloat16"},
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_picture_is_the_same_bit_for_bit(kind: str) -> None:
    made = recipe(steps=6, **KINDS[kind])
    mix = [(STYLE, 1.0), (OTHER, 2.0)]
    first = paint(style=mix, made=made)
    assert len(SHARED) > 0
    again = paint(style=mix, made=made)
    SHARED.clear()
    anew = paint(style=mix, made=made)
    for other in (again, anew):
        assert torch.equal(first.picture.rgb, other.picture.rgb)
        assert [step.total for step in first.losses] == [step.total for step in other.losses]


def test_a_render_may_go_on_without_what_the_first_process_kept() -> None:
    made = recipe(size=64, start_size=32, steps=6, segment=2, refine_steps=4)
    paint(photo(9, 24, 32), made=made)
    cuts: list[Any] = []
    whole = paint(made=made, on_checkpoint=cuts.append)
    for cut in cuts:
        SHARED.clear()
        assert torch.equal(paint(made=made, resume=cut).picture.rgb, whole.picture.rgb)


def tensors_in(held: Any) -> list[Tensor]:
    """All tensors that something holds, however deep."""
    if isinstance(held, Tensor):
        return [held]
    if isinstance(held, dict):
        held = held.values()
    elif hasattr(held, "__dict__"):
        held = vars(held).values()
    elif not isinstance(held, list | tuple):
        return []
    return [tensor for part in held for tensor in tensors_in(part)]


@pytest.mark.parametrize("style_loss", ["gram", "wasserstein"])
def test_what_is_done_to_one_renders_targets_is_not_done_to_anothers(style_loss: str) -> None:
    cache = TargetCache()
    made = recipe(style_loss=style_loss)

    def objective() -> Objective:
        return Objective(
            tiny_network(), made, CONTENT, [[WeightedStyle(STYLE, 1.0)]], targets=cache
        )

    x = noise(8, 24, 32).requires_grad_(True)
    spoilt = objective()
    before = spoilt(x)
    before.total_B.sum().backward()
    for tensor in tensors_in(spoilt._term):
        tensor.zero_()
    assert torch.equal(objective()(x).total_B, before.total_B)
    kept = [t for found in cache._cached.values() for parts in found.values() for t in parts]
    assert len(cache) == 1
    assert not any(tensor.requires_grad for tensor in kept)


# -- how much is kept --------------------------------------------------------------------------------


def statistics(kilobytes: int) -> dict[str, Statistics]:
    return {"conv1_1": (torch.zeros(kilobytes * 128), torch.zeros(kilobytes * 128))}


def test_the_least_used_goes_when_there_are_too_many_bytes() -> None:
    cache = TargetCache(most_bytes=10 * 1024)
    measured: list[str] = []

    def get(name: str, kilobytes: int = 4) -> None:
        cache.get(name, lambda: [measured.append(name), statistics(kilobytes)][1])

    get("a")
    get("b")
    get("a")
    get("c")  # b was used longest ago
    assert (len(cache), cache.bytes) == (2, 8 * 1024)
    get("a")
    get("b")  # and now c was
    assert measured == ["a", "b", "c", "b"]
    get("a")
    assert measured == ["a", "b", "c", "b"]


def test_what_is_too_large_is_not_kept_and_nothing_is_left_over() -> None:
    cache = TargetCache(most_bytes=1024)
    found = cache.get("large", lambda: statistics(2))
    assert found["conv1_1"][0].numel() == 256
    assert (len(cache), cache.bytes) == (0, 0)


def test_a_look_that_fails_leaves_nothing() -> None:
    cache = TargetCache()

    def fail() -> Any:
        raise MemoryError

    with pytest.raises(MemoryError):
        cache.get("a", fail)
    assert len(cache) == 0


def test_many_threads_may_ask_at_once() -> None:
    cache = TargetCache(most_bytes=8 * 1024)
    wrong: list[object] = []

    def ask(seed: int) -> None:
        for step in range(300):
            key = (seed * 7 + step) % 5
            found = cache.get(key, lambda key=key: {"conv1_1": (torch.full((512,), float(key)),)})
            if found["conv1_1"][0][0] != key:
                wrong.append(key)

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert cache.bytes == 2048 * len(cache) <= 8 * 1024


def test_five_layers_of_vgg19_take_what_the_bound_was_chosen_for() -> None:
    widths = (64, 128, 256, 512, 512)
    assert sum(4 * n**2 for n in widths) == pytest.approx(2.4e6, rel=0.02)
    assert MOST_BYTES // sum(4 * n**2 for n in widths) // 4 == 13


def test_a_failed_attempt_gives_them_back(monkeypatch: pytest.MonkeyPatch) -> None:
    paint()
    kept = len(SHARED)
    seen: list[int] = []
    begin = Render.run

    def run(render: Any) -> Any:
        seen.append(len(SHARED))
        if not render._strips:
            raise MemoryError
        return begin(render)

    monkeypatch.setattr("stylize.render.render.Render.run", run)
    paint()
    assert kept == 1
    assert seen == [1, 0]
