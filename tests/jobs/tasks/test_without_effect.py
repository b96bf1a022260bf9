"""Knobs that a job gives and that change nothing: one task, and a word about them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.farm import records_of, stylefarm, write_job


def planned(job: Path) -> dict[str, Any]:
    plan: dict[str, Any] = json.loads(stylefarm("plan", job, "--json").stdout)
    return plan


def a_job(folder: Path, knobs: dict[str, Any] | None = None, **pair: Any) -> Path:
    pairs = [{"content": "photos/", "style": "styles/", **pair}]
    more = {} if knobs is None else {"recipe": knobs}
    return write_job(folder, photos=1, styles=1, pairs=pairs, **more)


def line_of(job: Path, text: str) -> int:
    return next(n for n, line in enumerate(job.read_text().splitlines(), 1) if text in line)


def test_a_sweep_of_seeds_from_the_photo_is_one_picture_and_said(tmp_path: Path) -> None:
    job = a_job(tmp_path, sweep={"seed": [0, 1, 2]})
    plan = planned(job)
    note = (
        f"{job}:{line_of(job, 'seed:')}: pairs[0].sweep.seed: has no effect where init is content: "
        "its 3 values make one picture"
    )
    assert (plan["tasks"], plan["rows"]["repeated_pairs"]) == (1, 2)
    assert plan["without_effect"] == [note]
    ran = stylefarm("run", job, "--pool=inline", "--quiet")
    assert (ran.returncode, ran.stderr.splitlines()) == (0, [f"note {note}"])
    # It is the picture that the same job without a sweep has.
    before = records_of(job)
    assert planned(a_job(tmp_path))["done"] == 1
    assert len(before) == 1


@pytest.mark.parametrize(
    ("recipe", "pair", "told"),
    [
        ({"init": "noise"}, {"sweep": {"seed": [1, 2]}}, []),
        ({}, {"sweep": {"init": ["content", "noise"], "seed": [1, 2]}}, []),
        ({"beta2": 0.9}, {}, ["recipe.beta2: has no effect where optimizer is lbfgs"]),
        ({"optimizer": "adam", "beta2": 0.9}, {}, []),
        ({}, {"recipe": {"history": 9, "optimizer": "adam"}}, ["pairs[0].recipe.history: has no"]),
        ({"seed": 3}, {"recipe": {"init": "noise"}}, []),
    ],
)
def test_what_is_told_and_what_is_not(
    tmp_path: Path, recipe: dict[str, Any], pair: dict[str, Any], told: list[str]
) -> None:
    found = planned(a_job(tmp_path, recipe, **pair))["without_effect"]
    assert len(found) == len(told), found
    for text, expected in zip(found, told, strict=True):
        assert expected in text


def test_rows_may_have_their_own_start(tmp_path: Path) -> None:
    """A knob of the whole job is not told where a manifest's rows may make use of it."""
    job = a_job(tmp_path, {"seed": 3})
    (tmp_path / "rows.csv").write_text(
        "content,style,recipe.init\nphotos/p0.png,styles/s0.png,noise\n"
    )
    job.write_text(job.read_text().replace("pairs:\n", "pairs:\n- manifest: rows.csv\n"))
    assert planned(job)["without_effect"] == []
