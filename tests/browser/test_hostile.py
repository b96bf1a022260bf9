"""Records that somebody else wrote: names, keys and cards that would lead a careless page astray."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jobs.data_script import data_script
from jobs.records.commit import Records, write_json
from jobs.report.gallery import write_gallery
from jobs.storage import keys
from jobs.storage.folder import FolderStorage
from tests.browser.conftest import served
from tests.jobs.support import a_record
from tests.support.farm import picture, wait_for

MARKUP = "<script>alert(1)</script><img src=x onerror=alert(2)>"

ASTRAY = ("images/../../outside.png", "/outside.png", "javascript:alert(3)//x.png", "//host/x.png")
"""Keys that lead out of the output."""


@pytest.fixture
def output(tmp_path: Path) -> Path:
    storage = FolderStorage(tmp_path / "out")
    picture(1).save(tmp_path / "outside.png")
    records = Records(storage)
    for number, key in enumerate(ASTRAY, 1):
        made = {"key": key, "sha256": "0", "size": 7, "width": 6, "height": 4}
        card = {
            "id": f"{number:016x}", "name": MARKUP, "content": MARKUP, "content_copy": key,
            "styles": [{"uri": MARKUP, "share": 1, "copy": key, "mask": MARKUP, "mask_copy": key}],
            "init": MARKUP, "init_copy": key, "recipe": {"preset": MARKUP, MARKUP: MARKUP},
            "concessions": [MARKUP], "seconds": {}, "device": MARKUP, "worker": MARKUP, "node": MARKUP,
            "output": made, "losses": {}, "columns": ["scale", "step", MARKUP], "rows": [[8, 1, 2.5]],
        }  # fmt: skip
        storage.put(keys.card(card["id"]), data_script("card", card))
        records.commit(
            a_record(number, name=MARKUP, content=MARKUP, output=made, card=keys.card(card["id"]))
        )
    records.commit(a_record(9, status="failed", error=MARKUP, name=MARKUP))
    records.close()
    write_json(storage, keys.JOB, {"job": {"name": MARKUP}})
    ended = {
        "id": "../../x", "name": MARKUP, "status": "done", "width": 6, "height": 4, "steps": 2,
        "seconds": 1, "total": 1, "error": MARKUP, "finished": 1.0,
    }  # fmt: skip
    task = {
        "id": "../../x", "name": MARKUP, "scale": 8, "step": 1, "steps": 2, "per_second": 1,
        "total": 2, "preview": True,
    }  # fmt: skip
    live = {
        "job": MARKUP, "state": "running", "reason": MARKUP, "run": "r", "tasks": 9, "done": 1,
        "failed": 1, "left": 7, "steps_per_second": 1.0, "eta": 5, "workers": 1, "pending": 0,
        "busy": 1, "gpu_hours": 1, "waits": MARKUP, "started": 1.0, "updated": 1e11,
        "fresh": [*ASTRAY], "truncated": False,
        "fleet": [{"worker": MARKUP, "node": MARKUP, "device": MARKUP, "busy": 1, "tasks": [task]}],
        "newest": [{**ended, "key": key, "thumb": thumb} for key in ASTRAY for thumb in (True, False)],
    }  # fmt: skip
    write_json(storage, keys.LIVE, live)
    storage.put(keys.LIVE_SCRIPT, data_script("live", live))
    write_gallery(storage, FolderStorage(tmp_path / "out" / "proofs"))
    return tmp_path / "out"


@pytest.mark.parametrize("origin", ["file", "serve"])
def test_nothing_leads_astray(
    origin: str, output: Path, opened: Callable[..., Any], tmp_path: Path
) -> None:
    if origin == "file":
        look(opened, (output / "index.html").as_uri(), output.as_uri())
    else:
        with served(output) as address:
            look(opened, f"{address}out/", f"{address}out/")


def look(opened: Callable[..., Any], url: str, inside: str) -> None:
    """Look at every view; `opened` fails at a dialog, at a word on the console, and at another origin."""
    page = opened(url)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    assert page.locator("h1").text_content() == MARKUP
    assert set(page.locator("article .name").all_text_contents()) == {MARKUP}
    page.locator("article a.frame").first.click()
    page.locator("dialog .curves canvas").wait_for()
    assert MARKUP in page.locator("dialog .facts").text_content()
    page.keyboard.press("Escape")
    page.locator("[data-kind=failed]").click()
    page.locator("article .error").first.wait_for()
    page.locator("[data-kind=live]").click()
    wait_for(lambda: page.locator("#live figure").count() > 0)
    for attribute in ("src", "href"):
        for value in page.locator(f"[{attribute}]").evaluate_all(
            f"all => all.map(e => e.getAttribute('{attribute}'))"
        ):
            assert not value.startswith(("/", "javascript:", "http")), value
            assert "../" not in value, value
    assert all(one.startswith(inside) for one in asked), asked
