"""What a film would take: fewer steps for what is held, a tree that keeps only so many workers busy."""

from __future__ import annotations

import heapq
import json
import re
from pathlib import Path

import pytest
from PIL import Image

from cluster.open_job import open_agenda
from cluster.plan.film_plan import Trees
from cluster.plan.plan import Price, make_plan
from cluster.plan.plan_text import to_text
from jobs.records.statuses import ABSENT, Ledger
from jobs.storage import keys
from jobs.storage.folder import FolderStorage
from jobs.tasks.census import Counter
from jobs.tasks.row_account import RowAccount
from jobs.tasks.todo import Agenda
from jobs.videos.wanted import wanted_videos
from stylize.film.structure import places
from tests.jobs.support import read, touch
from tests.stylize.film.clips import pan
from tests.support.farm import stylefarm, write_film_job, write_job

WHOLE, HELD = 10.0, 4.0
"""Seconds of a frame that is painted as a picture, and of one that is held."""


def film_of(folder: Path, frames: int, more: str = "") -> Agenda:
    touch(folder, "w.jpg", *(f"shots/a.{n:04d}.png" for n in range(1, frames + 1)))
    text = f"output: out\npairs: [{{film: shots/a.####.png, style: w.jpg, cuts: none{more}}}]\n"
    return Agenda(read(text, folder), lambda recipe: "digest")


def trees_of(agenda: Agenda) -> Trees:
    trees = Trees()
    for draft, _ in agenda.drafts(Ledger.of({}), RowAccount()):
        trees.add(draft, "kind")
    return trees


def simulated(frames: int, workers: int) -> float:
    """The end of a shot that is painted by so many workers, each of which takes what may begin."""
    order = list(places([(0, frames)]))
    rank = {place.index: k for k, place in enumerate(order)}
    missing = {place.index: len(place.needs) for place in order}
    ready, painting, now = [(0, 0)], [], 0.0
    while ready or painting:
        while ready and len(painting) < workers:
            _, index = heapq.heappop(ready)
            heapq.heappush(painting, (now + (HELD if index else WHOLE), index))
        now, done = heapq.heappop(painting)
        for place in order:
            if done in place.needs:
                missing[place.index] -= 1
                if not missing[place.index]:
                    heapq.heappush(ready, (rank[place.index], place.index))
    return now


@pytest.mark.parametrize("frames", [1, 2, 9, 33, 64, 150])
def test_a_film_takes_as_long_as_its_frames_wait_for_each_other(tmp_path: Path, frames: int):
    trees = trees_of(film_of(tmp_path, frames))
    for workers in (1, 2, 5, 8, 16, 100):
        told = trees.seconds(lambda kind, held: HELD if held else WHOLE, workers)
        assert told is not None
        true = simulated(frames, workers)
        assert told - 1e-9 <= true <= 1.15 * told, (workers, told, true)


def test_times_that_nobody_knows_make_none(tmp_path: Path):
    trees = trees_of(film_of(tmp_path, 5))
    assert trees.seconds(lambda kind, held: None if held else WHOLE, 4) is None
    # Of frames that need not be painted nobody needs to know.
    trees = trees_of(film_of(tmp_path / "one", 1))
    assert trees.seconds(lambda kind, held: None if held else WHOLE, 4) == WHOLE


def test_what_is_held_is_counted_apart(tmp_path: Path):
    recipe = {"size": 64, "start_size": 32, "steps": 60, "refine_steps": 25}
    job = write_film_job(tmp_path, [{"n": k} for k in range(40)], cuts=[1021], recipe=recipe)
    plan = make_plan(open_agenda(job), None, "out", Price(gpus=50))

    # 0.4 * 60 = 24 and 0.4 * 25 = 10
    assert [(g.held, g.tasks, g.steps) for g in plan.groups] == [(False, 2, 85), (True, 38, 34)]
    # 16 bytes per pixel of the canvas, whose margin is 8 pixels wide
    assert plan.groups[1].memory_bytes - plan.groups[0].memory_bytes == 16 * 80**2
    (film,) = plan.films
    assert (film.longest, film.width, film.workers) == (20, 8, 16)
    lines = to_text(plan).splitlines()
    assert any("34 steps, held to other frames" in line for line in lines)
    text = "    its longest shot, 20 frames, keeps at most 8 workers busy at once, all of it 16"
    assert text in lines


def test_motion_that_is_there_tells_how_much_there_will_be(tmp_path: Path):
    job = write_film_job(tmp_path, [{"n": k} for k in range(20)])
    agenda = open_agenda(job)
    storage = FolderStorage(tmp_path / "out")
    film = agenda.films[0].frames.id
    for low, high in ((0, 16), (16, 19)):
        storage.put(keys.film_flow(film, low, high, "0" * 8), b"x" * 1000 * (high - low))

    (film_plan,) = make_plan(agenda, None, "out").films
    assert film_plan.motion_bytes == 19_000


def test_a_film_is_told_once_and_each_of_its_videos_by_its_file(tmp_path: Path):
    touch(tmp_path, "w.jpg", *(f"shots/a.{n:04d}.png" for n in range(1, 41)))
    text = """\
        output: out
        pairs:
        - {film: shots/a.####.png, style: w.jpg, cuts: none, video: mp4}
        - {film: shots, style: w.jpg, cuts: none, video: {codec: ffv1, bits: 16, rate: 25}}
        - {film: shots, style: w.jpg, cuts: [21], video: {codec: prores, quality: 90}}
        - {film: shots, style: w.jpg, cuts: none, recipe: {seed: 1, init: noise}}
        """
    agenda = Agenda(read(text, tmp_path), lambda recipe: "digest")
    plan = make_plan(agenda, None, "out")

    begins = "  film", "    its", "    video"
    lines = [line for line in to_text(plan).splitlines() if line.startswith(begins)]
    files = [video.key for video in wanted_videos(agenda)]
    one_shot, _, two_shots, _ = agenda.films
    wide, few = max(one_shot.widths), max(two_shots.widths)
    assert lines == [
        "  film shots/a.####.png: 40 frames 1-40 in 1 shot; 7 are painted one after the other",
        # by the first recipe, and by the last
        f"    its longest shot, 40 frames, keeps at most {wide} workers busy at once, all of it {2 * wide}",
        f"    video {files[0]}: h264, quality 75, 24 frames per second",
        f"    video {files[1]}: ffv1, 16 bits, 25 frames per second",
        f"  film shots: 40 frames 1-40 in 2 shots; {two_shots.depth} are painted one after the other",
        f"    its longest shot, 20 frames, keeps at most {few} workers busy at once, all of it {2 * few}",
        f"    video {files[2]}: prores, quality 90, 24 frames per second",
    ]
    assert plan.useful_workers == 2 * wide + 2 * few


def test_held_frames_are_less_work_to_go(tmp_path: Path):
    agenda = film_of(tmp_path, 33, ", recipe: {size: 32, start_size: null, steps: 10}")
    counter = Counter()
    for draft, _ in agenda.drafts(Ledger.of({}), RowAccount()):
        counter.add(draft, ABSENT)
    assert counter.census(RowAccount()).work_left == (10 + 32 * 4) * 32**2
    assert sum(task.work for task in agenda.tasks()) == (10 + 32 * 4) * 32**2


def test_a_pilot_measures_both_kinds_of_frames(tmp_path: Path):
    (tmp_path / "shots").mkdir()
    for number, frame in enumerate(pan(6, 48, 64, (1.0, 0.5)).frames, 1001):
        Image.fromarray(frame).save(tmp_path / f"shots/a.{number}.png")
    pairs = [{"film": "shots/a.####.png", "style": "styles/", "cuts": "none"}]
    job = write_job(tmp_path, photos=0, styles=1, recipe={"size": 64}, pairs=pairs)

    planned = stylefarm("plan", job, "--pilot", "--gpus", "100", "--json")
    assert planned.returncode == 0, planned.stderr
    plan = json.loads(planned.stdout)
    whole, held = plan["groups"]
    assert (whole["held"], held["held"]) == (False, True)
    assert whole["motion_seconds"] is None
    assert 0 < held["motion_seconds"] < held["seconds_each"]
    assert held["told_by"] == "pilot"
    assert 0 < plan["films"][0]["motion_bytes"] < 5 * 48 * 64 * 8
    depth = plan["films"][0]["depth"]
    path = whole["seconds_each"] + (depth - 1) * held["seconds_each"]
    assert plan["films_seconds"] == pytest.approx(path)
    assert plan["wall_seconds"] == pytest.approx(path + plan["startup_seconds"])
    text = stylefarm("plan", job, "--gpus", "100").stdout
    assert re.search(r"keeps at most 2 workers busy", text)
