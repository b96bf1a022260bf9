"""Schedules for others to keep: what is exported parses where it goes, and says all that they say."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
import yaml

from cluster.schedule.exported import cron_of
from cluster.schedule.is_due import is_due
from cluster.schedule.kubernetes import HEAD, Kueue, kubernetes
from cluster.schedule.systemd import on_calendar, systemd
from cluster.schedule.tick_process import Command
from cluster.schedule.ticks import next_tick
from jobs.cron import parse_cron
from jobs.errors import JobFileError, UsageError
from jobs.jobfile.job import Job
from jobs.jobfile.load import load_job
from jobs.jobfile.parse import read_job
from jobs.spec.schedule import Schedule
from tests.support.farm import ROOT

UTC = timezone.utc

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd is not here"
)

FULL = """schedule: {cron: "30 2 * * mon-fri", time_zone: Europe/Rome, concurrency_policy: replace,
  starting_deadline: 90m}"""


def a_job(tmp_path: Path, schedule: str = FULL, **changes: str) -> Job:
    said = {"name": "Hafen: 100% $HOME", "output": "s3://renders/harbour", **changes}
    pairs = "pairs: [{content: s3://pictures/photos/, style: s3://pictures/paintings/}]"
    lines = [f"{key}: {value!r}" for key, value in said.items()]
    file = tmp_path / "job.yaml"
    file.write_text("\n".join(["# for the night", *lines, schedule, pairs, ""]))
    return load_job(file)


def documents(
    job: Job, command: Command | None = None, image: str | None = None
) -> dict[str, dict]:
    ((_, text),) = kubernetes(job, command or Command(), image).items()
    return {document["kind"]: document for document in yaml.safe_load_all(text)}


def unit(text: str) -> dict[str, dict[str, str]]:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment]
    parser.read_string(text)
    return {section: dict(parser[section]) for section in parser.sections()}


def test_a_cron_job_carries_every_setting(tmp_path):
    job = a_job(tmp_path)

    exported = documents(job)

    spec = exported["CronJob"]["spec"]
    assert spec["schedule"] == "30 2 * * mon-fri"
    assert spec["timeZone"] == "Europe/Rome"
    assert spec["concurrencyPolicy"] == "Replace"
    assert spec["startingDeadlineSeconds"] == 5400
    pod = spec["jobTemplate"]["spec"]["template"]["spec"]
    assert spec["jobTemplate"]["spec"]["backoffLimit"] == 0
    assert pod["restartPolicy"] == "Never"
    (container,) = pod["containers"]
    assert container["command"] == [
        *("stylefarm", "submit", "/jobs/job.yaml", "--address", HEAD),
        *("--follow", "--replace", "--if-changed", "--wait", "5400s"),
    ]
    assert {"name": "RAY_AUTH_MODE", "value": "token"} in container["env"]
    assert any(
        e.get("valueFrom", {}).get("secretKeyRef") == {"name": "stylefarm", "key": "auth_token"}
        for e in container["env"]
    )
    # The job file is there word for word, under the name that the command reads.
    config = exported["ConfigMap"]
    assert config["data"] == {"job.yaml": Path(job.file).read_text()}
    assert pod["volumes"] == [{"name": "job", "configMap": config["metadata"]}]
    assert container["volumeMounts"][0]["mountPath"] == "/jobs"


def test_variables_of_the_output_go_along(tmp_path, monkeypatch):
    """A unit and a pod have another environment than the shell that exports the schedule."""
    monkeypatch.setenv("RENDERS", 's3://renders/100% "new"')
    job = a_job(tmp_path, name="n", output="$RENDERS/o")
    (container,) = documents(job)["CronJob"]["spec"]["jobTemplate"]["spec"]["template"]["spec"][
        "containers"
    ]
    handed_on = {e["name"]: e["value"] for e in container["env"] if e["name"] in job.environment}
    line = unit(systemd(job, Command())["stylefarm-n.service"])["Service"]["Environment"]
    said = line.replace("%%", "%").removeprefix('"').removesuffix('"')
    said = re.sub(r"\\(.)", r"\1", said)  # as systemd takes its quotes off
    assert dict([said.split("=", 1)]) == handed_on == job.environment

    monkeypatch.delenv("RENDERS")
    for name, value in handed_on.items():
        monkeypatch.setenv(name, value)
    assert load_job(job.file).spec.output == 's3://renders/100% "new"/o'
    assert (
        "Environment"
        not in unit(systemd(a_job(tmp_path, name="n"), Command())["stylefarm-n.service"])["Service"]
    )


@pytest.mark.parametrize("policy", ["allow", "forbid", "replace"])
def test_the_policies_have_the_words_of_kubernetes(tmp_path, policy):
    output = "s3://renders/{date}"
    schedule = f"schedule: {{cron: '@daily', concurrency_policy: {policy}, if_changed: false}}"
    spec = documents(a_job(tmp_path, schedule, output=output))["CronJob"]["spec"]

    assert spec["concurrencyPolicy"] == policy.capitalize()
    assert "startingDeadlineSeconds" not in spec
    assert spec["schedule"] == "@daily"
    command = spec["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["command"]
    assert ("--replace" in command) == (policy == "replace")
    assert "--if-changed" not in command


def test_address_and_image_are_those_that_were_said(tmp_path):
    command = Command("http://ray.farm:8265", ["--workers", "3"])
    exported = documents(a_job(tmp_path), command, "registry.farm/stylefarm:7")
    pod = exported["CronJob"]["spec"]["jobTemplate"]["spec"]["template"]

    (container,) = pod["spec"]["containers"]
    assert container["image"] == "registry.farm/stylefarm:7"
    assert "http://ray.farm:8265" in container["command"]
    assert container["command"][-2:] == ["--workers", "3"]


def test_with_a_queue_kueue_lets_each_tick_begin(tmp_path):
    job = a_job(tmp_path)
    ((_, text),) = kubernetes(job, Command(), None, Kueue("stylefarm", "stylefarm-low")).items()
    (cron_job,) = (each for each in yaml.safe_load_all(text) if each["kind"] == "CronJob")
    template = cron_job["spec"]["jobTemplate"]
    assert template["metadata"]["labels"] == {
        "kueue.x-k8s.io/queue-name": "stylefarm",
        "kueue.x-k8s.io/priority-class": "stylefarm-low",
    }
    assert template["spec"]["suspend"] is True

    without = documents(job)["CronJob"]["spec"]["jobTemplate"]
    assert set(without) == {"spec"}
    assert {**without["spec"], "suspend": True} == template["spec"]
    assert set(Kueue("q").labels) == {"kueue.x-k8s.io/queue-name"}
    for name in ("My Queue", ""):
        with pytest.raises(UsageError, match=r"--queue '.*' is no name of Kubernetes"):
            Kueue(name)


def test_what_is_still_to_be_put_in_is_said(tmp_path):
    ((_, text),) = kubernetes(a_job(tmp_path), Command()).items()
    assert "SET YOUR IMAGE" in text
    assert "webhook" not in text

    hook = "{url: https://chat.example.com/secret}"
    told = a_job(tmp_path, f"notify: {hook}\n{FULL}")
    ((_, text),) = kubernetes(told, Command(), "registry.farm/stylefarm:7").items()
    assert "SET YOUR IMAGE" not in text
    assert "the address of a webhook" in text


def test_a_pod_submits_to_a_dashboard_alone(tmp_path):
    with pytest.raises(UsageError, match="auto is not one that a pod can submit to"):
        kubernetes(a_job(tmp_path), Command("auto"))
    # systemd, on a machine of the cluster, runs it there.
    units = systemd(a_job(tmp_path, name="n"), Command("auto", ["--workers", "3"]))
    assert unit(units["stylefarm-n.service"])["Service"]["ExecStart"].endswith(
        f"run {tmp_path}/job.yaml --address auto --if-changed --wait 5400s --workers 3"
    )


@pytest.mark.parametrize("name", ["x" * 200, "Ünïcödé", "---", "a.b_c/d"])
def test_any_name_makes_one_that_kubernetes_takes(tmp_path, name):
    exported = documents(a_job(tmp_path, name=name))

    for document in exported.values():
        made = document["metadata"]["name"]
        assert re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", made)
    assert len(exported["CronJob"]["metadata"]["name"]) <= 52


def test_what_the_cluster_would_not_find_is_refused_with_its_line(tmp_path):
    job = a_job(tmp_path, output="out")

    with pytest.raises(JobFileError, match=r"job\.yaml:3: output"):
        kubernetes(job, Command())
    assert systemd(job, Command())  # which is for this machine


def test_a_job_file_that_a_pod_gets_alone_is_not_advised_to_send_its_inputs(tmp_path):
    manifest = tmp_path / "elsewhere" / "rows.csv"
    manifest.parent.mkdir()
    manifest.write_text("content,style\ncat.jpg,wave.jpg\n")
    base = tmp_path / "job"
    base.mkdir()
    (base / "job.yaml").write_text(
        f"""output: out
schedule: {{cron: "30 2 * * *"}}
pairs:
- {{content: photos/, style: {base}/wave.jpg}}
- {{manifest: {manifest}}}
"""
    )

    with pytest.raises(JobFileError) as refused:
        kubernetes(read_job(base / "job.yaml"), Command())

    assert len(refused.value.problems) == 4
    for problem in refused.value.problems:
        assert "give s3://, or an absolute path that the cluster and this machine share" in str(
            problem
        )
        assert "--ship-inputs" not in str(problem)
        assert "--allow-local" not in str(problem)


def test_a_job_without_a_schedule_is_told_to_have_one(tmp_path):
    job = a_job(tmp_path, "")

    for export in (kubernetes, systemd):
        with pytest.raises(JobFileError, match="schedule: is not given"):
            export(job, Command())


def test_units_carry_every_setting(tmp_path):
    job = a_job(tmp_path)

    units = systemd(job, Command())

    name = "stylefarm-hafen-100-home"
    assert set(units) == {f"{name}.service", f"{name}-start.service", f"{name}.timer"}
    timer = unit(units[f"{name}.timer"])["Timer"]
    assert timer["OnCalendar"] == "Mon,Tue,Wed,Thu,Fri *-*-* 02:30:00 Europe/Rome"
    assert timer["Persistent"] == "true"
    assert timer["Unit"] == f"{name}-start.service"
    # A timer leaves alone what runs: replace is a restart, by a unit that is quickly done.
    starter = unit(units[f"{name}-start.service"])["Service"]["ExecStart"]
    assert f"restart {name}.service" in starter
    service = unit(units[f"{name}.service"])
    assert service["Service"]["ExecStart"] == (
        f"{sys.executable} -m cluster.cli run {tmp_path}/job.yaml --if-changed --wait 5400s"
    )
    assert service["Service"]["ExecCondition"].endswith(f"-m cluster.due {tmp_path}/job.yaml")
    assert service["Unit"]["Description"] == "Render Hafen: 100%% $HOME with stylefarm"
    assert int(service["Service"]["TimeoutStopSec"]) > job.spec.workers.grace


def test_forbid_is_what_a_timer_does_and_allow_starts_one_unit_after_another(tmp_path):
    forbid = systemd(a_job(tmp_path, "schedule: {cron: '@daily'}", name="n"), Command())
    assert set(forbid) == {"stylefarm-n.service", "stylefarm-n.timer"}
    assert unit(forbid["stylefarm-n.timer"])["Timer"]["Unit"] == "stylefarm-n.service"

    schedule = "schedule: {cron: '@daily', concurrency_policy: allow, if_changed: false}"
    allow = systemd(a_job(tmp_path, schedule, name="n", output="out/{date}"), Command())
    assert set(allow) == {"stylefarm-n@.service", "stylefarm-n-start.service", "stylefarm-n.timer"}
    assert "start stylefarm-n@$$(date +%%s).service" in allow["stylefarm-n-start.service"]
    assert "--if-changed" not in allow["stylefarm-n@.service"]
    assert "--wait forever" in allow["stylefarm-n@.service"]


def test_a_cluster_is_handed_the_job_by_systemd_too(tmp_path):
    units = systemd(a_job(tmp_path, name="n"), Command("http://head:8265"))

    command = unit(units["stylefarm-n.service"])["Service"]["ExecStart"]
    assert command.endswith(
        f"submit {tmp_path}/job.yaml --address http://head:8265 --follow --replace --if-changed "
        "--wait 5400s"
    )


@needs_systemd
@pytest.mark.parametrize("policy", ["allow", "forbid", "replace"])
@pytest.mark.parametrize("folder", ["plain", 'sp ace %h "q" $HOME \\'])
def test_systemd_accepts_the_units(tmp_path, policy, folder):
    (tmp_path / folder).mkdir()
    schedule = f"""schedule: {{cron: "0 0 13 * fri", time_zone: America/New_York,
  concurrency_policy: {policy}}}"""
    made = systemd(a_job(tmp_path / folder, schedule, output="out/{date}"), Command())
    (tmp_path / "units").mkdir()
    files = []
    for name, text in made.items():
        files.append(tmp_path / "units" / name)
        files[-1].write_text(text)

    names = [str(file).replace("@.", "@1.") for file in files]
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--recursive-errors=one", *names],
        env={"SYSTEMD_UNIT_PATH": f"{tmp_path}/units:", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )

    complaints = [
        line
        for line in verified.stderr.splitlines()
        if "stylefarm" in line or str(tmp_path) in line
    ]
    assert (verified.returncode, complaints) == (0, []), verified.stderr


@needs_systemd
def test_systemd_accepts_the_service_of_the_clock(tmp_path):
    text = (ROOT / "cluster" / "deploy" / "stylefarm-schedule.service").read_text()
    service = unit(text)["Service"]
    assert service["RestartPreventExitStatus"] == "2"
    assert int(service["TimeoutStopSec"]) > 60
    # Its command has to be there, and is not on every machine.
    file = tmp_path / "stylefarm-schedule.service"
    file.write_text(
        text.replace("%h/stylefarm/.venv/bin/stylefarm", f"{sys.executable} -m cluster.cli")
    )
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--recursive-errors=one", str(file)],
        env={"SYSTEMD_UNIT_PATH": f"{tmp_path}:", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )
    complaints = [line for line in verified.stderr.splitlines() if "stylefarm" in line]
    assert (verified.returncode, complaints) == (0, []), verified.stderr


CRONS = [
    "0 2 * * *",
    "*/15 8-18 * * mon-fri",
    "5,35 0,12 1-7,28 feb,jun *",
    "0 0 13 * fri",
    "59 23 31 12 *",
    "0 6 * * sun",
    "0 4 */2 * 1-5",
    "7 * 29 2 *",
]


@needs_systemd
@pytest.mark.parametrize("text", CRONS)
def test_calendar_events_are_due_when_the_schedule_is(text):
    schedule = Schedule.model_validate({"cron": text, "time_zone": "Europe/Rome"})
    cron, zone = cron_of(schedule)
    begin = datetime(2027, 1, 10, 12, 1, tzinfo=UTC)
    told: set[datetime] = set()
    for event in on_calendar(cron, zone):
        shown = subprocess.run(
            [
                *("systemd-analyze", "calendar", "--iterations=40"),
                *(f"--base-time=@{begin.timestamp():.0f}", event),
            ],
            capture_output=True,
            text=True,
            env={"TZ": "UTC", "PATH": "/usr/bin:/bin", "LC_ALL": "C"},
        )
        assert shown.returncode == 0, shown.stderr
        times = re.findall(
            r"(?:Next elapse|Iteration #\d+|Iter\. #\d+): \w+ (\d+-\d+-\d+ \d+:\d+:\d+) UTC",
            shown.stdout,
        )
        assert times, shown.stdout
        told |= {datetime.fromisoformat(time).replace(tzinfo=UTC) for time in times}

    expected, tick = [], begin
    for _ in range(12):
        tick = next_tick(schedule, tick)
        expected.append(tick)
    # Up to where both events have been told of; and before the clock is put forward, which each has its own
    # mind about.
    end = min(expected[-1], max(told), datetime(2027, 3, 28, tzinfo=UTC))
    assert [t for t in sorted(told) if t <= end] == [t for t in expected if t <= end]
    assert next_tick(schedule, begin) in told


@pytest.mark.parametrize(
    ("text", "events"),
    [
        ("0 2 * * *", ["*-*-* 02:00:00 UTC"]),
        ("*/20 * * * *", ["*-*-* *:00,20,40:00 UTC"]),
        ("0 8-18 1,2 * *", ["*-*-01,02 08..18:00:00 UTC"]),
        ("0 0 13 * 5", ["*-*-13 00:00:00 UTC", "Fri *-*-* 00:00:00 UTC"]),
        ("0 0 1-31 * 5", ["*-*-* 00:00:00 UTC"]),
        ("0 0 * 6 7", ["Sun *-06-* 00:00:00 UTC"]),
    ],
)
def test_cron_in_the_words_of_systemd(text, events):
    assert on_calendar(parse_cron(text), "UTC") == events


@pytest.mark.parametrize(
    ("every", "cron"),
    [("15m", "*/15 * * * *"), ("1h", "0 * * * *"), ("6h", "0 */6 * * *"), ("1d", "@daily")],
)
def test_every_that_a_clock_shows_is_exported(every, cron):
    exported, zone = cron_of(Schedule.model_validate({"every": every, "time_zone": "Europe/Rome"}))

    assert (exported, zone) == (parse_cron(cron), "UTC")


@pytest.mark.parametrize("every", ["2s", "45m", "7h", "2d", "90s"])
def test_every_that_no_clock_shows_is_refused(tmp_path, every):
    job = a_job(tmp_path, f"schedule: {{every: {every}}}")

    for export in (kubernetes, systemd):
        with pytest.raises(UsageError, match="only stylefarm schedule itself supports"):
            export(job, Command())


def test_what_was_missed_for_too_long_is_not_due():
    now = datetime(2027, 5, 1, 12, 0, tzinfo=UTC)
    schedule = Schedule.model_validate({"cron": "0 2 * * *", "starting_deadline": "1h"})

    assert is_due(schedule, now.replace(hour=2, minute=0))
    assert is_due(schedule, now.replace(hour=2, minute=59))
    assert not is_due(schedule, now)
    assert is_due(schedule.model_copy(update={"starting_deadline": None}), now)


def due(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "cluster.due", *arguments]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True)


def test_the_help_of_due_says_its_statuses_and_they_are_so(tmp_path):
    shown = due("--help")

    assert (shown.returncode, shown.stderr) == (0, "")
    assert "`" not in shown.stdout
    statuses = re.findall(r"^  (\d)  ", shown.stdout, re.M)
    assert statuses == ["0", "1", "2"]
    assert "cannot be used" in shown.stdout
    unreadable = due(tmp_path / "none.yaml")
    assert (unreadable.returncode, "cannot be read" in unreadable.stderr) == (0, True)
    assert due().returncode == 2


def test_a_timer_asks_whether_it_is_due(tmp_path):
    now = datetime.now(UTC)
    soon, late = (now + timedelta(minutes=k) for k in (0, -30))
    for moment, status in ((soon, 0), (late, 1)):
        text = (
            f"""schedule: {{cron: "{moment.minute} {moment.hour} * * *", starting_deadline: 5m}}"""
        )
        a_job(tmp_path, text)
        asked = due(tmp_path / "job.yaml")
        assert asked.returncode == status, asked.stderr
