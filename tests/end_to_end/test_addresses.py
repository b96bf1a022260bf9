"""Addresses of files, wherever a job may name one: each works, or is refused or missing with its place."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cluster.open_job import open_agenda
from cluster.plan.look import look
from cluster.run.options import RunOptions
from cluster.run.run_job import run_job
from jobs.errors import JobFileError
from jobs.jobfile.load import load_job
from jobs.records.statuses import Ledger
from jobs.tasks.row_account import RowAccount
from tests.support.farm import picture, records_of, write_job

CONTENT, STYLE = "photos/p0.png", "styles/s0.png"

PLACES: dict[str, Callable[[str], dict[str, Any]]] = {
    "content": lambda uri: {"content": uri, "style": STYLE},
    "style": lambda uri: {"content": CONTENT, "style": uri},
    "style.blend": lambda uri: {"content": CONTENT, "style": {"blend": {uri: 1, STYLE: 2}}},
    "style.mask": lambda uri: {"content": CONTENT, "style": {"picture": STYLE, "mask": uri}},
    "init": lambda uri: {"content": CONTENT, "style": STYLE, "init": uri},
}
"""Entries that name a picture in a field."""

ROWS = {field: PLACES[field] for field in ("content", "style", "style.mask", "init")}
"""Rows of a manifest that do."""


def write_both(folder: Path, uri: str) -> Path:
    """A job that names an address wherever it can, in entries of its own and in rows of a manifest."""
    folder.mkdir()
    rows = [{**row(uri), "recipe.steps": 2} for row in ROWS.values()]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pairs = [place(uri) for place in PLACES.values()] + [{"manifest": "rows.jsonl"}]
    return write_job(folder, photos=1, styles=1, pairs=pairs, recipe={"steps": 1})


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder with pictures of odd names."""
    home = tmp_path / "home"
    (home / "in it").mkdir(parents=True)
    for name in ("a b.png", "ä#1.png", "c?d.png", "100%.png"):
        picture(7).convert("L").save(home / "in it" / name)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("PICTURES", str(home))
    return home


@pytest.mark.parametrize(
    "written",
    [
        "file://{home}/in%20it/a%20b.png",
        "file://localhost{home}/in it/a b.png",
        "file://{home}/in it/%C3%A4%231.png",
        "file://{home}/in%20it/c%3Fd.png",
        "file://{home}/in%20it/100%25.png",
        "{home}/in it/ä#1.png",
        "~/in it/100%.png",
    ],
)
def test_addresses_of_files_work_everywhere(tmp_path: Path, home: Path, written: str) -> None:
    job = load_job(write_both(tmp_path / "job", written.format(home=home)))
    with contextlib.closing(open_agenda(job)) as agenda:
        assert look(agenda).missing == ()

    result = run_job(job, RunOptions(pool="inline"), lambda event: None)

    assert (result.counts.done, result.counts.failed) == (9, 0), [
        record.error for record in records_of(job).values()
    ]


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (
            "$PICTURES/a.png",
            "$PICTURES is taken as it is written, because environment variables may",
        ),
        ("x/${{PICTURES}}.png", "is taken as it is written, because environment variables may be"),
        ("~/gone.png", "{home}/gone.png"),
        ("~nobody-at-all/a.png", "There is no file ~nobody-at-all/a.png (looked for "),
        ("file://{home}/in%20it/gone%20x.png", "{home}/in it/gone x.png"),
        ("file://server/a.png", "file://server/a.png names another machine; write file:///path"),
        ("file:/a.png", "file:/a.png lacks //: write file:///a.png"),
        (
            "file://{home}/in%20it/ä#1.png",
            "has a #, where the path of a file:// address ends; write %23",
        ),
        (
            "file://{home}/in%20it/c?d.png",
            "has a ?, where the path of a file:// address ends; write %3F",
        ),
        ("ftp://server/a.png", "Pictures cannot be read from ftp://"),
        ("a.svg", "a.svg is SVG, which is not read: convert it to PNG or TIFF"),
    ],
)
def test_addresses_that_lead_to_no_file_are_told_with_their_place(
    tmp_path: Path, home: Path, written: str, said: str
) -> None:
    uri, said = written.format(home=home), said.format(home=home)
    for field, place in PLACES.items():
        problem = told_of_entry(tmp_path / field, place(uri))
        where = "style" if field == "style.blend" else field
        assert "job.yaml:" in problem
        assert f"pairs[0].{where}" in problem
        if field == "style.mask" and "{" in uri:
            assert "has other braces than {content}" in problem
        else:
            assert said in problem
        assert "\n" not in problem
    for field, row in ROWS.items():
        if field == "style.mask" and "{" in uri:
            continue
        problem = told_of_row(tmp_path / f"row-{field}", row(uri))
        assert problem.startswith("rows.jsonl:1"), problem
        assert said in problem
        assert "\n" not in problem


def told_of_entry(folder: Path, entry: dict[str, Any]) -> str:
    """The one problem of a job with an entry."""
    try:
        agenda = open_agenda(load_job(write_job(folder, photos=1, styles=1, pairs=[entry])))
    except JobFileError as error:
        (problem,) = error.problems
        return str(problem)
    with contextlib.closing(agenda):
        (missing,) = look(agenda).missing
        return str(missing.problem)


def told_of_row(folder: Path, row: dict[str, Any]) -> str:
    """The one problem of a job whose manifest has a row."""
    folder.mkdir()
    (folder / "rows.jsonl").write_text(json.dumps(row) + "\n")
    pairs = [{"manifest": "rows.jsonl", "on_bad_row": "skip"}]
    job = load_job(write_job(folder, photos=1, styles=1, pairs=pairs))
    with contextlib.closing(open_agenda(job)) as agenda:
        account = RowAccount()
        list(agenda.drafts(Ledger.of({}), account))
        told = [*map(str, account.problems), *(str(m.problem) for m in look(agenda).missing)]
    (problem,) = told
    return problem
