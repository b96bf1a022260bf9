"""A team of two processes on the CPU: the same render, and an end in order whatever happens to it."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from torch import Tensor

from stylize import Recipe, stylize
from stylize.errors import DivergedError, InterruptedRender, MemberLostError
from stylize.network.vgg19 import VGG19
from stylize.pictures.picture import Reference
from stylize.pictures.pixel_spaces import CAFFE
from stylize.render.checkpoint import Checkpoint
from stylize.team.team import Team
from tests.stylize.support import noise, photo, recipe, tiny_convs, tiny_network

SIZE = 160
"""Bands of 80 rows; at 80 px every member paints all rows."""


@pytest.fixture(scope="module")
def team() -> Iterator[Team]:
    with Team(["cpu", "cpu"], replaced(tiny_network())) as team:
        yield team


def replaced(network: VGG19) -> VGG19:
    """The network with a digest, as those from files have one."""
    network.digest = network.digest or "tiny"
    return network


def made(**knobs: object) -> Recipe:
    """Few steps from a small size to a larger one: rounding grows from step to step."""
    plain = {"size": SIZE, "start_size": 80, "steps": 3, "refine_steps": 2, "margin": 8}
    return recipe(**{**plain, "history_precision": "float32", **knobs})


def paint(made: Recipe, **more: Any) -> Any:
    content, style = photo(1, SIZE, 130), noise(2, 150, 100)
    if "team" not in more:
        more |= {"network": replaced(tiny_network()), "device": "cpu"}
    return stylize(content, style, made, **more)


def apart(a: Tensor, b: Tensor) -> float:
    """The share of pixels that differ by more than a grey level."""
    return ((a - b).abs() > 1 / 255).float().mean().item()


@pytest.mark.parametrize(
    "knobs",
    [
        {},
        {"strips": "on"},
        {"optimizer": "adam", "learning_rate": 2.0, "carry_moments": True, "average": 0.9},
        {"init": "noise", "style_loss": "gram", "colors": "content"},
    ],
)
def test_a_team_paints_what_one_process_does(team: Team, knobs: dict[str, Any]) -> None:
    rows: list[Any] = []
    alone, together = paint(made(**knobs)), paint(made(**knobs), team=team, observer=rows.extend)
    assert apart(alone.picture.rgb, together.picture.rgb) < 1e-3
    assert together.losses[0].total == pytest.approx(alone.losses[0].total, rel=1e-3)
    assert [row.step for row in rows] == [0, 1, 2, 3, 3, 4, 5]
    assert together.picture.rgb.shape == (1, 3, SIZE, 130)


def test_a_team_holds_to_what_one_process_holds_to(team: Team) -> None:
    weight = torch.zeros(1, 1, SIZE, 130)
    weight[:, :, 40:130, 20:90] = 1
    references = [Reference(photo(3, SIZE, 130), weight)]
    alone, together = (
        paint(made(), references=references, **more) for more in ({}, {"team": team})
    )
    assert apart(alone.picture.rgb, together.picture.rgb) < 1e-3
    assert apart(alone.picture.rgb, paint(made()).picture.rgb) > 0.1


def test_a_render_goes_on_alone_or_together(team: Team) -> None:
    """From a checkpoint between sizes, and from one within a size."""
    adam = {"optimizer": "adam", "learning_rate": 2.0, "average": 0.9}
    long = made(steps=1, refine_steps=30, segment=10, **adam)
    cuts: list[Checkpoint] = []
    whole = paint(long, team=team, on_checkpoint=cuts.append)
    assert [cut.steps for cut in cuts] == [1, 11, 21]
    for cut in (cuts[0], cuts[-1]):
        kept = replace(cut, tensors={name: tensor.clone() for name, tensor in cut.tensors.items()})
        again = paint(long, resume=kept, team=team)
        assert torch.equal(again.picture.rgb, whole.picture.rgb)
        # Rounding grows from step to step: Adam's are as long as its rate however small a gradient is.
        alone = paint(long, resume=kept)
        assert alone.losses[0].total == pytest.approx(whole.losses[0].total, rel=0.02)
        for name, tensor in cut.tensors.items():
            assert torch.equal(kept.tensors[name], tensor)


def test_a_team_stops_when_asked_and_paints_again(team: Team) -> None:
    pids = None

    def should_stop() -> bool:
        nonlocal pids
        pids = team.pids
        return len(seen) > 0

    seen: list[Any] = []
    endless = made(steps=100_000, start_size=None)
    with pytest.raises(InterruptedRender):
        paint(
            endless,
            team=team,
            observer=seen.extend,
            observe_seconds=0.1,
            should_stop=should_stop,
        )
    assert paint(made(), team=team).losses
    assert team.pids == pids  # no process had to start again


def test_a_render_that_diverges_leaves_its_best_picture(team: Team) -> None:
    with pytest.raises(DivergedError) as caught:
        paint(made(steps=100_000, tv_weight=3e38), team=team)
    (best,) = caught.value.pictures
    assert best.rgb.shape[1] == 3
    assert best.rgb.isfinite().all()
    assert paint(made(), team=team).losses


def meanwhile(team: Team, do: Callable[[], None]) -> BaseException:
    """What a render raises after something is done to it once it paints."""
    began = threading.Event()

    def act() -> None:
        began.wait(60)
        do()

    thread = threading.Thread(target=act)
    thread.start()
    with pytest.raises(Exception) as caught:  # noqa: PT011 - returned
        paint(
            made(steps=100_000, start_size=None),
            team=team,
            observer=lambda _: began.set(),
            observe_seconds=0.1,
        )
    thread.join()
    return caught.value


@pytest.mark.parametrize("member", [0, 1])
def test_a_member_that_is_killed_ends_the_render_and_not_the_team(team: Team, member: int) -> None:
    paint(made(), team=team)
    before = team.pids
    error = meanwhile(team, lambda: os.kill(before[member], signal.SIGKILL))
    assert isinstance(error, MemberLostError)
    assert "signal" in str(error)
    assert not any(psutil.pid_exists(pid) for pid in before)
    assert paint(made(), team=team).losses
    assert set(team.pids).isdisjoint(before)


def test_out_of_memory_in_a_member_is_painted_in_strips(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    team.close()
    monkeypatch.setattr("stylize.team.team.MODULE", "tests.stylize.team.poor_member")
    result = paint(made(), team=team)
    assert result.concessions == ("out of memory: painted in strips",)
    team.close()


def test_members_end_with_the_process_that_made_them() -> None:
    import subprocess
    import sys

    code = """
from tests.stylize.team.test_team import *
team = Team(["cpu", "cpu"], replaced(tiny_network()))
paint(made(), team=team)
print(*team.pids, flush=True)
paint(made(steps=100_000), team=team)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    pids = [int(pid) for pid in process.stdout.readline().split()]
    assert len(pids) == 2
    process.kill()
    process.wait()
    deadline = time.monotonic() + 300
    while any(map(psutil.pid_exists, pids)):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_an_error_in_a_member_is_raised_here() -> None:
    """Here, of weights that fit no picture: the members find it out."""
    convs = tiny_convs()
    convs[3] = (convs[3][0][:, :2], convs[3][1])
    with Team(["cpu", "cpu"], VGG19(convs, CAFFE, "broken")) as broken:
        with pytest.raises(RuntimeError, match="channels"):
            paint(made(), team=broken)
        assert broken.pids == []


def test_a_team_of_one_is_none() -> None:
    for devices in (["cpu"], "cpu"):
        with pytest.raises(ValueError, match="at least two"):
            Team(devices, tiny_network())


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is such a device")
def test_a_device_that_is_not_there_is_told() -> None:
    with Team(["cpu", "cuda:0"], replaced(tiny_network())) as team:
        with pytest.raises(MemberLostError, match=r"process 2 of 2 .* cannot start on cuda:0: .+"):
            paint(made(), team=team)
        assert team.pids == []


def test_threads_that_share_a_team_wait_for_one_another(team: Team) -> None:
    with ThreadPoolExecutor(2) as threads:
        both = [threads.submit(paint, made(), team=team) for _ in range(2)]
        one, other = (render.result().picture.rgb for render in both)
    assert torch.equal(one, other)


def test_no_file_is_left_whoever_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with Team(["cpu", "cpu"], replaced(tiny_network())) as team:
        paint(made(), team=team)
        pids = team.pids
        # As when this process were killed: nothing is left to end them but the pipes.
        for _, pipe in team._members:
            pipe.close()
        deadline = time.monotonic() + 300
        while any(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE for pid in pids):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert list(tmp_path.iterdir()) == []
