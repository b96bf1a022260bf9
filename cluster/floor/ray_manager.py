"""``ManagerActor``: the floor manager as an actor of the cluster, which every run finds or makes.

It is detached, so that it outlives the run that made it, and Ray starts it again when its process or its node
dies. It holds no resources, and imports no torch.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Mapping
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError

from cluster.floor.asking import PROTOCOL, TOKEN_VARIABLE, Ask, as_values, from_values
from cluster.floor.manager import FloorManager, Supply
from cluster.pools.ray_cluster import first_line, read_view
from jobs.errors import ClusterError

log = logging.getLogger(__name__)

NAME = "floor-manager"
NAMESPACE = "stylefarm"

SUPPLY_SECONDS = 2.0
"""The interval between two listings of the cluster's nodes, in seconds."""

ANSWER_SECONDS = 10.0
"""How long somebody who looks waits for an answer, in seconds."""

HEAD = "node:__internal_head__"
"""The resource that Ray gives to the head's node alone."""

KIND_LABEL = "ray.io/accelerator-type"
"""The label in which Ray keeps what a node's GPUs are."""


class ManagerActor:
    """The manager, as an actor. What it takes and returns are plain values: see ``cluster.floor.asking``."""

    def __init__(self) -> None:
        # Of the head's own environment, which an actor's process inherits.
        self._manager = FloorManager(os.environ.get(TOKEN_VARIABLE, ""))
        self._lock = threading.Lock()
        self._manager.see(_supply())
        threading.Thread(target=self._watch, name="supply", daemon=True).start()

    def protocol(self) -> int:
        """Return the version of what is said."""
        return PROTOCOL

    def ask(self, values: Mapping[str, Any]) -> dict[str, Any] | None:
        """Take note of an ``Ask``, and return its ``Share``; None: the run is to go on as it does."""
        ask = from_values(Ask, values)
        with self._lock:
            share = self._manager.ask(ask)
        return None if share is None else as_values(share)

    def leave(self, run: str) -> None:
        """Forget a run that has ended."""
        with self._lock:
            self._manager.leave(run)

    def table(self) -> dict[str, Any]:
        """Return the ``RunRow`` and ``NodeRow`` of all runs and nodes."""
        with self._lock:
            return {
                "settled": self._manager.is_settled,
                "runs": [as_values(row) for row in self._manager.runs()],
                "nodes": [as_values(row) for row in self._manager.nodes()],
            }

    def _watch(self) -> None:
        while True:
            time.sleep(SUPPLY_SECONDS)
            try:
                supply = _supply()
            except Exception as error:  # the head is out of reach: the last listing stays
                log.warning("the cluster's nodes could not be listed: %s", error)
                continue
            with self._lock:
                self._manager.see(supply)


def _supply() -> list[Supply]:
    from ray._private.state import available_resources_per_node

    view = read_view()
    available = available_resources_per_node()
    return [
        Supply(
            node=node.id,
            host=node.host,
            total=node.resources,
            available=available.get(node.id, node.resources),
            kind=node.labels.get(KIND_LABEL, ""),
        )
        for node in view.nodes
        if node.id not in view.draining
    ]


def find_manager() -> Any | None:
    """Return the manager of the connected cluster; None: it has none."""
    try:
        return ray.get_actor(NAME, namespace=NAMESPACE)
    except ValueError:
        return None


def make_manager() -> Any:
    """Return the manager of the connected cluster, which is made if there is none. Never waits for it."""
    return (
        ray.remote(ManagerActor)
        .options(
            name=NAME,
            namespace=NAMESPACE,
            lifetime="detached",
            get_if_exists=True,
            num_cpus=0,
            resources={HEAD: 0.0001},
            max_restarts=-1,
            max_concurrency=4,
        )
        .remote()
    )


def read_table() -> dict[str, Any]:
    """Return the runs and nodes of the connected cluster, as ``ManagerActor.table`` does; a cluster without a
    manager has no run that shares it.

    Raises:
        ClusterError: The manager does not answer.
    """
    manager = find_manager()
    if manager is None:
        lonely = FloorManager()
        lonely.see(_supply())
        return {"settled": True, "runs": [], "nodes": [as_values(row) for row in lonely.nodes()]}
    try:
        table: dict[str, Any] = ray.get(manager.table.remote(), timeout=ANSWER_SECONDS)
    except (RayError, GetTimeoutError) as error:
        raise ClusterError(f"the floor manager does not answer: {first_line(error)}") from error
    return table
