"""Leave the cluster before this machine is taken away: ``python -m cluster.leave``.

Run it in a pod's preStop hook, or when a spot instance is given notice. Ray is told first, so that
it places nothing here that would have to leave at once; then stylefarm's workers get SIGTERM, upon
which each stores a checkpoint, hands its task back and exits. The driver goes on with it elsewhere.

Nothing here may keep the machine from being taken away, nor make a hook fail: what cannot be done
is said on stderr, and the exit status is 0. Of Ray only its command line is used, in a process of
its own, because Ray's client can end its process, or wait for minutes, when the head does not
answer; and that is when this must go on.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath

import psutil

DEFAULT_SECONDS = 45.0

DRAIN_SECONDS, DRAIN_SHARE = 10.0, 1 / 3
"""Telling Ray may take so long, and so much of the time: workers need the rest."""

POLL_SECONDS = 0.25

TITLE = "ray::RayWorker"
"""How Ray names the process of a worker, also while it runs a method (``ray::RayWorker.run``)."""


@dataclass(frozen=True)
class LocalNode:
    """A Ray node on this machine: one as a rule, several where a cluster is simulated."""

    node_id: str
    gcs_address: str
    raylet: psutil.Process


def own_processes() -> Iterator[tuple[psutil.Process, list[str]]]:
    """This user's processes with their command lines; others cannot be signalled anyway."""
    me = os.getuid()
    for process in psutil.process_iter():
        try:
            if process.uids().real == me:
                yield process, process.cmdline()
        except psutil.Error:
            continue  # gone meanwhile


def nodes_here() -> list[LocalNode]:
    """The nodes of this machine, from their raylets' command lines: Ray need not answer."""
    nodes = []
    for process, command in own_processes():
        if command and PurePath(command[0]).name == "raylet":
            flags = dict(part.split("=", 1) for part in command[1:] if "=" in part)
            if "--node_id" in flags and "--gcs-address" in flags:
                nodes.append(
                    LocalNode(
                        node_id=flags["--node_id"],
                        gcs_address=flags["--gcs-address"],
                        raylet=process,
                    )
                )
    return nodes


def drain(node: LocalNode, seconds: float, timeout: float) -> None:
    """Tell Ray that the node is going to be preempted, so that nothing new is placed there."""
    command = [
        *(sys.executable, "-m", "ray.scripts.scripts", "drain-node"),
        *("--address", node.gcs_address, "--node-id", node.node_id),
        *("--reason", "DRAIN_NODE_REASON_PREEMPTION"),
        *("--reason-message", "the machine is about to be taken away"),
        *("--deadline-remaining-seconds", str(round(seconds))),
    ]
    try:
        environment = {**_ray_settings(node.raylet), **os.environ}
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=timeout, check=False
        )
    except (OSError, psutil.Error, subprocess.TimeoutExpired) as error:
        _say(f"Ray was not told that node {node.node_id} leaves: {error}")
        return
    if done.returncode:
        last = (done.stderr.strip() or f"exit status {done.returncode}").splitlines()[-1]
        _say(f"Ray was not told that node {node.node_id} leaves: {last}")
    else:
        _say(f"node {node.node_id} takes nothing new")


def _ray_settings(raylet: psutil.Process) -> dict[str, str]:
    """How the node was started: its token and TLS, of which a hook may have neither."""
    return {key: value for key, value in raylet.environ().items() if key.startswith("RAY_")}


def workers_of(nodes: Sequence[LocalNode]) -> set[psutil.Process]:
    """Stylefarm's workers on these nodes; without nodes, all of this user's on the machine."""
    raylets = {node.raylet for node in nodes}
    workers = set()
    for process, command in own_processes():
        try:
            ours = bool(command) and command[0].startswith(TITLE)
            if ours and (not raylets or raylets.intersection(process.parents())):
                workers.add(process)
        except psutil.Error:
            continue
    return workers


def end_workers(nodes: Sequence[LocalNode], deadline: float) -> tuple[int, int]:
    """Send SIGTERM to each worker and wait until they are gone. How many there were, and are left.

    Looks again and again: one that Ray was just starting gets its title only now.
    """
    signalled: set[psutil.Process] = set()
    while True:
        for worker in workers_of(nodes) - signalled:
            signalled.add(worker)
            try:
                worker.terminate()
            except psutil.Error as error:
                _say(f"worker {worker.pid} could not be told: {error}")
        left = sum(_is_running(worker) for worker in signalled)
        if not left or time.monotonic() >= deadline:
            return len(signalled), left
        time.sleep(POLL_SECONDS)


def _is_running(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def leave(seconds: float, node_id: str | None = None) -> None:
    """Drain the nodes of this machine (or the one), then end their workers, in so many seconds."""
    deadline = time.monotonic() + seconds
    nodes = nodes_here()
    if node_id is not None:
        nodes = [node for node in nodes if node.node_id == node_id]
        if not nodes:
            _say(f"there is no node {node_id} of yours on this machine")
            return
    if not nodes:
        _say("no raylet of yours runs here, so Ray was not told")
    for node in nodes:
        drain(node, seconds, min(DRAIN_SECONDS, seconds * DRAIN_SHARE) / len(nodes))
    signalled, left = end_workers(nodes, deadline)
    _say(f"workers told to go: {signalled}, still there: {left}")


def _say(text: str) -> None:
    print(f"leave: {text}", file=sys.stderr, flush=True)


def _positive(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 < float(text) < float("inf"):
            return float(text)
    raise argparse.ArgumentTypeError(f"{text} is not a number of seconds above 0")


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m cluster.leave",
        description="Take this machine out of its Ray cluster before it is taken away.",
    )
    parser.add_argument(
        "--seconds",
        type=_positive,
        default=DEFAULT_SECONDS,
        help="time until the machine goes, for all of it (default: %(default)g)",
    )
    parser.add_argument(
        "--node-id",
        help="only this node, where several share a machine (default: all of yours here)",
    )
    options = parser.parse_args(arguments)
    leave(options.seconds, options.node_id)


if __name__ == "__main__":
    main()
