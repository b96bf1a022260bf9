"""Workers on a Ray cluster: one actor per GPU (or share of one, or several, or group of CPU cores).

Ray restarts and retries nothing here; the driver does, because only it knows what a task's attempts mean.
This file's part is to say truthfully which attempts ended, and to keep as many workers as are wanted: more
when nodes come, others when some are lost, fewer when less is left to do.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import ray
from ray.exceptions import ActorUnavailableError, RayActorError, RayError

from cluster.messages import (
    Assignment,
    DeviceInfo,
    Failure,
    FailureKind,
    Outcome,
    Progress,
    Report,
    StationState,
    WorkerSetup,
)
from cluster.pools.base import PREFETCH, Ended, Lost, Station
from cluster.pools.busy_share import BusyShare
from cluster.pools.ray_actor import REMOTE, About
from cluster.pools.ray_cluster import first_line, last_line, look
from cluster.pools.ray_member import Member
from cluster.pools.ray_placement import View, capacity, check_room, needs_of
from jobs.errors import ClusterError
from jobs.spec.workers import Workers

log = logging.getLogger(__name__)

GROWING_SECONDS = 120.0
"""So long after a worker was asked for it may be expected to come up; later it has to be waited for."""

STILLBORN_LIMIT = 3
"""So many workers that fail to come up, one after another, before any has, mean that none will."""

LOOK_SECONDS = 2.0
"""How often the cluster is looked at for nodes that came or go."""

ASK_SECONDS = 1.0
"""How often a worker is asked how it does; with very many workers less often."""

WORKERS_PER_ASK_SECOND = 200

UNAVAILABLE_SECONDS = 30.0
"""How long a worker that Ray cannot reach is waited for."""

PATIENCE_SECONDS = 900.0
"""How long a run waits without any worker."""

FORGIVE_SECONDS = 60.0
"""After so long without any worker, nodes that were avoided are not any more."""

NODE_LABEL = "ray.io/node-id"


Item = Callable[[], "Sequence[Ended | Lost]"]


class RayPool:
    """Actors on the connected cluster."""

    def __init__(self, setup: WorkerSetup, wanted: Workers) -> None:
        self._wanted = wanted
        self._view = look()
        self.needs = needs_of(wanted, self._view.nodes)
        check_room(wanted, self.needs, self._view.nodes)
        self._setup = replace(setup, threads=self.needs.threads)
        self._members: dict[int, Member] = {}
        self._up: dict[int, float] = {}
        """Since when each has been that is up."""
        self._classes: list[int] = []
        self._made = 0
        self._call = 0
        self._tasks: int | None = None
        self._news: queue.SimpleQueue[Item | None] = queue.SimpleQueue()
        self._open: list[OrderedDict[int, Member]] = [OrderedDict() for _ in range(PREFETCH + 1)]
        """Members that can take a call, by how many they have."""
        self._avoided: set[str] = set()
        self._stillborn = 0
        self._next_birth = 0.0
        self._last_birth = 0.0
        """When a worker was asked for, or the cluster got a node."""
        self._ever_up = False
        self._draining = False
        self._alone_since: float | None = time.monotonic()
        """Since when there has been no worker."""
        self._gpu_seconds = 0.0
        """Of workers that are gone."""
        self._looker = ThreadPoolExecutor(1, thread_name_prefix="look")
        self._looking: Future[View] | None = None
        self._looked_at = time.monotonic()
        self._watched_at = 0.0
        self._balance()

    # -- what the driver asks -----------------------------------------------------------------------

    @property
    def workers(self) -> int:
        return len(self._up)

    @property
    def pending(self) -> int:
        return len(self._members) - len(self._up)

    @property
    def growing(self) -> bool:
        return self.pending > 0 and time.monotonic() - self._last_birth < GROWING_SECONDS

    @property
    def gpu_hours(self) -> float:
        alive = len(self._up) * time.monotonic() - sum(self._up.values())
        return (self._gpu_seconds + alive * (self.needs.gpus or 1.0)) / 3600

    def open_stations(self) -> Iterator[Station]:
        for calls, bucket in enumerate(self._open):
            for member in list(bucket.values()):
                # It may have been given something since; then it has had its turn.
                if len(member.calls) == calls:
                    yield member.station

    def memory_classes(self) -> Sequence[int]:
        return self._classes

    def nodes(self) -> set[str]:
        return {node.id for node in self._view.nodes if self.needs.fit(node.resources)}

    def want(self, tasks: int | None) -> None:
        self._tasks = tasks

    def progress(self) -> list[Progress]:
        return [
            progress
            for member in self._members.values()
            if member.heard is not None
            for progress in member.heard.painting
            if any(progress.attempt in call for call in member.calls.values())
        ]

    def states(self) -> list[StationState]:
        return [
            StationState(
                m.station.name,
                m.station.node,
                m.station.device.name,
                m.busy_share,
                m.heard.busy_seconds if m.heard is not None else 0.0,
                len(m.calls),
            )
            for m in self._members.values()
            if m.up
        ]

    # -- what the driver does -----------------------------------------------------------------------

    def submit(self, station: Station, assignments: Sequence[Assignment]) -> None:
        member = self._members[int(station.key)]
        self._call += 1
        call = self._call
        member.calls[call] = tuple(a.attempt for a in assignments)
        self._shelve(member)
        answer = member.actor.run.remote(list(assignments)).future()
        answer.add_done_callback(
            lambda done: self._news.put(partial(self._answered, member, call, done))
        )

    def recall(self, most: int) -> None:
        for member in sorted(self._members.values(), key=lambda m: -len(m.calls)):
            painting = member.painting()
            for call, attempts in list(member.calls.items()):
                if most <= 0 or len(member.calls) < 2:
                    break
                if call not in member.recalled and painting.isdisjoint(attempts):
                    member.recalled.add(call)
                    member.actor.recall.remote(list(attempts))
                    most -= 1

    def wait(self, timeout: float) -> list[Ended | Lost]:
        ended: list[Ended | Lost] = []
        try:
            item = self._news.get(block=timeout > 0, timeout=timeout or None)
            while True:
                if item is not None:
                    ended += item()
                item = self._news.get_nowait()
        except queue.Empty:
            pass
        ended += self._watch()
        return ended

    def wake(self) -> None:
        self._news.put(None)

    def replace(self, station: Station, reason: str) -> None:
        member = self._members.get(int(station.key))
        if member is not None:
            log.warning("%s is replaced: %s", station.name, reason)
            self._news.put(partial(self._lose, member, "worker", f"it was replaced: {reason}"))

    def avoid(self, node: str) -> None:
        self._avoided.add(node)
        for member in list(self._members.values()):
            if not member.up:  # it may be about to be placed there
                self._forget(member)

    def drain(self) -> None:
        self._tell_all("drain")

    def leave(self) -> None:
        self._tell_all("leave")

    def _tell_all(self, what: str) -> None:
        """It is the end: nobody new, and those that are up are told."""
        self._draining = True
        for member in list(self._members.values()):
            if member.up:
                getattr(member.actor, what).remote()
            else:
                self._forget(member)

    def close(self) -> None:
        for member in list(self._members.values()):
            self._forget(member)
        self._looker.shutdown(wait=False, cancel_futures=True)

    # -- how many there are -------------------------------------------------------------------------

    def _target(self) -> int:
        """How many workers there should be now."""
        if self._draining:
            return 0
        most = capacity(self._wanted, self.needs, self._view.nodes)
        if self._tasks is not None:
            most = min(most, self._tasks)
        return max(most, self._wanted.min)

    def _balance(self) -> None:
        """Ask for workers that are missing, release those that are too many and have nothing to do."""
        missing = self._target() - sum(1 for m in self._members.values() if not m.doomed)
        if missing > 0 and time.monotonic() >= self._next_birth:
            for _ in range(missing):
                self._add()
        elif missing < 0 and not self._draining:
            # Rather one that is not up yet, or has less memory, than one that can do everything.
            members = sorted(
                self._members.values(),
                key=lambda m: (m.up, m.station.memory_bytes or 0, -m.number),
            )
            for member in [m for m in members if not m.calls and not m.doomed][:-missing]:
                log.info("%s is not needed any more", member.station.name)
                self._forget(member)

    def _add(self) -> None:
        number = self._made
        self._made += 1
        self._last_birth = time.monotonic()
        needs = self.needs
        name = f"{needs.kind}-{number}"
        selector = dict(self._wanted.labels)
        if self._avoided:
            selector[NODE_LABEL] = f"!in({','.join(sorted(self._avoided))})"
        actor = REMOTE.options(
            num_gpus=needs.gpus, num_cpus=needs.cpus, label_selector=selector or None
        ).remote(self._setup, needs.kind, number, needs.gpus)
        member = Member(number, actor, Station(str(number), name, "", DeviceInfo(needs.kind)))
        self._members[number] = member
        actor.about.remote().future().add_done_callback(
            lambda done: self._news.put(partial(self._welcome, member, done))
        )

    def _welcome(self, member: Member, answer: Future[About]) -> list[Ended | Lost]:
        if member.number not in self._members:
            return []
        try:
            about = answer.result()
        except RayError as error:
            self._forget(member)
            self._mourn(member, error)
            return []
        station, device = member.station, about.device
        station.name, station.node, station.host = about.name, about.node, about.host
        station.device = device
        station.lanes = max(1, int(self.needs.gpus))
        member.pid = about.pid
        if about.problem is not None:
            self._forget(member)
            self._bear_later()
            if not self._ever_up and self._stillborn >= STILLBORN_LIMIT:
                raise ClusterError(f"no worker comes up: {about.problem} (on {about.host})")
            return [Lost(station, Failure("worker", f"it cannot work: {about.problem}"))]
        if self.needs.gpus and device.memory_bytes is not None:
            station.memory_bytes = int(device.memory_bytes * min(1.0, self.needs.gpus))
        member.busy = BusyShare(station.lanes)
        member.up = True
        self._up[member.number] = time.monotonic()
        self._find_classes()
        self._stillborn, self._ever_up, self._alone_since = 0, True, None
        self._shelve(member)
        log.info("%s is up", station.name)
        return []

    def _mourn(self, member: Member, error: RayError) -> None:
        """It did not come up."""
        log.warning("%s did not come up: %s", member.station.name, first_line(error))
        # One whose node went while it started is no sign of anything.
        if not (isinstance(error, RayActorError) and error.actor_init_failed):
            return
        self._bear_later()
        if not self._ever_up and self._stillborn >= STILLBORN_LIMIT:
            raise ClusterError(f"no worker comes up: {last_line(error)}") from error

    def _bear_later(self) -> None:
        self._stillborn += 1
        pause = min(60.0, 0.5 * 2.0**self._stillborn) if self._ever_up else 0.0
        self._next_birth = time.monotonic() + pause

    # -- what ends ----------------------------------------------------------------------------------

    def _answered(
        self, member: Member, call: int, answer: Future[list[Outcome]]
    ) -> list[Ended | Lost]:
        if call not in member.calls or member.number not in self._members:
            return []  # its worker was given up meanwhile
        try:
            outcomes = answer.result()
        except ActorUnavailableError as error:
            log.warning("%s is out of reach: %s", member.station.name, first_line(error))
            member.missing_since = member.missing_since or time.monotonic()
            self._shelve(member)  # nothing new for it, until it answers
            self._ask_again(member, call)
            return []
        except RayActorError as error:
            if error.preempted:
                return self._lose(member, "preempted", "its machine was taken away")
            return self._lose(member, "worker", f"its worker died: {first_line(error)}")
        except RayError as error:
            return self._lose(member, "worker", f"Ray could not run it: {first_line(error)}")
        return self._take(member, call, outcomes)

    def _take(self, member: Member, call: int, outcomes: list[Outcome]) -> list[Ended | Lost]:
        del member.calls[call]
        member.recalled.discard(call)
        if any(o.failure is not None and o.failure.kind == "preempted" for o in outcomes):
            member.doomed = True
        self._shelve(member)
        ended: list[Ended | Lost] = [Ended(outcome, member.station) for outcome in outcomes]
        if member.doomed and not member.calls:
            ended += self._lose(member, "preempted", "its machine is being taken away")
        return ended

    def _ask_again(self, member: Member, call: int) -> None:
        """A call's answer was lost on the way: its worker still has it, or is still at it."""
        if call not in member.calls:
            return  # its worker was given up meanwhile

        def told(done: Future[list[Outcome] | None]) -> None:
            self._news.put(partial(self._told_again, member, call, done))

        member.actor.ended.remote(list(member.calls[call])).future().add_done_callback(told)

    def _told_again(
        self, member: Member, call: int, answer: Future[list[Outcome] | None]
    ) -> list[Ended | Lost]:
        if call not in member.calls or member.number not in self._members:
            return []
        try:
            outcomes = answer.result()
        except RayError as error:
            if isinstance(error, RayActorError) and not isinstance(error, ActorUnavailableError):
                return self._answered(member, call, _failed(error))
            since = member.missing_since or time.monotonic()
            if time.monotonic() - since > UNAVAILABLE_SECONDS:
                return self._lose(
                    member, "unavailable", f"its worker {member.station.name} cannot be reached"
                )
            self._later(0.5, partial(self._ask_again, member, call))
            return []
        member.missing_since = None
        self._shelve(member)
        if outcomes is None:
            self._later(0.5, partial(self._ask_again, member, call))
            return []
        return self._take(member, call, outcomes)

    def _later(self, seconds: float, do: Callable[[], None]) -> None:
        """Do something on the driver's thread, a little later."""

        def item() -> list[Ended | Lost]:
            do()
            return []

        timer = threading.Timer(seconds, lambda: self._news.put(item))
        timer.daemon = True
        timer.start()

    def _lose(self, member: Member, kind: FailureKind, reason: str) -> list[Ended | Lost]:
        """It is gone, or is made to go; everything it held is lost with it."""
        if member.number not in self._members:
            return []
        attempts, painting = member.attempts(), member.painting()
        log.warning("%s is lost with %d attempts: %s", member.station.name, len(attempts), reason)
        self._forget(member)
        self._balance()
        return [Lost(member.station, Failure(kind, reason), attempts, painting)]

    def _forget(self, member: Member) -> None:
        del self._members[member.number]
        for bucket in self._open:
            bucket.pop(member.number, None)
        if member.up:
            since = self._up.pop(member.number)
            self._gpu_seconds += (time.monotonic() - since) * (self.needs.gpus or 1.0)
            self._find_classes()
        ray.kill(member.actor)  # unavailable is not dead: make sure that it does not go on
        member.calls.clear()
        if not self._up:
            self._alone_since = self._alone_since or time.monotonic()

    def _find_classes(self) -> None:
        sizes = {self._members[n].station.memory_bytes for n in self._up if n in self._members}
        self._classes = sorted(size for size in sizes if size is not None)

    def _shelve(self, member: Member) -> None:
        """Put it where those are that have as many calls."""
        member.station.calls = len(member.calls)
        for bucket in self._open:
            bucket.pop(member.number, None)
        usable = member.up and not member.doomed and not self._draining
        if usable and member.missing_since is None and len(member.calls) < len(self._open):
            self._open[len(member.calls)][member.number] = member

    # -- keeping an eye on it -----------------------------------------------------------------------

    def _watch(self) -> list[Ended | Lost]:
        now = time.monotonic()
        interval = max(ASK_SECONDS, len(self._members) / WORKERS_PER_ASK_SECOND)
        if now - self._watched_at < min(interval, ASK_SECONDS):
            return []
        self._watched_at = now
        self._look()
        lost: list[Ended | Lost] = []
        for member in list(self._members.values()):
            if not member.up:
                continue
            if member.station.node in self._view.draining and not member.doomed:
                self._take_leave(member)
            quiet = self._quiet(member, now)
            if quiet > self._wanted.stall_timeout:
                lost += self._kill_stalled(member, quiet)
            elif member.asked_at is None and now - member.heard_at >= interval:
                self._ask(member)
        self._balance()
        self._see_whether_alone(now)
        return lost

    def _quiet(self, member: Member, now: float) -> float:
        """Since when it has given no sign of life: it does not answer, or an attempt does not go on."""
        silent = 0.0 if member.asked_at is None else now - member.asked_at
        stuck = 0.0
        if member.calls and member.heard is not None and member.heard.quiet_seconds:
            stuck = member.heard.quiet_seconds + (now - member.heard_at)
        return max(silent, stuck)

    def _ask(self, member: Member) -> None:
        member.asked_at = time.monotonic()
        member.actor.report.remote().future().add_done_callback(
            lambda done: self._news.put(partial(self._hear, member, done))
        )

    def _hear(self, member: Member, answer: Future[Report]) -> list[Ended | Lost]:
        if member.number not in self._members:
            return []
        member.asked_at = None
        member.heard_at = time.monotonic()
        try:
            member.heard = answer.result()
        except ActorUnavailableError:
            return []
        except RayActorError as error:
            # One with calls hears of it by them; an idle one, here.
            if error.preempted:
                return self._lose(member, "preempted", "its machine was taken away")
            return self._lose(member, "worker", f"its worker died: {first_line(error)}")
        except RayError as error:
            log.warning("%s does not say how it does: %s", member.station.name, first_line(error))
            return []
        member.busy_share = member.busy(member.heard.busy_seconds)
        if member.heard.leaving and not member.doomed:
            member.doomed = True
            self._shelve(member)
            if not member.calls:
                return self._lose(member, "preempted", "its machine is being taken away")
        return []

    def _take_leave(self, member: Member) -> None:
        """Its node is going."""
        log.info("%s leaves: its node is being taken away", member.station.name)
        member.doomed = True
        self._shelve(member)
        member.actor.leave.remote()

    def _kill_stalled(self, member: Member, quiet: float) -> list[Ended | Lost]:
        reason = f"its worker {member.station.name} gave no sign of life for {quiet:.0f} s"
        _kill_process(member.station.node, member.pid)
        return self._lose(member, "stalled", reason)

    def _look(self) -> None:
        """Take in what the cluster has become, and look again; never waits."""
        if self._looking is not None and self._looking.done():
            try:
                before, self._view = self._view, self._looking.result()
                if {n.id for n in self._view.nodes} - {n.id for n in before.nodes}:
                    self._last_birth = time.monotonic()
            except (
                Exception
            ) as error:  # the head is out of reach; Ray itself tells when it gives up
                log.warning("the cluster could not be looked at: %s", first_line(error))
            self._looking, self._looked_at = None, time.monotonic()
        interval = max(LOOK_SECONDS, len(self._view.nodes) / 50)
        if self._looking is None and time.monotonic() - self._looked_at >= interval:
            self._looking = self._looker.submit(look)

    def _see_whether_alone(self, now: float) -> None:
        if self._alone_since is None or self._draining:
            return
        alone = now - self._alone_since
        if self._avoided and alone > FORGIVE_SECONDS:
            log.warning("no node is left: those that were avoided are tried again")
            self._avoided.clear()
            for member in list(self._members.values()):
                self._forget(member)
            self._balance()
        if alone > PATIENCE_SECONDS:
            have = ", ".join(
                f"{sum(n.resources.get(what, 0) for n in self._view.nodes):g} {what}s"
                for what in ("GPU", "CPU")
            )
            raise ClusterError(
                f"no worker has come up for {alone / 60:.0f} min: each needs "
                f"{self.needs.gpus:g} GPUs and {self.needs.cpus:g} CPUs, and the cluster has {have}"
            )


def _failed(error: BaseException) -> Future[list[Outcome]]:
    future: Future[list[Outcome]] = Future()
    future.set_exception(error)
    return future


@ray.remote(num_cpus=0, max_retries=0)  # type: ignore[untyped-decorator]
def _kill(pid: int) -> None:
    import contextlib
    import os
    import signal

    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _kill_process(node: str, pid: int) -> None:
    """Kill a process that does not listen to Ray any more, by a task on its node."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    if pid:
        _kill.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node_id=node, soft=False)
        ).remote(pid)
