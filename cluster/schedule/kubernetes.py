"""A job's schedule as a CronJob of Kubernetes, which submits the job to a Ray cluster.

Settings for which Kubernetes has a field use that field. What it cannot express is left to the command that
the CronJob runs, or refused with a sentence.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from cluster.schedule.exported import LONGEST_NAME, cron_of, slug
from cluster.schedule.tick_process import Command
from cluster.submit.pack import pack
from jobs.errors import UsageError
from jobs.jobfile.dated_output import schedule_of
from jobs.jobfile.job import Job

HEAD = "http://stylefarm-head-svc:8265"
"""The dashboard's address in ``cluster/deploy/raycluster.yaml``, within its namespace."""

SECRET, SECRET_KEY = "stylefarm", "auth_token"
"""The Secret in which KubeRay keeps that cluster's token, and the token's key there."""


@dataclass(frozen=True, slots=True)
class Kueue:
    """Where Kueue queues the Jobs of a CronJob. Raises UsageError for what can be no name."""

    queue: str
    """The name of a LocalQueue in their namespace."""
    priority_class: str | None = None
    """The name of a WorkloadPriorityClass; None: none."""

    def __post_init__(self) -> None:
        names = {"--queue": self.queue, "--priority-class": self.priority_class}
        for option, name in names.items():
            if name is not None and not re.fullmatch(r"[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?", name):
                raise UsageError(
                    f"{option} {name!r} is no name of Kubernetes: small letters, digits and hyphens, at most "
                    "63"
                )

    @property
    def labels(self) -> dict[str, str]:
        """The labels by which Kueue knows a job."""
        labels = {"kueue.x-k8s.io/queue-name": self.queue}
        if self.priority_class is not None:
            labels["kueue.x-k8s.io/priority-class"] = self.priority_class
        return labels


def kubernetes(
    job: Job, command: Command, image: str | None = None, kueue: Kueue | None = None
) -> dict[str, str]:
    """Return the text of a CronJob and of its ConfigMap, which holds the job file, by the name of their file.

    Args:
        job: The job, as ``read_job`` returns it.
        command: How it is submitted. An address of None means ``HEAD``.
        image: The image that has stylefarm; None writes a placeholder, and a comment about it.
        kueue: Where Kueue queues its Jobs; None: nowhere.

    Raises:
        JobFileError: The job has no schedule, or the cluster would not find what it names.
        UsageError: Kubernetes cannot express the schedule, or the address is not that of a dashboard.
    """
    schedule = schedule_of(job)
    # Raise for inputs beside the job file: the pod has the job file alone.
    pack(job, alone=True)
    name = slug(job.spec.name, LONGEST_NAME)
    cron, zone = cron_of(schedule)
    if command.address is None:
        command = replace(command, address=HEAD)
    if not command.submits:
        raise UsageError(
            f"--address {command.address} is not one that a pod can submit to: give a dashboard, such "
            f"as {HEAD}"
        )
    # With concurrency_policy: replace, the command has --replace, too: Kubernetes only deletes the earlier
    # pod, and the submission that it followed continues on the cluster.
    words = command.words(job, program=("stylefarm",), file="/jobs/job.yaml")
    spec: dict[str, Any] = {"schedule": schedule.cron or cron.standard(), "timeZone": zone}
    spec["concurrencyPolicy"] = schedule.concurrency_policy.capitalize()
    if schedule.starting_deadline is not None:
        # Its controller polls every ten seconds, and with a shorter deadline may never be in time.
        spec["startingDeadlineSeconds"] = max(10, math.ceil(schedule.starting_deadline))
    spec |= {"successfulJobsHistoryLimit": 3, "failedJobsHistoryLimit": 7}
    pod = _pod(name, words, image, job.environment)
    template: dict[str, Any] = {"spec": {"backoffLimit": 0, "template": {"spec": pod}}}
    if kueue is not None:
        # Kueue lets a Job go on when the queue has room for it; nobody else does.
        template = {
            "metadata": {"labels": kueue.labels},
            "spec": {"suspend": True, **template["spec"]},
        }
    spec["jobTemplate"] = template
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
# Submits {job} on a schedule to an existing Ray cluster:
#
#   kubectl apply -f {file}
#   kubectl create job --from=cronjob/NAME try-it        # once, now, as a test
#
# The token is the cluster's, which KubeRay keeps in the Secret {secret}. A Job ends with the exit status of
# the run, so one with failed pictures counts as failed; the next tick resumes from what is done. Kubernetes
# decides what happens in an hour that the clock skips or repeats.
"""

_PUT_IMAGE = """\
#
# SET YOUR IMAGE below: cluster/deploy/README.md says how to build it.
"""

_HAS_SECRET = """\
#
# The job file below has the address of a webhook, which many services treat as a password: write
# notify: {url: $NAME} instead, and set that variable on the cluster's head.
"""


def _pod(
    name: str, words: Sequence[str], image: str | None, environment: Mapping[str, str]
) -> dict[str, Any]:
    token = {"secretKeyRef": {"name": SECRET, "key": SECRET_KEY}}
    container = {
        "name": "submit",
        "image": image or f"registry.example.com/stylefarm:{version('stylefarm')}",
        "command": list(words),
        "env": [
            {"name": "RAY_AUTH_MODE", "value": "token"},
            {"name": "RAY_AUTH_TOKEN", "valueFrom": token},
            *({"name": key, "value": value} for key, value in environment.items()),
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
    """Writes text of several lines as a block, line by line."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)
