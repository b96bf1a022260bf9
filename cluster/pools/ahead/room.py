"""``room``: the cores of a cluster that neither workers nor others use; arithmetic, without Ray."""

from __future__ import annotations

import math
from collections.abc import Mapping

from cluster.pools.ray_placement import Needs, View, suits
from jobs.spec.workers import Workers

CPUS_PER_GPU_WORKER = 1.0
"""Cores of a node that are left to each worker with a GPU: it holds none of Ray's, and yet needs one."""

SPARE = 1.0
"""Cores of each node that are left to Ray, the driver and the system: on two busy cores, one of them a
worker's, the first frame that is held came four seconds later with motion found on the other."""


def room(
    view: View, available: Mapping[str, float], wanted: Workers, needs: Needs
) -> dict[str, int]:
    """Return the number of cores that may be used on each node, without those that have none.

    What the job's workers could use is left to them, also while they are not there, so that none waits for a
    core.

    Args:
        view: The cluster.
        available: Cores of each node that nobody holds now, by the node's id.
        wanted: The job's ``workers`` section: only nodes with its labels count, since others may not have its
            files.
        needs: What each worker holds.
    """
    most = math.inf if wanted.max == "auto" else wanted.max
    found = {}
    for node in view.nodes:
        if node.id in view.draining or not suits(wanted, node):
            continue
        workers = min(needs.fit(node.resources), most)
        left = node.resources.get("CPU", 0) - workers * (needs.cpus or CPUS_PER_GPU_WORKER)
        left -= SPARE
        cores = int(min(left, available.get(node.id, 0.0)))
        if cores > 0:
            found[node.id] = cores
    return found
