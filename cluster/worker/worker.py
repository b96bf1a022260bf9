"""``Worker``: fetches, paints and stores, and returns how each attempt ended. It does not depend on Ray.

Several calls may run at once, in threads. They take turns at the device: while one paints, the next fetches
its pictures and the last stores its own. A call can bring several attempts; those whose pictures have one
shape are painted together.
"""

from __future__ import annotations

import hashlib
import logging
import math
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cluster.messages import Assignment, Failure, Outcome, Progress, Report, WorkerSetup
from cluster.worker.attempt import Attempt, Fetched, StoredResumption, explain_fetch
from cluster.worker.device_queue import AttemptReturned, DeviceQueue
from cluster.worker.films.holding import Holding
from cluster.worker.films.needs import NeedPicture, fetch_needs
from cluster.worker.heartbeat import Heartbeat, Phase
from cluster.worker.isolated import paint_isolated
from cluster.worker.renderer import Hold, Order, Painted, Renderer, make_renderer
from cluster.worker.small import PREVIEW_QUALITY, PREVIEW_SIZE, Small
from jobs.errors import StorageError
from jobs.inputs.addresses import display
from jobs.inputs.data import InputData
from jobs.inputs.reader import Inputs
from jobs.preflight.masks import about_mask
from jobs.records.card import Copies
from jobs.records.loss_log import LossRow
from jobs.records.record import FilmRecord, OutputRecord, TaskRecord
from jobs.storage import keys
from jobs.storage.open import open_storage
from jobs.tasks.films.part import FilmPart
from jobs.tasks.task import Task
from stylize.errors import DivergedError, InterruptedRender

log = logging.getLogger(__name__)

AT_ONCE = 8
"""The largest number of pictures of one call that are fetched, or stored, at the same time."""

PROMPT_SIZE = 2048
"""The size, in pixels, up to which a few CPU cores make a step well within the stall timeout of 5 min."""


@dataclass(frozen=True, slots=True)
class _Ready:
    """An attempt whose inputs are fetched and decoded."""

    attempt: Attempt
    order: Order
    fetched: Fetched
    note: Callable[[int, int, float], None]
    """Takes the attempt's progress: scale in pixels, step, total loss."""


class Worker:
    """Renders tasks of one job on one or several devices. All methods may be called from any thread.

    Args:
        setup: The settings of the job's workers.
        name: The worker's name, for records and logs.
        devices: The number of devices, >= 1, that paint pictures of their own; where ``setup.members`` share
            each picture, they count as one.
        first_device: The index of the first device, among those that this process sees.
        on_decoding: Takes what begins to be decoded, as ``Renderer.decode`` gets it, and None afterwards.

    Raises:
        StorageError: The output's address cannot be used.
    """

    def __init__(
        self,
        setup: WorkerSetup,
        name: str,
        *,
        devices: int = 1,
        first_device: int = 0,
        on_decoding: Callable[[str | None], None] = lambda name: None,
    ) -> None:
        self.name = name
        self.node = socket.gethostname()
        self._setup = setup
        self._storage = open_storage(setup.output, setup.storage, base=Path(setup.base))
        self._inputs = Inputs(
            Path(setup.base), setup.storage, allow_private=setup.inputs.allow_private
        )
        self._inputs.watch(self._sign_fetching)
        self._renderers = [
            make_renderer(
                setup.renderer,
                setup.base,
                setup.threads,
                first_device + k,
                setup.members,
                setup.cuda_graphs,
            )
            for k in range(devices)
        ]
        self._first_device = first_device
        self._holding = Holding(self._storage, self._inputs, self._renderers[0], self._decode_frame)
        self._small = Small(self._storage, setup.image)
        self._devices: DeviceQueue[Renderer] = DeviceQueue(self._renderers)
        self._heartbeat = Heartbeat()
        self._draining = threading.Event()
        self._stopping = threading.Event()
        self._deadline: float | None = None
        """When to interrupt painting attempts, on the monotonic clock; None unless preempted."""
        self._recalled: set[str] = set()
        self._progress: dict[str, Progress] = {}
        self._decoding: dict[str, str] = {}
        """What is being decoded, by the attempt's id."""
        self._on_decoding = on_decoding
        self.device = self._renderers[0].device

    def run(self, assignments: Sequence[Assignment]) -> list[Outcome]:
        """Make one attempt at each task, and wait for all to end.

        Args:
            assignments: The attempts. Those of one shape and recipe are painted together; an isolated one
                must come alone.

        Returns:
            One outcome per assignment, in order. Nothing is raised: failures are in the outcomes.
        """
        attempts = [
            Attempt(
                assignment,
                self._setup,
                self._storage,
                lambda: self._deadline is not None,
                self._make_preview,
            )
            for assignment in assignments
        ]
        try:
            if len(attempts) == 1 and attempts[0].isolated:
                return [self._run_isolated(assignments[0], attempts[0])]
            ready = self._prepare_all(attempts)
            if ready:
                self._paint_all(ready)
        except Exception as error:
            for attempt in attempts:
                if attempt.record is None and attempt.failure is None:
                    attempt.fail(error)
        finally:
            for attempt in attempts:
                self._progress.pop(attempt.id, None)
                self._decoding.pop(attempt.id, None)
                self._recalled.discard(attempt.id)
                attempt.close()
                self._heartbeat.finish(attempt.id)
        return [self._log_outcome(attempt) for attempt in attempts]

    def progress(self) -> list[Progress]:
        """Return the progress of the attempts that are painting."""
        return list(self._progress.values())

    def report(self) -> Report:
        """Return the progress, busy and quiet seconds, and whether the worker is preempted."""
        quiet, seconds = self._heartbeat.quietest
        return Report(
            painting=tuple(self.progress()),
            busy_seconds=self._devices.busy_seconds,
            quiet_seconds=seconds,
            preempted=self._deadline is not None,
            quiet=quiet,
            decoding=None if quiet is None else self._decoding.get(quiet),
        )

    @property
    def idle(self) -> bool:
        """Whether no attempt is in flight."""
        return not len(self._heartbeat)

    def drain(self) -> None:
        """Let painting attempts finish; those that wait for a device come back as ``stopped``."""
        self._draining.set()
        self._devices.wake()

    def preempt(self, grace_seconds: float | None = None) -> None:
        """Store checkpoints and hand all attempts back, because the machine is being taken away.

        A painting attempt ends after its next checkpoint is stored, or when the grace period is over. All
        others come back at once. A signal handler may call this.

        Args:
            grace_seconds: The longest time to paint on, in seconds; None: ``WorkerSetup.grace_seconds``.
        """
        if self._deadline is None:
            grace = self._setup.grace_seconds if grace_seconds is None else grace_seconds
            self._deadline = time.monotonic() + grace
        # On a thread, because this may be a signal handler, and the interrupted code may hold the lock.
        threading.Thread(target=self._devices.wake, daemon=True).start()

    def stop(self) -> None:
        """Interrupt painting attempts at their next step; the others come back as after ``drain``."""
        self._draining.set()
        self._stopping.set()
        self._devices.wake()

    def recall(self, attempts: Sequence[str]) -> None:
        """Hand attempts back, unless they are already painting.

        Args:
            attempts: The attempts' ids.
        """
        self._recalled.update(attempts)
        self._devices.wake()

    def _log_outcome(self, attempt: Attempt) -> Outcome:
        outcome = attempt.outcome(self.name, self.node, self.device)
        failure = outcome.failure
        log.info(
            "%s after %.1f s",
            "done" if failure is None else f"{failure.kind} ({failure.message})",
            outcome.attempt_record.seconds,
            extra={"task": attempt.task.id, "attempt": attempt.id},
        )
        return outcome

    def _must_return(self, attempts: Sequence[Attempt]) -> AttemptReturned | None:
        if self._deadline is not None:
            return AttemptReturned("preempted", "its machine is being taken away")
        if self._draining.is_set():
            return AttemptReturned("stopped", "the run was asked to stop before this task began")
        if any(attempt.id in self._recalled for attempt in attempts):
            return AttemptReturned("recalled", "another worker was free before it began")
        return None

    def _sign_fetching(self) -> None:
        """Note that the attempts that fetch make progress: the list of an archive may take minutes, in which
        others wait for it."""
        for attempt_id in self._heartbeat.in_phase("fetch"):
            if attempt_id not in self._decoding:
                self._heartbeat.sign(attempt_id)

    def _enter(self, attempts: Sequence[Attempt], phase: Phase) -> None:
        for attempt in attempts:
            self._heartbeat.enter(attempt.id, phase)
            if phase == "render" and self.device.name == "cpu":
                size = attempt.task.recipe.size
                self._heartbeat.slow_down(attempt.id, max(1.0, (size / PROMPT_SIZE) ** 2))

    def _prepare_all(self, attempts: Sequence[Attempt]) -> list[_Ready]:
        """Fetch and decode; return the attempts that succeed. The others have their failure set."""
        ready: list[_Ready] = []

        def prepare(attempt: Attempt) -> None:
            self._enter([attempt], "fetch")
            try:
                with attempt.timer("fetch"):
                    ready.append(self._prepare(attempt))
            except Exception as error:
                attempt.fail(error)

        _for_each(prepare, attempts)
        order = {id(attempt): k for k, attempt in enumerate(attempts)}
        return sorted(ready, key=lambda r: order[id(r.attempt)])

    def _prepare(self, attempt: Attempt) -> _Ready:
        task = attempt.task
        fetched = self._fetch(task)
        content = self._decode(
            attempt, "content", fetched.content, keep_opaque=task.part is not None
        )
        pictures = [self._decode(attempt, "style", style) for style in fetched.styles]
        masks = {uri: self._decode_mask(attempt, mask) for uri, mask in fetched.masks.items()}
        init = self._decode(attempt, "init", fetched.init) if fetched.init else None
        hold = self._hold(attempt, content, fetched.needs)
        recipe = task.recipe if hold is None else hold.recipe
        mix = [
            (picture, share, None if mask is None else masks[mask])
            for picture, (_, share, mask) in zip(pictures, task.styles, strict=True)
        ]
        steps = recipe.total_steps
        # A frame of which too little is held makes all steps; done, it counts as it was counted before.
        share = task.work / recipe.total_work

        def note(scale: int, step: int, total: float) -> None:
            self._heartbeat.sign(attempt.id)
            self._progress[attempt.id] = Progress(
                task_id=task.id,
                attempt_id=attempt.id,
                worker=self.name,
                scale=scale,
                step=step,
                steps=steps,
                work=round(share * recipe.work_at(step)),
                total=total,
                name=task.name,
                preview=attempt.previews is not None and attempt.previews.exists,
            )

        def observe(rows: Sequence[LossRow]) -> None:
            attempt.stream.add(rows)
            note(rows[-1].scale, rows[-1].step, rows[-1].total)

        checkpoint = attempt.checkpoints.load()
        order = Order(
            task=task,
            content=content,
            styles=mix,
            init=init,
            observe=observe,
            resumption=StoredResumption(checkpoint, attempt.checkpoints, attempt.stream),
            preview=attempt.previews,
            hold=hold,
        )
        return _Ready(attempt, order, fetched, note)

    def _fetch(self, task: Task) -> Fetched:
        # Parts of one style often share a mask, which is then fetched once.
        masks = dict.fromkeys(part.mask for part in task.styles if part.mask is not None)
        return Fetched(
            content=self._read(task.content),
            styles=[self._read(part.uri) for part in task.styles],
            masks={uri: self._read(uri) for uri in masks},
            init=self._read(task.init) if task.init else None,
            needs=fetch_needs(self._storage, task.part),
        )

    def _read(self, uri: str) -> InputData:
        try:
            return self._inputs.read(uri)
        except StorageError as error:
            raise explain_fetch(uri, error) from error

    def _decode(
        self, attempt: Attempt, what: str, data: InputData, keep_opaque: bool = False
    ) -> Any:
        from stylize.pictures.reading.pages import further_pages  # Pillow is slow to import

        with self._noting(attempt, f"{what} {display(data.uri)}") as name:
            if (pages := further_pages(data.data)) is not None:
                attempt.pages.append(f"{display(data.uri)} {pages}")
            return self._renderers[0].decode(
                data.data, name, self._setup.image, keep_opaque=keep_opaque
            )

    @contextmanager
    def _noting(self, attempt: Attempt, name: str) -> Iterator[str]:
        """Note what is decoded in the block: a decoder may end the process, or itself never end."""
        self._note_decoding(attempt.id, name)
        try:
            yield name
        finally:
            self._note_decoding(attempt.id, None)

    def _note_decoding(self, attempt_id: str, name: str | None) -> None:
        if name is None:
            self._decoding.pop(attempt_id, None)
        else:
            self._decoding[attempt_id] = name
        self._heartbeat.sign(attempt_id)
        self._on_decoding(name)

    def _hold(self, attempt: Attempt, content: Any, needs: Sequence[NeedPicture]) -> Hold | None:
        """Return what a frame keeps of those that it holds to; None: it is a picture by itself, or a root."""
        task = attempt.task
        if task.part is None or not needs:
            return None

        pictures = [(need, self._decode_need(attempt, need)) for need in needs]
        with self._noting(attempt, f"the frames around {display(task.content)}"):
            return self._holding.hold(task.part, content, pictures, task.recipe)

    def _decode_frame(self, uri: str) -> Any:
        """Return a frame of a film, to see how it moves."""
        # Motion may take minutes to be found, frame by frame, while others wait for it.
        for attempt_id in self._heartbeat.in_phase("fetch"):
            self._heartbeat.sign(attempt_id)
        return self._renderers[0].decode(
            self._read(uri).data, f"frame {display(uri)}", self._setup.image
        )

    def _decode_need(self, attempt: Attempt, need: NeedPicture) -> Any:
        with self._noting(attempt, f"frame {need.key}") as name:
            return self._renderers[0].decode_painted(need.data, name, self._setup.image)

    def _decode_mask(self, attempt: Attempt, data: InputData) -> Any:
        with self._noting(attempt, f"mask {display(data.uri)}") as name:
            mask, doubt = self._renderers[0].decode_mask(data.data, name)
        if doubt is not None:
            attempt.doubts.append(about_mask(data.uri, doubt))
        return mask

    def _paint_all(self, ready: Sequence[_Ready]) -> None:
        attempts = [r.attempt for r in ready]
        self._enter(attempts, "wait")
        began = time.perf_counter()
        renderer = self._devices.take(lambda: self._must_return(attempts))
        waited = round(time.perf_counter() - began, 3)
        painted: list[tuple[_Ready, Painted]] = []
        try:
            for attempt in attempts:
                attempt.timer.seconds["wait"] = waited
            for group in _groups(ready, renderer):
                painted += self._paint(renderer, group)
        finally:
            self._devices.give_back(renderer)
        for attempt in attempts:
            if attempt.failure is not None and attempt.failure.kind in ("stopped", "preempted"):
                attempt.checkpoints.flush()
        kept = [r for r in ready if r.attempt.good is not None]
        self._enter([*(r.attempt for r, _ in painted), *(r.attempt for r in kept)], "store")
        _for_each(lambda pair: self._finish(renderer, *pair), painted)
        _for_each(lambda r: self._keep(renderer, r), kept)

    def _paint(self, renderer: Renderer, group: Sequence[_Ready]) -> list[tuple[_Ready, Painted]]:
        """Paint together; if that fails, paint each alone, because one picture may fail the others."""
        self._enter([ready.attempt for ready in group], "render")
        for ready in group:
            # Report progress at once, so that the attempt counts as painting before its first step.
            ready.note(ready.order.recipe.schedule()[0][0], 0, math.nan)
        try:
            return list(zip(group, self._paint_timed(renderer, group), strict=True))
        except InterruptedRender as error:
            reason = self._interruption(error)
            for ready in group:
                ready.attempt.fail(reason)
            return []
        except Exception as error:
            if len(group) == 1:
                self._fail(group[0].attempt, error)
                return []
            log.info("%d pictures fail together and are painted one by one: %s", len(group), error)
        return [pair for ready in group for pair in self._paint(renderer, [ready])]

    def _paint_timed(self, renderer: Renderer, group: Sequence[_Ready]) -> list[Painted]:
        began = time.perf_counter()
        try:
            return renderer.paint(
                [r.order for r in group], lambda: self._should_stop([r.attempt for r in group])
            )
        finally:
            share = (time.perf_counter() - began) / len(group)
            for ready in group:
                seconds = ready.attempt.timer.seconds
                seconds["render"] = round(seconds.get("render", 0.0) + share, 3)

    def _should_stop(self, attempts: Sequence[Attempt]) -> bool:
        if self._stopping.is_set():
            return True
        if self._deadline is None:
            return False
        stored = all(attempt.checkpoints.urgently_written for attempt in attempts)
        return stored or time.monotonic() >= self._deadline

    def _interruption(self, error: InterruptedRender) -> Exception:
        if self._deadline is not None and not self._stopping.is_set():
            return AttemptReturned("preempted", "its machine is being taken away")
        return error

    def _fail(self, attempt: Attempt, error: Exception) -> None:
        attempt.fail(error)
        if isinstance(error, DivergedError) and error.pictures:
            # A batch that fails is repeated picture by picture, so the error is from this task's render
            # alone, and its only picture is this task's. It is stored when the device is free again.
            attempt.good = error.pictures[0]

    def _keep(self, renderer: Renderer, ready: _Ready) -> None:
        """Store the last good picture of a failed render, and what shows it."""
        attempt, failure = ready.attempt, ready.attempt.failure
        picture, attempt.good = attempt.good, None
        kept = self._store_kept(renderer, attempt.task, picture)
        if kept is None or failure is None:
            return
        shown = self._small.pictures(renderer, ready.order, ready.fetched, picture)
        kept = kept.model_copy(update={"thumbnail": shown.thumbnail})
        record = attempt.task.record("failed", error=failure.message, kept=kept)
        card = self._card(attempt, record, shown.copies)
        attempt.failure = replace(failure, kept=kept, card=card)

    def _card(self, attempt: Attempt, record: TaskRecord, copies: Copies) -> str | None:
        of_attempt = attempt.attempt_record(self.name, self.node, self.device)
        record = record.model_copy(update={"attempts": [of_attempt]})
        return self._small.card(record, attempt.stream.to_bytes(), copies)

    def _make_preview(self, picture: Any) -> bytes:
        return self._renderers[0].thumbnail(
            picture, self._setup.image, PREVIEW_SIZE, PREVIEW_QUALITY
        )

    def _finish(self, renderer: Renderer, ready: _Ready, painted: Painted) -> None:
        """Store a picture and its log, and set the attempt's record."""
        attempt, task = ready.attempt, ready.attempt.task
        try:
            with attempt.timer("store"):
                output = self._store(renderer, keys.image, task, painted.picture)
                losses = attempt.stream.finish()
                shown = self._small.pictures(renderer, ready.order, ready.fetched, painted.picture)
                confidence = self._small.confidence(renderer, ready.order)
                if self._setup.tensorboard:
                    attempt.stream.write_event_file(keys.event_file(task.name, task.id))
        except Exception as error:
            attempt.fail(error)
            return
        record = task.record(
            "done",
            film=None if task.part is None else self._film_record(task.part, ready, confidence),
            inputs=ready.fetched.records([(part.share, part.mask) for part in task.styles]),
            output=output.model_copy(update={"thumbnail": shown.thumbnail}),
            losses=losses,
            losses_key=attempt.stream.key,
            steps=ready.order.recipe.total_steps,
            precision=painted.precision,
            concessions=list(painted.concessions),
            seconds=attempt.timer.seconds,
            versions=renderer.versions,
        )
        card = self._card(attempt, record, shown.copies)
        attempt.record = record.model_copy(update={"card": card})

    def _film_record(self, part: FilmPart, ready: _Ready, confidence: str | None) -> FilmRecord:
        hold = ready.order.hold
        about = {
            "held": None if hold is None else round(hold.share, 4),
            "confidence": confidence,
        }
        digests = {need.task_id: need.sha256 for need in ready.fetched.needs}
        flow = () if hold is None else hold.flow
        return part.record(digests, flow).model_copy(update=about)

    def _store(
        self, renderer: Renderer, key_of: Callable[[str, str, str], str], task: Task, picture: Any
    ) -> OutputRecord:
        encoded = renderer.encode(picture, self._setup.image, task.about())
        key = key_of(task.name, task.id, encoded.extension)
        self._storage.put(key, encoded.data, content_type=encoded.content_type)
        return OutputRecord(
            key=key,
            sha256=hashlib.sha256(encoded.data).hexdigest(),
            size=len(encoded.data),
            width=encoded.width,
            height=encoded.height,
        )

    def _store_kept(self, renderer: Renderer, task: Task, picture: Any) -> OutputRecord | None:
        """Store the last good picture of a failed render; return None if that fails."""
        try:
            return self._store(renderer, keys.kept, task, picture)
        except Exception as error:  # the failure of the render is what counts
            log.warning("the last good picture is not kept: %s", error, extra={"task": task.id})
            return None

    def _run_isolated(self, assignment: Assignment, attempt: Attempt) -> Outcome:
        """Have a child process make an attempt, on one of this worker's devices."""
        self._enter([attempt], "wait")
        renderer = self._devices.take(lambda: self._must_return([attempt]))
        try:
            self._enter([attempt], "render")

            def note(progress: Sequence[Progress]) -> None:
                for latest in progress:
                    known = self._progress.get(attempt.id)
                    # Not the losses: before the first step they are NaN, which differs from itself.
                    if known is None or (known.scale, known.step) != (latest.scale, latest.step):
                        self._heartbeat.sign(attempt.id)
                    self._progress[attempt.id] = replace(latest, worker=self.name)

            result = paint_isolated(
                self._setup,
                self.name,
                replace(assignment, isolated=False),
                self._first_device + self._renderers.index(renderer),
                note,
                decoding=lambda name: self._note_decoding(attempt.id, name),
                unblamed=lambda: self._heartbeat.sign(attempt.id),
                stopping=self._stopping.is_set,
                preempted=lambda: self._deadline is not None,
            )
        finally:
            self._devices.give_back(renderer)
        if isinstance(result, Failure):
            attempt.failure = result
            return attempt.outcome(self.name, self.node, self.device)
        return result


def _groups(ready: Sequence[_Ready], renderer: Renderer) -> Iterator[list[_Ready]]:
    """Yield the groups that can be painted together. An attempt that resumes from a checkpoint is painted
    alone, because each checkpoint has its own number of steps."""
    together: dict[object, list[_Ready]] = {}
    for candidate in ready if len(ready) > 1 else ():
        task, content = candidate.order.task, candidate.order.content
        holds = candidate.order.hold is not None
        recipe = candidate.order.recipe.model_dump_json()
        alike = (recipe, task.weights_digest, renderer.shape(content), holds)
        alone = candidate.order.resumption.checkpoint is not None
        together.setdefault(id(candidate) if alone else alike, []).append(candidate)
    yield from together.values() or [list(ready)]


def _for_each(do: Callable[[Any], None], items: Sequence[Any]) -> None:
    """Call ``do`` with each item, up to ``AT_ONCE`` at a time; ``do`` must raise nothing."""
    if len(items) < 2:
        for item in items:
            do(item)
        return
    with ThreadPoolExecutor(min(AT_ONCE, len(items))) as threads:
        list(threads.map(do, items))


def worker_name(role: str) -> str:
    """Return a worker's name for records and logs: ``role@host:pid``.

    Args:
        role: What the worker is in its run, such as ``gpu-3``.
    """
    return f"{role}@{socket.gethostname()}:{os.getpid()}"
