"""``FloorLink``: tells the floor manager what a run wants, and keeps what the run may have. It never waits.

A run that does not reach the manager goes on with what it may have.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError

from cluster.floor.asking import PROTOCOL, Ask, Share, as_values, from_values
from cluster.floor.ray_manager import find_manager, make_manager
from cluster.messages import Wishes

log = logging.getLogger(__name__)

ANSWER_SECONDS = 5.0
"""How long an answer of the manager is waited for, in seconds."""

FIRST_ANSWER_SECONDS = 60.0
"""The same while a manager may be starting."""

LOOK_SECONDS = 2.0
"""Where a run makes no manager, the interval between two looks whether somebody else has."""

UNDECIDED_SECONDS = 8.0
"""How long a run that joins others waits at most for the first word on what it may have, in seconds."""

FAREWELL_SECONDS = 1.0
"""How long a run that ends waits until it has said so, in seconds."""


class FloorLink:
    """A run's link to the manager, as ``cluster.pools.base.Sharing``.

    Args:
        ask: What the run is; what it wants and holds follows by ``tell``.
        make: Whether to make a manager where there is none; else nothing is shared until another run has made
            one.
        wishes: Returns what is asked of the run meanwhile.
    """

    def __init__(self, ask: Ask, *, make: bool, wishes: Callable[[], Wishes] = Wishes) -> None:
        self._ask = ask
        self._own_priority = ask.priority
        self._wishes = wishes
        self._make = make
        self._share: Share | None = None
        self._undecided_until = time.monotonic() + UNDECIDED_SECONDS if make else 0.0
        self._told = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="floor", daemon=True)
        self._thread.start()

    @property
    def share(self) -> Mapping[str, int] | None:
        """The workers that the run may have, by node; None: nothing is shared, as far as is known."""
        share = self._share
        return None if share is None else share.workers

    @property
    def undecided(self) -> bool:
        """Whether there are others, and it is about to be said what the run may have beside them."""
        return time.monotonic() < self._undecided_until

    @property
    def waits(self) -> str:
        """What the run waits for; empty: nothing."""
        share = self._share
        return "" if share is None else share.waits

    def tell(
        self,
        wanted: int,
        held: Mapping[str, int],
        up: Mapping[str, int],
        nodes: Collection[str] | None,
    ) -> None:
        """Say what the run wants and has.

        Args:
            wanted: Workers that it could use.
            held: Its workers by node, those included that are on their way.
            up: Those of them that are up.
            nodes: The nodes that it can use; None: all that have room for a worker.
        """
        wishes = self._wishes()
        self._ask = replace(
            self._ask,
            priority=self._own_priority if wishes.priority is None else wishes.priority,
            paused_by=wishes.by if wishes.paused else "",
            wanted=wanted,
            held=dict(held),
            up=dict(up),
            nodes=None if nodes is None else tuple(sorted(nodes)),
        )
        self._told.set()

    def close(self) -> None:
        """Say that the run has ended; waits a moment at most."""
        self._closing.set()
        self._told.set()
        self._thread.join(FAREWELL_SECONDS)

    # -- the thread ---------------------------------------------------------------------------------

    def _run(self) -> None:
        self._told.wait()
        manager: Any | None = None
        pause = 1.0
        while not self._closing.is_set():
            try:
                if manager is None:
                    manager = self._find()
                if manager is not None:
                    values = ray.get(
                        manager.ask.remote(as_values(self._ask)), timeout=ANSWER_SECONDS
                    )
                    if values is not None:
                        self._share = from_values(Share, values)
                        self._undecided_until = 0.0
                        pause = self._share.again_seconds
            except (RayError, GetTimeoutError) as error:
                log.info("the floor manager cannot be reached: %s", str(error).partition("\n")[0])
                manager, pause = None, 1.0
            except Exception:
                if not self._closing.is_set():
                    log.exception("a bug, which costs nothing but that GPUs are shared")
                manager, pause = None, LOOK_SECONDS
            self._closing.wait(pause if manager is not None or self._make else LOOK_SECONDS)
        # A call after the end of the connection would start Ray anew.
        if manager is not None and ray.is_initialized():
            try:
                ray.get(manager.leave.remote(self._ask.run), timeout=FAREWELL_SECONDS)
            except Exception as error:
                log.debug("the floor manager was not told the end: %s", error)

    def _find(self) -> Any | None:
        """Return the manager, one of this version; None: there is none, and this run makes none."""
        if not ray.is_initialized():
            return None
        manager = find_manager()
        if manager is None:
            if not self._make:
                return None
            self._undecided_until = 0.0  # nobody else is there
            manager = make_manager()
        began = time.monotonic()
        while not self._closing.is_set():
            try:
                spoken = ray.get(manager.protocol.remote(), timeout=ANSWER_SECONDS)
            except GetTimeoutError:
                if time.monotonic() - began > FIRST_ANSWER_SECONDS:
                    raise
                continue
            if spoken >= PROTOCOL:
                return manager
            ray.kill(manager)  # it is of an older stylefarm; it holds nothing that could be lost
            manager = make_manager()
        return None
