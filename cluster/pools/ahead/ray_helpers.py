"""``RayHelpers``: tasks of Ray that find motion, each on a core that is free when it starts."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from cluster.messages import WorkerSetup
from cluster.pools.ahead.room import room
from cluster.pools.ray_cluster import first_line, read_view
from cluster.pools.ray_placement import Needs
from jobs.spec.workers import Workers
from jobs.tasks.films.stretch import Stretch

RETRIES = 2
"""How often a task is tried again whose process died."""


def find_motion(setup: WorkerSetup, stretch: Stretch) -> bool:
    """Find the motion of a stretch; return whether it was not there yet. The name shows in ``ps``."""
    from cluster.worker.films.find_ahead import find_ahead

    return find_ahead(setup, stretch)


class RayHelpers:
    """Starts tasks on the connected cluster, as ``cluster.pools.ahead.motion_ahead.Helpers``.

    A task is started only on a node that has a free core, and on no other, so that none waits: an autoscaler
    would add a machine for one that does.

    Args:
        setup: The settings of the job's workers.
        wanted: The job's ``workers`` section.
        needs: What each worker holds.
    """

    def __init__(self, setup: WorkerSetup, wanted: Workers, needs: Needs) -> None:
        self._setup = ray.put(setup)
        self._wanted = wanted
        self._needs = needs
        self._remote: Any = ray.remote(num_cpus=1, max_retries=RETRIES)(find_motion)

    def room(self) -> Mapping[str, int]:
        return room(read_view(), _available(), self._wanted, self._needs)

    def start(self, node: str, stretch: Stretch) -> Any:
        where = NodeAffinitySchedulingStrategy(node_id=node, soft=False)
        return self._remote.options(scheduling_strategy=where).remote(self._setup, stretch)

    def ended(self, running: Collection[Any]) -> Mapping[Any, str | None]:
        if not running:
            return {}
        done, _ = ray.wait(list(running), num_returns=len(running), timeout=0)
        return {handle: _failure(handle) for handle in done}

    def cancel(self, running: Collection[Any]) -> None:
        for handle in running:
            ray.cancel(handle, force=True)


def _failure(handle: Any) -> str | None:
    try:
        ray.get(handle)
    except RayError as error:
        return first_line(error)
    except Exception as error:  # as the task raised it
        return first_line(error)
    return None


def _available() -> dict[str, float]:
    """Return the cores of each node that nobody holds; of a cluster that is reached by ``ray://`` none, since
    that cannot say it."""
    from ray._private import state

    if not hasattr(state, "available_resources_per_node") or ray.util.client.ray.is_connected():
        return {}
    found = state.available_resources_per_node()
    return {node: float(resources.get("CPU", 0.0)) for node, resources in found.items()}
