"""A run is refused only where it is certain that nothing can be rendered, here."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest
from PIL import Image

from cluster.events import events
from cluster.run import looking
from cluster.run.looking import Looking
from cluster.run.options import RunOptions
from cluster.run.run_job import run_job
from jobs.errors import JobFileError, Problem
from jobs.inputs.reader import Inputs
from jobs.records.statuses import Ledger
from jobs.tasks.films.survey import UnreadableFrames
from jobs.tasks.todo import Agenda
from tests.jobs.support import read, touch
from tests.support.farm import STAND_IN, wait_for, write_stand_in_job

NOTHING = Ledger.of({})


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine takes longer than a user would be let wait."""
    monkeypatch.setattr(looking, "LOOK_SECONDS", 60.0)


def agenda(base: Path, style: str = "w.jpg") -> Agenda:
    touch(base, "a.jpg", "b.jpg")
    text = f"output: out\npairs: [{{content: [a.jpg, b.jpg], style: {style}}}]"
    return Agenda(read(text, base), lambda _: "digest")


def judged(job: Agenda, *, refuse: bool) -> list[events.Event]:
    found = Looking(job)
    found.judge(job, lambda: NOTHING, retry_failed=False, refuse=refuse)
    heard: list[events.Event] = []
    found.tell(heard.append)
    return heard


def test_what_is_missing_here_may_be_there_on_a_cluster(tmp_path):
    job = agenda(tmp_path)
    with pytest.raises(JobFileError, match="nothing can be rendered"):
        judged(job, refuse=True)
    (event,) = judged(job, refuse=False)
    assert isinstance(event, events.PicturesMissing)
    assert (event.pictures, event.looked_at, event.complete) == (1, 3, True)
    assert judged(agenda(tmp_path, "a.jpg"), refuse=True) == []


def test_a_disk_that_does_not_answer_holds_no_run_up(tmp_path, monkeypatch):
    monkeypatch.setattr(looking, "LOOK_SECONDS", 0.1)
    check, answers = Inputs.check, threading.Event()

    def slow(inputs: Inputs, uri: str) -> None:
        answers.wait(60)
        check(inputs, uri)

    monkeypatch.setattr(Inputs, "check", slow)
    job = agenda(tmp_path)
    began = time.monotonic()
    try:
        assert judged(job, refuse=True) == []
        assert time.monotonic() - began < 30
    finally:
        answers.set()


# -- masks -------------------------------------------------------------------------------------------


def masked(base: Path, shades: dict[str, int]) -> Agenda:
    (base / "m").mkdir(parents=True, exist_ok=True)
    for name, shade in shades.items():
        Image.new("L", (8, 8), shade).save(base / "m" / f"{name}.png")
    contents = [f"{name}.jpg" for name in shades]
    touch(base, *contents, "w.jpg")
    text = f"""\
        output: out
        pairs: [{{content: {contents}, style: {{picture: w.jpg, mask: "m/{{content}}.png"}}}}]
        """
    return Agenda(read(text, base), lambda _: "digest")


def heard_of(job: Agenda, *later: events.Event) -> list[events.Event]:
    """What a listener hears after ``later`` events, once all masks on the disk were looked at."""
    found, heard = Looking(job), []
    found.judge(job, lambda: NOTHING, retry_failed=False, refuse=True)
    found.tell(heard.append)
    wait_for(lambda: not any(t.name == "look at masks" for t in threading.enumerate()))
    for event in later:
        found(event)
    found.tell_doubts()
    found.close()
    return heard


def test_what_is_found_out_about_a_film_later_is_told_before_the_next_event(tmp_path):
    job, heard = agenda(tmp_path, "b.jpg"), []
    found = Looking(job)
    found.judge(job, lambda: NOTHING, retry_failed=False, refuse=True)
    found.tell(heard.append)
    problem = Problem("job.yaml", 3, "pairs[0].film", "frame 6 of a.mp4 cannot be read")
    job.unreadable.append(UnreadableFrames(1, 9, problem))
    found(BEAT)
    found(BEAT)
    told = events.PicturesMissing(pictures=1, looked_at=9, complete=True, first=(str(problem),))
    assert heard == [told, BEAT, BEAT]


BEAT = events.Beat(done=0, failed=0, workers=1, running=())


def doubts(*sentences: str) -> events.MasksDoubtful:
    return events.MasksDoubtful(masks=len(sentences), first=sentences)


def test_a_doubtful_mask_is_told_once_by_whoever_reads_it_first(tmp_path):
    job = masked(tmp_path, {"a": 128, "b": 0, "c": 255})
    black = (
        "m/b.png is black everywhere, so its style applies nowhere: "
        "paint white where the style is to apply"
    )
    white = "m/c.png is white everywhere, so its style applies everywhere, as without a mask"

    heard = heard_of(job, BEAT, doubts(black, "s3://pics/m.png is coloured"), doubts(white), BEAT)

    assert heard == [doubts(black, white), BEAT, doubts("s3://pics/m.png is coloured"), BEAT]


def test_a_folder_of_doubtful_masks_is_told_of_with_a_few(tmp_path, monkeypatch):
    monkeypatch.setattr(looking, "MOST_TOLD", 12)
    job = masked(tmp_path, {f"{k:02}": 0 for k in range(11)})

    first, *rest = heard_of(job, BEAT, doubts("x is black"), doubts("y is black"))

    assert isinstance(first, events.MasksDoubtful)
    assert (first.masks, len(first.first)) == (11, 10)
    assert rest == [BEAT, doubts("x is black")]


def pages(*sentences: str) -> events.PagesLeftOut:
    return events.PagesLeftOut(pictures=len(sentences), first=sentences)


def test_a_picture_with_further_pages_is_told_once(tmp_path, monkeypatch):
    monkeypatch.setattr(looking, "MOST_TOLD", 3)
    job = masked(tmp_path, {"a": 128})

    heard = heard_of(job, pages("a", "b"), pages("b"), doubts("c"), pages("b", "d"), pages("e"))

    assert heard == [pages("a", "b"), doubts("c"), pages("d")]


def test_masks_on_s3_are_told_by_the_workers_that_read_them(s3_rig, tmp_path):
    storage = s3_rig.open()
    for name in ("black", "grey"):
        storage.put(
            f"{name}.png", json.dumps({"doubt": "is black"} if name == "black" else {}).encode()
        )
    styles = [
        {"picture": "style.png", "mask": f"{s3_rig.url}/{name}.png"} for name in ("black", "grey")
    ]
    job = write_stand_in_job(
        tmp_path,
        [{"n": 0}, {"n": 1}],
        pairs=[{"content": ["c000.png", "c001.png"], "style": styles}],
        storage=s3_rig.options.model_dump(exclude_none=True),
    )
    heard: list[events.Event] = []

    result = run_job(job, RunOptions(pool="inline", renderer=STAND_IN), heard.append)

    assert result.counts.done == 4
    told = [event for event in heard if isinstance(event, events.MasksDoubtful)]
    assert told == [doubts(f"{s3_rig.url}/black.png is black")]
