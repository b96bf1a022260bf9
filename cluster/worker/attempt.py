"""``Attempt``: the worker's state of one attempt at a task; ``explain``: what an exception means for it."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from cluster.messages import (
    Assignment,
    DeviceInfo,
    Failure,
    FailureKind,
    Outcome,
    WorkerSetup,
    attempt_record,
)
from cluster.worker.device_queue import AttemptReturned
from cluster.worker.films.needs import NeedPicture, ReplacedError
from cluster.worker.uploads import Checkpoints, LossStream, Previews
from jobs.errors import (
    InputError,
    StorageError,
    StorageFullError,
    StorageUnreachableError,
    printable,
)
from jobs.inputs.data import InputData
from jobs.records.loss_log import LossLog
from jobs.records.record import AttemptRecord, InputRecord, TaskRecord, input_record
from jobs.storage.base import Storage
from stylize.errors import (
    DivergedError,
    InterruptedRender,
    MemberLostError,
    MemoryLimitError,
    PictureError,
    WeightsError,
)

log = logging.getLogger(__name__)


class FetchError(Exception):
    """The server of an input does not answer."""


@dataclass
class Timer:
    """Measures the seconds of each named phase: ``with timer("fetch"): ...``."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        """Measure one phase; a phase that is measured again is overwritten."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[phase] = round(time.perf_counter() - began, 3)


class Attempt:
    """A worker's state of one attempt: timer, loss log, checkpoints, and how it ended.

    Args:
        assignment: The task and the attempt's id.
        setup: The settings of the job's workers.
        storage: The output.
        urgent: Returns whether the next checkpoint must be written at once.
        make_preview: Returns the file of a picture of the renderer's own type, small.
    """

    def __init__(
        self,
        assignment: Assignment,
        setup: WorkerSetup,
        storage: Storage,
        urgent: Callable[[], bool],
        make_preview: Callable[[Any], bytes],
    ) -> None:
        self.task = assignment.task
        self.id = assignment.attempt_id
        self.isolated = assignment.isolated
        self.timer = Timer()
        self.failure: Failure | None = None
        self.record: TaskRecord | None = None
        self.doubts: list[str] = []
        """Sentences about masks that are probably not those that are meant."""
        self.pages: list[str] = []
        """Sentences about pictures whose files have further pages."""
        log_ = LossLog(tuple(self.task.recipe.style_layers), setup.losses_every)
        self.stream = LossStream(storage, self.task.id, log_)
        self.checkpoints = Checkpoints(
            storage, self.task.id, setup.checkpoint_seconds, self.stream.write, urgent
        )
        self.previews: Previews | None = None
        """Takes the picture as it is so far; None: nobody asked for it."""
        if setup.image.previews is not None:
            every = setup.image.previews
            self.previews = Previews(storage, self.task.id, every, make_preview)
        self.good: Any = None
        """The last good picture of a render that failed, until it is stored; None: there is none."""
        self._started = time.time()

    def fail(self, error: Exception) -> None:
        """Set the failure from an exception; an unexpected one is logged with its traceback."""
        self.failure = explain(error)
        if self.failure.kind == "bug":
            log.error(
                "an attempt failed unexpectedly\n%s",
                "".join(traceback.format_exception(error)),
                extra={"task": self.task.id, "attempt": self.id},
            )

    def close(self) -> None:
        """Wait for the running writes, so that nothing is stored after the attempt was handed back."""
        self.checkpoints.close()
        self.stream.close()
        if self.previews is not None:
            self.previews.close()

    def attempt_record(self, worker: str, host: str, device: DeviceInfo) -> AttemptRecord:
        """Return the record of the attempt as if it ended now; the arguments are as for ``outcome``."""
        return attempt_record(
            self.id,
            worker=worker,
            host=host,
            device=device,
            started=self._started,
            error=self.failure.message if self.failure else None,
        )

    def outcome(self, worker: str, host: str, device: DeviceInfo) -> Outcome:
        """Return how the attempt ended.

        Args:
            worker: The worker's name.
            host: The name of the worker's host.
            device: The worker's device.
        """
        attempt = self.attempt_record(worker, host, device)
        record = self.record
        if record is not None:
            record = record.model_copy(update={"attempts": [attempt]})
        return Outcome(
            attempt,
            record=record,
            failure=self.failure,
            checkpoint=self.checkpoints.exists,
            # An earlier attempt may have left one, too.
            preview=self.previews is not None,
            doubts=tuple(self.doubts),
            pages=tuple(dict.fromkeys(self.pages)),
        )


@dataclass(frozen=True, slots=True)
class Fetched:
    """The files of a task's pictures."""

    content: InputData
    styles: Sequence[InputData]
    masks: Mapping[str, InputData]
    """The masks, by address."""
    init: InputData | None
    needs: Sequence[NeedPicture] = ()
    """The finished pictures of the frames that the task holds to."""

    def records(self, shares: Sequence[tuple[float, str | None]]) -> list[InputRecord]:
        """Return the records of the inputs: content, styles, masks, and the first picture if one is given.

        Args:
            shares: The share and the mask's address of each style, in order.
        """
        return [
            input_record(self.content),
            *(
                input_record(style, share, mask)
                for style, (share, mask) in zip(self.styles, shares, strict=True)
            ),
            *(input_record(mask) for mask in self.masks.values()),
            *([input_record(self.init)] if self.init else []),
        ]


@dataclass(frozen=True, slots=True)
class StoredResumption:
    """A ``cluster.worker.renderer.Resumption`` that keeps the loss log in step with the checkpoints."""

    checkpoint: bytes | None
    _checkpoints: Checkpoints
    _stream: LossStream

    def begin(self, step: int) -> None:
        self._stream.begin(step)

    def offer(self, make: Callable[[], bytes]) -> None:
        self._checkpoints.offer(make)


_KINDS: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], FailureKind], ...] = (
    ((InputError, PictureError, DivergedError), "picture"),
    ((FetchError, ReplacedError), "fetch"),
    (StorageFullError, "full"),
    (StorageError, "storage"),
    (InterruptedRender, "stopped"),
    ((MemoryError, MemoryLimitError), "memory"),
    (WeightsError, "weights"),
    (MemberLostError, "worker"),
)


def explain(error: Exception) -> Failure:
    """Return the failure that an exception means.

    Args:
        error: What fetching, painting or storing raised.

    Returns:
        The failure; its kind is ``bug`` for an exception that is not expected.
    """
    if isinstance(error, AttemptReturned):
        return Failure(error.kind, str(error))
    for types, kind in _KINDS:
        if isinstance(error, types):
            return Failure(kind, printable(str(error)) or "out of memory")
    # torch's OutOfMemoryError is a RuntimeError, and importing torch to name it would cost seconds.
    if type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error):
        return Failure("memory", "out of memory on the device; use a smaller size")
    first = str(error).splitlines()[0] if str(error) else ""
    return Failure("bug", printable(f"unexpected {type(error).__name__}: {first}"))


def explain_fetch(uri: str, error: StorageError) -> Exception:
    """Return the exception for an input that cannot be read.

    Args:
        uri: The input's address.
        error: What reading it raised.

    Returns:
        ``error`` itself when the job's S3 cannot be reached, which pauses the run; else a FetchError, which
        retries the task.
    """
    ours = uri.startswith("s3://") and isinstance(error, StorageUnreachableError)
    return error if ours else FetchError(str(error))
