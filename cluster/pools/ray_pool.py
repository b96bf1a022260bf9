"""``RayPool``: workers on a Ray cluster, one actor per GPU, share of one, group of GPUs or group of cores.

Ray restarts and retries nothing here: the driver does, because only the driver knows what a task's attempts
mean. The pool returns each attempt that ends, and keeps as many workers as are wanted: more when nodes join,
replacements when workers are lost, fewer when less is left to do. ``cluster.pools.roster`` does the
arithmetic.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
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
    Wishes,
    WorkerSetup,
    WorkerState,
)
from cluster.pools.base import Ended, Lost, Sharing, WorkerHandle
from cluster.pools.busy_share import BusyShare
from cluster.pools.ray_actor import REMOTE, About
from cluster.pools.ray_cluster import first_line, last_line, read_view
from cluster.pools.ray_member import Member
from cluster.pools.ray_placement import (
    Needs,
    View,
    capacity,
    check_room,
    needs_of,
    room_for,
    suits,
)
from cluster.pools.roster import Roster, Starts
from jobs.errors import ClusterError
from jobs.spec.workers import Workers

log = logging.getLogger(__name__)

VIEW_SECONDS = 2.0
"""The interval between two listings of the cluster's nodes, in seconds; longer with very many nodes."""

POLL_SECONDS = 1.0
"""The interval between two polls of a worker, in seconds; longer with very many workers."""

WORKERS_PER_POLL_SECOND = 200
"""The largest number of workers polled per second."""

RETRY_SECONDS = 0.5
"""The interval between two requests for outcomes whose call was lost, in seconds."""

UNAVAILABLE_SECONDS = 30.0
"""How long the pool waits for a worker that Ray cannot reach, in seconds."""

PATIENCE_SECONDS = 900.0
"""How long a run waits without any worker, in seconds."""

FORGIVE_SECONDS = 60.0
"""How long there is no worker before avoided nodes are used again, in seconds."""

NODE_LABEL = "ray.io/node-id"
"""The label in which Ray keeps a node's id."""


Item = Callable[[], "Sequence[Ended | Lost]"]
"""Work for the driver's thread; returns what ended."""


class RayPool:
    """Actors on the connected cluster, as ``cluster.pools.base.Pool``.

    Args:
        setup: The settings of the job's workers; the number of threads is set by the pool.
        wanted: The job's ``workers`` section.
        sharing: Makes the link to others who share the cluster, from what each worker needs and the nodes
            that the run can use (None: all that have room); None: the run takes what it finds.

        wishes: Returns what is asked of the run meanwhile.

    Raises:
        ClusterError: No node has room for a worker, and none is expected.
    """

    def __init__(
        self,
        setup: WorkerSetup,
        wanted: Workers,
        sharing: Callable[[Needs], Sharing] | None = None,
        wishes: Callable[[], Wishes] = Wishes,
    ) -> None:
        self._wanted = wanted
        self._wishes = wishes
        self._view = read_view()
        self.needs = needs_of(wanted, self._view.nodes)
        check_room(wanted, self.needs, self._view.nodes)
        self._setup = replace(setup, threads=self.needs.threads)
        self._roster = Roster(self.needs.gpus)
        self._starts = Starts()
        self._requested = 0
        """Workers requested so far; the next one's number."""
        self._calls = 0
        """Calls made so far."""
        self._tasks: int | None = None
        """Tasks that are not done; None while that is unknown."""
        self._inbox: queue.SimpleQueue[Item | None] = queue.SimpleQueue()
        """Answers of actors, from Ray's threads to the driver's; None wakes ``wait``."""
        self._given_back = 0
        self._avoided: set[str] = set()
        self._viewer = ThreadPoolExecutor(1, thread_name_prefix="view")
        self._next_view: Future[View] | None = None
        self._viewed_at = time.monotonic()
        self._watched_at = 0.0
        self._floor = None if sharing is None else sharing(self.needs)
        self._balance()

    # -- what the driver reads ----------------------------------------------------------------------

    @property
    def workers(self) -> int:
        return self._roster.up

    @property
    def pending(self) -> int:
        return self._roster.pending

    @property
    def growing(self) -> bool:
        return self._roster.pending > 0 and self._starts.growing

    @property
    def share(self) -> int | None:
        share = None if self._floor is None else self._floor.share
        return None if share is None else sum(share.values())

    @property
    def waits(self) -> str:
        wishes = self._wishes()
        if self._roster.closed:
            return ""
        if wishes.paused:
            return f"paused by {wishes.by}"
        return "" if self._floor is None else self._floor.waits

    @property
    def wanted(self) -> int:
        return self._target()

    @property
    def given_back(self) -> int:
        return self._given_back

    @property
    def gpu_hours(self) -> float:
        return self._roster.gpu_hours

    def open_workers(self) -> Iterator[WorkerHandle]:
        return (member.handle for member in self._roster.open_members())

    @property
    def setup(self) -> WorkerSetup:
        """The settings of the job's workers, as they get them."""
        return self._setup

    def memory_classes(self) -> Sequence[int]:
        return self._roster.memory_classes

    def nodes(self) -> set[str]:
        return {node.id for node in self._view.nodes if self.needs.fit(node.resources)}

    def want(self, tasks: int | None) -> None:
        self._tasks = tasks

    def progress(self) -> list[Progress]:
        return [
            progress
            for member in self._roster
            if member.report is not None
            for progress in member.report.painting
            if progress.attempt_id in member.attempt_ids()
        ]

    def states(self) -> list[WorkerState]:
        return [
            WorkerState(
                name=member.handle.name,
                node=member.handle.node,
                device=member.handle.device.name,
                busy=member.busy_share,
                busy_seconds=member.report.busy_seconds if member.report is not None else 0.0,
                calls=len(member.handle.calls),
                host=member.handle.host,
            )
            for member in self._roster
            if member.up
        ]

    # -- what the driver does -----------------------------------------------------------------------

    def submit(self, worker: WorkerHandle, assignments: Sequence[Assignment]) -> None:
        member = self._roster.get(int(worker.key))
        assert member is not None, "open_workers yields members only"
        self._calls += 1
        call = self._calls
        worker.calls[call] = tuple(a.attempt_id for a in assignments)
        self._roster.update(member)
        answer = member.actor.run.remote(list(assignments)).future()
        answer.add_done_callback(
            lambda done: self._inbox.put(partial(self._call_ended, member, call, done))
        )

    def recall(self, most: int) -> None:
        for member in sorted(self._roster, key=lambda m: -len(m.handle.calls)):
            painting = member.painting()
            for call, attempt_ids in list(member.handle.calls.items()):
                if most <= 0 or len(member.handle.calls) < 2:
                    break
                if call not in member.recalled and painting.isdisjoint(attempt_ids):
                    member.recalled.add(call)
                    member.actor.recall.remote(list(attempt_ids))
                    most -= 1

    def wait(self, timeout: float) -> list[Ended | Lost]:
        ended: list[Ended | Lost] = []
        try:
            item = self._inbox.get(block=timeout > 0, timeout=timeout or None)
            while True:
                if item is not None:
                    ended += item()
                item = self._inbox.get_nowait()
        except queue.Empty:
            pass
        ended += self._watch()
        return ended

    def wake(self) -> None:
        self._inbox.put(None)

    def replace(self, worker: WorkerHandle, reason: str) -> None:
        member = self._roster.get(int(worker.key))
        if member is not None:
            log.warning("%s is replaced: %s", worker.name, reason)
            self._inbox.put(partial(self._lose, member, "worker", f"it was replaced: {reason}"))

    def avoid(self, node: str) -> None:
        self._avoided.add(node)
        for member in self._roster:
            if not member.up:  # it may be about to be placed there
                self._release(member)

    def drain(self) -> None:
        self._end_with("drain")

    def preempt(self) -> None:
        self._end_with("preempt")

    def _end_with(self, method: str) -> None:
        """End the run: request no more workers, and call a method of the actors that are up."""
        self._roster.closed = True
        for member in self._roster:
            if member.up:
                getattr(member.actor, method).remote()
            else:
                self._release(member)

    def close(self) -> None:
        for member in self._roster:
            self._release(member)
        self._viewer.shutdown(wait=False, cancel_futures=True)

    # -- how many workers there are -----------------------------------------------------------------

    def _target(self) -> int:
        """Return the number of workers that there should be now, if nobody else were there."""
        wishes = self._wishes()
        if self._roster.closed or wishes.paused:
            return 0
        wanted = self._wanted
        if wishes.workers is not None:
            fewest = min(wanted.min, wishes.workers)
            wanted = wanted.model_copy(update={"max": wishes.workers, "min": fewest})
        most = capacity(wanted, self.needs, self._view.nodes)
        if self._tasks is not None:
            most = min(most, self._tasks)
        return max(most, wanted.min)

    def _balance(self) -> None:
        """Request the workers that are missing; release those that are too many."""
        target, wishes = self._target(), self._wishes()
        if self._floor is not None:
            has, up = self._roster.by_node(), self._roster.by_node(up=True)
            self._floor.tell(target, has, up, self._usable())
        if self._roster.closed:
            return
        if wishes.paused:
            for member in self._roster:
                if not member.leaving:
                    self._give_back(member)
            return
        if self._floor is not None and self._floor.undecided:
            return
        share = None if self._floor is None else self._floor.share
        if share is not None:
            self._balance_with_others(share, target)
            return
        for member in self._roster.above(wishes.workers):
            self._give_back(member)
        self._release_idle(target)
        if self._starts.may_request:
            for _ in range(self._roster.missing(target)):
                self._request()

    def _release_idle(self, most: int) -> None:
        """Release idle workers that are more than ``most``."""
        for member in self._roster.surplus(max(0, -self._roster.missing(most))):
            log.info("%s is no longer needed", member.handle.name)
            self._release(member)

    def _usable(self) -> set[str] | None:
        """Return the nodes that the run can use; None: all that have room for a worker."""
        if not self._wanted.labels and not self._avoided:
            return None
        suitable = {node.id for node in self._view.nodes if suits(self._wanted, node)}
        return suitable - self._avoided

    def _balance_with_others(self, share: Mapping[str, int], target: int) -> None:
        """Request the workers of this run's share that are missing; give back those beyond it.

        Args:
            share: The workers that the run may have, by node.
            target: The workers that it could use.
        """
        for member in self._roster.exceeding(share):
            self._give_back(member)
        self._release_idle(target)  # the manager hears of it within a second
        if self._starts.may_request:
            for node in self._roster.wanting(share)[: max(0, self._roster.missing(target))]:
                self._request(node)
        self._ask_for_nodes(target - room_for(self._wanted, self.needs, self._view.nodes))

    def _ask_for_nodes(self, workers: int) -> None:
        """Have so many workers requested that no node has room for, so that an autoscaler adds nodes."""
        requested = self._roster.beyond
        for member in requested[max(0, workers) :]:
            self._release(member)
        if self._starts.may_request:
            for _ in range(workers - len(requested)):
                self._request(beyond=True)

    def _give_back(self, member: Member) -> None:
        """Let another run have a worker's place: what it paints goes on from its next checkpoint
        elsewhere."""
        self._given_back += 1
        if not member.handle.calls:
            log.info("%s is given back", member.handle.name)
            self._release(member)
            return
        log.info("%s is given back as soon as it has stored what it paints", member.handle.name)
        member.yielding = True
        self._roster.update(member)
        member.actor.preempt.remote()

    def _request(self, node: str | None = None, *, beyond: bool = False) -> None:
        """Request a worker.

        Args:
            node: The node that it is to be on; None: any.
            beyond: Whether it is to be on a node that is not there yet.
        """
        number = self._requested
        self._requested += 1
        self._starts.expect()
        needs = self.needs
        selector = dict(self._wanted.labels)
        shunned = self._avoided | {n.id for n in self._view.nodes} if beyond else self._avoided
        if node is not None:
            selector[NODE_LABEL] = node
        elif shunned:
            selector[NODE_LABEL] = f"!in({','.join(sorted(shunned))})"
        actor = REMOTE.options(
            num_gpus=needs.gpus, num_cpus=needs.cpus, label_selector=selector or None
        ).remote(self._setup, needs.kind, number, needs.gpus)
        name = f"{needs.kind}-{number}"
        handle = WorkerHandle(key=str(number), name=name, node="", device=DeviceInfo(needs.kind))
        member = Member(number, actor, handle, asked_for=node, beyond=beyond)
        self._roster.add(member)
        actor.about.remote().future().add_done_callback(
            lambda done: self._inbox.put(partial(self._started, member, done))
        )

    def _started(self, member: Member, answer: Future[About]) -> list[Ended | Lost]:
        if member not in self._roster:
            return []
        try:
            about = answer.result()
        except RayError as error:
            self._release(member)
            self._failed_to_start(member, error)
            return []
        worker, device = member.handle, about.device
        worker.name, worker.node, worker.host = about.name, about.node, about.host
        worker.device = device
        worker.devices = 1 if self._setup.members > 1 else max(1, int(self.needs.gpus))
        member.pid = about.pid
        if about.problem is not None:
            self._release(member)
            if self._starts.failed():
                raise ClusterError(f"no worker comes up: {about.problem} (on {about.host})")
            return [Lost(worker, Failure("worker", f"it cannot work: {about.problem}"))]
        if self.needs.gpus and device.memory_bytes is not None:
            worker.memory_bytes = int(device.memory_bytes * min(1.0, self.needs.gpus))
        member.busy_meter = BusyShare(worker.devices)
        self._roster.mark_up(member)
        self._starts.succeeded()
        log.info("%s is up", worker.name)
        return []

    def _failed_to_start(self, member: Member, error: RayError) -> None:
        log.warning("%s did not come up: %s", member.handle.name, first_line(error))
        # A worker whose node was lost while it started is no sign of anything.
        if not (isinstance(error, RayActorError) and error.actor_init_failed):
            return
        if self._starts.failed():
            raise ClusterError(f"no worker comes up: {last_line(error)}") from error

    def _release(self, member: Member) -> None:
        """Remove a member and kill its actor: one that is unavailable is not dead, and must not paint on."""
        self._roster.remove(member)
        ray.kill(member.actor)

    # -- what ends ----------------------------------------------------------------------------------

    def _call_ended(
        self, member: Member, call: int, answer: Future[list[Outcome]]
    ) -> list[Ended | Lost]:
        if call not in member.handle.calls or member not in self._roster:
            return []  # its worker was given up meanwhile
        try:
            outcomes = answer.result()
        except ActorUnavailableError as error:
            log.warning("%s is out of reach: %s", member.handle.name, first_line(error))
            if member.unreachable_since is None:
                member.unreachable_since = time.monotonic()
            self._roster.update(member)  # no new call, until it answers
            self._fetch_outcomes(member, call)
            return []
        except RayActorError as error:
            if error.preempted:
                return self._lose(member, "preempted", "its machine was taken away")
            return self._lose(member, "worker", f"its worker died: {first_line(error)}")
        except RayError as error:
            return self._lose(member, "worker", f"Ray could not run it: {first_line(error)}")
        return self._finish_call(member, call, outcomes)

    def _finish_call(
        self, member: Member, call: int, outcomes: list[Outcome]
    ) -> list[Ended | Lost]:
        del member.handle.calls[call]
        member.recalled.discard(call)
        returned = any(o.failure is not None and o.failure.kind == "preempted" for o in outcomes)
        if member.yielding:
            outcomes = [_as_yielded(outcome) for outcome in outcomes]
        elif returned:
            member.preempted = True
        self._roster.update(member)
        ended: list[Ended | Lost] = [Ended(outcome, member.handle) for outcome in outcomes]
        if member.yielding and not member.handle.calls:
            log.info("%s is given back", member.handle.name)
            self._release(member)
            self._balance()
            return ended
        if member.preempted and not member.handle.calls:
            ended += self._lose(member, "preempted", "its machine is being taken away")
        return ended

    def _fetch_outcomes(self, member: Member, call: int) -> None:
        """Ask a worker for a call's outcomes: the call's answer was lost on the way, not the attempts."""
        if call not in member.handle.calls:
            return  # its worker was given up meanwhile

        def fetched(done: Future[list[Outcome] | None]) -> None:
            self._inbox.put(partial(self._outcomes_fetched, member, call, done))

        attempt_ids = list(member.handle.calls[call])
        member.actor.ended.remote(attempt_ids).future().add_done_callback(fetched)

    def _outcomes_fetched(
        self, member: Member, call: int, answer: Future[list[Outcome] | None]
    ) -> list[Ended | Lost]:
        if call not in member.handle.calls or member not in self._roster:
            return []
        try:
            outcomes = answer.result()
        except RayError as error:
            if isinstance(error, RayActorError) and not isinstance(error, ActorUnavailableError):
                return self._call_ended(member, call, _failed(error))
            since = member.unreachable_since or time.monotonic()
            if time.monotonic() - since > UNAVAILABLE_SECONDS:
                return self._lose(
                    member, "unavailable", f"its worker {member.handle.name} cannot be reached"
                )
            self._later(RETRY_SECONDS, partial(self._fetch_outcomes, member, call))
            return []
        member.unreachable_since = None
        self._roster.update(member)
        if outcomes is None:
            self._later(RETRY_SECONDS, partial(self._fetch_outcomes, member, call))
            return []
        return self._finish_call(member, call, outcomes)

    def _later(self, seconds: float, do: Callable[[], None]) -> None:
        """Do something on the driver's thread after some seconds."""

        def item() -> list[Ended | Lost]:
            do()
            return []

        timer = threading.Timer(seconds, lambda: self._inbox.put(item))
        timer.daemon = True
        timer.start()

    def _lose(
        self,
        member: Member,
        kind: FailureKind,
        reason: str,
        suspects: frozenset[str] | None = None,
    ) -> list[Ended | Lost]:
        """Release a member that died or is to be killed; return it as lost, with its attempts.

        Args:
            member: The member.
            kind: The kind of the failure.
            reason: The failure's sentence.
            suspects: The ids of the attempts that may have caused it; None: those that hold a device.
        """
        if member not in self._roster:
            return []
        attempt_ids = member.attempt_ids()
        painting = member.painting() if suspects is None else suspects
        log.warning("%s is lost with %d attempts: %s", member.handle.name, len(attempt_ids), reason)
        self._release(member)
        self._balance()
        return [Lost(member.handle, Failure(kind, reason), attempt_ids, painting)]

    # -- watching -----------------------------------------------------------------------------------

    def _watch(self) -> list[Ended | Lost]:
        now = time.monotonic()
        interval = max(POLL_SECONDS, len(self._roster) / WORKERS_PER_POLL_SECOND)
        if now - self._watched_at < min(interval, POLL_SECONDS):
            return []
        self._watched_at = now
        self._refresh_view()
        lost: list[Ended | Lost] = []
        for member in self._roster:
            if not member.up:
                continue
            if member.handle.node in self._view.draining and not member.leaving:
                self._preempt_member(member)
            quiet = member.quiet_seconds(now)
            if quiet > self._wanted.stall_timeout:
                lost += self._kill_stalled(member, quiet)
            elif member.polled_at is None and now - member.reported_at >= interval:
                self._poll(member)
        self._balance()
        self._check_alone()
        return lost

    def _poll(self, member: Member) -> None:
        member.polled_at = time.monotonic()
        member.actor.report.remote().future().add_done_callback(
            lambda done: self._inbox.put(partial(self._reported, member, done))
        )

    def _reported(self, member: Member, answer: Future[Report]) -> list[Ended | Lost]:
        if member not in self._roster:
            return []
        member.polled_at = None
        member.reported_at = time.monotonic()
        try:
            report = answer.result()
        except ActorUnavailableError:
            return []
        except RayActorError as error:
            # A worker with calls is lost by these; an idle one, here.
            if error.preempted:
                return self._lose(member, "preempted", "its machine was taken away")
            return self._lose(member, "worker", f"its worker died: {first_line(error)}")
        except RayError as error:
            log.warning("%s does not report: %s", member.handle.name, first_line(error))
            return []
        member.report = report
        member.busy_share = member.busy_meter(report.busy_seconds)
        if report.preempted and not member.leaving:
            member.preempted = True
            self._roster.update(member)
            if not member.handle.calls:
                return self._lose(member, "preempted", "its machine is being taken away")
        return []

    def _preempt_member(self, member: Member) -> None:
        """Have a worker store its checkpoints: Ray drains its node."""
        log.info("%s is preempted: its node is being taken away", member.handle.name)
        member.preempted = True
        self._roster.update(member)
        member.actor.preempt.remote()

    def _kill_stalled(self, member: Member, quiet: float) -> list[Ended | Lost]:
        suspects, decoding = member.stuck(time.monotonic())
        reason = f"its worker {member.handle.name} gave no sign of life for {quiet:.0f} s"
        if decoding is not None:
            reason += f" while it decoded {decoding}"
        _kill_process(member.handle.node, member.pid)
        return self._lose(member, "stalled", reason, suspects)

    def _refresh_view(self) -> None:
        """Take over the last view of the cluster and start the next one; never waits."""
        if self._next_view is not None and self._next_view.done():
            try:
                before, self._view = self._view, self._next_view.result()
                if {n.id for n in self._view.nodes} - {n.id for n in before.nodes}:
                    self._starts.expect()
            except Exception as error:  # the head is out of reach; Ray itself says when it gives up
                log.warning("the cluster's nodes could not be listed: %s", first_line(error))
            self._next_view, self._viewed_at = None, time.monotonic()
        interval = max(VIEW_SECONDS, len(self._view.nodes) / 50)
        if self._next_view is None and time.monotonic() - self._viewed_at >= interval:
            self._next_view = self._viewer.submit(read_view)

    def _check_alone(self) -> None:
        """Use avoided nodes again, or give up, after long without any worker. Raises ClusterError."""
        alone = self._roster.alone_seconds
        if not alone or self._roster.closed:
            return
        if self._wishes().paused or (self._floor is not None and self._floor.share == {}):
            return  # it waits, for as long as it takes
        if self._avoided and alone > FORGIVE_SECONDS:
            log.warning("no node is left: those that were avoided are tried again")
            self._avoided.clear()
            for member in self._roster:
                self._release(member)
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


def _as_yielded(outcome: Outcome) -> Outcome:
    """Return an outcome of a worker that is given back: what it handed back was its run's own wish."""
    failure = outcome.failure
    if failure is None or failure.kind != "preempted":
        return outcome
    reason = "another run has the worker's place now"
    return replace(outcome, failure=replace(failure, kind="yielded", message=reason))


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
    """Kill a process that no longer responds to Ray, by a task on its node."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    if pid:
        _kill.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node_id=node, soft=False)
        ).remote(pid)
