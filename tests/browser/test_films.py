"""A film in the gallery: one card on the wall, and a player."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cluster.events.fresh import FreshRows
from jobs.data_script import data_script
from jobs.records.commit import Records, write_json
from jobs.records.record import TaskRecord
from jobs.report.gallery import write_gallery
from jobs.storage import keys
from jobs.storage.folder import FolderStorage
from tests.browser.conftest import DRAWN, served
from tests.stylize.film.clips import pan
from tests.support.farm import picture, stylefarm, wait_for, write_job

Open = Callable[..., Any]

BROKEN = 1008
"""A frame that is no picture."""


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of a film of ten frames in two styles, one of which is broken, with proofs, and a photo."""
    folder = tmp_path_factory.mktemp("film")
    (folder / "shots").mkdir()
    for number, frame in enumerate(pan(10, 32, 48, (1.0, 0.5)).frames, 1001):
        Image.fromarray(frame).save(folder / f"shots/a.{number}.png")
    (folder / f"shots/a.{BROKEN}.png").write_bytes(b"no picture")
    job = write_job(
        folder,
        photos=1,
        styles=2,
        recipe={"size": 48, "steps": 2},
        pairs=[
            {"film": "shots/a.####.png", "style": "styles/", "cuts": "none"},
            {"content": "photos/", "style": "styles/s0.png"},
        ],
    )
    picture(3).save(folder / "photos/a still.png")
    for more in (["--proof", "--proof-size", "32"], []):
        ran = stylefarm("run", job, "--pool", "inline", *more)
        assert ran.returncode == 1, ran.stderr  # the broken frame, and what holds to it
    return folder / "out"


@pytest.fixture
def records(film: Path) -> dict[int, TaskRecord]:
    """The frames in the first style that are done, by number."""
    every = Records(FolderStorage(film)).all()
    return {
        r.film.number: r
        for r in every
        if r.film is not None and r.status == "done" and "s0" in r.styles[0][0]
    }


def page_of(output: Path) -> str:
    return (output / "index.html").as_uri()


def drawn(page: Any, what: str) -> None:
    """Wait until a frame is on the screen."""
    wait_for(lambda: page.locator("dialog.player").get_attribute("data-drawn") == what)


def where(page: Any) -> str:
    return page.locator("dialog.player .top .more").text_content()


def shown_number(page: Any) -> int:
    return int(where(page).removeprefix("frame ").split(",")[0] or 0)


def open_film(page: Any, at: str = "") -> str:
    """Open the film in the first style, at a frame, and return its address."""
    card = page.locator("article.film").first
    ref = card.get_attribute("data-ref")
    if at:
        page.evaluate("hash => { location.hash = hash; }", f"#id={ref}&frame={at}")
        drawn(page, f"{at} result")
    else:
        card.locator("a.frame").click()
    return ref


def test_a_film_is_one_card(film: Path, opened: Open, records: dict[int, TaskRecord]):
    page = opened(page_of(film))
    names = page.locator("article .name").all_text_contents()
    assert names == ["a still--s0", "a--s0", "a--s1", "p0--s0"]
    card = page.locator("article.film").first
    wait_for(lambda: f"{len(records)} of 10 frames" in card.text_content())
    wait_for(lambda: f"{10 - len(records)} failed" in card.text_content())
    every = 2 * len(records) + 2
    assert f"Pictures {every}" in page.locator("#tabs").text_content()

    # A filter finds frames, and the card says how many; it opens at the first of them.
    page.locator("#q").fill("1003")
    wait_for(lambda: page.locator("article").count() == 2)
    wait_for(lambda: "1 found" in page.locator("article").first.text_content())
    wait_for(lambda: page.locator("#note").text_content() == f"2 of {every}")
    page.locator("article a.frame").first.click()
    drawn(page, "1003 result")


def test_frames_can_be_seen_singly(film: Path, opened: Open, records: dict[int, TaskRecord]):
    page = opened(page_of(film))
    page.locator("#films").select_option("frames")
    wait_for(lambda: page.locator("article").count() == 2 * len(records) + 2)
    assert page.locator("article.film").count() == 0
    assert "films=frames" in page.evaluate("location.hash")
    page.go_back()
    wait_for(lambda: page.locator("article.film").count() == 2)
    open_film(page, "1003")
    page.locator("#singly").click()
    wait_for(lambda: page.locator("article").count() == len(records))
    page.locator("#q").fill("")
    wait_for(lambda: page.locator("article").count() == 2 * len(records) + 2)
    name = page.locator("article .name").nth(1).text_content()
    page.locator("article a.frame").nth(1).click()
    page.locator("#play-film").click()
    drawn(page, f"{int(name.rpartition('.')[2])} result")


@pytest.mark.parametrize("origin", ["file", "serve"])
def test_a_film_plays(
    origin: str, film: Path, opened: Open, records: dict[int, TaskRecord]
) -> None:
    if origin == "serve":
        with served(film) as address:
            play(opened(f"{address}out/"), records)
    else:
        play(opened(page_of(film)), records)


def play(page: Any, records: dict[int, TaskRecord]) -> None:
    open_film(page)
    seen = set()

    def goes_round() -> bool:
        seen.add(shown_number(page))
        return len(seen) >= 6

    wait_for(goes_round)
    page.keyboard.press("Space")
    assert page.locator("#play").text_content() == "Play"
    stopped = where(page)
    time.sleep(0.2)
    assert where(page) == stopped

    page.keyboard.press("Home")
    drawn(page, "1001 result")
    page.keyboard.press("ArrowRight")
    drawn(page, "1002 result")
    share = records[1002].film.held
    assert where(page) == f"frame 1002, held {share:.2f}, 2 of 10"
    # The picture is shown in full once somebody looks at it.
    wait_for(lambda: page.locator(".screen canvas").get_attribute("width") == "48")
    page.keyboard.press("3")
    drawn(page, "1002 held")
    page.keyboard.press("2")
    drawn(page, "1002 content")
    page.keyboard.press("1")
    drawn(page, "1002 result")

    page.keyboard.press("3")
    page.keyboard.press("Home")
    wait_for(lambda: "holds to no other" in page.locator(".placard").text_content())
    page.keyboard.press("1")
    page.locator("#scrub").fill("7")
    wait_for(lambda: f"Frame {BROKEN} has failed" in page.locator(".placard").text_content())
    # What failed by itself comes before what that took along.
    why = page.locator("dialog.player .facts .error").all_text_contents()
    assert why[0].startswith(f"{BROKEN}: ")
    assert all(f"frame {BROKEN} has failed, which this frame holds to" in one for one in why[1:])
    page.locator("#frame").fill("1002")
    page.keyboard.press("Enter")
    drawn(page, "1002 result")
    page.locator("#open-frame").click()
    page.locator("dialog .curves canvas").wait_for()
    assert f"Held{share:.2f}" in page.locator("dialog[open] .facts").text_content()
    page.locator("dialog[open] [data-view=held]").click()
    wait_for(lambda: page.locator(".pane img").evaluate("image => image.naturalWidth") == 48)
    page.go_back()
    drawn(page, "1002 result")
    assert page.locator("#play").text_content() == "Play"  # a link to a frame shows that frame


def test_an_open_film_shows_the_same_frame_when_the_data_were_written_anew(
    film: Path, opened: Open, tmp_path: Path
):
    output = tmp_path / "out"
    shutil.copytree(film, output)
    storage = FolderStorage(output)
    known = {r.film.number: r for r in Records(storage).all() if r.film and "s0" in r.styles[0][0]}
    page = opened(page_of(output))
    open_film(page, "1002")
    drawn(page, "1002 result")
    # Rows move up, since others go.
    Records(storage).forget([known[1001].id])
    write_gallery(storage, FolderStorage(output / "proofs"))
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    frames = page.locator("dialog.player .facts")
    wait_for(lambda: f"of {len(known)}" in frames.text_content())
    assert page.locator("#frame").input_value() == "1002"
    assert known[1002].id in page.locator("#open-frame").get_attribute("href")
    page.keyboard.press("ArrowRight")
    drawn(page, "1003 result")
    assert known[1003].id in page.locator("#open-frame").get_attribute("href")
    page.keyboard.press("Home")
    wait_for(lambda: "1001 is missing" in page.locator(".placard").text_content())


def test_a_key_pressed_while_the_data_are_read_anew_counts(
    film: Path, opened: Open, tmp_path: Path
):
    output = tmp_path / "out"
    shutil.copytree(film, output)
    storage = FolderStorage(output)
    known = {r.film.number: r for r in Records(storage).all() if r.film and "s0" in r.styles[0][0]}
    waiting: list[Any] = []
    freed = False

    def is_read(address: str) -> bool:
        return "/gallery/data/" in address and "/index." not in address

    with served(output) as address:
        page = opened(address)
        open_film(page, "1002")
        drawn(page, "1002 result")
        Records(storage).forget([known[1001].id])
        write_gallery(storage, FolderStorage(output / "proofs"))
        page.route(is_read, lambda route: route.continue_() if freed else waiting.append(route))
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        wait_for(lambda: page.wait_for_timeout(20) or waiting)
        page.keyboard.press("ArrowRight")
        freed = True
        for one in waiting:
            one.continue_()
        drawn(page, "1003 result")
        assert f"of {len(known)}" in page.locator("dialog.player .facts").text_content()
        assert known[1003].id in page.locator("#open-frame").get_attribute("href")
        assert page.locator("#play").text_content() == "Play"


def test_a_video_is_linked_and_gives_the_speed(film: Path, opened: Open, tmp_path: Path):
    output = tmp_path / "out"
    shutil.copytree(film, output)
    storage = FolderStorage(output)
    first = next(r for r in Records(storage).all() if r.film is not None and "s0" in r.styles[0][0])
    made = {"key": "videos/a--s0-1.mp4", "first_task": first.id, "rate": "30000/1001"}
    write_json(storage, "videos/a--s0-1.json", {**made, "codec": "h264", "frames": 3})
    write_gallery(storage, FolderStorage(output / "proofs"))
    page = opened(page_of(output))
    open_film(page, "1002")
    assert page.locator("#speed").input_value() == "29.97"
    link = page.locator("dialog.player .facts a")
    assert link.text_content() == "MP4, h264, 3 frames, 29.97 a second"
    assert link.get_attribute("href") == "videos/a--s0-1.mp4"


def test_what_is_held_is_bright(film: Path, records: dict[int, TaskRecord]):
    for record in records.values():
        part = record.film
        assert (part.confidence is None) == (part.held is None) == (not part.needs)
        if part.confidence is None:
            continue
        assert part.confidence == keys.confidence(record.id)
        with Image.open(film / part.confidence) as picture:
            mean = np.asarray(picture.convert("L")).mean() / 255
        assert abs(mean - part.held) < 0.03


def test_the_keyboard_is_enough(film: Path, opened: Open):
    page = opened(page_of(film), reduced_motion="reduce")
    page.locator("article a.frame").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    drawn(page, "1001 result")
    time.sleep(0.3)
    assert shown_number(page) == 1001  # who wants no motion starts it
    page.keyboard.press("Space")
    wait_for(lambda: shown_number(page) > 1001)
    page.keyboard.press("Escape")
    focused = "document.activeElement.getAttribute('aria-label')"
    wait_for(lambda: page.evaluate(focused) == "Play a--s0")


def test_a_proof_leads_to_the_film_at_full_size(film: Path, opened: Open):
    page = opened(f"{page_of(film)}#kind=proofs", reduced_motion="reduce")
    card = page.locator("article.film").first
    badge = card.locator(".badge")
    assert badge.text_content() == "rendered at full size"
    assert card.get_attribute("data-ref").startswith("proof-film-")
    badge.click()
    drawn(page, "1001 result")
    found = page.evaluate("location.hash")
    page.keyboard.press("Escape")
    page.locator("[data-kind=pictures]").click()
    page.locator("article.film[data-ref^=film]").first.wait_for()
    ref = page.locator("article.film").first.get_attribute("data-ref")
    assert found == f"#id={ref}&frame=1001"


def test_a_proof_says_how_many_of_its_frames_are_there_at_full_size(
    film: Path, opened: Open, records: dict[int, TaskRecord], tmp_path: Path
):
    output = tmp_path / "out"
    shutil.copytree(film, output)
    storage = FolderStorage(output)
    Records(storage).forget([records[1003].id])
    write_gallery(storage, FolderStorage(output / "proofs"))
    page = opened(f"{page_of(output)}#kind=proofs")
    badge = page.locator("article.film .badge").first
    assert badge.text_content() == f"{len(records) - 1} of {len(records)} at full size"
    page.locator("[data-kind=pictures]").click()
    page.locator("article.film").first.wait_for()
    assert page.locator("article.film .badge").count() == 0


def test_choosing_a_film_chooses_its_proofs(film: Path, opened: Open):
    proofs = {
        r.id
        for r in Records(FolderStorage(film / "proofs")).all()
        if r.status == "done" and r.film is not None and "s0" in r.styles[0][0]
    }
    page = opened(f"{page_of(film)}#kind=proofs")
    page.locator("article.film input").first.check()
    wait_for(lambda: page.locator("#chosen").text_content() == str(len(proofs)))
    with page.expect_download() as saving:
        page.locator("#save").click()
    assert set(Path(saving.value.path()).read_text().split()) == proofs
    # One of them is taken back where frames are shown singly.
    page.locator("#films").select_option("frames")
    wait_for(lambda: page.locator("article.film").count() == 0 and page.evaluate(DRAWN))
    page.locator("article:has(input:checked) input").first.uncheck()
    page.locator("#films").select_option("")
    box = page.locator("article.film input").first
    wait_for(lambda: box.count() and box.evaluate("box => box.indeterminate"))


def test_frames_that_come_while_a_run_goes_on_join_their_film(
    film: Path, opened: Open, records: dict[int, TaskRecord], tmp_path: Path
):
    output = tmp_path / "out"
    shutil.copytree(film, output)
    storage = FolderStorage(output)
    late = [records[number] for number in sorted(records)[-3:]]
    Records(storage).forget(record.id for record in late)
    write_gallery(storage, FolderStorage(output / "proofs"), live=("",))
    fresh = FreshRows(storage, "run")
    for record in late:
        fresh.add(record)
    fresh.write(last=True)
    board = {"state": "running", "fresh": fresh.keys, "updated": time.time(), "done": 3}
    board |= {"failed": 0, "left": 0, "run": "run", "newest": [], "fleet": []}
    board |= {"tasks": 24, "workers": 1, "eta": None, "busy": None}
    (output / "gallery" / "live.js").write_bytes(data_script("live", board))

    page = opened(page_of(output))
    card = page.locator("article.film").first
    wait_for(lambda: f"{len(records)} of 10 frames" in card.text_content())
    assert page.locator("article").count() == 4
    open_film(page, str(late[-1].film.number))
    assert f"held {late[-1].film.held:.2f}" in where(page)


def test_a_missing_frame_is_named_and_a_single_file_plays(
    film: Path, opened: Open, records: dict[int, TaskRecord], tmp_path: Path
):
    output = tmp_path / "out"
    shutil.copytree(film, output)
    Records(FolderStorage(output)).forget([records[1003].id])
    ran = stylefarm("report", output, "--html-single", tmp_path / "one.html")
    assert ran.returncode in (0, 1), ran.stderr
    page = opened((tmp_path / "one.html").as_uri())
    open_film(page, "1002")
    page.keyboard.press("3")
    drawn(page, "1002 held")
    page.keyboard.press("ArrowRight")
    wait_for(lambda: page.locator(".placard").text_content() == "Frame 1003 is missing.")
    facts = page.locator("dialog.player .facts").text_content()
    assert "Missing: 11003" in facts
    assert f"Frames{len(records) - 1} of 10" in facts


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everybody_can_use_it(film: Path, opened: Open, scheme: str):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = opened(page_of(film), color_scheme=scheme, viewport={"width": 390, "height": 800})
    wall = axe.run(page, options={"preload": False}).response["violations"]
    open_film(page, "1002")
    player = axe.run(page, options={"preload": False}).response["violations"]
    faults = [
        (found["id"], [node["html"][:150] for node in found["nodes"][:3]])
        for found in (*wall, *player)
        if found["impact"] in ("moderate", "serious", "critical")
    ]
    assert not faults
    # On a phone nothing is wider than the screen.
    assert page.evaluate("document.querySelector('dialog.player').scrollWidth") <= 390
