"""Galleries with something missing, damaged or mixed, and links that somebody wrote by hand."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cluster.complete.small import small_picture
from jobs.records.commit import Records
from jobs.report.gallery import write_gallery
from jobs.report.single import single_page
from jobs.storage import keys
from jobs.storage.folder import FolderStorage
from stylize.recipe import Recipe
from tests.jobs.support import a_record
from tests.support.farm import picture, wait_for

Open = Callable[..., Any]


class Output:
    """An output that a test fills."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.storage = FolderStorage(folder)
        self.records = Records(self.storage)
        (folder / "images").mkdir(parents=True)

    def add(self, number: int, **fields: Any) -> None:
        """Commit a task whose picture is there."""
        key = keys.image(f"p{number}", f"{number:016x}", "png")
        picture(number).save(self.folder / key)
        output = {"key": key, "sha256": "0", "size": 7, "width": 48, "height": 40}
        output["thumbnail"] = fields.pop("thumbnail", None)
        self.records.commit(a_record(number, name=f"p{number}", output=output, **fields))

    def write(self) -> str:
        """Write the gallery, and return its address."""
        self.records.close()
        write_gallery(self.storage, FolderStorage(self.folder / "proofs"))
        return (self.folder / "index.html").as_uri()


@pytest.fixture
def output(tmp_path: Path) -> Output:
    return Output(tmp_path / "out")


def recipe(**knobs: Any) -> dict[str, Any]:
    return Recipe(**knobs).model_dump(mode="json")


def test_a_card_tells_what_was_swept_and_not_what_comes_with_a_preset(
    output: Output, opened: Open
) -> None:
    output.add(1, recipe=recipe(style_weight=1.0))
    output.add(2, recipe=recipe(style_weight=4.0))
    output.add(3, recipe=recipe(preset="gatys"))
    page = opened(output.write())
    about = page.locator("article").nth(1).locator(".about")
    wait_for(lambda: "preset studio, style_weight 4" in about.text_content())
    page.locator("#more summary").click()
    wait_for(lambda: page.locator("#knobs label").count() == 2)


def test_without_a_card_there_is_the_picture_and_no_wrong_line(
    output: Output, opened: Open
) -> None:
    output.add(1, recipe=recipe(), styles=[("a.png", 1.0), ("b.png", 2.0)])
    output.add(2, recipe=recipe(), card=keys.card(f"{2:016x}"))
    page = opened(output.write(), may_be_gone="/cards/")
    page.locator("article a.frame").first.click()
    facts = page.locator("dialog .facts")
    wait_for(lambda: "a.png + b.png" in facts.text_content())
    assert page.locator("#again").count() == 0
    image = page.locator("dialog .pane img")
    wait_for(lambda: image.evaluate("i => i.naturalWidth") == 48)
    page.locator("#next").click()
    wait_for(lambda: "is missing or damaged" in facts.text_content())


def test_a_lost_thumbnail_is_replaced_by_the_picture(output: Output, opened: Open) -> None:
    output.add(1, thumbnail=keys.thumb(f"{1:016x}"))
    page = opened(output.write(), may_be_gone="/thumbs/")
    image = page.locator("article img")
    wait_for(lambda: image.evaluate("i => i.naturalWidth") == 48)


def test_what_cannot_be_read_is_said_where_it_is_seen(
    output: Output, opened: Open, chromium: Any
) -> None:
    output.add(1)
    address = output.write()
    (rows,) = (output.folder / "gallery" / "data").glob("*/rows-0.js")
    rows.write_text("stylefarm.rows({});")
    page = chromium.new_page()
    page.goto(f"{address}#id={1:016x}")
    wait_for(lambda: page.locator("dialog .facts .error").count())
    page.close()


def test_links_that_were_written_by_hand(output: Output, opened: Open) -> None:
    output.add(1)
    page = opened(f"{output.write()}#group=bogus&sort=-nothing&page=99&view=x&kind=y")
    assert page.locator("article .name").all_text_contents() == ["p1"]


def test_one_file_of_an_output_with_a_damaged_card(real_output: Path, tmp_path: Path) -> None:
    shutil.copytree(real_output, tmp_path / "out")
    card = next((tmp_path / "out" / "cards").glob("*/*.js"))
    card.write_bytes(card.read_bytes()[:100])
    storage = FolderStorage(tmp_path / "out")
    page = single_page(storage, FolderStorage(tmp_path / "out" / "proofs"), small_picture)
    assert len(page) > 100_000
