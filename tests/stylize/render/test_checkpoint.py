"""A render that was interrupted at a cut and continued is the one that never was, bit for bit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from stylize import Checkpoint, CheckpointError, Recipe, Result, Step, api, stylize
from stylize.network.strips import ALL_BLOCKS
from stylize.pictures.pixel_spaces import IMAGENET
from stylize.render.checkpoint import FORMAT
from tests.stylize.support import noise, photo, recipe, tiny_network

CONTENT, OTHER_CONTENT = photo(1, 30, 40), photo(4, 30, 40)
STYLE, OTHER = noise(2, 40, 30), noise(3, 32, 32)
MASK = torch.cat([torch.ones(1, 3, 30, 15), torch.zeros(1, 3, 30, 25)], 3)

PYRAMID = {"size": 64, "start_size": 32, "steps": 7, "refine_steps": 4, "segment": 3, "margin": 5}
WASSERSTEIN = {
    "preset": "wasserstein",
    "size": 64,
    "start_size": 32,
    "size_factor": 2.0,
    "steps": 6,
    "refine_steps": 5,
    "segment": 2,
}

Painted = Callable[..., Result]


def painted(
    content: Any = CONTENT, style: Any = STYLE, made: Recipe | None = None, **options: Any
) -> Result:
    made = made or recipe(**PYRAMID)
    return stylize(content, style, made, network=tiny_network(IMAGENET), device="cpu", **options)


RENDERS: dict[str, Painted] = {
    "studio": painted,
    "studio in strips": partial(painted, made=recipe(**PYRAMID, strips="on")),
    "wasserstein": partial(painted, made=recipe(**WASSERSTEIN)),
    "adam": partial(
        painted,
        made=recipe(**PYRAMID, optimizer="adam", learning_rate=0.02, space="rgb", init="noise"),
    ),
    "histogram colours": partial(
        painted, made=recipe(**PYRAMID, colors="content", color_method="histogram")
    ),
    "masks": partial(painted, style=[(STYLE, 1.0, MASK), (OTHER, 1.0, 1 - MASK), (OTHER, 0.5)]),
    "two": partial(painted, [CONTENT, OTHER_CONTENT], [STYLE, [(STYLE, 1.0), (OTHER, 2.0)]]),
    "two wassersteins": partial(
        painted, [CONTENT, OTHER_CONTENT], [STYLE, OTHER], made=recipe(**WASSERSTEIN)
    ),
    "bfloat16": partial(painted, made=recipe(**PYRAMID, precision="bfloat16")),
}


def places(steps: Sequence[Step]) -> list[tuple[int, int, int, float]]:
    """What was seen, and where. The clock is another matter."""
    return [(s.picture, s.scale, s.step, s.total) for s in steps]


def through_bytes(checkpoint: Checkpoint) -> Checkpoint:
    return Checkpoint.from_bytes(checkpoint.to_bytes())


def some_checkpoints(paint: Painted = painted) -> list[Checkpoint]:
    found: list[Checkpoint] = []
    paint(on_checkpoint=found.append)
    return found


# -- the same picture --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RENDERS)
def test_a_render_continued_at_any_cut_is_the_one_that_never_stopped(name: str) -> None:
    paint = RENDERS[name]
    cuts: list[Checkpoint] = []
    seen_at: list[int] = []
    steps: list[Step] = []

    def keep(checkpoint: Checkpoint) -> None:
        cuts.append(through_bytes(checkpoint))
        seen_at.append(len(steps))

    whole = paint(observer=steps.extend, on_checkpoint=keep)
    assert len(cuts) == len(whole.recipe.segments()) - 1 >= 2
    where = [(step.picture, step.scale, step.step) for step in steps]
    assert len(set(where)) == len(where)
    for cut, seen in zip(cuts, seen_at, strict=True):
        rest: list[Step] = []
        continued = paint(resume=cut, observer=rest.extend)
        for found, picture in zip(continued.pictures, whole.pictures, strict=True):
            assert torch.equal(found.rgb, picture.rgb)
        # What was seen before and after is what one render would have shown: nothing twice.
        assert places(steps[:seen] + rest) == places(steps)
        assert places(continued.losses) == places(whole.losses)


def test_cuts_are_where_the_recipe_says() -> None:
    made = recipe(**PYRAMID)
    cuts = some_checkpoints()
    ends = [sum(s.steps for s in made.segments()[: k + 1]) for k in range(len(made.segments()))]
    assert [cut.segments for cut in cuts] == list(range(1, len(ends)))
    assert [cut.steps for cut in cuts] == ends[:-1]
    assert 0 < cuts[0].seconds < cuts[-1].seconds


def test_a_continued_render_has_the_cuts_that_are_left() -> None:
    cuts = some_checkpoints()
    rest: list[Checkpoint] = []
    painted(resume=cuts[1], on_checkpoint=rest.append)
    assert [cut.segments for cut in rest] == [cut.segments for cut in cuts[2:]]
    for found, cut in zip(rest, cuts[2:], strict=True):
        assert all(torch.equal(found.tensors[name], cut.tensors[name]) for name in cut.tensors)


def test_the_clock_goes_on_where_it_stopped() -> None:
    cut = replace(some_checkpoints()[-1], seconds=5000.0)
    rest: list[Step] = []
    painted(resume=cut, observer=rest.extend)
    assert all(5000 < step.seconds < 5100 for step in rest)


def test_a_segmented_render_differs_from_one_that_is_not() -> None:
    """Where there are cuts is part of what is rendered; the tests above cut for real."""
    uncut = painted(made=recipe(**{**PYRAMID, "segment": None}))
    assert not torch.equal(painted().picture.rgb, uncut.picture.rgb)


@pytest.mark.parametrize("name", ["studio", "two wassersteins"])
def test_a_checkpoint_stays_as_it_was(name: str) -> None:
    """While the render it came from goes on, and those that go on from it."""
    kept: list[dict[str, Tensor]] = []
    cuts: list[Checkpoint] = []

    def keep(cut: Checkpoint) -> None:
        kept.append({name: tensor.clone() for name, tensor in cut.tensors.items()})
        cuts.append(cut)

    RENDERS[name](on_checkpoint=keep)
    RENDERS[name](resume=cuts[0])
    for cut, tensors in zip(cuts, kept, strict=True):
        assert all(torch.equal(cut.tensors[name], tensors[name]) for name in tensors)


def test_a_checkpoint_is_taken_to_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read on the host, wherever the render is."""
    cut = through_bytes(some_checkpoints(RENDERS["wasserstein"])[0])
    given: list[Checkpoint] = []

    class Stop(Exception):  # noqa: N818
        pass

    def render(*_: Any, at: Checkpoint, **__: Any) -> Any:
        given.append(at)
        raise Stop

    monkeypatch.setattr(api, "Render", render)
    with pytest.raises(Stop):
        stylize(
            CONTENT,
            STYLE,
            recipe(**WASSERSTEIN),
            network=tiny_network(IMAGENET),
            device="meta",
            resume=cut,
        )
    assert {"x", "first", "second", "adam_steps", "average"} == set(given[0].tensors)
    assert {tensor.device.type for tensor in given[0].tensors.values()} == {"meta"}


# -- for real ----------------------------------------------------------------------------------------

PROGRAM = """
import sys
from pathlib import Path
import torch
from stylize import Checkpoint
from tests.stylize.render.test_checkpoint import RENDERS

torch.set_num_threads(1)
folder, name = Path(sys.argv[1]), sys.argv[2]
file = folder / "checkpoint"
resume = Checkpoint.from_bytes(file.read_bytes()) if file.exists() else None
print("from", resume.segments if resume else 0, flush=True)


def write(checkpoint):
    (folder / "new").write_bytes(checkpoint.to_bytes())
    (folder / "new").replace(file)
    print("cut", checkpoint.segments, flush=True)
    if len(sys.argv) > 3 and checkpoint.segments == int(sys.argv[3]):
        sys.stdin.read()  # here the killer finds it


result = RENDERS[name](resume=resume, on_checkpoint=write)
torch.save([picture.rgb for picture in result.pictures], folder / "pictures")
"""


@pytest.mark.slow
def test_a_render_that_is_killed_ends_in_another_process(tmp_path: Path) -> None:
    name = "two wassersteins"
    command = [sys.executable, "-c", PROGRAM, str(tmp_path), name]
    killed = subprocess.Popen(
        [*command, "3"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert killed.stdout is not None
    lines = iter(killed.stdout.readline, "")
    try:
        assert any(line == "cut 3\n" for line in lines)
    finally:
        os.kill(killed.pid, signal.SIGKILL)
        killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "pictures").exists()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[:2] == ["from 3", "cut 4"]
    found = torch.load(tmp_path / "pictures", weights_only=True)
    for rgb, picture in zip(found, RENDERS[name]().pictures, strict=True):
        assert torch.equal(rgb, picture.rgb)


# -- what is refused ---------------------------------------------------------------------------------

OTHERS: dict[str, Painted] = {
    "another recipe": partial(painted, made=recipe(**PYRAMID, style_weight=199.0)),
    "other cuts": partial(painted, made=recipe(**{**PYRAMID, "segment": 4})),
    "another content": partial(painted, OTHER_CONTENT),
    "another style": partial(painted, style=OTHER),
    "a style of another shape": partial(painted, style=STYLE.reshape(1, 3, 30, 40)),
    "a blend": partial(painted, style=[(STYLE, 1.0), (OTHER, 1.0)]),
    "another share": partial(painted, style=[(STYLE, 2.0)]),
    "a mask": partial(painted, style=[(STYLE, 1.0, MASK)]),
    "two": partial(painted, [CONTENT, CONTENT], [STYLE, STYLE]),
}


@pytest.mark.parametrize("name", OTHERS)
def test_anothers_checkpoint_is_refused(name: str) -> None:
    with pytest.raises(CheckpointError, match="another render"):
        OTHERS[name](resume=some_checkpoints()[0])


def test_other_shares_other_masks_other_weights_and_other_starts_are_refused() -> None:
    blend = [(STYLE, 1.0), (OTHER, 2.0)]
    masked = [(STYLE, 1.0, MASK)]
    started = recipe(**PYRAMID, init="image")
    network = tiny_network(IMAGENET)
    other_network = tiny_network(IMAGENET, seed=1)
    other_network.digest = "others"
    pairs: list[tuple[Painted, Painted]] = [
        (partial(painted, style=blend), partial(painted, style=[(STYLE, 2.0), (OTHER, 1.0)])),
        (partial(painted, style=masked), partial(painted, style=[(STYLE, 1.0, 1 - MASK)])),
        (
            partial(painted, made=started, init=CONTENT),
            partial(painted, made=started, init=OTHER_CONTENT),
        ),
        (
            partial(stylize, CONTENT, STYLE, recipe(**PYRAMID), network=network),
            partial(stylize, CONTENT, STYLE, recipe(**PYRAMID), network=other_network),
        ),
    ]
    for one, other in pairs:
        cut = some_checkpoints(one)[0]
        with pytest.raises(CheckpointError, match="another render"):
            other(resume=cut)
        one(resume=cut)


@pytest.mark.parametrize("strips", ["on", "off"])
def test_strips_are_no_part_of_what_is_rendered(strips: str) -> None:
    """A render begun one way goes on so: how numbers are rounded depends on it."""
    other = partial(painted, made=recipe(**PYRAMID, strips=strips))
    cuts = some_checkpoints(other)
    assert {cut.strips for cut in cuts} == {ALL_BLOCKS if strips == "on" else 0}
    assert torch.equal(painted(resume=cuts[0]).picture.rgb, other().picture.rgb)
    assert recipe(strips=strips).identity() == recipe().identity()


def good() -> bytes:
    tensors = {"x": noise(1, 2, 2), "average": noise(2, 2, 2)}
    return Checkpoint("render", 2, 7, 1.5, tensors, 0.25, True).to_bytes()


def test_bytes_hold_everything() -> None:
    found = Checkpoint.from_bytes(good())
    assert (found.render, found.segments, found.steps, found.seconds) == ("render", 2, 7, 1.5)
    # Once there was only one way to have strips, which was true.
    assert (found.average_weight, found.strips) == (0.25, 2)
    assert set(found.tensors) == {"average", "x"}
    assert torch.equal(found.tensors["x"], noise(1, 2, 2))
    assert torch.equal(found.tensors["average"], noise(2, 2, 2))


def refuses(data: bytes) -> bool:
    """Whether it does, in words. Anything else than a checkpoint or CheckpointError is raised."""
    try:
        Checkpoint.from_bytes(data)
    except CheckpointError as error:
        return "the checkpoint" in str(error)
    return False


def safetensors(header: object, body: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


def with_metadata(metadata: object, **tensors: object) -> bytes:
    return safetensors({"__metadata__": metadata, **tensors})


STATE = json.dumps({"render": "a", "segments": 1, "steps": 1, "seconds": 1.0})
EMPTY = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x89PNG\r\n\x1a\n",
        safetensors(b"[" * 100_000),
        safetensors([]),
        safetensors({}),
        safetensors({"x": EMPTY}),
        with_metadata("x"),
        with_metadata({"format": "another 1", "state": STATE}, x=EMPTY),
        with_metadata({"format": FORMAT}, x=EMPTY),
        with_metadata({"format": FORMAT, "state": STATE}),
        with_metadata({"format": FORMAT, "state": "[]"}, x=EMPTY),
        with_metadata({"format": FORMAT, "state": "{}"}, x=EMPTY),
        with_metadata({"format": FORMAT, "state": '{"tensors": 1}'}, x=EMPTY),
        with_metadata({"format": FORMAT, "state": "[" * 100_000}, x=EMPTY),
        with_metadata({"format": FORMAT, "state": STATE}, x={**EMPTY, "dtype": "F4"}),
        with_metadata({"format": FORMAT, "state": STATE}, x={**EMPTY, "dtype": "F8_E8M0"}),
    ],
)
def test_what_is_no_checkpoint_is_refused(data: bytes) -> None:
    assert refuses(data)


def test_every_truncated_checkpoint_is_refused() -> None:
    data = good()
    assert all(refuses(data[:length]) for length in range(len(data)))
    assert not refuses(data)


@given(data=st.binary(max_size=300))
@example(data=b"\xff" * 8)
def test_any_bytes_are_refused(data: bytes) -> None:
    assert refuses(data)
    assert refuses(safetensors(data))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["__metadata__", "format", "state", "dtype", "shape", "data_offsets"])
            | st.text(max_size=5),
            inner,
            max_size=4,
        )
    ),
    max_leaves=9,
)


@given(header=json_values, state=json_values)
def test_any_header_is_a_checkpoints_or_refused(header: object, state: object) -> None:
    assert refuses(safetensors(header))
    refuses(with_metadata({"format": FORMAT, "state": json.dumps(state)}, x=EMPTY))


@given(place=st.integers(0, len(good()) - 1), bit=st.integers(0, 7))
@settings(max_examples=200)
def test_a_flipped_bit_is_refused_or_harmless(place: int, bit: int) -> None:
    data = bytearray(good())
    data[place] ^= 1 << bit
    refuses(bytes(data))


# -- segments ----------------------------------------------------------------------------------------


@given(
    size=st.integers(32, 2000),
    start_size=st.none() | st.integers(32, 2000),
    factor=st.none() | st.floats(1.1, 16),
    steps=st.integers(1, 5000),
    refine_steps=st.integers(1, 5000),
    segment=st.none() | st.integers(1, 6000),
)
def test_segments_are_the_schedule_cut_evenly(segment: int | None, **knobs: Any) -> None:
    factor = knobs.pop("factor")
    made = Recipe(**knobs, size_factor=factor, segment=segment)
    segments = made.segments()
    at = 0
    for size, steps in made.schedule():
        mine = []
        while not mine or not mine[-1].last:
            mine.append(segments[at])
            at += 1
        assert {s.size for s in mine} == {size}
        assert [s.first for s in mine] == [True, *[False] * (len(mine) - 1)]
        lengths = [s.steps for s in mine]
        assert sum(lengths) == steps
        assert min(lengths) >= 1
        assert max(lengths) - min(lengths) <= 1
        if segment is None or steps <= segment:
            assert len(mine) == 1
        else:
            # About as long as asked for.
            assert segment / 1.5 - 1 <= max(lengths) <= 1.5 * segment + 1
    assert at == len(segments)


def test_a_segment_of_one_step_is_one_step() -> None:
    assert [s.steps for s in recipe(steps=4, segment=1).segments()] == [1, 1, 1, 1]


def test_a_checkpoint_from_when_auto_was_thirty_steps_goes_on_with_thirty() -> None:
    """Earlier versions made 30 steps at each size after the first, and knew no local curvature."""
    knobs = {"size": 64, "start_size": 32, "steps": 6, "segment": 10}
    before, now = (recipe(**knobs, refine_steps=steps) for steps in (30, "auto"))
    assert len(before.segments()) != len(now.segments())
    found: list[Checkpoint] = []
    whole = painted(made=before, on_checkpoint=found.append)
    for checkpoint in found[1:]:
        again = painted(made=now, resume=through_bytes(checkpoint))
        assert torch.equal(again.picture.rgb, whole.picture.rgb)
        assert again.steps == whole.steps
    # At the end of the first size both agree, and what is left takes the fewer steps.
    older = replace(found[0], tensors={"x": found[0].tensors["x"]})
    assert painted(made=now, resume=older).steps == now.total_steps < whole.steps


def test_a_checkpoint_keeps_the_local_curvature() -> None:
    found: list[Checkpoint] = []
    painted(on_checkpoint=found.append)
    assert all("curvature" in checkpoint.tensors for checkpoint in found)
    bare = [replace(c, tensors={"x": c.tensors["x"]}) for c in found]
    with_it, without = (painted(resume=c[-1]).picture.rgb for c in (found, bare))
    assert not torch.equal(with_it, without)
