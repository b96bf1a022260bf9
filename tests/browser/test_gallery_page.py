"""The gallery as people use it: a real job's, in a real browser, from a folder, a server and a bucket."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from jobs.records.commit import Records
from jobs.records.record import TaskRecord
from jobs.storage.folder import FolderStorage
from tests.browser.conftest import DRAWN, HOSTILE, JOB_NAME
from tests.support.farm import stylefarm, wait_for

Open = Callable[..., Any]

ALL_TYPED = """(() => {
  const told = new URLSearchParams(location.hash.slice(1));
  return ["q", "style", "content"].every(key =>
    (document.getElementById(key)?.value ?? "") === (told.get(key) ?? ""));
})()"""
"""Whether the address has all that was typed, to the last letter."""


def cards(page: Any) -> list[str]:
    """The names on the wall, in order."""
    return page.locator("article .name").all_text_contents()


def where(page: Any) -> str:
    """The page's address, asked for: Playwright's own notices changes only while it is asked something."""
    return page.evaluate("location.href")


def settled(page: Any, act: Callable[[], object]) -> None:
    """Do something that changes the address, and wait until the wall shows what follows from it."""
    before = where(page)
    act()
    wait_for(lambda: where(page) != before)
    wait_for(lambda: page.evaluate(ALL_TYPED))
    wait_for(lambda: page.evaluate("document.documentElement.dataset.shownFor === location.hash"))
    wait_for(lambda: page.evaluate(DRAWN))


def records(output: Path, folder: str = "") -> list[TaskRecord]:
    return list(Records(FolderStorage(output / folder)).all())


def named(page: Any, name: str) -> Any:
    return page.locator("article", has=page.get_by_text(name, exact=True)).first


def loaded(page: Any) -> None:
    """Wait until all pictures of an opened result are there."""
    images = page.locator("dialog .pane img")
    wait_for(lambda: all(images.evaluate_all("all => all.map(i => i.naturalWidth)")))


def open_first(page: Any, index: int = 0) -> None:
    page.locator("article a.frame").nth(index).click()
    page.locator("dialog .curves canvas").wait_for()
    loaded(page)


def test_the_wall_shows_every_picture_small(gallery: str, opened: Open, real_output: Path):
    page = opened(gallery)
    done = [record for record in records(real_output) if record.status == "done"]

    assert page.locator("h1").text_content() == JOB_NAME
    assert sorted(cards(page)) == sorted(record.name for record in done)
    images = page.locator("article img")
    wait_for(lambda: all(images.evaluate_all("all => all.map(i => i.naturalWidth)")))
    assert images.count() == len(done)
    assert all("/thumbs/" in src for src in images.evaluate_all("all => all.map(i => i.src)"))
    tabs = page.locator("#tabs a").all_text_contents()
    assert tabs[0] == f"Pictures {len(done)}"
    assert tabs[2:4] == ["Failed 1", "Failed proofs 1"]


def test_each_tab_counts_the_cards_behind_it(gallery: str, opened: Open):
    page = opened(gallery)
    kinds = ["pictures", "proofs", "failed", "failed-proofs"]
    assert page.locator("#tabs a").evaluate_all("all => all.map(a => a.dataset.kind)")[:4] == kinds
    for kind in kinds:
        tab = page.locator(f"[data-kind={kind}]")
        settled(page, tab.click)
        assert tab.text_content().rpartition(" ")[2] == str(len(cards(page))), kind
        assert page.locator("#note").is_hidden()
        # Sorted otherwise, it is the same.
        names = sorted(cards(page))
        settled(page, lambda: page.locator("#sort").select_option("finished"))
        assert sorted(cards(page)) == names
        settled(page, lambda: page.locator("#sort").select_option("name"))


def test_names_are_words_and_nothing_else(gallery: str, opened: Open):
    page = opened(gallery)

    assert any("onerror" in name for name in cards(page)), HOSTILE
    page.locator("[data-kind=failed]").click()
    page.locator("article .error").first.wait_for()
    page.locator("article a.frame").first.click()
    page.locator("dialog .facts .error").wait_for()
    # Whatever was taken for markup would have made an element, and a dialog or a line on the console.
    assert page.locator("img[src=x], h1 script, article script, dialog script").count() == 0


def test_finding_sorting_and_grouping(gallery: str, opened: Open, real_output: Path):
    page = opened(gallery)
    done = [record for record in records(real_output) if record.status == "done"]

    settled(page, lambda: page.locator("#q").fill("p1"))
    assert set(cards(page)) == {record.name for record in done if "p1" in record.name}
    settled(page, lambda: page.locator("#q").fill("p1 s0"))
    assert set(cards(page)) == {"p1--s0"}
    settled(page, lambda: page.locator("#q").fill("there is no such"))
    assert cards(page) == []
    assert page.locator("#note").text_content() == "Nothing matches."
    settled(page, lambda: page.locator("#q").fill(done[0].id))
    assert cards(page) == [done[0].name]

    settled(page, lambda: page.locator("#q").fill(""))
    settled(page, lambda: page.locator("#sort").select_option("-loss"))
    by_loss = sorted(done, key=lambda record: -record.losses["total"])
    assert cards(page)[:3] == [record.name for record in by_loss[:3]]
    settled(page, lambda: page.locator("#sort").select_option("finished"))
    in_time = sorted(done, key=lambda record: int(record.finished))
    assert cards(page)[0] in {
        r.name for r in in_time if int(r.finished) == int(in_time[0].finished)
    }

    settled(page, lambda: page.locator("#group").select_option("style"))
    headings = page.locator(".heading h2").all_text_contents()
    styles = {" + ".join(style[0] for style in record.styles) for record in done}
    assert headings == sorted(styles)


def test_filters_of_recipe_style_and_date(gallery: str, opened: Open, real_output: Path):
    page = opened(gallery)
    done = [record for record in records(real_output) if record.status == "done"]
    strong = [record for record in done if record.recipe["style_weight"] == 100]

    page.locator("#more summary").click()
    settled(page, lambda: page.locator("#knob-style_weight").select_option("100"))
    assert len(cards(page)) == len(strong)
    assert page.locator("#more summary").text_content() == "Filter (1)"
    settled(page, lambda: page.locator("#style").fill("s1.png"))
    assert len(cards(page)) == sum("s1.png" in r.styles[0][0] for r in strong)
    settled(page, lambda: page.locator("#clear-filters").click())
    assert len(cards(page)) == len(done)
    settled(page, lambda: page.locator("#to").fill("2001-01-01"))
    assert cards(page) == []


def test_a_view_has_an_address_and_back_goes_back(gallery: str, opened: Open):
    page = opened(f"{gallery}#q=p1&sort=-loss&group=content")
    assert page.locator("#q").input_value() == "p1"
    assert page.locator(".heading h2").all_text_contents() == [
        text for text in page.locator(".heading h2").all_text_contents() if "p1" in text
    ]
    page.locator("article a.frame").nth(1).click()
    page.locator("dialog[open]").wait_for()
    address = page.url
    page.go_back()
    page.locator("dialog").wait_for(state="hidden")
    assert "id=" not in page.url
    assert "q=p1" in page.url

    again = opened(address)
    again.locator("dialog[open]").wait_for()
    assert re.search(r"\bp1--", again.locator("#opened").text_content())


def test_one_result_opened(gallery: str, opened: Open, real_output: Path):
    page = opened(gallery)
    named(page, "p1--s0").locator("a.frame").click()
    page.locator("dialog .curves canvas").wait_for()
    task_id = re.search(r"id=([0-9a-f]{16})", page.url)[1]
    (record,) = [record for record in records(real_output) if record.id == task_id]

    labels = page.locator("dialog figcaption").all_text_contents()
    assert labels == ["Content", "Style: s0.png", "Result"]
    loaded(page)
    facts = page.locator("dialog .facts").text_content()
    for text in (record.content, record.styles[0][0], record.id, record.attempts[0].device):
        assert text in facts
    shown = page.locator("dialog section", has_text="Recipe").locator("dl").first
    words = shown.text_content()
    assert words.startswith("presetstudio")
    assert "weights_inputcaffe" in words
    assert "margin" not in words  # as in the preset, so it comes after


def test_the_files_of_a_result(gallery: str, opened: Open):
    page = opened(gallery)
    open_first(page)
    link = page.locator("dialog .facts a[download]")
    if gallery.startswith("file:"):
        # A browser follows the link there: beside the gallery, which stays open.
        with page.expect_popup() as popup:
            link.click()
        assert unquote(popup.value.url).endswith(link.get_attribute("download"))
    else:
        with page.expect_download() as download:
            link.click()
        assert download.value.suggested_filename == link.get_attribute("download")
    assert page.locator("dialog[open]").count() == 1
    for text in ("Losses (CSV)", "Record (JSON)"):
        assert page.get_by_text(text, exact=True).get_attribute("target") == "_blank"


def test_curves_are_the_log(gallery: str, opened: Open, real_output: Path):
    page = opened(gallery)
    open_first(page)
    task_id = re.search(r"id=([0-9a-f]{16})", page.url)[1]
    with (real_output / "losses" / task_id[:2] / f"{task_id}.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["scale"] for row in rows} == {"32", "64"}

    plot = page.locator("dialog .u-over")
    plot.focus()
    page.keyboard.press("Home")
    for row in rows:
        values = {
            name: page.locator(f'dialog .curves [data-value="{name}"]').text_content()
            for name in row
            if page.locator(f'dialog .curves [data-value="{name}"]').count()
        }
        assert {"step", "scale", "total", "content", "style"} <= set(values)
        for name, text in values.items():
            assert float(text.split()[0]) == float(row[name]), (name, row)
        page.keyboard.press("ArrowRight")

    # The pointer reads the same: over the right edge it is the last row.
    box = plot.bounding_box()
    page.mouse.move(box["x"] + box["width"] - 2, box["y"] + 20)
    step = page.locator("dialog .curves [data-value=step]")
    wait_for(lambda: step.text_content() == rows[-1]["step"])


def test_slider_zoom_and_pan(gallery: str, opened: Open):
    page = opened(gallery)
    open_first(page)
    page.locator("[data-view=slider]").click()
    both = page.locator("dialog .layer img")
    wait_for(lambda: both.evaluate_all("all => all.every(i => i.naturalWidth)"))
    layer = page.locator("dialog .layer").first
    slider = page.locator("dialog .split")

    slider.focus()
    page.keyboard.press("Home")
    assert layer.evaluate("e => e.style.clipPath") == "inset(0px 100% 0px 0px)"
    page.keyboard.press("End")
    assert layer.evaluate("e => e.style.clipPath") == "inset(0px 0% 0px 0px)"

    page.locator("#natural").click()
    sizes = both.evaluate_all("all => all.map(i => [i.clientWidth, i.naturalWidth])")
    assert sizes[1][0] == sizes[1][1]  # the result, at its own size
    assert sizes[0][0] == sizes[1][0]  # the content, in step
    assert page.locator("dialog .level").text_content() == "100%"
    page.locator("#fit").click()
    for _ in range(3):
        page.locator("#zoom-in").click()
    before = both.evaluate_all("all => all.map(i => i.style.left)")
    page.keyboard.press("Shift+ArrowRight")
    after = both.evaluate_all("all => all.map(i => i.style.left)")
    moved = [float(b[:-2]) - float(a[:-2]) for a, b in zip(before, after, strict=True)]
    assert moved[0] == pytest.approx(moved[1], abs=0.5)
    assert moved[0] < -10


def test_a_blend_shows_its_styles_and_masks(gallery: str, opened: Open):
    page = opened(gallery)
    page.locator("#more summary").click()
    settled(page, lambda: page.locator("#style").fill(" + "))
    assert len(cards(page)) == 1
    open_first(page)
    labels = page.locator("dialog figcaption").all_text_contents()
    assert [label.partition(":")[0] for label in labels] == [
        "Content", "Style", "Mask", "Style", "Result",
    ]  # fmt: skip


def test_contact_sheet(gallery: str, opened: Open, real_output: Path):
    page = opened(gallery)
    done = [r for r in records(real_output) if r.status == "done" and len(r.styles) == 1]
    settled(page, lambda: page.locator("#q").fill("p0"))
    page.locator("#sheets summary").click()
    wait_for(lambda: page.locator("#rows option").count() > 2)
    settled(page, lambda: page.locator("#rows").select_option("style_weight"))
    settled(page, lambda: page.locator("#columns").select_option("style"))
    sheet = page.locator("#sheet table")
    assert sheet.locator("tbody th").all_text_contents()[0] == "1"
    assert "s1.png" in sheet.locator("thead th").all_text_contents()
    cells = sheet.locator("td a")
    wanted = [record for record in done if "p0" in record.name]
    assert cells.count() >= len(wanted)
    cells.first.click()
    page.locator("dialog[open]").wait_for()


def test_two_results_compared(gallery: str, opened: Open):
    page = opened(gallery)
    buttons = page.locator("button.compare")
    buttons.nth(0).click()
    buttons.nth(1).click()
    page.locator("#open-compare").click()
    page.locator("dialog .panes.flicker").wait_for()
    layers = page.locator("dialog .layer")
    page.locator("#flicker").click()  # it flickers by itself until it is stopped

    def seen() -> list[str]:
        return layers.evaluate_all("all => all.map(l => l.style.visibility)")

    before = seen()
    assert sorted(before) == ["hidden", "visible"]
    page.locator("#flip").click()
    assert seen() == before[::-1]
    page.locator("[data-view=difference]").click()
    assert layers.nth(1).evaluate("e => getComputedStyle(e).mixBlendMode") == "difference"
    facts = page.locator("dialog .facts")
    wait_for(lambda: "recipe.style_weight" in facts.text_content())


def test_proofs_are_chosen_and_saved(gallery: str, opened: Open, real_output: Path):
    page = opened(f"{gallery}#kind=proofs")
    boxes = page.locator("input[data-choose]")
    assert boxes.count() == len([r for r in records(real_output, "proofs") if r.status == "done"])
    ids = [boxes.nth(k).get_attribute("data-choose") for k in (0, 2)]
    boxes.nth(0).check()
    boxes.nth(2).check()
    assert page.locator("#chosen").text_content() == "2"
    with page.expect_download() as download:
        page.locator("#save").click()
    assert download.value.suggested_filename == "selection.txt"
    assert Path(download.value.path()).read_text().split() == ids
    badge = page.locator("article .badge").first
    badge.click()
    page.locator("dialog[open]").wait_for()
    assert "proof" not in page.url.partition("id=")[2]
    page.locator("#close").click()
    page.locator("[data-kind=proofs]").click()
    page.locator("article.chosen").first.wait_for()
    page.locator("#clear").click()
    assert page.locator("#choice").is_hidden()


def test_failures_by_reason(gallery: str, opened: Open):
    page = opened(f"{gallery}#kind=failed")
    reason = page.locator("#reasons li").first
    assert reason.text_content().endswith(" 1")
    settled(page, lambda: reason.locator("a").click())
    assert len(cards(page)) == 1
    settled(page, lambda: page.locator("[data-kind=failed-proofs]").click())
    assert page.locator("#reasons li").first.text_content().endswith(" 1")
    assert len(cards(page)) == 1


def test_what_to_write_to_render_it_again(
    gallery: str, opened: Open, real_output: Path, tmp_path: Path
):
    from jobs.jobfile.load import load_job

    page = opened(gallery)
    named(page, "p1--s0").locator("a.frame").click()
    page.locator("[data-knob=seed]").fill("7")
    page.locator("[data-knob=style_weight]").fill("2.5")
    lines = page.locator("#again").input_value()
    job = tmp_path / "job.yaml"
    job.write_text(f"output: out\n{lines}")
    (entry,) = load_job(job).spec.pairs
    assert "p1.png" in json.dumps(entry.model_dump(mode="json"), default=str)
    assert entry.recipe["seed"] == 7
    assert entry.recipe["style_weight"] == 2.5
    assert entry.recipe["size"] == 64


def test_a_gallery_as_one_file(real_output: Path, opened: Open, tmp_path: Path):
    ran = stylefarm("report", real_output, "--html-single", tmp_path / "one.html")
    assert ran.returncode == 1, ran.stderr  # two tasks have failed
    page = opened((tmp_path / "one.html").as_uri())
    done = [record for record in records(real_output) if record.status == "done"]
    assert sorted(cards(page)) == sorted(record.name for record in done)
    open_first(page)
    images = page.locator("dialog .pane img")
    wait_for(lambda: images.count() >= 3)
    wait_for(lambda: all(images.evaluate_all("all => all.map(i => i.naturalWidth)")))
    # Nothing but the file itself was asked for, or `opened` would have found it out.
    assert all(src.startswith("data:") for src in images.evaluate_all("all => all.map(i => i.src)"))


def test_so_many_results_make_no_single_file(
    real_output: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from cluster.complete.small import small_picture
    from jobs.errors import UsageError
    from jobs.report import single

    monkeypatch.setattr(single, "MOST", 3)
    with pytest.raises(UsageError, match="at most 3 results"):
        single.single_page(
            FolderStorage(real_output), FolderStorage(real_output / "proofs"), small_picture
        )


def test_a_gallery_that_is_written_anew_while_somebody_looks(
    real_output: Path, opened: Open, tmp_path: Path
):
    from jobs.report.gallery import write_gallery

    shutil.copytree(real_output, tmp_path / "out")
    storage = FolderStorage(tmp_path / "out")
    page = opened((tmp_path / "out" / "index.html").as_uri(), may_be_gone="/gallery/data/")
    before = len(cards(page))
    gone = next(record for record in Records(storage).all() if record.status == "done")
    Records(storage).forget([gone.id])
    write_gallery(storage, FolderStorage(tmp_path / "out" / "proofs"))

    # Somebody comes back to the page.
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    tab = page.locator("[data-kind=pictures]")
    wait_for(lambda: tab.text_content() == f"Pictures {before - 1}")
    wait_for(lambda: len(cards(page)) == before - 1)
