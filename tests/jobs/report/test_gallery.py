"""The gallery's data: every result once, in order, with all that the page needs to find and to show it."""

from __future__ import annotations

import base64
import json
import math
import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jobs.data_script import parse_data_script
from jobs.records.commit import Records, write_json
from jobs.records.record import FilmRecord, TaskRecord, sequence_of
from jobs.report import gallery
from jobs.report.gallery import begin_gallery, gallery_files, write_gallery
from jobs.report.gallery_rows import CARD, FAILED, KEPT, PROMOTED, PROOF, THUMBNAIL
from jobs.report.templates import gallery_script, gallery_style
from jobs.storage import keys
from jobs.storage.base import Storage
from jobs.storage.open import open_storage
from tests.jobs.support import a_record
from tests.support.rigs import Rig

TYPES = {"loss": "<f4", "seconds": "<f4", "attempts": "u1", "ending": "u1", "flags": "u1"}
TYPES["held"] = "u1"


def done(number: int, name: str = "", extension: str = "png", **fields: Any) -> TaskRecord:
    name = name or f"picture {number}"
    key = keys.image(name, f"{number:016x}", extension)
    output = {"key": key, "sha256": "0", "size": 7, "width": 640, "height": 480}
    return a_record(
        number, name=name, output=output, steps=1200, seconds={"render": 12.34}, **fields
    )


def failed(number: int, **fields: Any) -> TaskRecord:
    return a_record(number, status="failed", error="no such picture", **fields)


def commit(storage: Storage, *records: TaskRecord) -> Storage:
    committed = Records(storage)
    for record in records:
        committed.commit(record)
    committed.close()
    return storage


class Gallery:
    """What a page makes of a gallery's data."""

    def __init__(self, storage: Storage, proofs: Storage) -> None:
        self.files = {file.key: file.data for file in gallery_files(storage, proofs)}
        self.index = self.read("index", keys.GALLERY_INDEX)
        self.texts = {
            name: [
                line
                for page in range(-(-about["total"] // about["page"]))
                for line in self.read("texts", f"{self.folder}{name}-{page}.js")["lines"].split(
                    "\n"
                )
            ]
            for name, about in self.index["texts"].items()
        }
        self.rows: list[dict[str, Any]] = []
        for number in range(-(-self.index["rows"] // self.index["chunk"])):
            self.rows += self.unpack(self.read("rows", f"{self.folder}rows-{number}.js"))

    @property
    def folder(self) -> str:
        return str(self.index["folder"])

    def read(self, function: str, key: str) -> Any:
        return parse_data_script(function, self.files[key])

    def unpack(self, chunk: dict[str, Any]) -> list[dict[str, Any]]:
        names, odd = chunk.pop("names").split("\n"), chunk.pop("odd")
        columns = {
            name: np.frombuffer(base64.b64decode(text), TYPES.get(name, "<u4")).tolist()
            for name, text in chunk.items()
        }
        rows = []
        for line, name in enumerate(names):
            row = {column: values[line] for column, values in columns.items()}
            row["id"] = f"{row.pop('high'):08x}{row.pop('low'):08x}"
            for text in self.texts:
                row[text] = self.texts[text][row[text]] if self.texts[text] else None
            row["name"], row["odd"] = name, odd.get(str(line))
            rows.append(row)
        assert all(len(values) == len(names) for values in columns.values())
        return rows


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return open_storage(str(tmp_path / "out"))


@pytest.fixture
def proofs(tmp_path: Path) -> Storage:
    return open_storage(str(tmp_path / "out" / "proofs"))


def test_a_row_has_what_the_record_says(storage: Storage, proofs: Storage) -> None:
    styles = [("styles/w.jpg", 2.0), ("styles/s.jpg", 1.0)]
    record = done(
        0xFEDCBA9876543210,
        "näher ß",
        content="photos/a.jpg",
        styles=styles,
        recipe={"size": 640},
        losses={"total": 12.5},
        finished=1_796_000_000.7,
        card="cards/x.js",
    )
    found = Gallery(commit(storage, record), proofs)

    (row,) = found.rows
    assert row["id"] == "fedcba9876543210"
    assert row["name"] == "näher ß"
    assert (row["content"], row["style"]) == ("photos/a.jpg", "styles/w.jpg + styles/s.jpg")
    assert json.loads(row["recipe"]) == {"size": 640}
    assert (row["loss"], row["steps"], row["finished"]) == (12.5, 1200, 1_796_000_000)
    assert row["seconds"] == pytest.approx(12.34, rel=1e-6)
    assert (row["width"], row["height"]) == (640, 480)
    assert row["flags"] == CARD
    assert row["odd"] is None
    assert found.index["endings"][row["ending"]] == "png"
    assert found.index["counts"] == {"pictures": 1, "proofs": 0, "failed": 0, "failed-proofs": 0}
    assert found.index["presets"]["gatys"]["optimizer"] == "lbfgs"


def test_pictures_come_first_then_proofs_then_failures_each_by_name(
    storage: Storage, proofs: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gallery, "CHUNK", 7)
    names = [f"p{number:02}" for number in range(20)]
    order = list(range(1, 21))
    random.Random(3).shuffle(order)
    commit(
        storage, *(done(k, names[k - 1]) for k in order), failed(91, name="y"), failed(90, name="x")
    )
    commit(proofs, *(done(k, names[k - 1]) for k in order[:5]), done(50, "z"), failed(92, name="c"))

    found = Gallery(storage, proofs)

    assert [row["name"] for row in found.rows[:20]] == names
    small = found.rows[20:26]
    assert [row["name"] for row in small] == sorted(row["name"] for row in small)
    assert all(row["flags"] & PROOF for row in small)
    assert [row["name"] for row in found.rows[26:]] == ["x", "y", "c"]
    assert [bool(row["flags"] & PROOF) for row in found.rows[26:]] == [False, False, True]
    assert found.index["counts"] == {"pictures": 20, "proofs": 6, "failed": 2, "failed-proofs": 1}
    # Of five proofs there is a picture in full.
    assert [row["name"] for row in small if not row["flags"] & PROMOTED] == ["z"]
    chunks = [key for key in found.files if "/rows-" in key]
    assert len(chunks) == math.ceil(29 / 7)


def test_failures_have_their_reason_and_their_last_good_picture(
    storage: Storage, proofs: Storage
) -> None:
    kept = {
        "key": keys.kept("b", f"{2:016x}", "tif"),
        "sha256": "0",
        "size": 1,
        "width": 30,
        "height": 20,
        "thumbnail": keys.thumb(f"{2:016x}"),
    }
    found = Gallery(commit(storage, failed(2, name="b", kept=kept), failed(3, name="c")), proofs)

    good, none = found.rows
    assert good["flags"] == FAILED | KEPT | THUMBNAIL
    assert (good["width"], good["height"], good["odd"]) == (30, 20, None)
    assert found.index["endings"][good["ending"]] == "tif"
    assert none["flags"] == FAILED
    assert [row["error"] for row in found.rows] == ["no such picture"] * 2
    assert math.isnan(none["loss"])


def test_a_key_that_does_not_follow_from_the_name_is_told(
    storage: Storage, proofs: Storage
) -> None:
    output = {"key": "images/other.png", "sha256": "0", "size": 7, "width": 6, "height": 4}
    commit(storage, a_record(1, name="a", output=output), done(2, "b"))

    assert [row["odd"] for row in Gallery(storage, proofs).rows] == ["images/other.png", None]


def test_names_and_errors_are_data_whatever_they_hold(storage: Storage, proofs: Storage) -> None:
    evil = "</script><script>alert(1)</script>\"'&{{ 7*7 }}\u2028"
    name = "a\nb\x00 <b>"
    commit(storage, done(1, "p"), a_record(2, name=name, status="failed", error=evil, content=evil))
    write_json(storage, keys.JOB, {"job": {"name": evil}})

    found = Gallery(storage, proofs)

    for key, data in found.files.items():
        if key.startswith(keys.GALLERY_DATA):
            assert b"<" not in data, key
            assert data.isascii(), key
    page = found.files[keys.INDEX].decode()
    assert page.count("<script") == 1  # the page's own
    assert "&lt;script&gt;alert(1)" in page
    (row,) = [row for row in found.rows if row["flags"] & FAILED]
    assert row["name"] == "a b\ufffd <b>"
    assert row["error"] == row["content"] == evil.replace("\u2028", " ")


def test_an_output_with_nothing_in_it_has_a_gallery(storage: Storage, proofs: Storage) -> None:
    assert Gallery(storage, proofs).index["rows"] == 0


def test_earlier_files_go_and_data_of_other_makers_stay(rig: Rig) -> None:
    storage, proofs = rig.open(), rig.open("proofs")
    commit(storage, done(1), done(2))
    storage.put("gallery/pictures-1.html", b"a page of an earlier version")
    storage.put(keys.LIVE_SCRIPT, b"stylefarm.live({});\n")
    write_gallery(storage, proofs)
    first = {found.key for found in storage.list(keys.GALLERY)}
    assert "gallery/pictures-1.html" not in first
    assert keys.LIVE_SCRIPT in first

    storage.put(keys.fresh("run", 0), b"stylefarm.fresh({});\n")
    Records(storage).forget([f"{2:016x}"])
    write_gallery(storage, proofs)

    second = {found.key for found in storage.list(keys.GALLERY)}
    assert keys.fresh("run", 0) not in second  # what it says is in the data now
    changed = {key for key in first ^ second if not key.startswith(keys.GALLERY_DATA)}
    assert not changed
    assert len(second) == len(first)


def test_a_run_begins_a_gallery_only_where_there_is_none(storage: Storage, proofs: Storage) -> None:
    begin_gallery(storage, proofs, storage)
    index = parse_data_script("index", storage.get(keys.GALLERY_INDEX))
    assert index["live"] == [""]

    commit(storage, done(1))
    begin_gallery(storage, proofs, proofs)
    again = parse_data_script("index", storage.get(keys.GALLERY_INDEX))
    assert again == {**index, "live": ["", "proofs/"]}

    # One of another version is written anew.
    storage.put(keys.GALLERY_INDEX, b'stylefarm.index({"version": 0});\n')
    begin_gallery(storage, proofs, storage)
    assert parse_data_script("index", storage.get(keys.GALLERY_INDEX))["rows"] == 1


def test_pages_ask_nobody_for_anything(storage: Storage, proofs: Storage) -> None:
    page = Gallery(storage, proofs).files[keys.INDEX].decode()

    for text in (page, gallery_style().decode(), gallery_script().decode()):
        assert not re.findall(r"@import|url\(|(?:src|href)=[\"']?(?:https?:)?//", text)
    assert "http" not in gallery_script().decode().replace("/^https?:$/", "")
    # Nothing that a policy without inline scripts and styles would have to make an exception for.
    assert not re.findall(r"<style|style=|<script>|\son\w+=", page)
    # And no way from a string to markup.
    assert not re.findall(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", gallery_script().decode()
    )


def test_frames_say_which_film_they_are_of(storage: Storage, proofs: Storage) -> None:
    def frame(number: int, film: str = "a", held: float | None = None) -> TaskRecord:
        part = FilmRecord(film=film * 16, index=number, number=number, held=held)
        return done(ord(film) * 1000 + number, f"{film}.{number}", film=part)

    frames = [frame(1), frame(2, held=0.5), frame(3, held=1.0), frame(1, "b"), done(1, "c")]
    made = {
        "key": "videos/a.mp4",
        "first_task": frames[0].id,
        "rate": "24/1",
        "codec": "h264",
        "frames": 2,
    }
    write_json(storage, "videos/a.json", {**made, "size": 7})
    storage.put("videos/a.mp4", b"")
    storage.put("videos/b.json", b"{damaged")
    found = Gallery(commit(storage, *frames), proofs)

    films = found.read("films", f"{found.folder}films.js")
    kind = {1: "u1", 2: "<u2", 4: "<u4"}[films["bytes"]]
    numbers = np.frombuffer(base64.b64decode(films["rows"]), kind).tolist()
    names = [films["films"][number - 1] if number else None for number in numbers]
    assert [row["name"] for row in found.rows] == ["a.1", "a.2", "a.3", "b.1", "c"]
    assert names == [*(sequence_of(frame) for frame in frames[:4]), None]
    assert films["videos"] == [{**made, "proof": False}]
    assert found.index["films"] == 2
    assert [row["frame"] for row in found.rows] == [1, 2, 3, 1, 0]
    assert [row["held"] for row in found.rows] == [0, 128, 255, 0, 0]


def test_a_film_of_proofs_says_what_is_there_at_full_size(
    storage: Storage, proofs: Storage
) -> None:
    def frame(number: int, size: int, film: str = "a") -> TaskRecord:
        part = FilmRecord(film=film * 16, index=number, number=number)
        recipe = {"preset": "studio", "size": size}
        return done(ord(film) * 1000 + number, f"{film}.{number}", film=part, recipe=recipe)

    def painted(number: int, size: int, film: str = "a") -> str:
        name = sequence_of(frame(number, size, film))
        assert name is not None
        return name

    commit(proofs, *(frame(k, 32) for k in range(1, 5)), frame(1, 32, "b"), frame(1, 32, "c"))
    commit(storage, frame(2, 640), frame(4, 640), frame(1, 32, "c"), done(7, "still"))
    found = Gallery(storage, proofs)

    films = found.read("films", f"{found.folder}films.js")
    names = films["films"]
    there = {
        name: (many, names[number - 1]) for name, (many, number) in films["at_full_size"].items()
    }
    assert there == {
        painted(1, 32): (2, painted(2, 640)),
        painted(1, 32, "c"): (1, painted(1, 32, "c")),
    }
    promoted = [row["name"] for row in found.rows if row["flags"] & PROMOTED]
    assert promoted == ["a.2", "a.4", "c.1"]


def test_an_output_without_films_says_nothing_of_them(storage: Storage, proofs: Storage) -> None:
    found = Gallery(commit(storage, done(1)), proofs)

    assert found.index["films"] == 0
    assert f"{found.folder}films.js" not in found.files
    assert not {"film", "frame", "held"} & set(found.rows[0])
