"""A job's schedule as files for those who keep time elsewhere: a CronJob of Kubernetes, a timer of systemd.

Both use the words of the schedule where they have them; what they have no word for is built of what they
have, or refused in a sentence.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from cluster.on_calendar import cron_of, on_calendar
from cluster.submit.pack import pack
from cluster.tick_run import STOP_SECONDS, Command
from jobs.errors import UsageError
from jobs.jobfile.dated_output import schedule_of
from jobs.jobfile.job import Job

HEAD = "http://stylefarm-head-svc:8265"
"""The dashboard of ``cluster/deploy/raycluster.yaml``, in its own namespace."""

SECRET, SECRET_KEY = "stylefarm", "auth_token"
"""Where KubeRay keeps that cluster's token."""

LONGEST_NAME = 52
"""Of a CronJob: its Jobs get eleven characters more, of the 63 that there may be."""


def kubernetes(job: Job, command: Command, image: str | None = None) -> dict[str, str]:
    """The CronJob that submits a job, by file name.

    Raises JobFileError for what the cluster would not find, UsageError for what Kubernetes cannot say.
    """
    schedule = schedule_of(job)
    # The pod has the job file alone.
    pack(job)
    name = _slug(job.spec.name, LONGEST_NAME)
    cron, zone = cron_of(schedule)
    if command.address is None:
        command = replace(command, address=HEAD)
    if not command.submits:
        raise UsageError(
            f"--address {command.address} is none that a pod submits to: give a dashboard, such as {HEAD}"
        )
    # The pod before it may be gone, and what it followed goes on: the cluster has it.
    words = command.words(job, program=("stylefarm",), file="/jobs/job.yaml")
    spec: dict[str, Any] = {"schedule": schedule.cron or cron.standard(), "timeZone": zone}
    spec["concurrencyPolicy"] = schedule.concurrency_policy.capitalize()
    if schedule.starting_deadline is not None:
        # Its controller looks every ten seconds, and with less may never be in time.
        spec["startingDeadlineSeconds"] = max(10, math.ceil(schedule.starting_deadline))
    spec |= {"successfulJobsHistoryLimit": 3, "failedJobsHistoryLimit": 7}
    spec["jobTemplate"] = {
        "spec": {"backoffLimit": 0, "template": {"spec": _pod(name, words, image)}}
    }
    documents = [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": f"{name}-job"},
            "data": {"job.yaml": Path(job.file).read_text(encoding="utf-8")},
        },
        {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": name}, "spec": spec},
    ]
    text = "---\n".join(
        yaml.dump(d, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)
        for d in documents
    )
    file = f"{name}-cronjob.yaml"
    above = _KUBERNETES.format(job=job.spec.name, file=file, secret=SECRET)
    above += "" if image else _PUT_IMAGE
    above += _HAS_SECRET if job.spec.notify and not job.spec.notify.url.startswith("$") else ""
    return {file: above + text}


_KUBERNETES = """\
# {job} on the clock, submitted to a Ray cluster that is there:
#
#   kubectl apply -f {file}
#   kubectl create job --from=cronjob/NAME try-it        # now, to see that it works
#
# The token is that of the cluster, which KubeRay keeps in the Secret {secret}. A Job ends with the exit
# status of the run, so one with failed pictures counts as failed; the next tick goes on from what is done.
# What becomes of an hour that the clock skips or shows twice, Kubernetes decides by itself.
"""

_PUT_IMAGE = """\
#
# PUT IN YOUR IMAGE below: cluster/deploy/README.md says how it is made.
"""

_HAS_SECRET = """\
#
# The job file below has the address of a webhook, which with many services is a password: write
# notify: {url: $NAME} instead, and give the cluster's head that variable.
"""


def _pod(name: str, words: Sequence[str], image: str | None) -> dict[str, Any]:
    token = {"secretKeyRef": {"name": SECRET, "key": SECRET_KEY}}
    container = {
        "name": "submit",
        "image": image or f"registry.example.com/stylefarm:{version('stylefarm')}",
        "command": list(words),
        "env": [
            {"name": "RAY_AUTH_MODE", "value": "token"},
            {"name": "RAY_AUTH_TOKEN", "valueFrom": token},
        ],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
        "resources": {
            "requests": {"cpu": "100m", "memory": "512Mi"},
            "limits": {"cpu": "1", "memory": "1Gi"},
        },
        "volumeMounts": [{"name": "job", "mountPath": "/jobs", "readOnly": True}],
    }
    return {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 1000},
        "containers": [container],
        "volumes": [{"name": "job", "configMap": {"name": f"{name}-job"}}],
    }


class _Dumper(yaml.SafeDumper):
    """Text of several lines as it is."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def systemd(job: Job, command: Command) -> dict[str, str]:
    """The units that render a job, by file name. Raises UsageError for what systemd cannot say."""
    schedule = schedule_of(job)
    cron, zone = cron_of(schedule)
    name = f"stylefarm-{_slug(job.spec.name, LONGEST_NAME)}"
    policy = schedule.concurrency_policy
    file = str(Path(job.file).absolute())
    service = f"{name}@.service" if policy == "allow" else f"{name}.service"
    units = {
        service: _SERVICE.format(
            name=_escaped(job.spec.name),
            folder=_escaped(str(Path(file).parent)),
            condition=_line([sys.executable, "-m", "cluster.due", file]),
            command=_line(command.words(job)),
            stop=math.ceil(job.spec.workers.grace + STOP_SECONDS),
        )
    }
    started = service
    if policy != "forbid":
        # A timer does nothing while its unit runs, which is forbid. For the others it starts one that never
        # runs for long. MANAGERPID is set where it is a user's own systemd.
        what = f"restart {service}"
        if policy == "allow":
            what = f"start {name}@$(date +%s).service"
        started = f"{name}-start.service"
        shell = f"exec systemctl ${{MANAGERPID:+--user}} --no-block {what}"
        units[started] = _STARTER.format(
            name=_escaped(job.spec.name), command=_line(["/bin/sh", "-c", shell])
        )
    units[f"{name}.timer"] = _TIMER.format(
        name=_escaped(job.spec.name),
        unit=started,
        events="\n".join(f"OnCalendar={event}" for event in on_calendar(cron, zone)),
    )
    return {
        unit: _SYSTEMD.format(
            timer=f"{name}.timer", service=service.replace("@", "@*"), files=" ".join(units)
        )
        + text
        for unit, text in units.items()
    }


_SYSTEMD = """\
# One of: {files}
# Put them into ~/.config/systemd/user (or /etc/systemd/system, and leave --user out), then:
#
#   systemctl --user daemon-reload && systemctl --user enable --now {timer}
#   systemctl --user list-timers; journalctl --user -u '{service}'
"""

_SERVICE = """\
[Unit]
Description=Render {name} with stylefarm
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
WorkingDirectory={folder}
# Keys for S3 and the like, as NAME=value; a file that is not there is none.
EnvironmentFile=-%h/.config/stylefarm/environment
# What was missed for longer than starting_deadline is not made up for.
ExecCondition={condition}
ExecStart={command}
# What is painting stores a checkpoint first.
KillMode=mixed
TimeoutStopSec={stop}
# Stopped, and to be gone on with.
SuccessExitStatus=130
"""

_STARTER = """\
[Unit]
Description=Start rendering {name}

[Service]
Type=oneshot
ExecStart={command}
"""

_TIMER = """\
[Unit]
Description=When {name} is rendered

[Timer]
Unit={unit}
# What becomes of an hour that the clock skips or shows twice, systemd decides by itself.
{events}
AccuracySec=1s
# What was missed while the machine was off is made up for once.
Persistent=true

[Install]
WantedBy=timers.target
"""


def _slug(name: str, longest: int) -> str:
    """A name as Kubernetes and systemd take it."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower())[:longest].strip("-") or "job"


def _escaped(text: str) -> str:
    """Text in a unit file, where % begins a specifier."""
    if "\n" in text or "\r" in text:
        raise UsageError(f"{text!r} has a line break, which no unit of systemd can hold")
    return text.replace("%", "%%")


def _line(words: Sequence[str]) -> str:
    """A command line in a unit file: systemd's quotes, which know \\ and $."""
    return " ".join(_word(word) for word in words)


def _word(word: str) -> str:
    word = _escaped(word).replace("$", "$$")
    if re.fullmatch(r"[A-Za-z0-9_@%+=:,./$-]+", word):
        return word
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'
