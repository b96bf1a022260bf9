"""Whole runs of films whose motion is not found in the usual way: what is read, kept, recorded and seen."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from torchvision.models.optical_flow import raft_large

from cluster.events.events import Event, InputChanged, TaskDone, TaskFailed
from cluster.run.options import RunOptions
from cluster.run.run_job import run_job
from jobs.jobfile.job import Job, open_output
from jobs.jobfile.load import load_job
from jobs.records.commit import Records
from jobs.records.record import TaskRecord
from stylize.film.flow_file import read_motions
from stylize.film.sources import raft
from stylize.film.structure import place_of
from tests.stylize.film.clips import pan
from tests.support.farm import STAND_IN, TINY_RECIPE, write_film_job, write_weights

FLOW = {"forward": "flow/f.####.flo", "backward": "flow/b.####.flo"}


def run(job: Job, renderer: str = STAND_IN, **options: Any) -> list[Event]:
    events: list[Event] = []
    run_job(job, RunOptions(pool="inline", renderer=renderer, **options), events.append)
    return events


def painted(events: list[Event]) -> set[str]:
    return {event.id for event in events if isinstance(event, TaskDone)}


def records(job: Job) -> dict[int, TaskRecord]:
    """By the number of the frame."""
    return {r.film.number: r for r in Records(open_output(job)).all() if r.film is not None}


def write_flow(path: Path, right: float = 0.0, shape: tuple[int, int] = (4, 6)) -> None:
    path.parent.mkdir(exist_ok=True)
    flow = np.broadcast_to(np.float32([right, 0]), (*shape, 2)).copy()
    assert cv2.writeOpticalFlow(str(path), flow)


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """A film of 20 frames with their motion."""
    for n in range(1001, 1020):
        write_flow(tmp_path / f"flow/f.{n}.flo")
        write_flow(tmp_path / f"flow/b.{n + 1}.flo")
    return write_film_job(tmp_path, [{"n": k} for k in range(20)], flow=FLOW)


def test_records_have_the_files_between_a_frame_and_those_that_it_holds_to(job: Job) -> None:
    assert len(painted(run(job))) == 20
    for number, record in records(job).items():
        assert record.film is not None
        indices = [number - 1001, *place_of(number - 1001, [(0, 20)]).needs]
        between = range(1001 + min(indices), 1001 + max(indices))
        read = {one.uri for one in record.film.flow}
        assert read == {f"flow/{name}.flo" for n in between for name in (f"f.{n}", f"b.{n + 1}")}
        # Pictures are inputs; these are none.
        assert not read & {one.uri for one in record.inputs}


def test_what_depends_on_a_changed_file_is_rendered_again_and_nothing_else(job: Job) -> None:
    run(job)
    before = records(job)
    depend = {
        n for n, r in before.items() if r.film and "flow/f.1006.flo" in {f.uri for f in r.film.flow}
    }
    assert 1 < len(depend) < 20
    while more := {
        n
        for n, r in before.items()
        if r.film and n not in depend and depend & {1001 + need.index for need in r.film.needs}
    }:
        depend |= more

    # That it was touched is no change.
    os.utime(job.base / "flow/f.1006.flo", (1, 1))
    assert painted(run(job, if_changed=True)) == set()
    write_flow(job.base / "flow/f.1006.flo", right=1.0)
    events = run(job, if_changed=True)

    assert painted(events) == {before[n].id for n in depend}
    assert "flow/f.1006.flo" in {e.uri for e in events if isinstance(e, InputChanged)}
    assert painted(run(job, if_changed=True)) == set()


def test_a_file_that_is_damaged_fails_the_frames_around_it_by_its_name(tmp_path: Path) -> None:
    frames = pan(3, 48, 64).frames
    job = write_pictures(tmp_path, frames, flow=FLOW)
    for n in (1, 2):
        write_flow(tmp_path / f"flow/f.{n:04}.flo", shape=(48, 64))
        write_flow(tmp_path / f"flow/b.{n + 1:04}.flo", shape=(48, 64))
    (tmp_path / "flow/f.0002.flo").write_bytes(b"PIEH and no more")

    events = run(load_job(job), PAINTER)

    failed = [event for event in events if isinstance(event, TaskFailed)]
    assert len(failed) == 2
    assert failed[0].error.startswith("motion flow/f.0002.flo says that it has ")
    assert failed[1].error.startswith(
        "frame 3 has failed, which this frame holds to: motion flow/f"
    )


PAINTER = RunOptions().renderer


def write_pictures(folder: Path, frames: list[np.ndarray], **changes: Any) -> Path:
    (folder / "shots").mkdir()
    for n, frame in enumerate(frames, 1):
        Image.fromarray(frame).save(folder / f"shots/a.{n:04}.png")
    Image.fromarray(frames[0][::-1].copy()).save(folder / "style.png")
    write_weights(folder / "tiny.safetensors")
    spec = {
        "output": "out",
        "recipe": {**TINY_RECIPE, "weights": "tiny.safetensors", "size": 64},
        "pairs": [
            {"film": "shots/a.####.png", "style": "style.png", "cuts": "none", **changes},
        ],
    }
    (folder / "job.yaml").write_text(yaml.safe_dump(spec))
    return folder / "job.yaml"


def test_raft_finds_motion_with_weights_from_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = pan(3, 48, 64).frames
    hub = tmp_path / "torch/hub/checkpoints"
    hub.mkdir(parents=True)
    name = raft.URL.rsplit("/", 1)[1]
    torch.save(raft_large(weights=None).state_dict(), hub / name)
    digest = hashlib.sha256((hub / name).read_bytes()).hexdigest()
    monkeypatch.setattr(raft, "SHA256_PREFIX", digest[:8])
    monkeypatch.setattr(raft, "UPDATES", 2)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    raft._network.cache_clear()
    usual = load_job(write_pictures(tmp_path, frames))
    run(usual, PAINTER)
    spec = yaml.safe_load(Path(usual.file).read_text())
    spec["pairs"][0]["flow"] = "raft"
    Path(usual.file).write_text(yaml.safe_dump(spec))

    found = painted(run(load_job(usual.file), PAINTER))

    raft._network.cache_clear()
    assert len(found) == 3
    # Beside what was found in the usual way.
    assert len(list((tmp_path / "out/films").rglob("*.npz"))) == 2
    assert len(list(Records(open_output(usual)).all())) == 6


def test_given_motion_is_kept_as_it_was_given(tmp_path: Path) -> None:
    """With the painter itself: what is kept is the true motion of the camera."""
    clip = pan(3, 48, 64, (2.0, 0.0))
    file = write_pictures(tmp_path, clip.frames, flow=FLOW)
    for n in (1, 2):
        # The camera goes right: what is at x in a frame is at x - 2 in the next one.
        write_flow(tmp_path / f"flow/f.{n:04}.flo", -2.0, (48, 64))
        write_flow(tmp_path / f"flow/b.{n + 1:04}.flo", 2.0, (48, 64))
    job = load_job(file)

    assert len(painted(run(job, PAINTER))) == 3

    (kept,) = (tmp_path / "out/films").rglob("flow/*.npz")
    motions = read_motions(kept.read_bytes())
    assert np.array_equal(motions[0].there, np.broadcast_to(np.float32([-2, 0]), (48, 64, 2)))
    assert np.array_equal(motions[1].back, np.broadcast_to(np.float32([2, 0]), (48, 64, 2)))
    read = json.loads(kept.with_suffix(".json").read_text())
    assert [one["uri"] for one in read] == [
        "flow/f.0001.flo",
        "flow/b.0002.flo",
        "flow/f.0002.flo",
        "flow/b.0003.flo",
    ]
