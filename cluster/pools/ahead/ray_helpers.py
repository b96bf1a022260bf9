"""``RayHelpers``: actors of Ray that find motion, each on a core that is free when it starts."""

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
"""How often a process that died is replaced."""


class MotionFinder:
    """The actor's class. Its name, and its method's, show in ``ps``.

    Args:
        setup: The settings of the job's workers.
    """

    def __init__(self, setup: WorkerSetup) -> None:
        self._setup = setup

    def find_motion(self, stretch: Stretch) -> bool:
        """Find the motion of a stretch; return whether it was not there yet."""
        from cluster.worker.films.find_ahead import find_ahead

        return find_ahead(self._setup, stretch)


class RayHelpers:
    """Starts actors on the connected cluster, as ``cluster.pools.ahead.motion_ahead.Helpers``.

    An actor is started only on a node that has a free core, and on no other, so that none waits: an
    autoscaler would add a machine for one that does. It finds the motion of one stretch after the other, for
    as long as each look has a further one for its node.

    These are no tasks, since those can only be ended by ``ray.cancel``, with which Ray 2.60 has crashed the
    process that called it.

    Args:
        setup: The settings of the job's workers.
        wanted: The job's ``workers`` section.
        needs: What each worker holds.
    """

    def __init__(self, setup: WorkerSetup, wanted: Workers, needs: Needs) -> None:
        self._setup = ray.put(setup)
        self._wanted = wanted
        self._needs = needs
        self._remote: Any = ray.remote(num_cpus=1, max_restarts=RETRIES, max_task_retries=RETRIES)(
            MotionFinder
        )
        self._busy: dict[Any, tuple[str, Any]] = {}
        """The node and the actor of each stretch under way."""
        self._idle: list[tuple[str, Any]] = []
        """Those whose stretch has ended since the last look."""

    def room(self) -> Mapping[str, int]:
        available = _available()
        for node, _ in self._idle:
            available[node] = available.get(node, 0.0) + 1.0
        return room(read_view(), available, self._wanted, self._needs)

    def start(self, node: str, stretch: Stretch) -> Any:
        idle = next((each for each in self._idle if each[0] == node), None)
        if idle is not None:
            self._idle.remove(idle)
            _, actor = idle
        else:
            where = NodeAffinitySchedulingStrategy(node_id=node, soft=False)
            actor = self._remote.options(scheduling_strategy=where).remote(self._setup)
        handle = actor.find_motion.remote(stretch)
        self._busy[handle] = node, actor
        return handle

    def ended(self, running: Collection[Any]) -> Mapping[Any, str | None]:
        self._let_go()
        if not running:
            return {}
        done, _ = ray.wait(list(running), num_returns=len(running), timeout=0)
        failures = {handle: _failure(handle) for handle in done}
        for handle, failure in failures.items():
            node, actor = self._busy.pop(handle)
            if failure is None:
                self._idle.append((node, actor))
            else:
                ray.kill(actor)  # it may have died for good
        return failures

    def cancel(self, running: Collection[Any]) -> None:
        self._idle += [self._busy.pop(handle) for handle in running]
        self._let_go()

    def _let_go(self) -> None:
        """End the processes for which there is no further stretch."""
        while self._idle:
            _, actor = self._idle.pop()
            ray.kill(actor)


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
