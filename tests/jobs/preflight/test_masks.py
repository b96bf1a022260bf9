"""Masks that can hardly be meant are found before a render, as far as they are on this disk."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from pathlib import Path

import psutil
import pytest
from PIL import Image, ImageDraw

from jobs.inputs.reader import Inputs
from jobs.preflight import masks, preflight
from jobs.preflight.masks import doubt_of, doubtful_masks
from jobs.preflight.preflight import Findings, Preflight
from jobs.records.statuses import Ledger
from jobs.tasks.todo import Agenda
from tests.jobs.support import read, touch


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine takes longer to look at a mask than a run would wait."""
    monkeypatch.setattr(masks, "MOST_SECONDS", 300.0)


def write(path: Path, mode: str = "L", ground: str = "black", paint: str = "white") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new(mode, (40, 30), ground)
    ImageDraw.Draw(image).rectangle((0, 0, 19, 29), fill=paint)
    image.save(path)


def looked(base: Path, *names: str) -> list[str]:
    return list(doubtful_masks(Inputs(base), names, lambda: False))


def test_each_doubtful_mask_is_named(tmp_path: Path) -> None:
    write(tmp_path / "good.png")
    write(tmp_path / "red.png", "RGB", paint="red")
    Image.new("L", (40, 30)).save(tmp_path / "black.png")
    Image.new("L", (40, 30), 1).save(tmp_path / "labels.png")
    touch(tmp_path, "text.png")
    found = looked(
        tmp_path, "red.png", "good.png", "text.png", "gone.png", "black.png", "labels.png"
    )
    assert [sentence.split(",")[0].split(" and")[0] for sentence in found] == [
        "red.png is coloured",
        "black.png is black everywhere",
        "labels.png has only the value 1",
    ]


def test_folders_named_like_ours_are_not_taken_for_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("L", (40, 30)).save(tmp_path / "black.png")
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "__init__.py").write_text("raise SystemExit('hijacked')")
    monkeypatch.chdir(tmp_path)
    assert len(looked(tmp_path, "black.png")) == 1


def test_looking_ends_when_it_is_asked_to(tmp_path: Path) -> None:
    Image.new("L", (40, 30)).save(tmp_path / "black.png")
    assert list(doubtful_masks(Inputs(tmp_path), ["black.png"] * 3, lambda: True)) == []


def test_a_large_mask_is_left_to_the_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("L", (40, 30)).save(tmp_path / "black.png")
    monkeypatch.setattr(masks, "MOST_PIXELS", 40 * 30 - 1)
    assert looked(tmp_path, "black.png") == []
    monkeypatch.setattr(masks, "MOST_PIXELS", 40 * 30)
    assert len(looked(tmp_path, "black.png")) == 1


def misbehave(inputs: Inputs, uri: str, most_pixels: int) -> str | None:
    """Looks at masks as decoders do that are broken."""
    match uri:
        case "exit.png":
            os._exit(7)
        case "crash.png":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "hang.png":
            ctypes.PyDLL(None).sleep(10_000)
    return doubt_of(inputs, uri, most_pixels)


def test_a_mask_that_ends_what_reads_it_ends_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("L", (40, 30)).save(tmp_path / "black.png")
    uris = ["exit.png", "black.png", "crash.png", "black.png", "exit.png"]
    look = f"{__name__}:misbehave"
    found = list(doubtful_masks(Inputs(tmp_path), uris, lambda: False, look))
    assert [sentence.split(",")[0] for sentence in found] == [
        "exit.png ends the process that reads it (exit status 7)",
        "black.png is black everywhere",
        "crash.png ends the process that reads it (SIGSEGV)",
        "black.png is black everywhere",
        "exit.png ends the process that reads it (exit status 7)",
    ]
    # However long its process takes to start, it is told the same.
    monkeypatch.setattr(masks, "MOST_SECONDS", 5.0)
    (hangs,) = doubtful_masks(Inputs(tmp_path), ["hang.png"], lambda: False, look)
    assert hangs.split(",")[0] == "hang.png was not read in 5 s"
    assert not still_looking()


def test_a_mask_that_hangs_holds_nobody_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masks, "MOST_SECONDS", 180.0)
    end = time.monotonic() + 2
    began = time.monotonic()
    look = f"{__name__}:misbehave"
    found = doubtful_masks(Inputs(tmp_path), ["hang.png"] * 9, lambda: time.monotonic() > end, look)
    assert list(found) == []
    assert time.monotonic() - began < 60
    assert not still_looking()


def still_looking() -> list[psutil.Process]:
    return [p for p in psutil.Process().children() if "mask_process" in " ".join(p.cmdline())]


# -- which masks are looked at -----------------------------------------------------------------------

MASKED = """\
    output: out
    pairs:
    - content: [p0.jpg, p1.jpg, p2.jpg]
      style: [{picture: w.jpg, mask: "m/{content}.png"}, {picture: v.jpg, mask: all.png}]
    """


def findings(job: Agenda, ledger: Ledger | None = None) -> Findings:
    looking = Preflight(job)
    looking.search(60)
    return looking.judge(job, lambda: ledger or Ledger.of({}), False)


def agenda(base: Path, text: str = MASKED) -> Agenda:
    touch(base, *(f"p{k}.jpg" for k in range(3)), "w.jpg", "v.jpg", "all.png")
    touch(base, *(f"m/p{k}.png" for k in range(3)))
    return Agenda(read(text, base), lambda _: "digest")


def test_masks_of_tasks_to_do_each_once(tmp_path: Path) -> None:
    job = agenda(tmp_path)
    found = findings(job)
    assert found.masks == ("m/p0.png", "m/p1.png", "m/p2.png", "all.png")
    assert found.missing == ()
    first, *_ = job.tasks()
    assert findings(job, Ledger.of({first.id: "done"})).masks == ("m/p1.png", "m/p2.png", "all.png")
    everything = Ledger.of({task.id: "done" for task in job.tasks()})
    assert findings(job, everything).masks == ()


def test_few_masks_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "MOST_MASKS", 2)
    assert findings(agenda(tmp_path)).masks == ("m/p0.png", "m/p1.png")


def test_masks_of_manifests_too_but_none_of_s3_and_the_web(tmp_path: Path) -> None:
    styles = [
        f'{{"picture": "w.jpg", "mask": "{at}m.png"}}' for at in ("s3://pics/", "https://e.org/")
    ]
    rows = [
        '{"content": "p0.jpg", "style": {"picture": "w.jpg", "mask": "all.png"}}',
        *(f'{{"content": "p1.jpg", "style": {style}}}' for style in styles),
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(rows))
    job = agenda(tmp_path, "output: out\npairs: [{manifest: rows.jsonl}]")
    looking = Preflight(job)
    assert looking.judge(job, lambda: Ledger.of({}), False).masks == ("all.png",)
