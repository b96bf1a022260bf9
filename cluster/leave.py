"""``python -m cluster.leave``: take this machine out of its cluster before it is taken away.

It is run by a pod's preStop hook, or when a spot instance is given notice. It drains the nodes first, so that
Ray places nothing here that would have to leave at once. Then it sends SIGTERM to stylefarm's workers: each
stores a checkpoint, hands its task back and exits, and the driver has the task resumed elsewhere.

Nothing here may delay the end of the machine or make a hook fail: errors are reported on stderr, and the exit
status is 0. Ray is called by its command line, in a process of its own: when the head does not answer, Ray's
client can end its process or wait for minutes, and this must continue.
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

from cluster.display.standard import only_shown

DEFAULT_SECONDS = 45.0
"""The time until the machine is taken away."""

DRAIN_SECONDS, DRAIN_SHARE = 10.0, 1 / 3
"""The most seconds, and the largest share of the time, for draining: workers need the rest."""

POLL_SECONDS = 0.25
"""How often workers are listed until they are gone."""

TITLE = "ray::RayWorker"
"""How Ray names the process of a worker, also while it runs a method (``ray::RayWorker.run``)."""


@dataclass(frozen=True)
class LocalNode:
    """A Ray node of this machine, which has one as a rule and several where a cluster is simulated."""

    node_id: str
    gcs_address: str
    raylet: psutil.Process


def own_processes() -> Iterator[tuple[psutil.Process, list[str]]]:
    """Yield this user's processes with their command lines; others cannot be signalled anyway."""
    me = os.getuid()
    for process in psutil.process_iter():
        try:
            if process.uids().real == me:
                yield process, process.cmdline()
        except psutil.Error:
            continue  # it has ended meanwhile


def nodes_here() -> list[LocalNode]:
    """Return this user's nodes on this machine, by their raylets' command lines: Ray need not answer."""
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
    """Tell Ray that a node is about to be preempted, so that nothing new is placed there.

    A failure is reported and raises nothing.

    Args:
        node: The node to drain.
        seconds: The time until the machine is taken away, as Ray takes it.
        timeout: How long Ray may take to answer, in seconds.
    """
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
        _say(f"Ray did not drain node {node.node_id}: {error}")
        return
    if done.returncode:
        last = (done.stderr.strip() or f"exit status {done.returncode}").splitlines()[-1]
        _say(f"Ray did not drain node {node.node_id}: {last}")
    else:
        _say(f"node {node.node_id} accepts no new work")


def _ray_settings(raylet: psutil.Process) -> dict[str, str]:
    """Return the variables that Ray was started with, such as its token; a hook may lack them."""
    return {key: value for key, value in raylet.environ().items() if key.startswith("RAY_")}


def workers_of(nodes: Sequence[LocalNode]) -> set[psutil.Process]:
    """Return stylefarm's workers on these nodes; without nodes, all workers of this user on the machine."""
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
    """Send SIGTERM to each worker and wait until they are gone.

    Workers are listed repeatedly: one that Ray was just starting gets its title later.

    Args:
        nodes: The nodes whose workers to end; empty: all of this user's.
        deadline: When to give up, by ``time.monotonic()``.

    Returns:
        How many workers got the signal, and how many of them are left.
    """
    signalled: set[psutil.Process] = set()
    while True:
        for worker in workers_of(nodes) - signalled:
            signalled.add(worker)
            try:
                worker.terminate()
            except psutil.Error as error:
                _say(f"worker {worker.pid} could not be signalled: {error}")
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
    """Drain the nodes of this machine, then end their workers.

    Args:
        seconds: The time for all of it, > 0.
        node_id: The one node to drain; None: all of this user's.
    """
    deadline = time.monotonic() + seconds
    nodes = nodes_here()
    if node_id is not None:
        nodes = [node for node in nodes if node.node_id == node_id]
        if not nodes:
            _say(f"you have no node {node_id} on this machine")
            return
    if not nodes:
        _say("you have no raylet on this machine, so no node is drained")
    for node in nodes:
        drain(node, seconds, min(DRAIN_SECONDS, seconds * DRAIN_SHARE) / len(nodes))
    signalled, left = end_workers(nodes, deadline)
    _say(f"workers signalled: {signalled}, still running: {left}")


def _say(text: str) -> None:
    print(f"leave: {text}", file=sys.stderr, flush=True)


def _positive(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 < float(text) < float("inf"):
            return float(text)
    raise argparse.ArgumentTypeError(f"{text} is not a number of seconds above 0")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command. Exits with status 2 for a wrong command line alone."""
    with only_shown("leaving"):
        _main(arguments)


def _main(arguments: Sequence[str] | None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m cluster.leave",
        description="Take this machine out of its Ray cluster before it is taken away.",
    )
    parser.add_argument(
        "--seconds",
        type=_positive,
        default=DEFAULT_SECONDS,
        help="time until the machine is taken away (default: %(default)g)",
    )
    parser.add_argument(
        "--node-id",
        help="only this node, where several share a machine (default: all of yours here)",
    )
    options = parser.parse_args(arguments)
    leave(options.seconds, options.node_id)


if __name__ == "__main__":
    main()
