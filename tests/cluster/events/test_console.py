"""What a person sees of a run."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest
from rich.console import Console

from cluster.events.console import ConsoleView
from cluster.events.events import (
    Beat,
    Draining,
    Finished,
    MasksDoubtful,
    NodeAvoided,
    NoVideo,
    PagesLeftOut,
    Paused,
    PicturesMissing,
    Resumed,
    Started,
    TaskDone,
    TaskFailed,
    TaskRetried,
    VideoDoubtful,
    VideoMade,
    VideoProgress,
    WorkerLost,
)
from cluster.events.json_lines import to_json
from cluster.events.progress import Meter
from cluster.messages import Progress, WorkerState
from stylize.recipe import Recipe


def shown(*events, terminal=False, quiet=False):
    text = io.StringIO()
    view = ConsoleView(Console(file=text, width=200, force_terminal=terminal), quiet=quiet)
    for event in events:
        view(event)
    view.close()
    return text.getvalue()


STARTED = Started(job="harbour", output="out", tasks=10, done=4, failed=1, work_left=1000)


def test_a_run_in_lines():
    text = shown(
        STARTED,
        TaskDone(
            id="ab",
            name="a--b",
            image="images/a--b-ab.png",
            steps=170,
            work=100,
            seconds=12.3,
            total=4.5e6,
            worker="w",
        ),
        TaskRetried(id="cd", name="c--b", error="its worker died", attempt_number=1, delay=0.0),
        TaskFailed(id="ef", name="e--b", error="e.jpg is empty (0 bytes)", work=100, attempts=1),
        Finished(done=1, failed=1, left=3, seconds=65.0, reason="interrupted"),
    )
    assert "10 tasks, 4 done already, 1 failed earlier (--retry-failed" in text
    assert "done images/a--b-ab.png (170 steps in 12 s, loss 4.5e+06)" in text
    assert "retry c--b-cd: its worker died" in text
    assert "failed e--b-ef: e.jpg is empty (0 bytes)" in text
    assert "1 done, 1 failed, 3 left in 0:01:05; run the same command again to resume" in text


def test_names_are_shown_as_they_are():
    # rich would take [red] for a colour
    text = shown(
        STARTED, TaskFailed(id="ef", name="[red]e", error="[bold] is empty", work=1, attempts=1)
    )
    assert "failed [red]e-ef: [bold] is empty" in text


def test_the_gallery_is_named_where_something_will_be_rendered():
    started = replace(STARTED, gallery="out/[red]/index.html")
    assert "gallery: out/[red]/index.html\n" in shown(started)
    assert "gallery" not in shown(replace(started, done=9))
    assert shown(started, quiet=True) == ""


def test_nothing_left_says_so():
    done = Finished(done=0, failed=0, left=0, seconds=0.1, reason="complete")
    assert "everything is already done" in shown(
        Started(job="h", output="out", tasks=4, done=4, failed=0, work_left=0), done
    )
    # What failed is not done.
    assert (
        "already done"
        not in shown(
            Started(job="h", output="out", tasks=4, done=3, failed=1, work_left=0), done
        ).splitlines()[-1]
    )


def test_quiet_is_quiet():
    assert (
        shown(
            STARTED, Finished(done=1, failed=0, left=0, seconds=1.0, reason="complete"), quiet=True
        )
        == ""
    )


MADE = VideoMade(
    id="ab", name="a--b", video="videos/a--[b]-ab.mp4", frames=1, length=4.04, size=2500, seconds=61
)
FAILED_VIDEO = NoVideo(
    id="cd", name="c--b", reason="shot.mp4 is [gone]", failed=True, video="videos/c--b-cd.mp4"
)
DOUBTFUL = VideoDoubtful(film="shots/[a].####.png", reason="its frames have several sizes")
LATER = NoVideo(id="ef", name="e--b", reason="a frame is not painted yet: 1012", failed=False)


def test_videos_are_named_with_what_they_are_or_why_they_are_not():
    text = shown(
        STARTED,
        MADE,
        LATER,
        FAILED_VIDEO,
        Finished(done=1, failed=0, left=3, seconds=65.0, reason="limit", videos=1, videos_failed=2),
    )
    assert "video videos/a--[b]-ab.mp4 (1 frame, 4.0 s, 2.5 kB; made in 0:01:01)" in text
    assert "no videos/c--b-cd.mp4: shot.mp4 is [gone]" in text
    assert "no video of e--b: a frame is not painted yet: 1012" in text
    assert "3 left, 1 video made, 2 videos failed in 0:01:05; stopped by --limit" in text
    assert (
        shown(MADE, LATER, FAILED_VIDEO, quiet=True)
        == "no videos/c--b-cd.mp4: shot.mp4 is [gone]\n"
    )
    nothing = Finished(done=0, failed=0, left=0, seconds=2.0, reason="complete", videos=2)
    assert "everything is already done, 2 videos made (0:00:02)" in shown(nothing)


def test_a_film_of_which_no_video_can_be_made_is_told_while_it_is_painted():
    text = "no video can be made of shots/[a].####.png: its frames have several sizes\n"
    assert shown(DOUBTFUL) == shown(DOUBTFUL, quiet=True) == text


def test_the_bar_follows_a_video_also_where_nothing_was_rendered():
    progress = VideoProgress(video="videos/a--b-ab.mp4", frame=120, frames=2000)
    text = shown(progress, terminal=True)
    assert "makes videos/a--b-ab.mp4, frame 120 of 2,000" in text
    assert "120/2000" in text
    assert shown(progress) == ""  # without a terminal, a line now and then


def test_the_bar_tells_done_left_speed_and_time(monkeypatch):
    now = iter(range(0, 100, 10))
    monkeypatch.setattr("cluster.events.console.time.monotonic", lambda: next(now))
    beats = [
        Beat(
            done=1,
            failed=1,
            workers=2,
            running=(Progress("a", "1-a", "w", 32, step, 100, 10 * step, 1.0),),
        )
        for step in (0, 20, 40)
    ]
    text = shown(STARTED, *beats, terminal=True)
    assert "1 done, 1 failed, 3 left, 2 workers, 2.0 steps/s, ETA 0:00:30" in text


def test_the_time_to_go_is_reckoned_in_work_not_steps():
    recipe = Recipe(size=256, start_size=128, steps=100, refine_steps=100)
    meter = Meter(recipe.total_work)
    # 100 steps at 128 px took 10 s; 100 at 256 px will take four times as long.
    meter.beat(0, recipe.work_at(0), 0.0)
    meter.beat(100, recipe.work_at(100), 10.0)
    assert meter.steps_per_second == pytest.approx(10)
    assert meter.seconds_left == pytest.approx(40)


def test_events_are_json_even_where_numbers_are_not():
    beat = Beat(
        done=0, failed=0, workers=1, running=(Progress("a", "1-a", "w", 32, 0, 5, 0, float("nan")),)
    )
    line = to_json(beat)
    assert "\n" not in line
    assert json.loads(line)["running"][0]["total"] is None


def test_the_fleet_is_seen_in_the_bar(monkeypatch):
    monkeypatch.setattr("cluster.events.console.LINE_SECONDS", -1.0)
    fleet = (
        WorkerState("gpu-0(gpu 0)@a:1", "n", "H100", 1.0, 9.0, 2),
        WorkerState("gpu-1(gpu 1)@a:2", "n", "H100", 0.5, 5.0, 1),
        WorkerState("gpu-2(gpu 2)@a:3", "n", "H100", None, 0.0, 0),
    )
    text = shown(
        STARTED, Beat(done=3, failed=0, workers=3, running=(), pending=2, paused=True, fleet=fleet)
    )
    assert "3 done, 0 failed, 2 left, 3 workers 75% busy (least gpu-1(gpu 1): 50%)" in text
    assert "(+2 pending), paused" in text


def test_pauses_and_losses_are_shown_with_what_follows():
    text = shown(
        STARTED,
        WorkerLost(
            worker="gpu-0@a:1",
            node="node",
            reason="its worker died: SIGSEGV",
            kind="worker",
            attempts=2,
        ),
        NodeAvoided(node="node", faults=3),
        Paused(reason="503 Slow Down", patience=3600.0),
        Resumed(seconds=12.4),
        Draining(running=2, preempted=True),
        Finished(done=1, failed=0, left=4, seconds=65.0, reason="preempted"),
    )
    assert "lost gpu-0@a:1: its worker died: SIGSEGV" in text
    assert "avoiding node node: 3 workers were lost there" in text
    assert "paused: 503 Slow Down (nothing is lost; retrying for up to 1:00:00)" in text
    assert "resumed after 12 s" in text
    assert "stopping: running tasks store checkpoints" in text
    assert "4 left in 0:01:05; run the same command again to resume" in text


def test_pictures_that_are_missing_and_masks_that_are_doubtful_are_named():
    missing = PicturesMissing(
        pictures=30, looked_at=1000, complete=False, first=("job.yaml:3: There is no file [a].jpg",)
    )
    doubtful = MasksDoubtful(masks=3, first=("m/[x].png is black everywhere",))
    text = shown(STARTED, missing, doubtful)
    assert "will fail job.yaml:3: There is no file [a].jpg\n" in text
    assert "30 of 1,000 pictures looked at cannot be used; others were not looked at\n" in text
    assert "doubtful m/[x].png is black everywhere\n" in text
    assert "2 more masks are doubtful\n" in text
    further = PagesLeftOut(pictures=2, first=("[a].tif has 3 pages, of which the first counts",))
    assert shown(STARTED, further).endswith(
        "in part [a].tif has 3 pages, of which the first counts\n1 more picture likewise\n"
    )
    quiet = shown(STARTED, missing, doubtful, quiet=True)
    assert "There is no file" in quiet
    assert "doubtful" not in quiet


def test_what_must_be_known_is_said_even_when_quiet():
    assert "503" in shown(STARTED, Paused(reason="503 Slow Down", patience=60.0), quiet=True)


def test_gpu_hours_that_end_a_run_are_named():
    assert "stop.max_gpu_hours" in shown(
        STARTED, Finished(done=1, failed=0, left=4, seconds=65.0, reason="max_gpu_hours")
    )
