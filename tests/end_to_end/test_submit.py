"""Jobs handed to a real Ray head that asks for a token: submitted, looked at, ended, gone on with."""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from cluster.schedule.history import History
from jobs.storage import keys
from tests.support.farm import PATIENCE, command, records_of, stylefarm, wait_for, write_job
from tests.support.head import answers, ray_head
from tests.support.proxy import proxy
from tests.support.rigs import web_server


@dataclass(frozen=True)
class Head:
    """A cluster of one machine, with two GPUs that exist on paper."""

    address: str
    token: str = field(repr=False)

    def stylefarm(self, *arguments: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
        """Run a command that knows where the cluster is and has its token."""
        return stylefarm(*arguments, **{**self.environment, **env})

    @property
    def environment(self) -> dict[str, str]:
        return {
            "RAY_AUTH_MODE": "token",
            "RAY_API_SERVER_ADDRESS": self.address,
            "RAY_AUTH_TOKEN": self.token,
            # Where a run's own cluster is, is none of the client's business.
            "RAY_ADDRESS": "192.0.2.1:6379",
        }

    def status(self, name: str | Path) -> tuple[int, dict[str, Any]]:
        told = self.stylefarm("status", name, "--json")
        assert told.stdout, told.stderr
        return told.returncode, json.loads(told.stdout)


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    token = secrets.token_hex(16)
    with ray_head(
        *("--include-dashboard=true", "--num-gpus=2"),
        env={"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token},
        ready=lambda found: answers(found.dashboard),
    ) as found:
        yield Head(found.dashboard, token)


def live(out: Path) -> dict[str, Any]:
    """What a run says of itself; nothing before it does."""
    try:
        return json.loads((out / keys.LIVE).read_text())
    except OSError:
        return {}


def painting(out: Path, submission: str) -> bool:
    found = live(out)
    return found.get("submission") == submission and found["steps_per_second"] > 0


@pytest.mark.slow
def test_a_job_is_submitted_seen_ended_and_gone_on_with(tmp_path, head):
    out = tmp_path / "out"
    knobs = {
        "output": str(out),
        "workers": {"max": 1, "batch": 1},
        "recipe": {"steps": 800, "optimizer": "adam", "segment": 20},
    }
    # More than will be painted, however fast this machine is.
    count = 100
    job = write_job(tmp_path / "job", photos=count, styles=1, name="Häfen", **knobs)

    submitted = head.stylefarm("submit", job, "--ship-inputs")
    assert submitted.returncode == 0, submitted.stderr
    name = submitted.stdout.strip()
    assert name.startswith("stylefarm-h-fen-")

    # The same job again, and another one to the same output, while it is there.
    again = head.stylefarm("submit", job, "--ship-inputs")
    assert (again.returncode, again.stdout) == (0, submitted.stdout)
    assert "is not submitted again" in again.stderr
    rival = write_job(tmp_path / "job2", photos=1, styles=1, name="other", **knobs)
    refused = head.stylefarm("submit", rival, "--ship-inputs")
    assert refused.returncode == 2
    assert f"{name} (Häfen) is working on {out} and has not ended" in refused.stderr

    wait_for(lambda: painting(out, name), 120)
    code, stands = head.status(name)
    assert (code, stands["state"], stands["tasks"], stands["workers"]) == (0, "running", count, 1)
    assert stands["eta"] > 0

    # Ended as by Ctrl-C: what paints is committed.
    wait_for(lambda: records_of(job), 120)
    ended = head.stylefarm("cancel", name)
    assert ended.returncode == 0, ended.stderr
    assert "submit it again to resume" in ended.stdout
    code, stands = head.status(name)
    done = stands["done"]
    assert (code, stands["state"], stands["left"]) == (0, "stopped", count - done)
    assert 1 <= done == len(records_of(job)) < count
    assert not (out / keys.CANCEL).exists()
    said = head.stylefarm("logs", name)
    assert said.stdout.count("done images/") == done
    assert "stopping when running tasks are committed\n" in said.stdout

    # Again: it goes on, under the same name with a number, and is stopped at once.
    second = head.stylefarm("submit", job, "--ship-inputs").stdout.strip()
    assert second == f"{name}-2"
    wait_for(lambda: painting(out, second), 120)
    stopped = head.stylefarm("cancel", name, "--now")
    assert stopped.returncode == 0, stopped.stderr
    rows = json.loads(head.stylefarm("list", "--json").stdout)
    listed = [row for row in rows if row["id"].startswith(name)]
    assert [(row["id"], row["state"]) for row in listed] == [
        *((second, "stopped"), (name, "stopped"))
    ]
    assert listed[1]["left"] == count - done
    assert "has ended already" in head.stylefarm("cancel", name).stdout

    # Nothing was painted twice, what was under way left a checkpoint, and here they are the same tasks.
    records = records_of(job).values()
    assert all(len(record.attempts) == 1 for record in records)
    assert len(records) > done or list((out / "checkpoints").iterdir())
    assert json.loads(stylefarm("plan", job, "--json").stdout)["done"] == len(records)
    assert f"{len(records)} done, 0 failed" in stylefarm("status", job, RAY_ADDRESS="").stdout


@pytest.mark.slow
def test_a_run_is_followed_to_its_end_and_what_failed_is_told(tmp_path, head):
    job = write_job(tmp_path, photos=2, styles=1)
    out = tmp_path / "out"
    (tmp_path / "photos" / "p0.png").write_bytes(b"no picture at all")
    refused = head.stylefarm("submit", job)
    assert refused.returncode == 2
    assert "job.yaml:2: output: out is a folder of this machine" in refused.stderr

    # The package comes along, and the job file is run where it is.
    followed = head.stylefarm("submit", job, "--allow-local", "--ship-package", "--follow")

    assert followed.returncode == 1, followed.stderr
    assert "2 tasks, 0 done already" in followed.stderr
    assert "done images/p1--s0-" in followed.stderr
    assert "failed p0--s0-" in followed.stderr
    code, stands = head.status(job)
    assert stands["id"] == followed.stdout.strip()
    assert (code, stands["state"], stands["done"], stands["failed"]) == (1, "failed", 1, 1)
    assert f"stylefarm report {out}" in stands["reason"]
    events = head.stylefarm("logs", job, "--json").stdout.splitlines()
    assert {json.loads(line)["event"] for line in events} >= {"started", "done", "finished"}


@pytest.mark.slow
def test_proofs_and_then_the_chosen_ones_are_rendered_on_the_cluster(tmp_path, head):
    out = tmp_path / "out"
    job = write_job(
        tmp_path / "job", photos=2, styles=1, name="ladder", output=str(out), recipe={"size": 40}
    )

    small = head.stylefarm("submit", job, "--ship-inputs", "--proof", "--follow")
    assert small.returncode == 0, small.stderr
    proofs = sorted(path.name for path in (out / "proofs" / "images").iterdir())
    assert len(proofs) == 2
    (tmp_path / "chosen.txt").write_text(f"{proofs[0]}\n")
    chosen = head.stylefarm(
        "submit", job, "--ship-inputs", "--select", tmp_path / "chosen.txt", "--follow"
    )

    assert chosen.returncode == 0, chosen.stderr
    assert [path.name for path in (out / "images").iterdir()] == proofs[:1]
    # They are another job than the pictures, and do not keep one another waiting.
    assert small.stdout != chosen.stdout
    code, stands = head.status(small.stdout.strip())
    assert (code, stands["state"], stands["done"]) == (0, "succeeded", 2)


@pytest.mark.slow
def test_a_submission_waits_for_the_same_job_with_other_options(tmp_path, head):
    job = write_job(
        tmp_path / "job", photos=1, styles=1, name="waits", output=str(tmp_path / "out")
    )
    # Held, neither ends before it is ended.
    held = ("submit", job, "--ship-inputs", "--hold")
    first = head.stylefarm(*held)
    assert first.returncode == 0, first.stderr

    short = head.stylefarm(*held, "--limit", "1", "--wait", "1s")
    assert short.returncode == 2
    assert f"waiting for {first.stdout.strip()}, which was submitted with other" in short.stderr

    log = tmp_path / "log"
    with log.open("w") as said:
        waits = subprocess.Popen(
            command(*held, "--limit", "1", "--wait", "1h"),
            env={**os.environ, **head.environment},
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
        )
    wait_for(lambda: "waiting for" in log.read_text())
    assert waits.poll() is None
    head.stylefarm("cancel", first.stdout.strip(), "--now")
    second, _ = waits.communicate(timeout=PATIENCE * 120)
    assert waits.returncode == 0, log.read_text()
    assert second != first.stdout
    head.stylefarm("cancel", second.strip(), "--now")


@pytest.mark.slow
def test_a_job_is_replaced_while_it_runs_and_renders_to_the_output_of_one_moment(tmp_path, head):
    knobs = {
        "output": str(tmp_path / "{date}"),
        "workers": {"max": 1, "batch": 1},
        "recipe": {"steps": 100_000, "optimizer": "adam", "segment": 20},
    }
    job = write_job(tmp_path / "job", photos=1, styles=1, name="night", **knobs)
    ship = ("--ship-inputs", "--at", "2026-11-24", "--if-changed")
    out = tmp_path / "2026-11-24"

    first = head.stylefarm("submit", job, *ship)
    assert first.returncode == 0, first.stderr
    name = first.stdout.strip()
    wait_for(lambda: painting(out, name), 120)
    assert head.stylefarm("submit", job, *ship).stdout == first.stdout  # it is there already
    other = head.stylefarm("submit", job, *ship, "--limit", "1")
    assert other.returncode == 2
    assert "is already submitted with other options" in other.stderr
    # Held: what it would paint is of no interest.
    day = ("--at", "2026-11-25", "--hold", "--json")
    other_day = head.stylefarm("submit", job, "--ship-inputs", *day)
    assert json.loads(other_day.stdout)["new"] is True
    head.stylefarm("cancel", json.loads(other_day.stdout)["id"], "--now")

    second = head.stylefarm("submit", job, *ship, "--replace")

    assert second.returncode == 0, second.stderr
    assert second.stdout == f"{name}-2\n"
    _, before = head.status(name)
    assert before["id"] == f"{name}-2"
    _, first_one = head.status(f"{name}-1")
    assert first_one["id"] == name
    listed = json.loads(head.stylefarm("list", "--json").stdout)
    assert {row["state"] for row in listed if row["id"] == name} == {"stopped"}
    wait_for(lambda: painting(out, f"{name}-2"), 120)
    assert list((out / "checkpoints").iterdir())

    # The next tick has another output and another id; it is the same job.
    next_tick = ("--ship-inputs", "--at", "2026-11-26", "--hold")
    third = head.stylefarm("submit", job, *next_tick, "--replace", "--json")
    assert third.returncode == 0, third.stderr
    states = {
        row["id"]: row["state"] for row in json.loads(head.stylefarm("list", "--json").stdout)
    }
    assert states[f"{name}-2"] == "stopped"
    assert head.stylefarm("cancel", json.loads(third.stdout)["id"], "--now").returncode == 0


@pytest.mark.slow
def test_a_submission_begins_after_another_one(tmp_path, head):
    first = write_job(
        tmp_path / "first", photos=2, styles=1, name="first", output=str(tmp_path / "a")
    )
    second = write_job(
        tmp_path / "second", photos=1, styles=1, name="second", output=str(tmp_path / "b")
    )
    # Held, so that it has not ended when the other one is submitted.
    before = head.stylefarm("submit", first, "--ship-inputs", "--hold").stdout.strip()
    refused = head.stylefarm("submit", first, "--ship-inputs", "--after", before)
    assert refused.returncode == 2
    assert "a job cannot begin after itself" in refused.stderr
    unknown = head.stylefarm(
        "submit", second, "--ship-inputs", "--after", "stylefarm-first-00000000"
    )
    assert unknown.returncode == 2
    assert "knows no submission" in unknown.stderr

    then = head.stylefarm("submit", second, "--ship-inputs", "--after", before)
    assert then.returncode == 0, then.stderr
    name = then.stdout.strip()
    wait_for(lambda: "first" in (head.status(name)[1]["waits"] or ""), 120)
    listed = json.loads(head.stylefarm("list", "--json").stdout)
    assert {row["id"]: row["state"] for row in listed}[name] == "running"
    assert not records_of(second)

    assert head.stylefarm("resume", before).returncode == 0
    wait_for(lambda: head.status(name)[1]["state"] == "succeeded", 120)
    assert len(records_of(first)) == 2
    assert len(records_of(second)) == 1

    # Once more, after the one that has ended: nothing is waited for, and nothing painted again.
    again = head.stylefarm("submit", second, "--ship-inputs", "--after", first, "--follow")
    assert again.returncode == 0, again.stderr
    assert "everything is already done" in again.stderr


@pytest.mark.slow
def test_the_clock_hands_jobs_to_the_cluster(tmp_path, head):
    job = write_job(
        tmp_path / "job",
        photos=1,
        styles=1,
        name="tick",
        output=str(tmp_path / "out"),
        schedule={"every": "1d"},
    )
    state = tmp_path / "state"
    words = ("schedule", job, "--address", head.address, "--ship-inputs", "--state", state)
    # It was due, and nobody was there.
    once = clock_of(head, *words, log=tmp_path / "log")
    wait_for(lambda: list(state.glob("jobs/*.json")), 60)
    once.terminate()
    assert once.wait(PATIENCE * 60) == 0
    (file,) = state.glob("jobs/*.json")
    file.write_text(
        re.sub(r'"seen": "[^"]*"', '"seen": "2026-01-01T00:00:00+00:00"', file.read_text())
    )
    clock = clock_of(head, *words, log=tmp_path / "log")
    history = History(state / "history.jsonl")
    wait_for(lambda: [t for t in history.ticks() if t.outcome != "missed"], 90)
    clock.terminate()
    assert clock.wait(PATIENCE * 60) == 0
    *_, tick = history.ticks()
    assert (tick.outcome, tick.exit_status, tick.done, tick.failed) == ("done", 0, 1, 0)
    assert len(list((tmp_path / "out" / "images").iterdir())) == 1
    (listed, *_) = json.loads(head.stylefarm("list", "--json").stdout)
    assert (listed["job"], listed["state"]) == ("tick", "succeeded")


def clock_of(head: Head, *words: str | Path, log: Path) -> subprocess.Popen[bytes]:
    env = {**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": head.token}
    with log.open("ab") as file:
        return subprocess.Popen(command(*words), env=env, stdout=file, stderr=file)


def test_who_is_not_let_in_or_asks_nobody_is_told_so_in_a_sentence(tmp_path, head):
    job = write_job(tmp_path, output="s3://renders/h", photos=1, styles=1)
    home = {"HOME": str(tmp_path)}  # without a token of whoever runs this
    for env, sentence in (
        ({"RAY_AUTH_TOKEN": "f" * 32}, "has a different token than this machine"),
        ({"RAY_AUTH_TOKEN": "", **home}, "asks for a token: set RAY_AUTH_MODE=token"),
        ({"RAY_AUTH_MODE": "disabled"}, "asks for a token: set RAY_AUTH_MODE=token"),
        ({"RAY_API_SERVER_ADDRESS": "http://127.0.0.1:1"}, "cannot be reached: Connection refused"),
    ):
        ran = head.stylefarm("submit", job, "--ship-inputs", **env)
        assert ran.returncode == 3, ran.stderr
        assert sentence in ran.stderr
        assert ran.stderr.count("\n") == 1

    unknown = head.stylefarm("status", "stylefarm-harbour-00000000")
    assert unknown.returncode == 2
    assert "knows no submission stylefarm-harbour-00000000" in unknown.stderr
    nowhere = head.stylefarm("list", RAY_API_SERVER_ADDRESS="")
    assert nowhere.returncode == 2
    assert "--address http://head:8265" in nowhere.stderr


@pytest.mark.slow
def test_a_head_behind_a_proxy_is_reached_and_its_log_followed(tmp_path, head):
    """Its name is known to the proxy alone, as at the gate of a company. The output is one of variables: the
    cluster has no such variable, and HOME is another folder there."""
    job = write_job(tmp_path / "job", output="${HOME}/$RENDERS/out", photos=2, styles=1)
    here = {"HOME": str(tmp_path), "RENDERS": "films"}
    with proxy(head.address) as gate:
        known = {"RAY_API_SERVER_ADDRESS": "http://head.invalid:8265", "http_proxy": gate.url}
        words = ("submit", job, "--ship-inputs", "--follow")
        ran = head.stylefarm(*words, **known, **here, no_proxy="")
        assert ran.returncode == 0, ran.stderr
        assert ran.stderr.count("done images/") == 2
        assert "2 done, 0 failed, 0 left" in ran.stderr
    # Seen while it runs, not only in the end.
    assert sum(path.endswith("/logs") for path in gate.paths) >= 2
    assert len(list((tmp_path / "films/out/images").iterdir())) == 2
    assert "2 done" in head.stylefarm("status", job, **here).stdout


def test_a_proxy_that_is_in_the_way_is_named(tmp_path, head):
    refuse = web_server(lambda *_: (403, {}, b"<html>no</html>"))
    with refuse as gate:
        for port, said in (
            (gate.port, "; or the proxy 127.0.0.1:{} of http_proxy refuses it: "),
            (
                1,
                "cannot be reached through the proxy 127.0.0.1:{} of http_proxy: Connection refused; ",
            ),
        ):
            named = f"http://me:s3cret@127.0.0.1:{port}"
            ran = head.stylefarm("list", http_proxy=named, no_proxy="")
            assert ran.returncode == 3
            assert said.format(port) in ran.stderr
            assert "if no proxy leads there, add 127.0.0.1 to no_proxy" in ran.stderr
            assert "s3cret" not in ran.stderr
            assert ran.stderr.count("\n") == 1
            assert head.stylefarm("list", http_proxy=named, no_proxy="127.0.0.0/8").returncode == 0


def test_any_run_is_ended_by_its_output(tmp_path):
    knobs = {"recipe": {"steps": 500, "optimizer": "adam"}, "workers": {"batch": 1}}
    job = write_job(tmp_path, photos=50, **knobs)
    run = subprocess.Popen(
        command("run", job, "--pool", "inline"),
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    wait_for(lambda: live(tmp_path / "out").get("steps_per_second"), 90)

    ended = stylefarm("cancel", job, RAY_ADDRESS="")

    assert ended.returncode == 0, ended.stderr
    assert "the run has ended" in ended.stdout
    _, err = run.communicate(timeout=PATIENCE * 60)
    assert run.returncode == 130
    assert "run the same command again to resume" in err
    assert 1 <= len(records_of(job)) < 100
    assert "no run is working on" in stylefarm("cancel", job, RAY_ADDRESS="").stdout
