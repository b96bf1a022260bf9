"""The gallery without a mouse: every function is reached by keys alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.browser.test_gallery_page import cards, loaded, records, settled, where
from tests.support.farm import wait_for

Open = Callable[..., Any]


def tab_to(page: Any, selector: str, key: str = "Tab") -> None:
    """Press Tab until what is meant has the focus."""
    is_there = f"document.activeElement?.matches({json.dumps(selector)})"
    for _ in range(120):
        if page.evaluate(is_there):
            return
        page.keyboard.press(key)
    raise AssertionError(f"Tab does not reach {selector}")


def press(page: Any, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def typed(page: Any, selector: str, text: str) -> None:
    """Go to a field, empty it, and type."""
    tab_to(page, selector)
    press(page, "Control+a", "Delete")
    page.keyboard.type(text)


def test_wall_viewer_and_comparing_by_keys(gallery_from_disk: str, opened: Open):
    page = opened(gallery_from_disk)
    page.locator("article a.frame").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Home")
    page.keyboard.press("c")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("c")
    page.locator("#open-compare").wait_for()
    assert len(page.url.partition("compare=")[2].split("%2C")) == 2
    page.keyboard.press("Enter")
    page.locator("dialog[open]").wait_for()
    name = page.locator("#opened").text_content()
    address = page.url
    page.keyboard.press("ArrowRight")
    wait_for(lambda: where(page) != address)
    page.keyboard.press("ArrowLeft")
    wait_for(lambda: where(page) == address)
    assert page.locator("#opened").text_content() == name
    page.keyboard.press("Escape")
    page.locator("dialog").wait_for(state="hidden")
    assert page.evaluate("document.activeElement.className") == "frame"
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "q"
    # Everything else is reached by Tab.
    reached = set()
    page.locator("#tabs a").first.focus()
    for _ in range(24):
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.className"))
        page.keyboard.press("Tab")
    assert {"q", "sort", "group", "frame", "quiet compare"} <= reached


def test_finding_sorting_and_grouping_by_keys(gallery_from_disk: str, opened: Open):
    page = opened(gallery_from_disk)
    press(page, "/")
    settled(page, lambda: page.keyboard.type("p1"))
    assert all("p1" in name for name in cards(page))
    tab_to(page, "#sort")
    settled(page, lambda: press(page, "ArrowDown"))
    assert "sort=-name" in where(page)
    tab_to(page, "#group")
    settled(page, lambda: press(page, "ArrowDown"))
    assert "group=style" in where(page)
    assert page.locator(".heading h2").count()

    # The filters, one after the other, then all of them cleared.
    tab_to(page, "#more > summary")
    press(page, "Enter")
    wait_for(lambda: page.locator("#knobs select").count())
    settled(page, lambda: typed(page, "#style", "s1.png"))
    settled(page, lambda: typed(page, "#content", "p1"))
    assert all("p1--s1" in name for name in cards(page))
    tab_to(page, "#from")
    settled(page, lambda: page.keyboard.type("01012001"))
    tab_to(page, "#to")
    settled(page, lambda: page.keyboard.type("01012002"))
    assert cards(page) == []
    tab_to(page, "[id='knob-style_weight']")
    settled(page, lambda: press(page, "ArrowDown"))
    assert "style_weight" in where(page)
    tab_to(page, "#clear-filters")
    settled(page, lambda: press(page, "Enter"))
    assert "from=" not in where(page)
    assert len(cards(page)) > 2
    press(page, "Escape")
    assert page.evaluate("document.activeElement.matches('#more > summary')")
    assert not page.locator("#more").evaluate("e => e.open")


def test_what_was_typed_is_found_however_soon_something_else_is_asked_for(
    gallery_from_disk: str, opened: Open
):
    page = opened(gallery_from_disk)
    press(page, "/")
    page.keyboard.insert_text("p1")
    settled(page, lambda: press(page, "Tab", "ArrowDown"))
    assert "sort=-name" in where(page)
    assert all("p1" in name for name in cards(page))


def test_contact_sheet_by_keys(gallery_from_disk: str, opened: Open):
    page = opened(gallery_from_disk)
    tab_to(page, "#sheets > summary")
    press(page, "Enter")
    wait_for(lambda: page.locator("#rows option").count() > 2)
    tab_to(page, "#rows")
    settled(page, lambda: press(page, "ArrowDown"))
    tab_to(page, "#columns")
    settled(page, lambda: press(page, "ArrowDown", "ArrowDown"))
    tab_to(page, "#sheet td a")
    press(page, "Enter")
    page.locator("dialog[open]").wait_for()
    press(page, "Escape")
    page.locator("dialog").wait_for(state="hidden")
    tab_to(page, "#sheets button", "Shift+Tab")
    settled(page, lambda: press(page, "Enter"))
    assert page.locator("#sheet").is_hidden()


def test_proofs_and_failures_by_keys(gallery_from_disk: str, opened: Open, real_output: Path):
    page = opened(gallery_from_disk)
    tab_to(page, "[data-kind=proofs]")
    settled(page, lambda: press(page, "Enter"))
    tab_to(page, "article a.frame")
    press(page, "x", "ArrowRight", "x")
    assert page.locator("#chosen").text_content() == "2"
    tab_to(page, "#save")
    with page.expect_download() as download:
        press(page, "Enter")
    ids = Path(download.value.path()).read_text().split()
    assert set(ids) <= {record.id for record in records(real_output, "proofs")}
    tab_to(page, "#copy")
    tab_to(page, "#clear")
    press(page, "Enter")
    assert page.locator("#choice").is_hidden()
    tab_to(page, "article .badge", "Shift+Tab")
    press(page, "Enter")
    page.locator("dialog[open]").wait_for()
    press(page, "Escape")
    page.locator("dialog").wait_for(state="hidden")

    tab_to(page, "[data-kind=failed]")
    settled(page, lambda: press(page, "Enter"))
    tab_to(page, "#reasons a")
    settled(page, lambda: press(page, "Enter"))
    assert len(cards(page)) == 1


def test_one_result_by_keys(gallery_from_disk: str, opened: Open):
    page = opened(gallery_from_disk)
    tab_to(page, "article a.frame")
    press(page, "Enter")
    page.locator("dialog .curves canvas").wait_for()
    loaded(page)
    level = page.locator("dialog .level")
    press(page, "1")
    wait_for(lambda: level.text_content() == "100%")
    press(page, "0")
    wait_for(lambda: level.text_content() != "100%")
    before = level.text_content()
    press(page, "+")
    assert level.text_content() != before
    tab_to(page, "[data-view=result]")
    press(page, "Enter")
    wait_for(lambda: page.locator("dialog .pane img").count() == 1)
    tab_to(page, "[data-view=slider]")
    press(page, "Enter")
    tab_to(page, "dialog .split")
    press(page, "Home")
    top = page.locator("dialog .layer").first
    assert top.evaluate("e => e.style.clipPath") == "inset(0px 100% 0px 0px)"
    for selector in ("#zoom-in", "#zoom-out", "#natural", "#fit", "dialog .u-over"):
        tab_to(page, selector)
    tab_to(page, "dialog .facts a[download]")
    with page.expect_popup():
        press(page, "Enter")
    lines = page.locator("#again").input_value()
    typed(page, "[data-knob=seed]", "77")
    assert "seed: 77" in page.locator("#again").input_value() != lines
    tab_to(page, "#close", "Shift+Tab")
    press(page, "Enter")
    page.locator("dialog").wait_for(state="hidden")


def test_two_results_compared_by_keys(gallery_from_disk: str, opened: Open):
    page = opened(gallery_from_disk)
    tab_to(page, "article a.frame")
    press(page, "c", "ArrowRight", "c")
    tab_to(page, "#open-compare")
    press(page, "Enter")
    page.locator("dialog .panes.flicker").wait_for()
    layers = page.locator("dialog .layer")

    def seen() -> list[str]:
        return layers.evaluate_all("all => all.map(l => l.style.visibility)")

    tab_to(page, "#flicker")
    press(page, "Enter")  # it flickers by itself until it is stopped
    before = seen()
    tab_to(page, "#flip")
    press(page, "Enter")
    assert seen() == before[::-1]
    for view in ("difference", "slider", "side"):
        tab_to(page, f"[data-view={view}]")
        press(page, "Enter")
        page.locator(f"dialog .panes.{view}").wait_for()
    press(page, "Escape")
    page.locator("dialog").wait_for(state="hidden")


def test_the_run_by_keys(gallery_from_disk: str, opened: Open):
    page = opened(gallery_from_disk)
    tab_to(page, "[data-kind=live]")
    press(page, "Enter")
    page.locator("#run-state").wait_for()
    tab_to(page, "#live figure a")
    press(page, "Enter")
    page.locator("dialog[open]").wait_for()
    press(page, "Escape")
    page.locator("dialog").wait_for(state="hidden")
