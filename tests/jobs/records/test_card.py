"""A card says what record and loss log say, in few rows, as a script that a page can load."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from jobs.data_script import data_script
from jobs.records.card import Copies, card_of, thinned
from jobs.records.loss_log import LossLog, LossRow
from jobs.records.record import AttemptRecord, OutputRecord
from tests.jobs.support import a_record

HOSTILE = "</script><script>alert(1)</script>\u2028\u2029'\"\\`${}\U0001f600"


def parsed(script: bytes) -> dict[str, Any]:
    text = script.decode("ascii")
    assert text.startswith("stylefarm.card(")
    assert text.endswith(");\n")
    value = json.loads(text[len("stylefarm.card(") : -len(");\n")])
    assert isinstance(value, dict)
    return value


def log_of(*steps_at: tuple[int, int], total: float = 2.0) -> bytes:
    log = LossLog(("conv1_1",), 1)
    step = 0
    for scale, steps in steps_at:
        for _ in range(steps):
            log.add([LossRow(scale, step, total / (step + 1), 1.0, 0.5, (0.5,), 0.0, step / 8)])
            step += 1
    return log.to_bytes()


def test_a_card_agrees_with_its_record() -> None:
    attempts = [
        AttemptRecord(id=str(k), worker=f"w{k}", node="n", device="cpu", started=1.0, seconds=2.0)
        for k in range(2)
    ]
    record = a_record(
        7,
        styles=[("b.jpg", 0.25), ("c.jpg", 0.75, "m.png")],
        init="d.png",
        output=OutputRecord(
            key="images/x.png", sha256="2" * 64, size=9, width=64, height=48, thumbnail="thumbs/x"
        ),
        losses={"total": 1 / 3},
        steps=3,
        attempts=attempts,
    )
    copies = Copies("inputs/c", (("inputs/b", None), (None, "inputs/m")), "inputs/d")
    card = parsed(card_of(record, log_of((32, 3)), copies))
    assert card["styles"] == [
        {"uri": "b.jpg", "share": 0.25, "copy": "inputs/b", "mask": None, "mask_copy": None},
        {"uri": "c.jpg", "share": 0.75, "copy": None, "mask": "m.png", "mask_copy": "inputs/m"},
    ]
    assert (card["content_copy"], card["init_copy"]) == ("inputs/c", "inputs/d")
    assert card["output"] == {"key": "images/x.png", "width": 64, "height": 48, "size": 9}
    assert (card["worker"], card["device"], card["node"]) == ("w1", "cpu", "n")
    for name in ("id", "name", "status", "content", "init", "recipe", "steps", "losses"):
        assert card[name] == getattr(record, name), name
    assert card["columns"] == list(LossLog(("conv1_1",), 1).columns)
    assert [row[:3] for row in card["rows"]] == [[32, 0, 2.0], [32, 1, 1.0], [32, 2, 0.6666667]]


def test_a_failed_task_shows_its_last_good_picture() -> None:
    kept = OutputRecord(key="kept/x.png", sha256="2" * 64, size=9, width=64, height=48)
    card = parsed(card_of(a_record(1, status="failed", error="no", kept=kept), b"", Copies()))
    assert card["output"]["key"] == "kept/x.png"
    assert (card["status"], card["columns"], card["rows"]) == ("failed", [], [])
    assert card["device"] is None


def test_hostile_names_stay_text() -> None:
    record = a_record(1, name=HOSTILE, content=HOSTILE, styles=[(HOSTILE, 1.0)])
    script = card_of(record, b"", Copies())
    assert b"<" not in script
    card = parsed(script)
    assert card["name"] == record.name == HOSTILE
    assert card["content"] == card["styles"][0]["uri"] == record.content


def test_numbers_that_are_not_finite_become_null() -> None:
    """A page takes the data out of the script where it can, and JSON has no such numbers."""
    script = data_script("card", {"rows": [[math.inf, -math.inf, math.nan, 1.5]]})
    assert script == b'stylefarm.card({"rows":[[null,null,null,1.5]]});\n'


@pytest.mark.parametrize("sizes", [[(32, 400)], [(32, 30), (64, 5000), (128, 1)], [(9, 1)], []])
def test_a_long_log_keeps_the_ends_of_every_size(sizes: list[tuple[int, int]]) -> None:
    log = log_of(*sizes)
    lines = log.decode().splitlines()[1:]
    columns, rows = thinned(log)
    assert len(rows) <= 400
    if len(lines) <= 400:
        assert len(rows) == len(lines)
    else:
        assert len(rows) > 200
    known = [[float(cell) for cell in line.split(",")] for line in lines]
    assert all(row in known for row in rows)
    assert [row[1] for row in rows] == sorted(row[1] for row in rows)
    kept = {row[1] for row in rows}
    for scale, steps in sizes:
        of_scale = [row[1] for row in known if row[0] == scale]
        assert len(of_scale) == steps
        assert {of_scale[0], of_scale[-1]} <= kept
    assert columns[:2] == ["scale", "step"]


def test_more_sizes_than_rows_are_thinned_too() -> None:
    rows = thinned(log_of(*((32 + k, 2) for k in range(40))), most=10)[1]
    assert len(rows) == 10
    assert (rows[0][0], rows[-1][0]) == (32, 71)


@pytest.mark.parametrize("log", [b"", b"nonsense", b"scale,step,total\n1,x,3\n", b"a,b\n1,2,3\n"])
def test_a_log_that_is_none_has_no_rows(log: bytes) -> None:
    assert thinned(log)[1] == []
