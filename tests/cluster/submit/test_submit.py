"""What a submission is called, what is sent along with it, and what is refused, for the cluster lacks it."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
import sys
import zipfile

import cv2
import numpy as np
import pytest
import yaml
from rich.console import Console

from cluster.events.events import Draining, Finished, Live, Started, TaskDone
from cluster.events.json_lines import to_json
from cluster.open_job import open_agenda
from cluster.submit.bundle import package_files
from cluster.submit.log_view import LogView
from cluster.submit.pack import pack
from cluster.submit.status import JobStatus, failure_reason, of_output
from cluster.submit.status_text import to_table, to_text
from cluster.submit.submission import (
    Submission,
    find_address,
    forerunners,
    id_of,
    numbered,
    split_id,
    submission_of,
)
from jobs.errors import JobFileError, UsageError
from jobs.jobfile.load import load_job
from jobs.jobfile.parse import read_job
from jobs.storage.base import StorageOptions
from jobs.storage.open import open_storage
from tests.support.farm import ROOT, picture, stylefarm, write_job
from tests.support.rigs import make_authority

# --- ids -------------------------------------------------------------------------------------------


def test_the_same_job_has_the_same_id_and_another_has_another(tmp_path):
    ids = [
        id_of(load_job(write_job(tmp_path / str(k), name=name, output=output, **changes)))
        for k, (name, output, changes) in enumerate(
            [
                ("harbour", "s3://renders/harbour", {}),
                ("harbour", "s3://renders/harbour", {}),
                ("harbour", "s3://renders/other", {}),
                ("harbour", "s3://renders/harbour", {"recipe": {"size": 64}}),
                ("harbour", "out", {}),
                ("harbour", "out", {}),
            ]
        )
    ]
    assert ids[0] == ids[1]
    # A folder beside the job file is another for every job file.
    assert len(set(ids)) == 5
    assert all(
        re.fullmatch(r"stylefarm-harbour-[0-9a-f]{8}", submission_id) for submission_id in ids
    )


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("Harbour at Night, 2", "harbour-at-night-2"),
        ("港", "job"),
        ("a" * 100, "a" * 40),
        ("../../etc/passwd $(rm -rf)", "etc-passwd-rm-rf"),
    ],
)
def test_an_id_is_fit_for_files_addresses_and_shells(tmp_path, name, slug):
    submission_id = id_of(load_job(write_job(tmp_path, name=name)))
    assert re.fullmatch(rf"stylefarm-{slug}-[0-9a-f]{{8}}", submission_id)


@pytest.mark.parametrize("number", [1, 2, 17])
@pytest.mark.parametrize("base", ["stylefarm-a-0123abcd", "stylefarm-a-2-12345678"])
def test_a_number_tells_submissions_of_one_job_apart(base, number):
    assert split_id(numbered(base, number)) == (base, number)


def test_own_authorities_are_sent_along(tmp_path):
    """The workers there need them as the client does here, for S3 and for pictures from the web."""
    (tmp_path / "certificates").mkdir()
    make_authority(tmp_path / "certificates/ca.pem", tmp_path / "server.pem")
    storage = {"ca_bundle": "certificates/ca.pem"}
    job = load_job(write_job(tmp_path, output="s3://renders/h", storage=storage))

    assert "job/certificates/ca.pem" in pack(job, inputs=True).files
    with pytest.raises(
        JobFileError, match=r"storage\.ca_bundle: certificates/ca\.pem .*--ship-inputs"
    ):
        pack(job, inputs=False)


def test_other_ids_are_left_alone():
    assert split_id("raysubmit_abc-2") == ("raysubmit_abc-2", 1)


@dataclasses.dataclass
class Details:
    """What Ray tells of a job."""

    status: str = "RUNNING"
    submission_id: str | None = "stylefarm-harbour-1a2b3c4d-3"
    metadata: dict[str, str] | None = dataclasses.field(
        default_factory=lambda: {"stylefarm_job": "harbour", "stylefarm_output": "s3://renders/h"}
    )
    start_time: int | None = 1000
    end_time: int | None = None
    driver_exit_code: int | None = None
    message: str | None = None


@pytest.mark.parametrize(
    ("written", "submitted", "replaced"),
    [
        ("s3://renders/h", "s3://renders/h", True),
        ("s3://renders/h", "s3://renders/h2", False),
        ("s3://renders/{date}", "s3://renders/2026-11-24", True),
        ("s3://renders/{date}/{time}", "s3://renders/2026-10-25/02-00-00+0100", True),
        ("s3://renders/{date}", "s3://renders/2026-11-24/other", False),
        ("s3://renders/a.b", "s3://renders/a-b", False),
    ],
)
def test_what_a_job_replaces_is_itself_at_any_moment(tmp_path, written, submitted, replaced):
    job = read_job(write_job(tmp_path, name="harbour", output=written))

    def earlier(name="harbour", status="RUNNING"):
        told = {"stylefarm_job": name, "stylefarm_output": submitted}
        return submission_of(Details(status, metadata=told))

    assert bool(forerunners(job, [earlier()])) == replaced
    assert not forerunners(job, [earlier("other"), earlier(status="SUCCEEDED")])


def test_what_ray_knows_of_others_jobs_is_none_of_ours():
    assert submission_of(Details(metadata=None)) is None
    assert submission_of(Details(metadata={"job_name": "harbour"})) is None
    assert submission_of(Details(submission_id=None)) is None


@pytest.mark.parametrize(
    ("status", "code", "state", "exit_status"),
    [
        ("PENDING", None, "pending", 3),
        ("SUCCEEDED", 0, "succeeded", 0),
        ("FAILED", 1, "failed", 1),
        ("FAILED", 3, "failed", 3),
        ("FAILED", 130, "stopped", 130),  # it was asked to end, and did
        ("STOPPED", None, "stopped", 130),
        ("FAILED", None, "failed", 3),  # the head was lost
        ("FAILED", -9, "failed", 1),
    ],
)
def test_how_a_submission_ended(status, code, state, exit_status):
    parsed = submission_of(Details(status, driver_exit_code=code, end_time=3000))
    assert (parsed.state, parsed.exit_status) == (state, exit_status)
    assert (parsed.base, parsed.number) == ("stylefarm-harbour-1a2b3c4d", 3)


# --- where the cluster is --------------------------------------------------------------------------


def test_the_address_is_said_or_stands_in_the_environment(monkeypatch):
    for name in ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    assert find_address(None) is None
    assert find_address("http://head:8265/") == "http://head:8265"
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert find_address(None) is None
    monkeypatch.setenv("RAY_ADDRESS", "https://head")
    assert find_address(None) == "https://head"
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://other:8265")
    assert find_address(None) == "http://other:8265"
    assert find_address("http://head:8265") == "http://head:8265"


@pytest.mark.parametrize("given", ["auto", "head:8265", "ray://head:10001", "http://"])
def test_other_addresses_are_refused(given):
    with pytest.raises(UsageError, match="such as http://head:8265"):
        find_address(given)


# --- what is sent, and what is refused -------------------------------------------------------------


def problems_of(file, **how):
    with pytest.raises(JobFileError) as caught:
        pack(load_job(file), **how)
    return [str(problem) for problem in caught.value.problems]


def write(file, **spec):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.safe_dump(spec, sort_keys=False))
    return file


S3 = {
    "output": "s3://renders/h",
    "pairs": [{"content": "s3://p/a/", "style": "https://e.org/b.jpg"}],
}


def test_a_job_that_names_nothing_of_this_machine_is_sent_alone(tmp_path):
    file = write(tmp_path / "job.yaml", **S3)
    parcel = pack(load_job(file))
    assert (parcel.job_file, parcel.files) == ("job/job.yaml", {"job/job.yaml": file})
    assert parcel.size == file.stat().st_size


def test_absolute_paths_are_believed_to_be_shared(tmp_path):
    pairs = [{"content": "/mnt/photos/*.jpg", "style": "file:///mnt/wave.jpg"}]
    file = write(tmp_path / "job.yaml", output="/mnt/out", pairs=pairs, recipe={"size": 64})
    assert list(pack(load_job(file)).files) == ["job/job.yaml"]


def test_what_lies_beside_the_job_file_is_refused_with_its_place(tmp_path):
    file = write(
        tmp_path / "job.yaml",
        output="out",
        recipe={"weights": "mine.safetensors", "weights_input": "caffe"},
        pairs=[
            {"content": [f"{k}.jpg" for k in range(100)], "style": "s3://p/wave.jpg"},
            {
                "content": "s3://p/a.jpg",
                "style": [{"picture": "s3://p/b.jpg", "mask": "masks/{content}.png"}],
                "init": "~/sketch.png",
            },
            {"manifest": "pairs.csv"},
        ],
    )
    problems = problems_of(file)
    assert [re.match(r"\S*job.yaml:(\d+): (\S+): ", line)[2] for line in problems] == [
        *("output", "recipe.weights", "pairs[0].content[0]", "pairs[1].style[0]"),
        *("pairs[1].init", "pairs[2].manifest"),
    ]
    assert "is a folder of this machine" in problems[0]
    assert "--ship-inputs sends it along" in problems[1]
    assert "begins with ~, which is another folder on the cluster" in problems[4]
    # Sent along, nothing is left but what cannot be.
    assert [line.split(": ")[1] for line in problems_of(file, inputs=True)] == [
        *("output", "pairs[1].init"),
    ]


def test_paths_that_would_make_other_tasks_there_are_refused(tmp_path):
    (tmp_path / "photos").mkdir()
    picture(1).save(tmp_path / "photos" / "a.png")
    pairs = [{"content": str(tmp_path / "photos"), "style": "s3://p/b.jpg"}]
    file = write(tmp_path / "job.yaml", output="s3://renders/h", pairs=pairs)
    for how in ({}, {"inputs": True}):
        (line,) = problems_of(file, **how)
        assert "write it relative to the job file" in line
    pairs[0]["content"] = "../photos/*.png"
    file = write(tmp_path / "job" / "job.yaml", output="s3://renders/h", pairs=pairs)
    (line,) = problems_of(file, inputs=True)
    assert "is not below the job file's folder" in line


def test_in_place_nothing_of_the_job_is_sent(tmp_path):
    file = write_job(tmp_path)
    parcel = pack(load_job(file), in_place=True)
    assert (parcel.job_file, parcel.files) == (str(file), {})


def names(parcel):
    return {name.removeprefix("job/") for name in parcel.files}


def test_inputs_are_sent_as_they_lie_and_make_the_same_tasks(tmp_path):
    file = write_job(
        tmp_path / "here",
        output="s3://renders/h",
        pairs=[
            {"content": "photos/*.png", "style": "styles/"},
            {
                "content": "photos/p0.png",
                "style": [{"blend": {"styles/s0.png": {"mask": "masks/{content}-sky.png"}}}],
                "init": "sketch.png",
            },
            {"manifest": "lists/*.csv"},
        ],
    )
    here = tmp_path / "here"
    for name in ("masks/p0-sky.png", "masks/p9-sky.png", "masks/p0-sea.png", "sketch.png", "r.png"):
        (here / name).parent.mkdir(exist_ok=True)
        picture(7).save(here / name)
    picture(8).save(here / "unused.png")
    (here / "lists").mkdir()
    (here / "lists" / "a.csv").write_text(
        "content,style\nr.png,styles/s1.png\ns3://p/far.png,styles/s1.png\ngone.png,styles/s1.png\n"
    )

    job = load_job(file)
    parcel = pack(job, inputs=True)

    assert names(parcel) == {
        *("job.yaml", "tiny.safetensors", "sketch.png", "r.png", "lists/a.csv"),
        *(f"photos/p{k}.png" for k in range(2)),
        *(f"styles/s{k}.png" for k in range(2)),
        *("masks/p0-sky.png", "masks/p9-sky.png"),
    }
    parcel.write(tmp_path / "parcel.zip")
    zipfile.ZipFile(tmp_path / "parcel.zip").extractall(tmp_path / "there")
    moved = load_job(tmp_path / "there" / "job" / "job.yaml")
    assert [t.id for t in open_agenda(moved).tasks()] == [t.id for t in open_agenda(job).tasks()]


def test_films_are_sent_with_their_masks_and_motion(tmp_path):
    style = {"picture": "styles/s0.png", "mask": "masks/m.####.png"}
    entry = {"film": "shots/a.%04d.png", "style": style, "frames": "1-2", "cuts": "none"}
    entry["flow"] = {"forward": "flow/f_#_#.flo", "backward": "flow/b.#.flo"}
    pairs = [entry, {"film": "odd/", "style": "styles/s0.png", "cuts": "none"}]
    file = write_job(tmp_path / "here", output="s3://renders/h", pairs=pairs)
    for name in ("shots/a.0001", "shots/a.0002", "masks/m.0001", "masks/m.0002", "odd/x", "odd/y"):
        path = tmp_path / "here" / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        picture(7).save(path)
    picture(8).save(tmp_path / "here/shots/other.png")
    (tmp_path / "here/flow").mkdir()
    for name in ("flow/f_1_2.flo", "flow/b.2.flo"):
        flow = np.zeros((4, 6, 2), np.float32)
        assert cv2.writeOpticalFlow(str(tmp_path / "here" / name), flow)

    job = load_job(file)
    assert [line.split(": ")[1] for line in problems_of(file)] == [
        *("recipe.weights", "pairs[0].film", "pairs[0].style", "pairs[0].flow.forward"),
        *("pairs[1].film", "pairs[1].style"),
    ]
    parcel = pack(job, inputs=True)

    assert {name for name in names(parcel) if name.endswith((".png", ".flo"))} == {
        *("flow/f_1_2.flo", "flow/b.2.flo"),
        *("shots/a.0001.png", "shots/a.0002.png", "masks/m.0001.png", "masks/m.0002.png"),
        *("odd/x.png", "odd/y.png", "styles/s0.png"),
    }
    parcel.write(tmp_path / "parcel.zip")
    zipfile.ZipFile(tmp_path / "parcel.zip").extractall(tmp_path / "there")
    moved = load_job(tmp_path / "there" / "job" / "job.yaml")
    assert [t.id for t in open_agenda(moved).tasks()] == [t.id for t in open_agenda(job).tasks()]


def test_what_matches_nothing_is_told_before_anything_is_sent(tmp_path):
    pairs = [{"content": "photos/*.jpg", "style": "nowhere/"}]
    file = write(tmp_path / "job.yaml", output="s3://renders/h", pairs=pairs)
    assert ["matches nothing" in line for line in problems_of(file, inputs=True)] == [True, True]


def test_too_much_is_told_in_a_sentence(tmp_path):
    file = write_job(tmp_path, output="s3://renders/h")
    with pytest.raises(UsageError, match=r"more than 0 MB .* put the pictures on s3://"):
        pack(load_job(file), inputs=True, limit=5000)


def test_the_rows_of_a_shared_manifest_are_looked_at(tmp_path):
    rows = tmp_path / "shared" / "pairs.csv"
    rows.parent.mkdir()
    rows.write_text("content,style\n/mnt/a.png,/mnt/b.png\nphotos/a.png,/mnt/b.png\n")
    pairs = [{"manifest": str(rows)}]
    file = write(tmp_path / "job" / "job.yaml", output="s3://renders/h", pairs=pairs)
    (line,) = problems_of(file)
    assert "its rows name photos/a.png" in line
    (file.parent / "photos").mkdir()
    picture(1).save(file.parent / "photos" / "a.png")
    assert names(pack(load_job(file), inputs=True)) == {"job.yaml", "photos/a.png"}
    rows.unlink()  # one that only the cluster has
    assert names(pack(load_job(file))) == {"job.yaml"}


def test_the_same_parcel_is_the_same_bytes(tmp_path):
    job = load_job(write_job(tmp_path, output="s3://renders/h"))
    archives = [tmp_path / "1.zip", tmp_path / "2.zip"]
    for archive in archives:
        pack(job, inputs=True, package=True).write(archive)
        (tmp_path / "photos" / "p0.png").touch()
    assert archives[0].read_bytes() == archives[1].read_bytes()


def test_the_package_that_is_sent_runs_by_itself(tmp_path):
    parcel = pack(load_job(write(tmp_path / "job.yaml", **S3)), package=True)
    parcel.write(tmp_path / "parcel.zip")
    zipfile.ZipFile(tmp_path / "parcel.zip").extractall(tmp_path / "there")
    assert not [name for name in parcel.files if "__pycache__" in name or "deploy" in name]

    ran = subprocess.run(
        [sys.executable, "-m", "cluster.cli", "plan", "--help"],
        cwd=tmp_path / "there",
        env={"PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    where = subprocess.run(
        [
            sys.executable,
            "-c",
            "import jobs, importlib.metadata as m; print(jobs, m.version('stylefarm'))",
        ],
        cwd=tmp_path / "there",
        env={"PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert str(tmp_path / "there") in where


# --- how it stands ---------------------------------------------------------------------------------

LIVE = Live(
    job="harbour",
    output="s3://renders/h",
    run="run-1",
    submission="stylefarm-harbour-1a2b3c4d",
    state="running",
    reason=None,
    tasks=400,
    done=120,
    failed=3,
    left=277,
    steps_per_second=41.24,
    eta=3731.0,
    workers=8,
    pending=2,
    busy=0.97,
    gpu_hours=1.5,
    started=1000.0,
    updated=9e12,
)


def test_a_standing_in_words():
    status = JobStatus(
        "stylefarm-harbour-1a2b3c4d", "harbour", "s3://renders/h", "running", 1.0, 723.4
    )
    assert to_text(status.with_live(LIVE)) == (
        "stylefarm-harbour-1a2b3c4d: running for 0:12:03\n"
        "  harbour -> s3://renders/h\n"
        "  120 done, 3 failed, 277 left, 8 workers 97% busy (+2 pending), 41.2 steps/s, ETA 1:02:11"
    )
    stopping = status.with_live(dataclasses.replace(LIVE, state="stopping"))
    assert "stopping, after 0:12:03" in to_text(stopping)
    assert json.loads(json.dumps(stopping.to_json()))["stopping"] is True
    ended = dataclasses.replace(status, state="succeeded").with_live(LIVE)
    assert to_text(ended).endswith("\n  120 done, 3 failed, 277 left")
    assert ended.to_json()["eta"] is None
    table = to_table([ended, JobStatus("b", "other job", "out", "pending")]).splitlines()
    assert [line.split("  ")[0] for line in table][1:] == ["stylefarm-harbour-1a2b3c4d", "b"]
    assert table[2].split()[-3:] == ["-", "-", "-"]


def submission(**changes):
    values = {
        **{"id": "stylefarm-h-1a2b3c4d", "job": "h", "output": "s3://r/h", "state": "failed"},
        **{"storage": StorageOptions.model_validate({}), "started": 1.0, "ended": 2.0},
        **{"exit_code": 1, "message": "Job entrypoint command failed"},
    }
    return Submission(**{**values, **changes})


def test_why_a_submission_failed():
    lines = [to_json(LIVE), "s3://r/h: access denied", to_json(LIVE)]
    assert "stylefarm report s3://r/h" in failure_reason(submission(), lines, failed=2)
    assert failure_reason(submission(exit_code=3), lines, failed=0) == "s3://r/h: access denied"
    assert "--ship-package" in failure_reason(
        submission(exit_code=127), ["sh: stylefarm: not found"], None
    )
    lost = submission(exit_code=None, message="Job supervisor actor died:\n  the node is gone")
    assert failure_reason(lost, lines, None) == "Job supervisor actor died: the node is gone"


def test_the_output_alone_tells_how_a_job_stands(tmp_path):
    file = write_job(tmp_path)
    job = load_job(file)
    storage = open_storage(job.spec.output, base=job.base)
    assert of_output(job, storage) is None
    assert stylefarm("run", file, "--pool", "inline", "--limit", "3").returncode == 0

    status = of_output(job, storage)
    assert (status.state, status.tasks, status.done, status.left) == ("ended", 4, 3, 1)
    assert "ended by --limit" in to_text(status)
    # Of an older version's output, or where it was tidied away:
    (tmp_path / "out" / "live.json").unlink()
    assert (of_output(job, storage).done, of_output(job, storage).left) == (3, 1)
    # Where the pictures are not on this machine:
    shutil.rmtree(tmp_path / "photos")
    assert (of_output(job, storage).done, of_output(job, storage).left) == (3, None)

    told = stylefarm("status", file, "--json", RAY_ADDRESS="")
    assert told.returncode == 0, told.stderr
    assert json.loads(told.stdout)["done"] == 3


def test_a_run_that_was_killed_is_lost_and_one_that_goes_on_is_running(tmp_path):
    file = write_job(tmp_path)
    job = load_job(file)
    storage = open_storage(job.spec.output, base=job.base)
    storage.put("live.json", json.dumps(dataclasses.asdict(LIVE)).encode())
    assert of_output(job, storage).state == "running"
    old = dataclasses.replace(LIVE, updated=2000.0)
    storage.put("live.json", json.dumps(dataclasses.asdict(old)).encode())
    status = of_output(job, storage)
    # What it said last may be old, so its records are counted.
    assert (status.state, status.done, status.left) == ("lost", 0, 4)
    assert "submit it again to resume" in to_text(status)


# --- the log ---------------------------------------------------------------------------------------


def test_a_log_is_shown_as_the_run_would_have_been(capsys):
    view = LogView(Console(width=200))
    for line in (
        "2026-01-01 00:00:00,000\tINFO job_manager.py:581 -- Runtime env is setting up.",
        "Running entrypoint for job stylefarm-h-1a2b3c4d: exec stylefarm run job/job.yaml",
        to_json(Started(job="harbour", output="out", tasks=10, done=4, failed=1, work_left=1000)),
        to_json(LIVE),
        to_json(
            TaskDone(
                id="ab",
                name="a",
                image="images/a-ab.png",
                steps=50,
                work=100,
                seconds=1.0,
                total=4.5,
                worker="w",
            )
        ),
        "[bold] a library has something to say",
        to_json(Draining(running=1)),
        to_json(Finished(done=1, failed=1, left=3, seconds=65.0, reason="interrupted")),
    ):
        view(line)
    view.close()
    assert capsys.readouterr().out.splitlines() == [
        "harbour -> out: 10 tasks, 4 done already, 1 failed earlier (--retry-failed retries them)",
        "done images/a-ab.png (50 steps in 1.0 s, loss 4.5)",
        "[bold] a library has something to say",
        "stopping when running tasks are committed",
        "1 done, 1 failed, 3 left in 0:01:05; submit it again to resume",
    ]


def test_a_log_as_json_is_its_events_alone(capsys):
    view = LogView(Console(), print)
    for line in ("noise", to_json(LIVE), "{", to_json(Draining(running=1))):
        view(line)
    assert capsys.readouterr().out.splitlines() == [to_json(LIVE), to_json(Draining(running=1))]


def test_the_package_has_no_room_that_is_not_sent():
    from cluster.submit.bundle import ROOMS

    included = re.search(r"^include = (.*)$", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)[
        1
    ]
    assert set(re.findall(r'"(\w+)\*"', included)) == set(ROOMS)


def test_a_package_that_is_sent_has_all_that_an_installed_one_has() -> None:
    sent = package_files()
    for room in ("cluster", "jobs", "stylize"):
        for path in (ROOT / room).rglob("*"):
            is_read = path.suffix in (".md", ".pyc", ".jpg", ".webp") or "deploy" in path.parts
            if path.is_file() and not is_read:
                assert path.relative_to(ROOT).as_posix() in sent
