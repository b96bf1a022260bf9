"""A browser, and galleries of real jobs in it: from a folder, from ``stylefarm serve``, and from a bucket."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from jobs.storage.folder import FolderStorage
from tests.support.farm import command, picture, stylefarm, wait_for, write_job
from tests.support.rigs import S3Server, free_port, missing

HOSTILE = '<img src=x onerror=alert(1)> "it\'s"'
"""Part of a photo's name that would be markup, if somebody took it for that."""

JOB_NAME = "night 'one' \"two\" <script>alert(2)</script>"

BROWSERS = ("chromium", "chromium-browser", "google-chrome")

DRAWN = """document.documentElement.dataset.shown && !document.querySelector('article:empty')
    && ![...document.querySelectorAll('article')].some(card => card.children.length < 2)"""
"""Whether the wall is there, every card of it."""

ORIGINS = ("file", "serve", "bucket")


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """The browser. Without one these tests are skipped, except under CI, where they fail."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        missing("there is no chromium (apt-get install chromium)")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        # Containers have no user namespaces to shut it into; it loads nothing but our own pages.
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@dataclass
class Seen:
    """A page, and what it must not do: say something on the console, or ask another origin."""

    page: Any
    origin: str
    may_be_gone: str
    faults: list[str] = field(default_factory=list)

    def listen(self) -> None:
        """Note whatever the page should not do."""
        page = self.page
        page.on("console", lambda said: self._said(f"console: {said.text}", said.location["url"]))
        page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        page.on("dialog", lambda dialog: self.faults.append(f"dialog: {dialog.message}"))
        page.on("request", lambda request: self._asked(request.url))
        page.on("requestfailed", lambda request: self._failed(request))

    def _asked(self, url: str) -> None:
        if not url.startswith((self.origin, "blob:", "data:")):
            self.faults.append(f"asked {url}")

    def _said(self, text: str, url: str) -> None:
        if not (self.may_be_gone and self.may_be_gone in url):
            self.faults.append(f"{text} {url}")

    def _failed(self, request: Any) -> None:
        # What is on its way when somebody looks at something else is given up.
        if "ERR_ABORTED" not in (request.failure or ""):
            self._said(str(request.failure), request.url)


@pytest.fixture
def opened(chromium: Any) -> Iterator[Callable[..., Any]]:
    """Open a page; at the test's end it must have done nothing that a page of ours must not do."""
    seen: list[Seen] = []
    contexts = []

    def open_(url: str, may_be_gone: str = "", **settings: Any) -> Any:
        context = chromium.new_context(
            accept_downloads=True, **{"viewport": {"width": 1280, "height": 900}, **settings}
        )
        contexts.append(context)
        context.set_default_timeout(60_000)
        parts = urlsplit(url)
        origin = "file://" if parts.scheme == "file" else f"{parts.scheme}://{parts.netloc}/"
        page = context.new_page()
        seen.append(Seen(page, origin, may_be_gone))
        seen[-1].listen()
        page.goto(url)
        # Not Playwright's own waiting, which makes code of text in the page: the page's policy forbids that.
        wait_for(lambda: page.evaluate(DRAWN))
        return page

    yield open_
    faults = [fault for each in seen for fault in each.faults]
    for context in contexts:
        context.close()
    assert not faults


@pytest.fixture(scope="session")
def real_output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of a real job: a sweep, a blend with masks, proofs, a failure, and names to be afraid of."""
    folder = tmp_path_factory.mktemp("gallery")
    job = write_job(
        folder,
        photos=2,
        styles=2,
        name=JOB_NAME,
        recipe={"size": 64, "start_size": 32, "steps": 12, "refine_steps": 8},
        losses={"every": 2},
        pairs=[
            {"content": "photos/", "style": "styles/", "sweep": {"style_weight": [1, 100]}},
            {
                "content": "photos/p0.png",
                "style": {
                    "blend": {"styles/s0.png": {"share": 3, "mask": "mask.png"}, "styles/s1.png": 1}
                },
            },
            {"content": "broken.png", "style": "styles/s0.png"},
        ],
    )
    picture(7).save(folder / "photos" / f"{HOSTILE}.png")
    picture(8).convert("L").save(folder / "mask.png")
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n<b>not</b>")
    proofs = stylefarm("run", job, "--pool", "inline", "--proof", "--proof-size", "32")
    assert proofs.returncode in (0, 1), proofs.stderr
    ran = stylefarm("run", job, "--pool", "inline")
    assert ran.returncode in (0, 1), ran.stderr
    return folder / "out"


@contextmanager
def served(*outputs: str | Path, **environment: str) -> Iterator[str]:
    """The address of ``stylefarm serve`` while it serves."""
    process = subprocess.Popen(
        command("serve", *outputs, "--port", str(free_port())),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, **environment},
    )
    try:
        assert process.stdout
        address = process.stdout.readline().strip()
        assert address.startswith("http://"), address
        yield address
    finally:
        process.terminate()
        process.wait(60)


@pytest.fixture(scope="session")
def addresses(real_output: Path, moto: S3Server) -> Iterator[dict[str, str]]:
    """The gallery's addresses, by origin."""
    bucket = moto.create_bucket()
    folder = FolderStorage(real_output)
    types = {
        "html": "text/html",
        "css": "text/css",
        "js": "text/javascript",
        "svg": "image/svg+xml",
    }
    for stat in folder.list():
        kind = types.get(stat.key.rpartition(".")[2], "application/octet-stream")
        moto.client.put_object(
            Bucket=bucket,
            Key=f"night/{stat.key}",
            Body=folder.get(stat.key),
            ContentType=kind,
            ACL="public-read",
        )
    with served(real_output) as address:
        yield {
            "file": (real_output / "index.html").as_uri(),
            "serve": f"{address}out/",
            "bucket": f"{moto.endpoint}/{bucket}/night/index.html",
        }


@pytest.fixture(params=ORIGINS)
def gallery(request: pytest.FixtureRequest, addresses: dict[str, str]) -> str:
    """The gallery's address, from each origin."""
    return addresses[request.param]


@pytest.fixture
def gallery_from_disk(real_output: Path) -> str:
    """The gallery's address in its folder."""
    return (real_output / "index.html").as_uri()
