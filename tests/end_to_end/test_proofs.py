"""The proof ladder as a user climbs it: proofs, a look, a choice, the chosen ones at full size."""

from __future__ import annotations

import json
from pathlib import Path

from PIL import Image

from jobs.data_script import parse_data_script
from jobs.jobfile.load import load_job
from jobs.records.commit import Records
from jobs.storage.open import open_storage
from tests.support.farm import stylefarm, write_job

INLINE = ("--pool", "inline")
SIZES = {"size": 48}


def done_in(folder: Path) -> dict[str, str]:
    """Names of pictures by id."""
    records = Records(open_storage(str(folder))).all()
    return {r.id: r.output.key for r in records if r.status == "done" and r.output}


def gallery_of(folder: Path) -> dict:
    """The index of an output's gallery."""
    return parse_data_script("index", (folder / "gallery" / "data" / "index.js").read_bytes())


def proofs_made(tmp_path: Path, **changes) -> Path:
    job = write_job(tmp_path, recipe=SIZES, **changes)
    ran = stylefarm("run", job, *INLINE, "--proof", "--proof-size", "32")
    assert ran.returncode == 0, ran.stderr
    return job


def test_proofs_are_small_and_are_no_finished_tasks(tmp_path):
    job = write_job(tmp_path, recipe=SIZES)

    ran = stylefarm("run", job, *INLINE, "--proof", "--proof-size", "32")

    assert ran.returncode == 0, ran.stderr
    assert "stylefarm promote" in ran.stdout
    proofs = done_in(tmp_path / "out" / "proofs")
    assert len(proofs) == 4
    for key in proofs.values():
        assert max(Image.open(tmp_path / "out" / "proofs" / key).size) == 32
    assert not (tmp_path / "out" / "images").exists()
    assert (tmp_path / "out" / "index.html").is_file()
    planned = json.loads(stylefarm("plan", job, "--json").stdout)
    assert (planned["left"], planned["proofs"]["left"]) == (4, 0)


def test_chosen_proofs_are_rendered_at_full_size_and_no_others(tmp_path):
    proofs_made(tmp_path)
    proofs = done_in(tmp_path / "out" / "proofs")
    first, second, *_ = sorted(proofs)

    # By id; then by what a file names, as the gallery saves it or as pictures are called.
    one = stylefarm("promote", tmp_path / "out", "--select", first, *INLINE)
    assert one.returncode == 0, one.stderr
    assert set(done_in(tmp_path / "out")) == {first}
    (tmp_path / "chosen.txt").write_text(f"{first}\n{proofs[second]}\n")
    two = stylefarm("promote", tmp_path / "job.yaml", "--select", tmp_path / "chosen.txt", *INLINE)

    assert two.returncode == 0, two.stderr
    assert set(done_in(tmp_path / "out")) == {first, second}
    for key in done_in(tmp_path / "out").values():
        assert max(Image.open(tmp_path / "out" / key).size) == 48
    everything = load_job(tmp_path / "job.yaml")
    assert everything.spec.output == "out"


def test_all_means_what_has_a_proof_that_is_done(tmp_path):
    job = write_job(tmp_path, recipe=SIZES)
    assert stylefarm("run", job, *INLINE, "--proof", "--limit", "3").returncode == 0

    ran = stylefarm("promote", tmp_path / "out", "--select", "all", *INLINE, "--quiet")

    assert ran.returncode == 0, ran.stderr
    assert set(done_in(tmp_path / "out")) == set(done_in(tmp_path / "out" / "proofs"))
    assert len(done_in(tmp_path / "out")) == 3


def test_proofs_go_on_where_they_stopped_unless_they_are_of_another_size(tmp_path):
    job = proofs_made(tmp_path)
    pictures = tmp_path / "out" / "proofs" / "images"
    before = {p: p.stat().st_mtime_ns for p in pictures.iterdir()}

    again = stylefarm("run", job, *INLINE, "--proof", "--proof-size", "32")
    assert {p: p.stat().st_mtime_ns for p in pictures.iterdir()} == before
    assert "already done" in again.stderr
    as_they_are = stylefarm("run", job, *INLINE, "--proof")
    assert "already done" in as_they_are.stderr
    planned = [
        json.loads(stylefarm("plan", job, "--json", *size).stdout)["proofs"]["left"]
        for size in ((), ("--proof-size", "40"))
    ]
    assert planned == [0, 4]
    larger = stylefarm("run", job, *INLINE, "--proof", "--proof-size", "40")

    assert larger.returncode == 0, larger.stderr
    assert {max(Image.open(p).size) for p in pictures.iterdir()} == {40}
    assert set(pictures.iterdir()) == set(before)


def test_the_report_tells_of_proofs_and_writes_the_gallery(tmp_path):
    proofs_made(tmp_path)
    first = min(done_in(tmp_path / "out" / "proofs"))
    stylefarm("promote", tmp_path / "out", "--select", first, *INLINE)
    (tmp_path / "out" / "index.html").unlink()

    told = stylefarm("report", tmp_path / "out")
    numbers = json.loads(stylefarm("report", tmp_path / "job.yaml", "--json").stdout)

    assert told.returncode == 0, told.stderr
    assert f"{tmp_path}/out: 1 done, 0 failed" in told.stdout
    assert f"{tmp_path}/out/proofs: 4 done, 0 failed" in told.stdout
    assert (numbers["done"], numbers["proofs"]["done"]) == (1, 4)
    assert numbers["gallery"] == f"{tmp_path}/out/index.html"
    index = gallery_of(tmp_path / "out")
    assert index["counts"] == {"pictures": 1, "proofs": 4, "failed": 0, "failed-proofs": 0}


def test_proofs_are_not_passed_off_as_the_pictures(tmp_path):
    proofs_made(tmp_path)

    told = json.loads(stylefarm("report", tmp_path / "out", "--json").stdout)

    assert (told["output"], told["done"]) == (str(tmp_path / "out"), 0)
    assert told["proofs"]["done"] == 4


def test_a_report_can_leave_the_output_as_it_is(tmp_path):
    proofs_made(tmp_path)
    (tmp_path / "out" / "index.html").unlink()

    assert stylefarm("report", tmp_path / "out", "--no-gallery").returncode == 0
    assert not (tmp_path / "out" / "index.html").exists()


def test_a_run_ends_with_a_gallery_of_its_pictures_and_failures(tmp_path):
    job = write_job(tmp_path, photos=2, styles=1)
    (tmp_path / "photos" / "p0.png").write_bytes(b"not a picture")

    ran = stylefarm("run", job, *INLINE)

    assert ran.returncode == 1
    index = gallery_of(tmp_path / "out")
    assert index["counts"] == {"pictures": 1, "proofs": 0, "failed": 1, "failed-proofs": 0}
    assert "p1--s0" in (tmp_path / "out" / index["folder"] / "rows-0.js").read_text()
    assert "p0.png" in (tmp_path / "out" / index["folder"] / "error-0.js").read_text()
    assert f"gallery:  {tmp_path}/out/index.html" in ran.stdout


def test_wrong_choices_are_told_in_a_sentence(tmp_path):
    job = write_job(tmp_path, recipe=SIZES)
    unknown = "0123456789abcdef"

    for arguments, said in (
        (("promote", tmp_path / "out", "--select", "all"), "no job has rendered to"),
        (("promote", job, "--select", "all", *INLINE), "no proof is done"),
        (("promote", job, "--select", unknown, *INLINE), f"not tasks of this job: {unknown}"),
        (("promote", job, "--select", "harbour", *INLINE), "'harbour' is not a task id"),
        (("run", job, "--proof-size", "64"), "--proof-size needs --proof"),
        (("run", job, "--proof", "--select", "all"), "give one of them"),
    ):
        ran = stylefarm(*arguments)
        assert (ran.returncode, ran.stderr.count("Traceback")) == (2, 0), ran.stderr
        assert said in ran.stderr
        assert not (tmp_path / "out").exists()


def test_an_output_whose_job_file_is_gone_asks_for_it(tmp_path):
    job = proofs_made(tmp_path)
    first = min(done_in(tmp_path / "out" / "proofs"))
    moved = job.rename(tmp_path / "other.yaml")

    gone = stylefarm("promote", tmp_path / "out", "--select", first, *INLINE)
    job.write_text(moved.read_text().replace("output: out", "output: elsewhere"))
    elsewhere = stylefarm("promote", tmp_path / "out", "--select", first, *INLINE)
    named = stylefarm("promote", moved, "--select", first, *INLINE)

    assert (gone.returncode, elsewhere.returncode, named.returncode) == (2, 2, 0)
    assert "name the job file instead" in gone.stderr
    assert "elsewhere, not to" in elsewhere.stderr


def test_checkpoints_of_what_was_not_chosen_stay(tmp_path):
    proofs_made(tmp_path)
    first, second, *_ = sorted(done_in(tmp_path / "out" / "proofs"))
    checkpoint = tmp_path / "out" / "checkpoints" / f"{second}.safetensors"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(b"of a run that was interrupted")

    ran = stylefarm("promote", tmp_path / "out", "--select", first, *INLINE)

    assert ran.returncode == 0, ran.stderr
    assert checkpoint.exists()


def test_proofs_of_a_dated_output_are_promoted_into_that_output(tmp_path):
    job = write_job(tmp_path, photos=1, styles=1, recipe=SIZES, output="out/{date}")
    day = ("--at", "2026-11-24")
    assert stylefarm("run", job, *INLINE, "--proof", *day).returncode == 0

    ran = stylefarm("promote", tmp_path / "out" / "2026-11-24", "--select", "all", *INLINE)

    assert ran.returncode == 0, ran.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["2026-11-24"]
    assert len(done_in(tmp_path / "out" / "2026-11-24")) == 1
    # By its job file it is that of the day, which has none.
    today = stylefarm("promote", job, "--select", "all", *INLINE)
    assert (today.returncode, "no proof is done" in today.stderr) == (2, True)
