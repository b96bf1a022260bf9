"""A run followed from its start to its end, without anybody reloading the page.

It is gated: after its first picture nothing ends before the page has shown what is to be seen until then.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import served
from tests.support.farm import ROOT, wait_for, write_job

PREVIEWS = "/previews/"
"""What may be gone when a page asks for it: the last previews go when the run ends."""


@pytest.mark.parametrize("origin", ["file", "serve"])
def test_a_run_is_followed(
    origin: str, chromium: Any, opened: Callable[..., Any], tmp_path: Path
) -> None:
    job = write_job(
        tmp_path,
        photos=2,
        styles=2,
        recipe={"size": 64, "steps": 2000},
        image={"previews": "every 5 s"},
        name="a night",
    )
    output = tmp_path / "out"
    (tmp_path / "go-1").touch()
    run = subprocess.Popen([sys.executable, "-m", "tests.support.gated", job], cwd=ROOT)
    try:
        index = output / "gallery" / "data" / "index.js"
        wait_for(lambda: index.exists() and (output / "live.json").exists())
        wait_for((output / "gallery" / "live.js").exists)
        if origin == "serve":
            with served(output) as address:
                follow(opened(f"{address}out/#kind=live", PREVIEWS), run, tmp_path)
        else:
            page = opened(f"{(output / 'index.html').as_uri()}#kind=live", PREVIEWS)
            follow(page, run, tmp_path)
    finally:
        run.kill()
        run.wait()


def follow(page: Any, run: subprocess.Popen[bytes], folder: Path) -> None:
    """Look at a run of four pictures until it has ended."""
    state = page.locator("#run-state")
    wait_for(lambda: state.count() and state.text_content() == "running")
    wait_for(lambda: page.locator("#live .floor tbody tr").count() == 1)
    row = page.locator("#live .floor tbody tr")
    wait_for(lambda: "of 2,000" in row.text_content())
    done = page.locator(".tiles div", has_text="Done").locator("dd")
    wait_for(lambda: done.text_content() == "1")
    assert page.locator("[data-kind=live]").text_content() == "Live \u25cf"
    newest = page.locator("#live figure a")
    wait_for(newest.count)
    # What has come is on the wall, too, and opens.
    page.locator("[data-kind=pictures]").click()
    wait_for(lambda: page.locator("article img").count() == 1)
    wait_for(lambda: "to go" in page.locator("#live-line").text_content())
    page.locator("article a.frame").first.click()
    page.locator("dialog .curves canvas").wait_for()
    page.keyboard.press("Escape")
    for number in (2, 3, 4):
        (folder / f"go-{number}").touch()
    wait_for(lambda: page.locator("article img").count() == 4, 120)
    assert run.wait(60) == 0
    wait_for(lambda: page.locator("[data-kind=live]").text_content() == "Run", 90)
    wait_for(lambda: page.evaluate("document.documentElement.dataset.shown"))
    page.locator("[data-kind=live]").click()
    assert state.text_content() == "ended: complete"
    page.locator("[data-kind=pictures]").click()
    assert page.locator("[data-kind=pictures]").text_content() == "Pictures 4"
