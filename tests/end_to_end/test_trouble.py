"""Storage that fails, fills up or lies, and what may never be told: a whole job through each."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import subprocess
from functools import partial
from pathlib import Path

import pytest

from cluster.events.events import Event, TaskDone
from cluster.run.options import RunOptions
from cluster.run.run_job import run_job
from jobs.errors import LeaseLostError
from jobs.jobfile.load import load_job
from jobs.records.commit import Records
from jobs.storage import keys
from jobs.storage.lease import Lease
from jobs.storage.open import open_storage
from tests.support.farm import STAND_IN, stylefarm, write_job, write_stand_in_job
from tests.support.outputs import drive, rig_job
from tests.support.proxy import FAULTS, proxy
from tests.support.rigs import Rig


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_fifth_of_all_requests_fail_and_nothing_is_lost(s3: Rig, tmp_path: Path) -> None:
    directives = [{"n": k} for k in range(30)]
    job = rig_job(s3, tmp_path, directives)
    assert s3.server is not None
    with proxy(s3.server.endpoint, seed=7) as between:
        text = job.read_text().replace(s3.server.endpoint, between.url)
        job.write_text(text)
        between.rate = 0.2
        lines = drive(job)
        between.rate = 0.0
        loaded = load_job(job)
        storage = open_storage(loaded.spec.output, loaded.spec.storage, base=loaded.base)
        records = list(Records(storage).all())
        pictures = {stat.key: stat.size for stat in storage.list(keys.IMAGES)}
        assert len(lines) == len(records) == len(pictures) == 30
        assert {r.status for r in records} == {"done"}
        for record in records:
            assert record.output is not None
            data = storage.get(record.output.key)
            assert hashlib.sha256(data).hexdigest() == record.output.sha256
            assert json.loads(data)["n"] == int(record.content[1:4])
        assert len(list(storage.list(keys.LOSSES))) == 30
        bucket = s3.url.removeprefix("s3://").split("/")[0]
        assert not s3.server.client.list_multipart_uploads(Bucket=bucket).get("Uploads")
    assert set(between.faults) == set(FAULTS)
    assert between.faults.total() > 0.15 * between.requests


@pytest.fixture
def tiny_disk(tmp_path: Path):
    """A file system of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("only root can mount a file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_stops_the_run_and_room_lets_it_go_on(tmp_path: Path, tiny_disk: Path) -> None:
    job = write_job(tmp_path / "job", photos=3, styles=2, output=str(tiny_disk / "out"))
    ballast = tiny_disk / "ballast"
    ballast.write_bytes(b"\0" * (1024 * 1024 - 72 * 1024))

    full = stylefarm("run", job, "--pool", "inline")

    assert full.returncode == 3, full.stderr
    (told,) = [line for line in full.stderr.splitlines() if "No space left" in line]
    assert "Make room there or choose another output." in told
    assert "Traceback" not in full.stderr
    done = len(list(tiny_disk.glob("out/tasks/*/*.json")))
    assert done < 6
    ballast.unlink()
    again = stylefarm("run", job, "--pool", "inline", "--json")
    assert again.returncode == 0, again.stderr
    events = [json.loads(line) for line in again.stdout.splitlines()]
    assert events[0]["done"] == done
    assert len(list(tiny_disk.glob("out/tasks/*/*.json"))) == 6


SECRETS = {
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMIsecretsecretsecretEXAMPLEKEY",
    "AWS_SESSION_TOKEN": "FwoGZXIvYXdzEsessiontokensessiontoken",
}


@pytest.mark.parametrize("trouble", [None, "wrong keys", "picture", "server"])
def test_no_key_of_the_environment_reaches_a_file_a_log_or_an_error(
    s3: Rig, tmp_path: Path, trouble: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = s3.options.model_dump(mode="json", exclude_none=True)
    job = write_job(tmp_path / "job", photos=2, styles=1, output=s3.url, storage=storage)
    assert s3.server is not None
    secrets = {os.environ["AWS_SECRET_ACCESS_KEY"], os.environ["AWS_ACCESS_KEY_ID"]}
    if trouble == "wrong keys":
        for name, value in SECRETS.items():
            monkeypatch.setenv(name, value)
        secrets |= set(SECRETS.values())
    elif trouble == "picture":
        (tmp_path / "job" / "photos" / "p0.png").write_bytes(b"no picture")
    elif trouble == "server":
        job.write_text(job.read_text().replace(s3.server.endpoint, "http://127.0.0.1:9"))

    ran = stylefarm("run", job, "--pool", "inline", "--json", "--verbose")

    assert ran.returncode == {None: 0, "wrong keys": 3, "picture": 1, "server": 3}[trouble]
    places = [("stdout", ran.stdout), ("stderr", ran.stderr)]
    for path in (tmp_path / "job").rglob("*"):
        if path.is_file():
            places.append((str(path), path.read_bytes().decode("latin-1")))
    for name, value in s3.server.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    for stat in s3.open().list():
        places.append((stat.key, s3.open().get(stat.key).decode("latin-1")))
    for place, text in places:
        for secret in secrets:
            assert secret not in text, f"a secret is in {place}"
    assert trouble in ("wrong keys", "server") or len(places) > 6


def test_a_second_run_of_an_output_is_refused_while_the_first_works(tmp_path: Path) -> None:
    job = write_job(tmp_path, photos=1, styles=1)
    lease = Lease(open_storage("out", base=tmp_path)).acquire()
    try:
        refused = stylefarm("run", job, "--pool", "inline")
        assert refused.returncode == 3
        assert f"is being rendered by {lease._me}" in refused.stderr
        assert not (tmp_path / "out" / "tasks").exists()
    finally:
        lease.release()
    assert stylefarm("run", job, "--pool", "inline").returncode == 0
    assert not (tmp_path / "out" / keys.LEASE).exists()


def test_a_run_that_lost_its_output_to_another_stops_committing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cluster.run.claim.Lease", partial(Lease, renew_seconds=0.1))
    # More than can be painted before a thread that wakes ten times a second has had its turn.
    count = 400
    job = write_stand_in_job(tmp_path, [{"n": k, "steps": 20} for k in range(count)])
    lease = tmp_path / "out" / keys.LEASE
    committed: list[str] = []

    def listen(event: Event) -> None:
        if isinstance(event, TaskDone):
            committed.append(event.id)
            if len(committed) >= 3:
                # Again if a renewal that had begun before has come after it.
                other = json.loads(lease.read_text()) | {"nonce": "0", "user": "ada", "host": "b"}
                lease.with_name("other").write_text(json.dumps(other))
                lease.with_name("other").replace(lease)

    with pytest.raises(LeaseLostError, match="now belongs to ada@b"):
        run_job(job, RunOptions(pool="inline", renderer=STAND_IN), listen)
    records = list((tmp_path / "out").glob("tasks/*/*.json"))
    assert len(records) == len(committed) < count
    assert json.loads(lease.read_text())["user"] == "ada"


def test_verify_renders_again_what_is_missing_or_damaged(tmp_path: Path) -> None:
    job = write_job(tmp_path, photos=3, styles=1)
    assert stylefarm("run", job, "--pool", "inline").returncode == 0
    gone, damaged, whole = sorted((tmp_path / "out" / "images").iterdir())
    before = {path: path.read_bytes() for path in (gone, damaged, whole)}
    gone.unlink()
    damaged.write_bytes(bytes(len(before[damaged])))
    untouched = whole.stat().st_mtime_ns

    plain = stylefarm("run", job, "--pool", "inline")
    listed = stylefarm("report", job)
    read = stylefarm("report", job, "--verify", "--json")
    verified = stylefarm("run", job, "--pool", "inline", "--verify")
    after = stylefarm("report", job, "--verify")

    assert "already done" in plain.stderr
    assert (listed.returncode, read.returncode, after.returncode) == (1, 1, 0)
    assert f"missing: images/{gone.name}" in listed.stdout
    assert "run JOB --verify" in listed.stdout
    assert json.loads(read.stdout)["damaged"] == [f"images/{damaged.name}"]
    assert verified.returncode == 0
    assert f"damaged images/{damaged.name}: it will be rendered again" in verified.stderr
    assert {path: path.read_bytes() for path in before} == before
    assert whole.stat().st_mtime_ns == untouched


def test_a_record_that_was_damaged_is_told_and_its_task_rendered_again(tmp_path: Path) -> None:
    job = write_job(tmp_path, photos=2, styles=1)
    assert stylefarm("run", job, "--pool", "inline").returncode == 0
    record, other = sorted((tmp_path / "out" / "tasks").glob("*/*.json"))
    before = record.read_bytes()
    record.write_bytes(before[: len(before) // 2])
    untouched = other.stat().st_mtime_ns

    told = stylefarm("report", tmp_path / "out")
    as_json = stylefarm("report", job, "--json", "--no-gallery")
    again = stylefarm("run", job, "--pool", "inline")
    after = stylefarm("report", tmp_path / "out")

    key = str(record.relative_to(tmp_path / "out"))
    assert (told.returncode, as_json.returncode) == (1, 1)
    assert "1 done, 0 failed" in told.stdout
    assert told.stdout.count(key) == 1
    assert "1 record cannot be read" in told.stdout
    assert json.loads(as_json.stdout)["unreadable"] == [key]
    assert again.returncode == 0
    assert (after.returncode, "cannot be read" in after.stdout) == (0, False)
    assert other.stat().st_mtime_ns == untouched


def test_a_manifest_is_rendered_and_its_bad_rows_are_told(tmp_path: Path) -> None:
    job = write_job(
        tmp_path, photos=2, styles=1, pairs=[{"manifest": "p.csv", "on_bad_row": "skip"}]
    )
    rows = ["content,style,name", "photos/p0.png,styles/s0.png,first", "photos/p1.png,,"]
    (tmp_path / "p.csv").write_text("\n".join(rows) + "\n")

    planned = stylefarm("plan", job)
    ran = stylefarm("run", job, "--pool", "inline", "--json")

    assert "1 task: 0 done" in planned.stdout
    assert "skipped: p.csv:3: style: is empty" in planned.stdout
    assert ran.returncode == 0
    assert "skipped p.csv:3: style: is empty" in ran.stderr
    events = {e["event"]: e for e in map(json.loads, ran.stdout.splitlines())}
    assert events["rows_skipped"] == {
        "event": "rows_skipped",
        "rows": 1,
        "first": ["p.csv:3: style: is empty"],
    }
    (picture,) = (tmp_path / "out" / "images").iterdir()
    assert picture.name.startswith("first-")
    assert "2 rows: 1 used, 0 repeated, 1 skipped" in planned.stdout
    assert "2 rows: 1 used, 0 repeated, 1 skipped" in ran.stderr
    assert events["rows_read"]["rows"] == 2
    skipped = tmp_path / "out" / "skipped.csv"
    assert skipped.read_text().splitlines() == ["row,column,problem", "p.csv:3,style,is empty"]

    (tmp_path / "p.csv").write_text("\n".join(rows[:2]) + "\n")
    assert stylefarm("run", job, "--pool", "inline").returncode == 0
    assert not skipped.exists()
    (tmp_path / "p.csv").write_text("\n".join(rows) + "\n")

    job.write_text(job.read_text().replace("skip", "fail"))
    for command in ("plan", "run"):
        refused = stylefarm(command, job)
        assert refused.returncode == 2
        assert refused.stderr.startswith("p.csv:3: style: is empty\n")
        assert "on_bad_row: skip" in refused.stderr


def test_more_bad_rows_than_a_terminal_shows_are_all_named(tmp_path: Path) -> None:
    job = write_job(
        tmp_path, photos=1, styles=1, pairs=[{"manifest": "p.csv", "on_bad_row": "skip"}]
    )
    rows = ["content,style,name", "photos/p0.png,styles/s0.png,first"]
    rows += [f'photos/p{k}.png,"styles/s0.png,open' for k in range(30)]
    (tmp_path / "p.csv").write_text("\n".join(rows) + "\n")
    reason = "opens a quote that is not closed in its row"

    planned = stylefarm("plan", job)
    assert planned.stdout.count(reason) == 20
    assert "and 10 more rows, which plan --json names" in planned.stdout
    named = json.loads(stylefarm("plan", job, "--json").stdout)
    assert named["first_bad_rows"] == [f"p.csv:{line}: {reason}" for line in range(3, 33)]
    assert named["rows"]["rows"] == 31

    ran = stylefarm("run", job, "--pool", "inline")
    assert ran.returncode == 0
    assert "and 10 more rows: skipped.csv in the output names them" in ran.stderr
    skipped = (tmp_path / "out" / "skipped.csv").read_text().splitlines()
    assert skipped[1:] == [f"p.csv:{line},,{reason}" for line in range(3, 33)]


def test_credentials_that_expire_are_renewed_in_a_long_job(
    s3: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As those of a role are: here from a program that gives them for a minute, which is too short a time for
    botocore to sign another request with them."""
    from jobs.storage.s3 import S3Storage

    key, secret = os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]
    script = tmp_path / "give"
    script.write_text(
        f"""#!/bin/sh
echo given >> {tmp_path}/given
echo '{{"Version": 1, "AccessKeyId": "{key}", "SecretAccessKey": "{secret}",
 "Expiration": "'$(date -u -d '+60 seconds' +%Y-%m-%dT%H:%M:%SZ)'"}}'
"""
    )
    script.chmod(0o755)
    (tmp_path / "config").write_text(f"[profile role]\ncredential_process = {script}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    storage = S3Storage(s3.url, s3.options.model_copy(update={"profile": "role"}))
    for k in range(4):
        storage.put(f"{k}", b"x")
    assert len((tmp_path / "given").read_text().splitlines()) >= 3
    assert len(list(storage.list())) == 4


def test_logging_of_botocore_stays_quiet() -> None:
    """At DEBUG it would tell headers with signatures."""
    from cluster.cli.terminal import set_up_logging

    set_up_logging(verbose=True)
    assert logging.getLogger("botocore").level >= logging.WARNING
