"""A Ray cluster of several nodes on this machine, and a run on it in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil
from ray import cluster_utils

from jobs.jobfile.job import Job
from tests.support.farm import HURRY, PATIENCE, ROOT, chained, write_stand_in_job

GPUS = 4
"""Of a node, unless it is said."""


class Cluster:
    """Nodes that come, go and die. The first is the head."""

    def __init__(self, *nodes: dict[str, Any]) -> None:
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        # Workers find the stand-in renderer by what their raylets were started with.
        os.environ["PYTHONPATH"] = str(ROOT)
        head, *others = nodes
        self._before = set(psutil.Process().children(recursive=True))
        self._cluster = cluster_utils.Cluster(
            initialize_head=True, head_node_args=_node(**head), shutdown_at_exit=True
        )
        self.others = [self.add(**other) for other in others]
        self.address: str = self._cluster.address
        self.closed = False

    def add(self, **node: Any) -> Any:
        return self._cluster.add_node(**_node(**node))

    def remove(self, node: Any, *, graceful: bool) -> None:
        self._cluster.remove_node(node, allow_graceful=graceful)

    def kill_raylet(self, node: Any) -> None:
        for info in node.all_processes["raylet"]:
            info.process.kill()

    def workers(self, node: Any = None) -> list[psutil.Process]:
        """The processes that render, of one node or of all."""
        raylets = [] if node is None else [i.process.pid for i in node.all_processes["raylet"]]
        return [
            process
            for process in self.processes()
            if title(process).startswith("ray::RayWorker")
            and (node is None or process.ppid() in raylets)
        ]

    def processes(self) -> list[psutil.Process]:
        """Everything that belongs to it: this process is the parent of the nodes', and had others before."""
        now = psutil.Process().children(recursive=True)
        return [process for process in now if process not in self._before]

    def close(self) -> None:
        self.closed = True
        self._cluster.shutdown()


def _node(**changes: Any) -> dict[str, Any]:
    # Each of these two would be a process that takes seconds to start, and nobody would hear of it.
    without = {"no_monitor": True, "include_log_monitor": False}
    return {
        "num_cpus": 1,
        "num_gpus": GPUS,
        "object_store_memory": 80 * 2**20,
        **without,
        **changes,
    }


def title(process: psutil.Process) -> str:
    """What a process calls itself; nothing when it is gone."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


class Run:
    """A run with the stand-in renderer, its events as they come."""

    def __init__(self, job: Path, address: str) -> None:
        self.events: list[dict[str, Any]] = []
        self.log = job.with_name("stderr.txt")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.floor", job, address],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=self.log.open("w"),
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("{"):
                self.events.append({**json.loads(line), "at": time.monotonic()})

    def said(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in list(self.events) if event["event"] == kind]

    def painting(self) -> list[dict[str, Any]]:
        """As last heard."""
        beats = self.said("progress")
        return beats[-1]["running"] if beats else []

    def wait(self, seconds: float) -> int:
        status = self.process.wait(PATIENCE * seconds)
        self._reader.join(10)
        return status


def write_tasks(
    folder: Path,
    count: int,
    steps: int,
    poison: int | None = None,
    *,
    pace: float = 0.01,
    **changes: Any,
) -> Job:
    """Renders whose pictures tell whether a step is missing.

    Args:
        folder: The job's.
        count: How many.
        steps: Of each.
        poison: The number of one that kills what paints it.
        pace: Seconds of a step, until ``hurry`` is called: a test of what happens meanwhile gives them so
            many that no machine is too slow to see it.
        **changes: Of the job's keys.
    """
    directives: list[dict[str, Any]] = [
        {"n": k, "steps": steps, "every": 10, "chain": True, "pace": pace, "hurry": HURRY}
        for k in range(count)
    ]
    if poison is not None:
        directives[poison] = {"n": poison, "fail": "die"}
    return write_stand_in_job(folder, directives, **changes)


def chain_of(n: int, steps: int) -> str:
    """What an undisturbed render of such a task comes to."""
    link = chained({"n": n, "steps": steps, "every": 10, "chain": True})
    for _ in range(steps):
        next(link)
    return link.state
