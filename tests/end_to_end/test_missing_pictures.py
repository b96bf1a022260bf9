"""Pictures that are not there are told before anything is rendered, and not once for each task at night."""

from __future__ import annotations

import json

import pytest

from tests.support.farm import LOOK_LONG, records_of, stylefarm, write_job

INLINE = ("--pool", "inline")


@pytest.fixture
def job(tmp_path):
    """Three photos in three paintings, of which one is misspelt."""
    styles = ["styles/s0.png", "styles/wavee.png", "styles/wave.png"]
    file = write_job(tmp_path, photos=3, styles=2, pairs=[{"content": "photos/", "style": styles}])
    (tmp_path / "styles" / "s1.png").rename(tmp_path / "styles" / "wave.png")
    return file


SENTENCE = (
    "There is no file styles/wavee.png (looked for {folder}/styles/wavee.png); "
    "is styles/wave.png meant?"
)


def test_a_run_says_at_its_start_what_is_missing_and_renders_the_rest(job, tmp_path):
    ran = stylefarm("run", job, *INLINE, "--json", settings=LOOK_LONG)

    events = [json.loads(line) for line in ran.stdout.splitlines()]
    kinds = [event["event"] for event in events]
    (missing,) = (event for event in events if event["event"] == "pictures_missing")
    (sentence,) = missing["first"]
    assert ran.returncode == 1
    assert kinds.index("started") < kinds.index("pictures_missing") < kinds.index("done")
    assert (missing["pictures"], missing["looked_at"], missing["complete"]) == (1, 6, True)
    assert sentence.endswith(f"{SENTENCE.format(folder=tmp_path)} 3 tasks need it")
    assert "job.yaml:" in sentence
    assert "pairs[0].style[1]: " in sentence
    assert [line for line in ran.stderr.splitlines() if line.startswith("will fail")] == [
        f"will fail {sentence}"
    ]
    statuses = sorted(record.status for record in records_of(job).values())
    assert statuses == ["done"] * 6 + ["failed"] * 3
    # Nothing of it is to do any more, so nothing is told.
    assert "will fail" not in stylefarm("run", job, *INLINE).stderr


def test_a_run_of_which_nothing_can_be_rendered_is_refused_before_ray_starts(job, tmp_path):
    (tmp_path / "styles" / "s0.png").unlink()
    (tmp_path / "styles" / "wave.png").unlink()

    ran = stylefarm("run", job, settings=LOOK_LONG)

    assert ran.returncode == 2
    assert "starting Ray" not in ran.stderr
    assert "Traceback" not in ran.stderr
    assert ran.stderr.count("3 tasks need it") == 3
    assert (
        "nothing can be rendered: each of the 9 tasks that are not done needs a picture"
        in ran.stderr
    )
    assert records_of(job) == {}


def test_a_run_that_is_refused_forgets_nothing(tmp_path):
    job = write_job(tmp_path, photos=2, styles=1)
    assert stylefarm("run", job, *INLINE).returncode == 0
    before = records_of(job)
    text = job.read_text()

    job.write_text(text + "notify: {url: $NO_SUCH_WEBHOOK}\n")
    assert stylefarm("run", job, *INLINE, "--overwrite").returncode == 2
    assert records_of(job) == before

    job.write_text(text.replace("content: photos/", "content: [photos/p0.png, photos/p1.png]"))
    for photo in (tmp_path / "photos").iterdir():
        photo.unlink()
    refused = stylefarm("run", job, *INLINE, "--overwrite", settings=LOOK_LONG)
    assert refused.returncode == 2
    assert "nothing can be rendered" in refused.stderr
    assert records_of(job) == before

    # Everything is done, so nothing needs the photos.
    again = stylefarm("run", job, *INLINE)
    assert again.returncode == 0
    assert "already done" in again.stderr
    assert "will fail" not in stylefarm("plan", job).stdout


def test_plan_and_doctor_say_it_too(job, tmp_path):
    planned = json.loads(stylefarm("plan", job, "--json", settings=LOOK_LONG).stdout)
    sentence = SENTENCE.format(folder=tmp_path)
    (missing,) = planned["preflight"]["missing"]
    assert (missing["uri"], missing["tasks"]) == ("styles/wavee.png", 3)
    assert missing["near"] == "styles/wave.png"
    assert sentence in planned["missing"]["styles/wavee.png"]
    assert (planned["preflight"]["tasks"], planned["preflight"]["doomed"]) == (9, 3)

    seen = stylefarm("doctor", job, "--json", settings=LOOK_LONG)
    checks = {check["name"]: check for check in map(json.loads, seen.stdout.splitlines())}
    assert seen.returncode == 1
    assert not checks["pictures"]["ok"]
    assert sentence in checks["pictures"]["text"]
    assert [name for name, check in checks.items() if not check["ok"]] == ["pictures"]


def test_of_a_long_list_a_sample_is_looked_at_and_its_size_told(tmp_path):
    rows = "".join(f"photos/{k}.png,styles/s0.png\n" for k in range(1500))
    (tmp_path / "pairs.csv").write_text("content,style\n" + rows)
    job = write_job(tmp_path, photos=1, styles=1, pairs=[{"manifest": "pairs.csv"}])

    planned = stylefarm("plan", job, settings=LOOK_LONG).stdout

    assert planned.count("will fail: pairs.csv:") == 10
    assert "1,000 of 1,001 pictures looked at cannot be used; others were not looked at" in planned
    assert "nothing can be rendered" not in planned


def test_an_overwrite_takes_back_only_what_it_renders(tmp_path):
    pairs = [{"content": [f"photos/p{k}.png" for k in range(3)], "style": "styles/"}]
    job = write_job(tmp_path, photos=3, styles=1, pairs=pairs)
    assert stylefarm("run", job, "--pool=inline").returncode == 0
    before = records_of(job)
    ran = stylefarm("run", job, "--pool=inline", "--overwrite", "--limit=1")
    assert "3 tasks, 2 done already" in ran.stderr
    after = records_of(job)
    assert [r.status for r in after.values()] == ["done"] * 3
    assert sum(after[key].finished != before[key].finished for key in before) == 1

    # A picture that is gone is told, and its result stays; the others are rendered again.
    (tmp_path / "photos/p1.png").rename(tmp_path / "gone.png")
    ran = stylefarm("run", job, "--pool=inline", "--overwrite", settings=LOOK_LONG)
    last = records_of(job)
    assert ran.returncode == 0, ran.stderr
    assert [r.status for r in last.values()] == ["done"] * 3
    kept = [key for key in last if last[key].finished == after[key].finished]
    assert [last[key].name for key in kept] == ["p1--s0"]
