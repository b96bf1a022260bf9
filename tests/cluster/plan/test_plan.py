"""What a job would take: memory, time and money, before it is begun."""

from __future__ import annotations

import json
import re

import pytest

from cluster.open_job import open_agenda
from cluster.plan.plan import Group, Plan, Price, make_plan
from cluster.plan.plan_text import to_text
from jobs.jobfile.load import load_job
from jobs.records.commit import Records
from jobs.storage.open import open_storage
from tests.support.farm import stylefarm, write_job


def group(**changes):
    values = {
        "preset": "studio",
        "sizes": (64, 128),
        "steps": 40,
        "tasks": 10,
        "left": 8,
        "memory_bytes": 3 * 10**9,
        "strips_bytes": 10**9,
        "history_bytes": 0,
        "seconds_each": 90.0,
    }
    return Group(**{**values, **changes})


def plan_of(*groups, **changes):
    left = sum(g.left for g in groups)
    tasks = sum(g.tasks for g in groups)
    return Plan("harbour", "out", tasks, tasks - left, 0, groups, **changes)


def test_time_and_cost_are_those_of_what_is_left():
    plan = plan_of(group(), group(left=2, seconds_each=45.0), gpus=4, price_per_gpu_hour=2.0)

    assert plan.device_seconds == 8 * 90 + 2 * 45
    assert plan.wall_seconds == plan.device_seconds / 4
    assert plan.cost == pytest.approx(810 / 3600 * 2)
    assert "0:13:30 of device time left: about 0:03:22 on 4 workers, 0.45 at 2.00" in to_text(plan)


def test_no_number_of_workers_makes_a_job_shorter_than_its_longest_render():
    assert plan_of(group(), gpus=1000).wall_seconds == 90.0


def test_every_worker_has_to_start():
    plan = plan_of(group(), gpus=4, price_per_gpu_hour=3600.0, startup_seconds=10.0)

    assert plan.wall_seconds == 8 * 90 / 4 + 10
    assert plan.cost == 8 * 90 + 4 * 10


def test_what_nobody_knows_is_not_made_up():
    plan = plan_of(group(), group(seconds_each=None), price_per_gpu_hour=2.0)

    assert (plan.device_seconds, plan.wall_seconds, plan.cost) == (None, None, None)
    assert "--pilot" in to_text(plan)
    # A group with nothing left needs no time.
    assert plan_of(group(), group(left=0, seconds_each=None)).device_seconds == 720


@pytest.mark.parametrize(
    ("size", "card", "fits", "said"),
    [
        (512, 80e9, "whole", None),
        (4096, 24e9, "strips", "only in strips"),
        (16384, 24e9, "no", "WILL NOT FIT"),
        (512, None, None, None),
    ],
)
def test_what_will_not_fit_a_card_is_flagged(tmp_path, size, card, fits, said):
    job = load_job(write_job(tmp_path, recipe={"size": size}))

    plan = make_plan(open_agenda(job), None, "out", Price(card_bytes=card and int(card)))

    assert [g.fits for g in plan.groups] == [fits]
    assert said is None or said in to_text(plan)


def test_a_pilot_tells_time_before_anything_was_rendered(tmp_path):
    job = write_job(
        tmp_path, photos=3, styles=1, recipe={"size": 64, "start_size": 32, "steps": 30}
    )

    planned = stylefarm("plan", job, "--pilot", "--price-per-gpu-hour", "2", "--json")
    text = stylefarm("plan", job, "--pilot", "--gpus", "2").stdout
    ran = stylefarm("run", job, "--pool", "inline")

    assert planned.returncode == ran.returncode == 0, planned.stderr + ran.stderr
    plan = json.loads(planned.stdout)
    (group,) = plan["groups"]
    assert group["told_by"] == "pilot"
    assert [size for size, _ in group["step_seconds"]] == [32, 64]
    assert plan["device"] == "cpu"
    assert plan["cost"] > 0
    assert re.search(r"a step takes [\d.e-]+ s at 32 px, [\d.e-]+ s at 64 px", text)
    assert "on 2 workers" in text
    # Nothing was written, and it was not far off, though this machine may be busy: what
    # tests/bench/pilot.py measures is closer.
    loaded = load_job(job)
    records = Records(open_storage(loaded.spec.output, base=loaded.base))
    took = sum(record.seconds["render"] for record in records.all())
    assert 0.3 * took <= plan["device_seconds"] <= 3 * took


def test_what_was_tried_for_the_pictures_is_not_tried_again_for_proofs_that_are_the_same(tmp_path):
    job = write_job(tmp_path, photos=1, styles=1)

    planned = json.loads(stylefarm("plan", job, "--pilot", "--json").stdout)

    pictures, proofs = planned["groups"], planned["proofs"]["groups"]
    assert pictures[0]["step_seconds"] == proofs[0]["step_seconds"] != []


def test_no_price_is_no_number(tmp_path):
    job = write_job(tmp_path, photos=1, styles=1)

    ran = stylefarm("plan", job, "--price-per-gpu-hour", "inf", "--json")

    assert (ran.returncode, ran.stdout) == (2, "")
    assert "inf is not a price" in ran.stderr


def test_a_pilot_tries_another_when_a_picture_is_not_there(tmp_path):
    job = write_job(tmp_path, photos=2, styles=1)
    (tmp_path / "photos" / "p0.png").write_bytes(b"not a picture")

    assert stylefarm("plan", job, "--pilot").returncode == 0
    (tmp_path / "photos" / "p1.png").write_bytes(b"not a picture")
    refused = stylefarm("plan", job, "--pilot")

    assert refused.returncode == 2
    assert "the pilot has nothing to render" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_split_picture_needs_less_of_each_device(tmp_path):
    seen = []
    for workers in ({}, {"gpus": 4, "split": "picture"}):
        job = write_job(tmp_path, recipe={"size": 4096}, workers=workers)
        seen.append(json.loads(stylefarm("plan", job, "--json").stdout)["groups"][0])
    for what in ("strips_bytes", "history_bytes"):
        assert seen[1][what] < seen[0][what] / 2
    assert "on each of the 4 devices that share a picture" in stylefarm("plan", job).stdout
