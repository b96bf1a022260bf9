"""The gallery: every picture is on a page, every link leads to what is there, nothing in a name is markup."""

from __future__ import annotations

import random
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

import pytest

from jobs.records.commit import Records, write_json
from jobs.records.record import TaskRecord
from jobs.records.segments import Entry, entry_of
from jobs.report import gallery
from jobs.report.gallery import begin_gallery, gallery_pages, write_gallery
from jobs.report.templates import asset
from jobs.storage import keys
from jobs.storage.base import Storage
from jobs.storage.open import open_storage
from tests.jobs.support import a_record
from tests.support.rigs import Rig


def done(number: int, name: str = "", extension: str = "png") -> TaskRecord:
    name = name or f"picture {number}"
    key = keys.image(name, f"{number:016x}", extension)
    output = {"key": key, "sha256": "0", "size": 7, "width": 640, "height": 480}
    return a_record(number, name=name, output=output, steps=1200, seconds={"render": 12.34})


def failed(number: int, **fields: Any) -> TaskRecord:
    return a_record(number, status="failed", error="no such picture", **fields)


def entries(*records: TaskRecord) -> list[Entry]:
    return [entry_of(record, 1) for record in records]


class Page(HTMLParser):
    """What a browser makes of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.pictures: list[str] = []
        self.assets: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        self.checkboxes = 0
        self.ids: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.tags.append(tag)
        if tag == "a":
            self.links.append(values["href"] or "")
        if tag == "img":
            self.pictures.append(values["src"] or "")
        if tag in ("link", "script"):
            self.assets.append(values["href" if tag == "link" else "src"] or "")
        self.checkboxes += values.get("type") == "checkbox"
        if "data-id" in values:
            self.ids.append(values["data-id"] or "")

    def handle_data(self, data: str) -> None:
        self.text += data


def pages(pictures: list[Entry], proofs: list[Entry] = []) -> dict[str, Page]:  # noqa: B006
    return {key: Page(html) for key, html in gallery_pages("harbour", "out", pictures, proofs)}


def test_each_picture_is_shown_with_what_was_done_for_it() -> None:
    found = pages(entries(done(1), done(2, "näher ß")))["index.html"]

    assert found.pictures == [
        "images/n%C3%A4her%20%C3%9F-0000000000000002.png",
        "images/picture%201-0000000000000001.png",
    ]
    assert "640 x 480 px, 1,200 steps in 12.3 s" in found.text
    assert "losses/00/0000000000000001.csv" in found.links
    assert "tasks/00/0000000000000001.json" in found.links


def test_an_output_with_nothing_in_it_says_so() -> None:
    assert "Nothing has been rendered" in pages([])["index.html"].text


def test_names_and_errors_are_text_whatever_they_hold() -> None:
    evil = "<script>alert(1)</script>\"'&{{ 7*7 }}"
    made = pages(entries(done(1, evil), a_record(2, name=evil, status="failed", error=evil)))

    assert made["index.html"].tags.count("script") == 1  # the page's own
    assert evil in made["index.html"].text
    assert evil in made["gallery/failed-1.html"].text
    assert "<b>" not in next(iter(gallery_pages("<b>", "<b>", [], [])))[1]


def test_failures_stand_on_a_page_of_their_own_with_the_reason_and_the_last_good_picture() -> None:
    kept = {"key": "kept/b-2.png", "sha256": "0", "size": 1, "width": 1, "height": 1}
    made = pages(entries(done(1), failed(2, kept=kept), failed(3)))

    page = made["gallery/failed-1.html"]
    assert page.text.count("no such picture") == 2
    assert page.pictures == ["../kept/b-2.png"]
    assert "last good picture" in page.text
    assert "no such picture" not in made["index.html"].text


def test_many_pictures_make_several_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gallery, "PAGE", 3)
    made = pages(entries(*(done(k, f"p{k}") for k in range(8))))

    assert set(made) == {"index.html", *(f"gallery/pictures-{k}.html" for k in (1, 2, 3))}
    assert [len(made[f"gallery/pictures-{k}.html"].pictures) for k in (1, 2, 3)] == [3, 3, 2]
    every = [p for k in (1, 2, 3) for p in made[f"gallery/pictures-{k}.html"].pictures]
    assert every == [f"../images/p{k}-{k:016x}.png" for k in range(8)]
    for page in made.values():
        assert {urlsplit(link).path.rsplit("/")[-1] for link in page.links} >= {
            f"pictures-{k}.html" for k in (1, 2, 3)
        }


def test_of_very_many_the_first_are_shown_and_all_are_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gallery, "MOST", 5)
    monkeypatch.setattr(gallery, "ROOM", 3)
    for seed in range(20):
        order = list(range(23))
        random.Random(seed).shuffle(order)
        # Of two with the same name the smaller id comes first.
        made = pages(entries(*(done(k, f"p{k // 2:02}") for k in order)))

        assert made["index.html"].pictures == [
            f"images/p{k // 2:02}-{k:016x}.png" for k in range(5)
        ]
        assert "The first 5 of 23 by name" in made["index.html"].text


def test_proofs_can_be_chosen_and_say_what_was_made_of_them() -> None:
    made = pages(entries(done(1)), entries(done(1), done(2), failed(3)))

    page = made["gallery/proofs-1.html"]
    assert page.checkboxes == 2
    assert page.ids == [f"{k:016x}" for k in (1, 2)]
    assert page.pictures[0] == "../proofs/images/picture%201-0000000000000001.png"
    assert page.text.count("rendered at full size") == 1
    assert "../images/picture%201-0000000000000001.png" in page.links
    assert "stylefarm promote out --select" in page.text
    assert "proof: no such picture" in made["gallery/failed-1.html"].text
    assert made["index.html"].checkboxes == 0  # of pictures there is nothing to choose


def test_proofs_come_first_where_there_is_nothing_else() -> None:
    made = pages([], entries(done(1)))

    assert made["index.html"].checkboxes == 1
    assert set(made) == {"index.html", "gallery/proofs-1.html"}


def test_a_tiff_is_named_instead_of_shown() -> None:
    page = pages(entries(done(1, extension="tif")))["index.html"]

    assert page.pictures == []
    assert "a TIF, which browsers do not show" in page.text
    assert "images/picture%201-0000000000000001.tif" in page.links


def an_output(folder: Path, *records: TaskRecord) -> Storage:
    storage = open_storage(str(folder))
    committed = Records(storage)
    for record in records:
        for key in (record.output.key if record.output else None, keys.losses(record.id)):
            if key:
                storage.put(key, b"x")
        committed.commit(record)
    committed.close()
    return storage


def test_every_link_leads_to_something_in_the_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gallery, "PAGE", 2)
    name = "50% off? #1 & more"
    storage = an_output(tmp_path / "out", *(done(k, f"{name} {k}") for k in range(5)), failed(9))
    proofs = an_output(tmp_path / "out" / "proofs", *(done(k) for k in range(3)))
    write_json(proofs, keys.JOB, {"job": {"name": "the harbour"}})

    assert write_gallery(storage, proofs) == "index.html"

    shown = set()
    for file in [tmp_path / "out/index.html", *(tmp_path / "out/gallery").glob("*.html")]:
        page = Page(file.read_text(encoding="utf-8"))
        assert "the harbour" in page.text
        assert len(page.assets) == 2
        for link in (*page.links, *page.pictures, *page.assets):
            target = unquote(urlsplit(urljoin(file.as_uri(), link)).path)
            assert Path(target).is_file(), link
            shown.add(Path(target))
    pictures = [*(tmp_path / "out/images").iterdir(), *(tmp_path / "out/proofs/images").iterdir()]
    assert set(pictures) <= shown


def test_pages_that_are_not_needed_any_more_go(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gallery, "PAGE", 1)
    storage, proofs = rig.open(), rig.open("proofs")
    records = Records(storage)
    for number in (1, 2):
        records.commit(done(number))
    records.close()
    write_gallery(storage, proofs)
    assets = [keys.GALLERY_STYLE, keys.GALLERY_SCRIPT]
    pages = ["gallery/pictures-1.html", "gallery/pictures-2.html"]
    assert [found.key for found in storage.list(keys.GALLERY)] == [*assets, *pages]

    records = Records(storage)
    records.forget([f"{2:016x}"])
    write_gallery(storage, proofs)

    assert [found.key for found in storage.list(keys.GALLERY)] == [*assets, pages[0]]
    assert b"picture 1" in storage.get(keys.INDEX)


def test_pages_ask_nobody_for_anything() -> None:
    _, html = next(iter(gallery_pages("harbour", "s3://renders/harbour", entries(done(1)), [])))

    assert not re.findall(r"""(?:src|href)=["']?(?:https?:)?//""", html)
    for text in (html, asset("gallery.css").decode(), asset("gallery.js").decode()):
        assert not re.findall(r"@import|url\(|https?://", text)
    # Nothing that a policy without inline scripts and styles would have to make an exception for.
    assert not re.findall(r"<style|style=|<script>|\son\w+=", html)


def test_a_gallery_is_begun_where_there_is_none_and_takes_nothing_away(rig: Rig) -> None:
    out, proofs = rig.open(), rig.open(keys.PROOFS)
    kept = (keys.LIVE_SCRIPT, keys.fresh("run", 0))
    for key in kept:
        out.put(key, b"of the run that lasts")
    begin_gallery(out, proofs)
    first = out.get(keys.INDEX)
    assert all(out.stat(key) is not None for key in kept)

    Records(out).commit(done(1))
    begin_gallery(out, proofs)
    assert out.get(keys.INDEX) == first

    proofs.put(keys.fresh("run", 0), b"")
    write_gallery(out, proofs)
    assert out.get(keys.INDEX) != first
    assert out.stat(keys.LIVE_SCRIPT) is not None
    assert not [*out.list(keys.FRESH), *proofs.list(keys.FRESH)]
