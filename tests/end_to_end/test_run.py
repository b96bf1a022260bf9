"""The command, as a user runs it, on the inline pool: what it leaves, says and returns."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from jobs.jobfile.load import load_job
from jobs.records.commit import Records
from jobs.storage.open import open_storage
from tests.support.farm import ROOT, command, picture, records_of, stylefarm, wait_for, write_job

INLINE = ("--pool", "inline")


def images(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in (folder / "out" / "images").iterdir()}


def test_a_job_ends_with_pictures_logs_and_records(tmp_path):
    job = write_job(tmp_path, losses={"every": 1})

    ran = stylefarm("run", job, *INLINE)

    assert (ran.returncode, ran.stderr.count("Traceback")) == (0, 0)
    records = Records(open_storage("out", base=tmp_path)).all()
    for record in records:
        picture = Image.open(tmp_path / "out" / record.output.key)
        assert picture.size == (32, 27)  # 48 x 40 at longest side 32
        assert record.name.split("--")[0] in ("p0", "p1")
        log = (tmp_path / "out" / record.losses_key).read_text().splitlines()
        assert log[0].startswith("scale,step,total,content,style,style_conv1_1")
        assert len(log) == 1 + 6  # before the first of 5 steps, and after each
    assert len(images(tmp_path)) == 4
    assert json.loads((tmp_path / "out" / "job.json").read_text())["job"]["name"] == "test"
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["done"] == 4


def test_run_again_renders_nothing_and_says_so(tmp_path):
    job = write_job(tmp_path)
    stylefarm("run", job, *INLINE)
    times = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*.png")}

    again = stylefarm("run", job, *INLINE)

    assert again.returncode == 0
    assert "already done" in again.stderr
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*.png")} == times


def test_more_pictures_render_only_what_is_new(tmp_path):
    stylefarm("run", write_job(tmp_path, photos=1), *INLINE)
    job = write_job(tmp_path, photos=2)

    ran = stylefarm("run", job, *INLINE, "--json")

    events = [json.loads(line) for line in ran.stdout.splitlines()]
    assert events[0]["event"] == "started"
    assert (events[0]["tasks"], events[0]["done"]) == (4, 2)
    assert [e["event"] for e in events].count("done") == 2
    assert events[-1]["event"] == "finished"


def test_events_are_utf8_whatever_the_locale(tmp_path):
    job = write_job(tmp_path, photos=1, styles=1, name="H\u00e4fen \u6e2f")

    ran = stylefarm(
        "run", job, *INLINE, "--json", LC_ALL="C", PYTHONCOERCECLOCALE="0", PYTHONUTF8="0"
    )

    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout.splitlines()[0])["job"] == "H\u00e4fen \u6e2f"


def test_overwrite_renders_everything_to_the_same_bytes(tmp_path):
    job = write_job(tmp_path)
    stylefarm("run", job, *INLINE)
    before = images(tmp_path)

    ran = stylefarm("run", job, *INLINE, "--overwrite", "--json")

    assert ran.stdout.count('"event": "done"') == 4
    assert images(tmp_path) == before


def test_limit_stops_early_and_the_next_run_goes_on(tmp_path):
    job = write_job(tmp_path)

    assert stylefarm("run", job, *INLINE, "--limit", "3").returncode == 0
    assert len(images(tmp_path)) == 3
    assert stylefarm("run", job, *INLINE).returncode == 0
    assert len(images(tmp_path)) == 4


def test_failed_tasks_stay_failed_until_asked_for(tmp_path):
    job = write_job(tmp_path, photos=2, styles=1)
    good = (tmp_path / "photos" / "p0.png").read_bytes()
    (tmp_path / "photos" / "p0.png").write_text("not a picture")

    first = stylefarm("run", job, *INLINE)
    (tmp_path / "photos" / "p0.png").write_bytes(good)
    second = stylefarm("run", job, *INLINE)
    third = stylefarm("run", job, *INLINE, "--retry-failed")

    assert (first.returncode, second.returncode, third.returncode) == (1, 1, 0)
    assert "p0.png" in first.stderr
    assert "--retry-failed" in second.stderr
    assert {r.status for r in records_of(job).values()} == {"done"}


@pytest.mark.parametrize("again", ["--retry-failed", "--overwrite"])
def test_a_render_that_diverges_keeps_its_last_good_picture_until_it_is_done(tmp_path, again):
    # The same task can end otherwise, because what a picture holds is not in its id.
    # Of a photo like its painting, such a weight makes a loss that is still a number.
    job = write_job(
        tmp_path,
        photos=1,
        styles=1,
        recipe={"preset": "neural-style", "init": "content", "steps": 100, "style_weight": 5e34},
    )
    Image.new("RGB", (48, 40), "teal").save(tmp_path / "styles" / "s0.png")
    photo = tmp_path / "photos" / "p0.png"

    first = stylefarm("run", job, *INLINE)

    (failed,) = records_of(job).values()
    assert (first.returncode, failed.status) == (1, "failed")
    assert Image.open(tmp_path / "out" / failed.kept.key).size == (32, 27)
    assert failed.kept.key in first.stderr
    assert failed.kept.key in stylefarm("report", job).stdout
    assert not (tmp_path / "out" / "images").exists()

    photo.write_text("not a picture")
    stylefarm("run", job, *INLINE, "--retry-failed")

    (failed_again,) = records_of(job).values()
    assert "not a picture" in failed_again.error
    assert failed_again.kept == failed.kept  # it is still the best there is

    Image.new("RGB", (48, 40), "teal").save(photo)
    last = stylefarm("run", job, *INLINE, again)

    (done,) = records_of(job).values()
    assert (last.returncode, done.status, done.kept) == (0, "done", None), last.stderr
    assert not (tmp_path / "out" / "kept").exists()


def test_quiet_says_nothing(tmp_path):
    ran = stylefarm("run", write_job(tmp_path, photos=1, styles=1), *INLINE, "--quiet")

    assert (ran.stdout, ran.stderr, ran.returncode) == ("", "", 0)


def test_sweeps_blends_and_zips_render(tmp_path):
    job = write_job(
        tmp_path,
        pairs=[
            {
                "content": "photos/p0.png",
                "style": "styles/s0.png",
                "sweep": {"style_weight": [50, 100]},
            },
            {
                "content": "photos/p1.png",
                "style": {"blend": {"styles/s0.png": 0.7, "styles/s1.png": 0.3}},
            },
            {
                "content": ["photos/p0.png", "photos/p1.png"],
                "style": ["styles/s1.png", "styles/s0.png"],
                "combine": "zip",
                "init": "styles/s0.png",
            },
        ],
    )

    assert stylefarm("run", job, *INLINE).returncode == 0
    names = sorted(r.name for r in records_of(job).values())
    assert names == ["p0--s0", "p0--s0", "p0--s1", "p1--s0", "p1--s0+s1"]


def test_a_masked_style_is_seen_where_its_mask_is_white(tmp_path):
    """Flat paintings, so that one can tell by its colour which is where."""
    mix = {f"{name}.png": {"mask": "masks/{content}-" + f"{name}.png"} for name in ("red", "blue")}
    job = write_job(
        tmp_path,
        photos=2,
        recipe={"content_weight": 0.0, "init": "style_stats", "steps": 30, "tv_weight": 0.0},
        pairs=[{"content": "photos/", "style": {"blend": mix}}],
    )
    Image.new("RGB", (48, 40), (200, 30, 30)).save(tmp_path / "red.png")
    Image.new("RGB", (48, 40), (30, 30, 200)).save(tmp_path / "blue.png")
    (tmp_path / "masks").mkdir()
    left = np.zeros((10, 12), np.uint8)
    left[:, :6] = 255
    for photo, red in (("p0", left), ("p1", 255 - left)):
        Image.fromarray(red).save(tmp_path / "masks" / f"{photo}-red.png")
        Image.fromarray(255 - red).save(tmp_path / "masks" / f"{photo}-blue.png")

    ran = stylefarm("run", job, *INLINE)

    assert ran.returncode == 0, ran.stderr
    found = {key.split(".")[0]: record for key, record in records_of(job).items()}
    for photo, redder in (("p0", 0), ("p1", 1)):
        record = found[photo]
        mask = f"masks/{photo}-red.png"
        assert ("red.png", 1.0, mask) in record.styles
        assert mask in [i.uri for i in record.inputs]
        pixels = np.asarray(Image.open(tmp_path / "out" / record.output.key)).astype(float)
        more_red = pixels[..., 0] - pixels[..., 2]
        halves = more_red[:, :12].mean(), more_red[:, -12:].mean()
        assert halves[redder] > halves[1 - redder] + 40


@pytest.mark.parametrize(
    ("image", "magic"),
    [
        ({"format": "jpeg", "quality": 80}, b"\xff\xd8"),
        ({"format": "webp"}, b"RIFF"),
        ({"format": "tiff"}, b"II*\0"),
        ({"format": "avif"}, b"\0\0\0"),
        ({"format": "jxl", "quality": 100}, b"\0\0\0\x0cJXL "),
        ({"format": "jxl", "metadata": "none"}, b"\xff\x0a"),
    ],
)
def test_other_formats(tmp_path, image, magic):
    job = write_job(tmp_path, photos=1, styles=1, image={**image, "name": "{style}@{size}"})

    stylefarm("run", job, *INLINE)

    ((name, data),) = images(tmp_path).items()
    assert data.startswith(magic)
    assert name.startswith("s0@32-")


@pytest.mark.parametrize("image_format", ["png", "tiff"])
def test_16_bits_per_channel(tmp_path, image_format):
    image = {"format": image_format, "bit_depth": 16}
    job = write_job(tmp_path, photos=1, styles=1, image=image)

    stylefarm("run", job, *INLINE)

    ((_, data),) = images(tmp_path).items()
    if image_format == "png":
        assert struct.unpack(">BB", data[24:26]) == (16, 2)  # of the header: bits, RGB
    else:
        pixels = tifffile.imread(io.BytesIO(data))
        assert (pixels.dtype, pixels.shape) == (np.uint16, (27, 32, 3))
        assert len(np.unique(pixels)) > 256


def test_another_bit_depth_is_for_what_is_rendered_from_then_on(tmp_path):
    """As another format is: what is committed is not rendered again, unless it is asked for."""
    stylefarm("run", write_job(tmp_path, photos=1, styles=1), *INLINE)
    ((name, before),) = images(tmp_path).items()
    job = write_job(tmp_path, photos=1, styles=1, image={"bit_depth": 16})

    again = stylefarm("run", job, *INLINE)
    assert "already done" in again.stderr
    assert images(tmp_path) == {name: before}

    stylefarm("run", job, *INLINE, "--overwrite")
    assert images(tmp_path)[name][24] == 16
    assert len(images(tmp_path)) == 1


def test_the_moved_folder_keeps_its_ids(tmp_path):
    write_job(tmp_path / "here")
    stylefarm("run", tmp_path / "here" / "job.yaml", *INLINE)
    (tmp_path / "here").rename(tmp_path / "there")

    again = stylefarm("run", tmp_path / "there" / "job.yaml", *INLINE)

    assert "already done" in again.stderr


def test_plan_renders_and_writes_nothing(tmp_path):
    job = write_job(tmp_path)
    (tmp_path / "photos" / "p1.png").unlink()
    pairs = load_job(write_job(tmp_path)).spec.pairs
    assert pairs
    before = sorted(tmp_path.rglob("*"))

    planned = stylefarm("plan", job)
    as_json = json.loads(stylefarm("plan", job, "--json").stdout)

    assert planned.returncode == 0
    assert "4 tasks: 0 done, 0 failed, 4 to render" in planned.stdout
    assert as_json["groups"][0]["steps"] == 5
    assert sorted(tmp_path.rglob("*")) == before


def test_plan_names_pictures_that_are_not_there(tmp_path):
    job = write_job(tmp_path, pairs=[{"content": "photos/nosuch.jpg", "style": "styles/"}])

    planned = stylefarm("plan", job).stdout
    assert re.search(
        r"will fail: .*job\.yaml:\d+: pairs\[0\]\.content: There is no file photos/nosuch\.jpg "
        r"\(looked for .*\); 2 tasks need it\n",
        planned,
    )
    assert (
        "nothing can be rendered: each of the 2 tasks that are not done needs a picture" in planned
    )


def test_plan_names_masks_that_are_not_there_with_their_field(tmp_path):
    blend = {"styles/s0.png": 1, "styles/s1.png": {"mask": "masks/{content}.png"}}
    job = write_job(tmp_path, pairs=[{"content": "photos/", "style": {"blend": blend}}])
    (tmp_path / "masks").mkdir()
    picture(1).save(tmp_path / "masks" / "p0.png")

    planned = stylefarm("plan", job).stdout

    (line,) = [line for line in planned.splitlines() if "will fail" in line]
    assert re.fullmatch(
        r"  will fail: .*job\.yaml:\d+: pairs\[0\]\.style\.blend\.styles/s1\.png\.mask: There is no file "
        rf"masks/p1\.png \(looked for {re.escape(str(tmp_path))}/masks/p1\.png\); 1 task needs it",
        line,
    )


def test_plan_says_what_memory_a_render_takes_and_what_of_it_is_history(tmp_path):
    recipe = {"size": 2048, "start_size": None, "margin": 0, "history": 100}
    recipe |= {"history_precision": "float32"}
    planned, _, proofs = stylefarm("plan", write_job(tmp_path, recipe=recipe)).stdout.partition(
        "proofs ("
    )

    whole, strips, history = map(float, re.findall(r"([\d.]+) GiB", planned))
    assert history == pytest.approx(100 * 24 * 2048**2 / 2**30, abs=0.05)
    assert whole > strips > history

    assert whole > 5 * float(re.findall(r"([\d.]+) GiB", proofs)[0])

    recipe |= {"optimizer": "adam", "learning_rate": 1.0}
    planned = stylefarm("plan", write_job(tmp_path, recipe=recipe)).stdout
    assert "of it L-BFGS's history" not in planned
    assert "recipe.history: has no effect where optimizer is adam" in planned
    assert len(re.findall(r"GiB", planned)) == 4  # of pictures and proofs, each whole or in strips


def test_plan_knows_the_time_from_earlier_renders(tmp_path):
    job = write_job(tmp_path)
    assert "--pilot" in stylefarm("plan", job).stdout
    stylefarm("run", job, *INLINE, "--limit", "1")

    plan = json.loads(stylefarm("plan", job, "--json").stdout)

    assert (plan["done"], plan["left"]) == (1, 3)
    assert plan["device_seconds"] == pytest.approx(3 * plan["groups"][0]["seconds_each"])


def test_report_sums_up(tmp_path):
    job = write_job(tmp_path, photos=2, styles=1)
    (tmp_path / "photos" / "p1.png").write_text("not a picture")
    stylefarm("run", job, *INLINE)

    for target in (tmp_path / "out", job):
        reported = stylefarm("report", target)
        assert reported.returncode == 1
        assert "1 done, 1 failed" in reported.stdout
        assert "p1--s0" in reported.stdout
    assert json.loads(stylefarm("report", tmp_path / "out", "--json").stdout)["failed"] == 1


def test_doctor_is_well_here(tmp_path):
    job = write_job(tmp_path)

    seen = stylefarm("doctor", job, "--json")

    checks = {c["name"]: c for c in map(json.loads, seen.stdout.splitlines())}
    assert seen.returncode == 0, seen.stdout
    assert set(checks) == {
        "python",
        "torch",
        "weights tiny.safetensors",
        "pictures",
        "output",
        "ray",
    }
    assert checks["pictures"]["text"] == "4 looked at, all can be used"


def test_doctor_says_what_is_wrong(tmp_path):
    job = write_job(
        tmp_path, output="s3://bucket/x", storage={"endpoint_url": "http://127.0.0.1:9"}
    )
    (tmp_path / "tiny.safetensors").write_text("not weights")

    seen = stylefarm("doctor", job, AWS_ACCESS_KEY_ID="a", AWS_SECRET_ACCESS_KEY="b")

    assert seen.returncode == 1
    assert "FAIL weights" in seen.stdout
    assert "FAIL output" in seen.stdout
    assert "Traceback" not in seen.stdout + seen.stderr


def test_doctor_goes_on_where_a_store_cannot_be_listed(tmp_path):
    job = write_job(
        tmp_path,
        pairs=[{"content": "s3://bucket/photos/", "style": "styles/"}],
        storage={"endpoint_url": "http://127.0.0.1:9"},
    )

    seen = stylefarm("doctor", job, "--json", AWS_ACCESS_KEY_ID="a", AWS_SECRET_ACCESS_KEY="b")

    checks = {c["name"]: c["ok"] for c in map(json.loads, seen.stdout.splitlines())}
    assert seen.returncode == 1
    assert [name for name, ok in checks.items() if not ok] == ["pictures"]
    assert set(checks) >= {"weights tiny.safetensors", "pictures", "output", "ray"}


MANY = {
    "photos": 50,
    "recipe": {"steps": 400, "optimizer": "adam"},
    "workers": {"batch": 1},
}
"""A job of a hundred pictures, one after the other: more than are painted before it is told to end."""


def test_ctrl_c_once_commits_what_runs_and_says_how_to_go_on(tmp_path):
    job = write_job(tmp_path, **MANY)
    process = start(job)
    wait_for(lambda: running(process))

    process.send_signal(signal.SIGINT)
    before = events_until(process, "draining")
    after, err = ended(process)

    assert process.returncode == 130
    assert "run the same command again" in err
    assert "Traceback" not in err
    # What was painting is done; what waited was not begun.
    assert after.count("done") == 1
    assert len(records_of(job)) == before.count("done") + 1 < 100


def test_ctrl_c_twice_stops_at_once_and_keeps_what_was_committed(tmp_path):
    job = write_job(tmp_path, recipe={"steps": 1_000_000, "optimizer": "adam"})
    process = start(job)
    wait_for(lambda: running(process))

    process.send_signal(signal.SIGINT)
    events_until(process, "draining")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)

    assert process.returncode == 130
    assert "Traceback" not in err
    assert records_of(job) == {}


def test_sigterm_lets_a_picture_end_that_does_so_within_the_grace(tmp_path):
    job = write_job(tmp_path, **{**MANY, "workers": {"batch": 1, "grace": "3m"}})
    process = start(job)
    wait_for(lambda: running(process))

    process.terminate()
    before = events_until(process, "draining")
    after, _ = ended(process)

    assert process.returncode == 130
    assert after.count("done") == 1
    assert len(records_of(job)) == before.count("done") + 1 < 100


def start(job: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command("run", job, *INLINE, "--json"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def running(process: subprocess.Popen[str]) -> bool:
    """Whether the next event says that something paints."""
    assert process.stdout is not None
    return bool(json.loads(process.stdout.readline()).get("running"))


def events_until(process: subprocess.Popen[str], kind: str) -> list[str]:
    """The kinds of all events up to the next of this kind."""
    assert process.stdout is not None
    found: list[str] = []
    for line in process.stdout:
        found.append(json.loads(line)["event"])
        if found[-1] == kind:
            return found
    raise AssertionError(f"it ended without {kind}: {found}")


def ended(process: subprocess.Popen[str]) -> tuple[list[str], str]:
    """The kinds of all other events, and what was said, once it has ended."""
    assert process.stdout is not None
    assert process.stderr is not None
    found = [json.loads(line)["event"] for line in process.stdout]
    said = process.stderr.read()
    process.wait()
    return found, said


KILLED_AFTER_ONE = """
import os, signal
from cluster.events import json_lines
said = json_lines.to_json

def to_json(event, **how):
    if event.event == "done":
        os.kill(os.getpid(), signal.SIGKILL)
    return said(event, **how)

json_lines.to_json = to_json
from cluster.cli.app import main
main()
"""


def test_an_overwrite_that_is_killed_is_gone_on_with(tmp_path):
    job = write_job(tmp_path, recipe={"steps": 60, "optimizer": "adam"}, losses={"every": 1})
    stylefarm("run", job, *INLINE)
    before = images(tmp_path)
    words = [sys.executable, "-c", KILLED_AFTER_ONE, "run", job, *INLINE, "--json", "--overwrite"]
    killed = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr

    # What has a record is whole; what was to be done again has none until it is.
    done = records_of(job)
    assert 1 <= len(done) < 4
    for record in done.values():
        log = (tmp_path / "out" / record.losses_key).read_text().splitlines()
        assert len(log) == 1 + 61
    assert stylefarm("run", job, *INLINE).returncode == 0
    assert len(records_of(job)) == 4
    assert images(tmp_path) == before


def test_weights_that_cannot_be_loaded_end_the_run_and_fail_no_task(tmp_path):
    job = write_job(tmp_path)
    (tmp_path / "tiny.safetensors").write_bytes(b"\xff\xd8 a picture, by mistake")

    ran = stylefarm("run", job, *INLINE)

    assert ran.returncode == 3
    assert "tiny.safetensors" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert records_of(job) == {}


def test_no_secret_of_an_address_reaches_the_output(tmp_path):
    secret = "https://user:hunter2@127.0.0.1:9/{}.png?X-Amz-Signature=topsecret"
    job = write_job(
        tmp_path,
        retries={"attempts": 1},
        pairs=[
            {"content": [secret.format("a"), "photos/p0.png"], "style": "styles/s0.png"},
            {
                "content": "photos/p0.png",
                "style": {"picture": "styles/s0.png", "mask": secret.format("{content}")},
            },
        ],
    )

    ran = stylefarm("run", job, *INLINE, "--json", AWS_SECRET_ACCESS_KEY="aws-secret-key")

    assert ran.returncode == 1
    said = ran.stdout + ran.stderr
    written = b"".join(p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file())
    for word in ("hunter2", "topsecret", "aws-secret-key"):
        assert word not in said
        assert word.encode() not in written


def test_report_on_nothing_is_an_error(tmp_path):
    reported = stylefarm("report", tmp_path / "nowhere")
    assert reported.returncode == 2
    assert "nothing has been rendered" in reported.stderr


def test_quiet_still_tells_what_failed(tmp_path):
    job = write_job(tmp_path, photos=1, styles=1)
    (tmp_path / "photos" / "p0.png").write_text("not a picture")
    ran = stylefarm("run", job, *INLINE, "--quiet")
    assert len(ran.stderr.splitlines()) == 1
    assert "p0.png is not a picture" in ran.stderr


def test_plan_names_a_picture_to_start_from_that_is_not_there(tmp_path):
    pairs = [{"content": "photos/p0.png", "style": "styles/s0.png", "init": "nope.png"}]
    planned = stylefarm("plan", write_job(tmp_path, pairs=pairs)).stdout
    assert re.search(r"will fail: .*: pairs\[0\]\.init: There is no file nope\.png", planned)
