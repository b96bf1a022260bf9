"""One worker: fetch -> paint -> store, and say how it went. Knows no Ray, so it runs anywhere.

Several attempts may be in here at once, in threads. They take turns at the device, so while one paints
the next fetches its pictures and the last stores its own.
"""

from __future__ import annotations

import hashlib
import logging
import os
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cluster.checkpoints import Checkpoints
from cluster.loss_stream import LossStream
from cluster.messages import Failure, FailureKind, Outcome, Progress, WorkerSetup
from cluster.renderer import Painted, StyleParts, make_renderer
from jobs import keys
from jobs.errors import InputError, StorageError, StorageFullError, printable
from jobs.inputs import InputData, Inputs
from jobs.losslog import LossLog, LossRow
from jobs.storage import open_storage
from jobs.tasks import (
    AttemptRecord,
    InputRecord,
    OutputRecord,
    Task,
    TaskRecord,
    style_records,
)
from jobs.web import display, without_secrets
from stylize.errors import (
    DivergedError,
    InterruptedRender,
    MemoryLimitError,
    PictureError,
    WeightsError,
)

log = logging.getLogger(__name__)


class Worker:
    """Renders tasks of one job on one device. Safe to call from several threads."""

    def __init__(self, setup: WorkerSetup, name: str) -> None:
        self.name = name
        self.node = socket.gethostname()
        self._setup = setup
        self._storage = open_storage(setup.output, setup.storage, base=Path(setup.base))
        self._inputs = Inputs(
            Path(setup.base), setup.storage, allow_private=setup.inputs.allow_private
        )
        self._renderer = make_renderer(setup.renderer, setup.base, setup.threads)
        self._device = threading.Lock()
        self._draining = threading.Event()
        self._stopping = threading.Event()
        self._progress: dict[str, Progress] = {}
        self.device = self._renderer.device

    def run(self, task: Task, attempt: str) -> Outcome:
        """Make one attempt at a task. Raises nothing: whatever happens is in the outcome."""
        started = time.time()
        failure, record = None, None
        log_ = LossLog(tuple(task.recipe.style_layers), self._setup.losses_every)
        stream = LossStream(self._storage, task.id, log_)
        checkpoints = Checkpoints(
            self._storage, task.id, self._setup.checkpoint_seconds, stream.write
        )
        try:
            record = self._render(task, attempt, stream, checkpoints)
        except Exception as error:
            failure = _explain(error)
            if failure.kind == "bug":
                log.error("task %s attempt %s\n%s", task.id, attempt, traceback.format_exc())
            if isinstance(error, DivergedError) and error.pictures:
                failure = replace(failure, kept=self._keep(task, error.pictures[0]))
        finally:
            self._progress.pop(attempt, None)
            checkpoints.close()
        made = AttemptRecord(
            id=attempt,
            worker=self.name,
            node=self.node,
            device=self.device,
            started=started,
            seconds=round(time.time() - started, 3),
            error=failure.message if failure else None,
        )
        if record is not None:
            record = record.model_copy(update={"attempts": [made]})
        return Outcome(task, made, record, failure, checkpoints.exists)

    def progress(self) -> list[Progress]:
        """Where the attempts stand that are painting now."""
        return list(self._progress.values())

    def drain(self) -> None:
        """Let what is painting finish; what waits for the device comes back as stopped."""
        self._draining.set()

    def stop(self) -> None:
        """Break off what is painting, too, at its next step."""
        self._draining.set()
        self._stopping.set()

    def _render(
        self, task: Task, attempt: str, stream: LossStream, checkpoints: Checkpoints
    ) -> TaskRecord:
        timer = _Timer()
        with timer("fetch"):
            fetched = self._fetch(task)
            content = self._decode("content", fetched.content)
            pictures = [self._decode("style", style) for style in fetched.styles]
            masks = {uri: self._decode("mask", mask) for uri, mask in fetched.masks.items()}
            init = self._decode("init", fetched.init) if fetched.init else None
            resumption = _Resumption(checkpoints.load(), checkpoints, stream)
        mix = [
            (picture, share, None if mask is None else masks[mask])
            for picture, (_, share, mask) in zip(pictures, task.styles, strict=True)
        ]
        with timer("wait"):
            self._device.acquire()
        try:
            if self._draining.is_set():
                raise InterruptedRender("the run was asked to stop before this task began")
            with timer("render"):
                painted = self._paint(task, attempt, content, mix, init, stream, resumption)
        finally:
            self._device.release()
        with timer("store"):
            output = self._store(keys.image, task, painted.picture)
            losses = stream.close()
        return TaskRecord(
            id=task.id,
            name=task.name,
            status="done",
            content=display(task.content),
            styles=style_records(task.styles),
            init=display(task.init) if task.init else None,
            inputs=_input_records(task, fetched),
            output=output,
            losses=losses,
            losses_key=stream.key,
            recipe=without_secrets(task.recipe.model_dump(mode="json")),
            weights_digest=task.weights_digest,
            steps=task.recipe.total_steps,
            concessions=list(painted.concessions),
            seconds=timer.seconds,
            versions=self._renderer.versions,
            finished=time.time(),
        )

    def _fetch(self, task: Task) -> _Fetched:
        read = self._inputs.read
        # Parts of one style often share a mask.
        masks = dict.fromkeys(part.mask for part in task.styles if part.mask is not None)
        try:
            return _Fetched(
                content=read(task.content),
                styles=[read(part.uri) for part in task.styles],
                masks={uri: read(uri) for uri in masks},
                init=read(task.init) if task.init else None,
            )
        except StorageError as error:
            raise _FetchError(str(error)) from error

    def _decode(self, what: str, got: InputData) -> Any:
        return self._renderer.decode(got.data, f"{what} {display(got.uri)}")

    def _paint(
        self,
        task: Task,
        attempt: str,
        content: Any,
        styles: StyleParts,
        init: Any | None,
        stream: LossStream,
        resumption: _Resumption,
    ) -> Painted:
        steps = task.recipe.total_steps

        def note(scale: int, step: int, total: float) -> None:
            self._progress[attempt] = Progress(
                task.id, attempt, self.name, scale, step, steps, task.recipe.work_at(step), total
            )

        def observe(rows: Sequence[LossRow]) -> None:
            stream.add(rows)
            note(rows[-1].scale, rows[-1].step, rows[-1].total)

        note(task.recipe.schedule()[0][0], 0, float("nan"))
        return self._renderer.paint(
            task, content, styles, init, observe, self._stopping.is_set, resumption
        )

    def _store(
        self, key_of: Callable[[str, str, str], str], task: Task, picture: Any
    ) -> OutputRecord:
        encoded = self._renderer.encode(picture, self._setup.image)
        key = key_of(task.name, task.id, encoded.extension)
        self._storage.put(key, encoded.data, content_type=encoded.content_type)
        return OutputRecord(
            key=key,
            sha256=hashlib.sha256(encoded.data).hexdigest(),
            size=len(encoded.data),
            width=encoded.width,
            height=encoded.height,
        )

    def _keep(self, task: Task, picture: Any) -> OutputRecord | None:
        """Store the last good picture of a render that failed, if that can be done."""
        try:
            return self._store(keys.kept, task, picture)
        except Exception as error:  # the render's failure is the news, whatever becomes of this
            log.warning("the last good picture of task %s is not kept: %s", task.id, error)
            return None


@dataclass(frozen=True, slots=True)
class _Fetched:
    """A task's pictures, as files."""

    content: InputData
    styles: Sequence[InputData]
    masks: Mapping[str, InputData]
    """By address."""
    init: InputData | None


@dataclass(frozen=True, slots=True)
class _Resumption:
    """``cluster.renderer.Resumption``, with the loss log going where the render goes."""

    found: bytes | None
    _checkpoints: Checkpoints
    _stream: LossStream

    def begin(self, step: int) -> None:
        self._stream.begin(step)

    def offer(self, make: Callable[[], bytes]) -> None:
        self._checkpoints.offer(make)


class _FetchError(Exception):
    """An input's storage or server did not answer."""


@dataclass
class _Timer:
    """Seconds of each named phase."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[phase] = round(time.perf_counter() - began, 3)


_KINDS: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], FailureKind], ...] = (
    ((InputError, PictureError, DivergedError), "picture"),
    (_FetchError, "fetch"),
    (StorageFullError, "full"),
    (StorageError, "storage"),
    (InterruptedRender, "stopped"),
    ((MemoryError, MemoryLimitError), "memory"),
    (WeightsError, "weights"),
)


def _explain(error: Exception) -> Failure:
    """What an exception means for the task."""
    for types, kind in _KINDS:
        if isinstance(error, types):
            return Failure(kind, printable(str(error)) or "out of memory")
    # torch's OutOfMemoryError is a RuntimeError, and importing torch to name it would cost seconds.
    if type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error):
        return Failure("memory", "out of memory on the device; use a smaller size")
    first = str(error).splitlines()[0] if str(error) else ""
    return Failure("bug", printable(f"unexpected {type(error).__name__}: {first}"))


def _input_records(task: Task, fetched: _Fetched) -> list[InputRecord]:
    return [
        _input_record(fetched.content),
        *(
            _input_record(got, part.share, part.mask)
            for got, part in zip(fetched.styles, task.styles, strict=True)
        ),
        *(_input_record(mask) for mask in fetched.masks.values()),
        *([_input_record(fetched.init)] if fetched.init else []),
    ]


def _input_record(got: InputData, share: float = 1.0, mask: str | None = None) -> InputRecord:
    return InputRecord(
        uri=display(got.uri),
        sha256=got.sha256,
        size=got.size,
        etag=got.etag,
        modified=got.modified,
        share=share,
        mask=None if mask is None else display(mask),
    )


def worker_name(role: str) -> str:
    """A name that tells workers apart in records and logs: role, host and process."""
    return f"{role}@{socket.gethostname()}:{os.getpid()}"
