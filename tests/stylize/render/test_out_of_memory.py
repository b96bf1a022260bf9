"""Out of memory: what is tried, in which order, and what is said when nothing helps."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import textwrap
from collections.abc import Callable
from typing import Any

import pytest
import torch

from stylize import MemoryLimitError, Recipe, Result, Step, stylize
from stylize.losses.objective import Objective
from stylize.memory import MEMORY_SHARE
from stylize.network import features
from stylize.network.strips import ALL_BLOCKS, LEVELS
from stylize.pictures.pixel_spaces import IMAGENET
from stylize.render import out_of_memory
from stylize.render.out_of_memory import is_out_of_memory
from stylize.render.render import Render
from tests.stylize.support import noise, photo, recipe, tiny_network

NO_MEMORY = "DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."
CONTENTS = [photo(seed, 24, 32) for seed in range(4)]
STYLES = [noise(10 + seed, 30, 30) for seed in range(4)]
CUT = {"steps": 6, "segment": 2}
"""Three segments."""


def paint(made: Recipe | None = None, count: int = 1, **options: Any) -> Result:
    return stylize(
        CONTENTS[:count],
        STYLES[:count],
        made or recipe(),
        network=tiny_network(IMAGENET),
        device="cpu",
        **options,
    )


# -- for real ----------------------------------------------------------------------------------------

LIMITED = """
    import json, resource
    from pathlib import Path
    import torch
    from stylize import MemoryLimitError, stylize
    from stylize.pictures.pixel_spaces import IMAGENET
    from tests.stylize.support import noise, photo, recipe, tiny_network

    torch.set_num_threads(1)
    network = tiny_network(IMAGENET, widths=(32, 16, 2, 2, 2))
    made = recipe(size=768, steps=1, optimizer="adam", learning_rate=0.01, space="rgb", style_loss="gram")

    def paint(size, strips):
        picture, style = photo(1, size, size), noise(2, 64, 64)
        knobs = made.model_copy(update={"size": size, "strips": strips})
        return stylize(picture, style, knobs, network=network, device="cpu")

    def limit(more):
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        top = pages * resource.getpagesize() + more * 2**20 if more else resource.RLIM_INFINITY
        resource.setrlimit(resource.RLIMIT_AS, (top, resource.RLIM_INFINITY))

    paint(64, "on")  # what a first render loads is not what is limited
"""


def in_a_limited_process(code: str) -> Any:
    """What the code prints, as JSON."""
    whole = textwrap.dedent(LIMITED) + textwrap.dedent(code)
    done = subprocess.run(
        [sys.executable, "-c", whole], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


needs_proc = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="RLIMIT_AS and /proc are Linux's"
)


@pytest.mark.slow
@needs_proc
def test_out_of_memory_for_real() -> None:
    """With enough for strips, without strips though they would help, and with too little for both. Each limit
    has a process of its own: a heap that earlier renders filled has more room than the limit says."""
    limited, free, apart = in_a_limited_process(
        """
        limit(380)  # in strips it takes less than 340, else 410
        limited = paint(768, "auto")
        limit(None)
        free = paint(768, "auto")
        apart = (limited.picture.rgb - free.picture.rgb).abs().max().item()
        print(json.dumps([limited.concessions, free.concessions, apart]))
        """
    )
    off, nothing_helped = (
        in_a_limited_process(
            f"""
            limit({more})
            try:
                print(json.dumps(paint(768, {strips!r}).concessions))
            except MemoryLimitError as error:
                print(json.dumps(str(error)))
            """
        )
        for more, strips in ((200, "off"), (40, "auto"))
    )
    assert (limited, free) == (["out of memory: painted in strips"], [])
    assert apart < 1e-4
    assert "768 x 768 px take about" in off
    assert "leave strips to auto" in off
    assert "768 x 768 px in strips take about 0." in nothing_helped
    assert " GB, and " in nothing_helped
    assert "leave strips" not in nothing_helped


def test_every_allocator_says_so_in_its_own_way() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)
    for error in (
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"),
        RuntimeError("could not create a primitive"),
        RuntimeError("std::bad_alloc"),
    ):
        assert is_out_of_memory(error)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("mat1 and mat2 shapes cannot be multiplied (1x2 and 3x4)"),
        RuntimeError("could not create a primitive descriptor for a convolution"),
        ValueError("out of memory"),
        RuntimeError(),
    ],
)
def test_what_is_no_lack_of_memory_passes_through(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not is_out_of_memory(error)

    def run(render: Render) -> Any:
        raise error

    monkeypatch.setattr(Render, "run", run)
    with pytest.raises(type(error)) as caught:
        paint(count=2)
    assert caught.value is error


# -- what is tried -----------------------------------------------------------------------------------


class Memory:
    """Fails the renders it is told to; each is (how many pictures, blocks in strips, segments made)."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, enough: Callable[[int, int], bool]) -> None:
        self.tried: list[tuple[int, int, int]] = []
        self.after = 0
        """So many cuts go well before memory ends."""
        paint_segment = Render._paint
        run = Render.run

        def tried(render: Render) -> Any:
            self.tried.append((len(render._setup.inputs), render._strips, render._done))
            return run(render)

        def failing(render: Render, *of_segment: Any) -> None:
            if not enough(len(render._setup.inputs), render._strips):
                if self.after == 0:
                    raise RuntimeError(NO_MEMORY)
                self.after -= 1
            paint_segment(render, *of_segment)

        monkeypatch.setattr(Render, "run", tried)
        monkeypatch.setattr(Render, "_paint", failing)


def test_first_fewer_pictures_at_once_then_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = paint(count=4)
    memory = Memory(monkeypatch, lambda count, strips: count == 1 and strips >= 3)
    result = paint(count=4)
    assert memory.tried == [
        (4, 0, 0),
        *[(2, 0, 0), *[(1, 0, 0), (1, 2, 0), (1, 3, 0)] * 2] * 2,
    ]
    assert result.concessions == (
        "out of memory with 4 pictures at once: halved",
        *(
            "out of memory with 2 pictures at once: halved",
            *[
                "out of memory: painted in strips",
                "out of memory: painted more of it in strips",
            ]
            * 2,
        )
        * 2,
    )
    for found, picture in zip(result.pictures, expected.pictures, strict=True):
        torch.testing.assert_close(found.rgb, picture.rgb, rtol=0, atol=0.5 / 255)
    assert [step.picture for step in result.losses] == [0, 1, 2, 3]


def test_a_batch_that_does_not_divide_is_halved_too(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = Memory(monkeypatch, lambda count, strips: count == 1)
    steps: list[Step] = []
    result = paint(count=3, observer=steps.extend)
    assert [count for count, *_ in memory.tried] == [3, 1, 2, 1, 1]
    assert [(s.picture, s.step) for s in steps] == [(p, i) for p in range(3) for i in range(6)]
    monkeypatch.undo()
    for i, alone in enumerate(result.pictures):
        found = stylize(CONTENTS[i], STYLES[i], recipe(), network=tiny_network(IMAGENET))
        assert torch.equal(alone.rgb, found.picture.rgb)


@pytest.mark.parametrize("count", [1, 2])
def test_work_goes_on_from_the_last_cut(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the picture that an interruption there would have led to."""
    made = recipe(**CUT)
    blocks = 2 if count == 1 else 0
    memory = Memory(monkeypatch, lambda pictures, strips: pictures == 1 and strips == blocks)
    memory.after = 2
    steps: list[Step] = []
    result = paint(made, count, observer=steps.extend)
    assert memory.tried == [(count, 0, 0), *[(1, blocks, 2)] * count]
    made_once = [(p, i) for i in range(4) for p in range(count)]
    made_after = [(p, i) for p in range(count) for i in range(4, 7)]
    assert [(s.picture, s.step) for s in steps] == made_once + made_after
    monkeypatch.undo()
    for found, picture in zip(result.pictures, paint(made, count).pictures, strict=True):
        torch.testing.assert_close(found.rgb, picture.rgb, rtol=0, atol=0.5 / 255)


def test_adams_moments_at_a_cut_outlive_attempts_that_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two attempts begin at the same cut: what the first changes is nothing to the second."""
    made = recipe(preset="wasserstein", size=32, start_size=None, steps=6, segment=2, strips="off")
    cuts: list[Any] = []
    expected = paint(made, 2, on_checkpoint=cuts.append)
    once = paint(made, 2, resume=cuts[0])
    again = paint(made, 2, resume=cuts[0])
    for one, other, third in zip(expected.pictures, once.pictures, again.pictures, strict=True):
        assert torch.equal(one.rgb, other.rgb)
        assert torch.equal(one.rgb, third.rgb)


def test_strips_that_are_off_stay_off(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = Memory(monkeypatch, lambda *_: False)
    with pytest.raises(MemoryLimitError, match=r"32 x 24 px take .* leave strips to auto"):
        paint(recipe(strips="off"))
    assert memory.tried == [(1, 0, 0)]


def test_no_memory_at_all_is_said_with_all_that_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = Memory(monkeypatch, lambda *_: False)
    with pytest.raises(MemoryLimitError) as caught:
        paint(recipe(history=20), count=2)
    assert memory.tried == [(2, 0, 0), *[(1, blocks, 0) for blocks in LEVELS]]
    for words in ("32 x 24 px in strips", "smaller size", "history below 20", NO_MEMORY):
        assert words in str(caught.value)


def test_too_little_memory_is_seen_beforehand(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = Memory(monkeypatch, lambda *_: True)
    monkeypatch.setattr(out_of_memory, "available_bytes", lambda device: 1 << 20)
    assert paint().concessions == ("painted in strips",)
    assert paint(recipe(strips="off")).concessions == ()
    assert paint(recipe(strips="on")).concessions == ()
    monkeypatch.setattr(out_of_memory, "available_bytes", lambda device: None)
    assert paint().concessions == ()
    assert [strips for _, strips, _ in memory.tried] == [ALL_BLOCKS, 0, ALL_BLOCKS, 0]


def test_as_few_blocks_as_memory_requires_are_in_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = Memory(monkeypatch, lambda *_: True)
    monkeypatch.setattr(out_of_memory, "predict_bytes", lambda *_, strips, **__: 100 - strips)
    for level in LEVELS:
        monkeypatch.setattr(
            out_of_memory, "available_bytes", lambda device, room=100.5 - level: room / MEMORY_SHARE
        )
        paint()
    assert [strips for _, strips, _ in memory.tried] == list(LEVELS)


# -- what is given back ------------------------------------------------------------------------------


def looks() -> int:
    """Passes through the network whose memory is still held."""
    return sum(type(found) is features._Pass for found in gc.get_objects())


@pytest.mark.parametrize("strips", ["on", "off"])
def test_a_step_leaves_nothing_behind(strips: str) -> None:
    held: list[int] = []

    def count() -> bool:
        held.append(looks())
        return False

    before = looks()
    paint(recipe(strips=strips, steps=6), should_stop=count)
    assert max(held) <= before + 1
    assert looks() == before


def test_a_failed_attempt_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the next, smaller one would have no more memory than the first."""
    held: list[int] = []
    run = Render.run
    slopes = Objective._slopes

    def failing(*_: Any) -> Any:
        """As in real life: memory ends between the ways there and back, while all that is kept is held."""
        assert looks() == held[0] + 1
        raise RuntimeError(NO_MEMORY)

    def watched(render: Render) -> Any:
        held.append(looks())
        monkeypatch.setattr(Objective, "_slopes", slopes if held[1:] else failing)
        return run(render)

    monkeypatch.setattr(Render, "run", watched)
    before = looks()
    assert paint(recipe()).concessions == ("out of memory: painted in strips",)
    assert held == [before, before]
