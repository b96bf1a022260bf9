"""``Team``: processes, each with a device, that paint one picture together, each a band of its rows.

This process joins none of their collectives: it sends orders, passes on losses and checkpoints, and can end a
member that waits for one that is gone. A team lives from render to render, so that each begins at once.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import NoReturn

import torch

from stylize.errors import DivergedError, InterruptedRender, MemberLostError
from stylize.network.vgg19 import VGG19
from stylize.pictures.picture import Picture
from stylize.render.checkpoint import Checkpoint
from stylize.render.out_of_memory import Painted, PaintOnce
from stylize.render.recorder import Observer
from stylize.render.setup import RenderSetup
from stylize.team.files import NETWORK, load, store, store_network
from stylize.team.messages import (
    CutAt,
    Ended,
    Finished,
    FromMember,
    Observed,
    Order,
    Paint,
    Ready,
    StopPainting,
    Taken,
)

MODULE = "stylize.team.member"
"""The module that a member runs."""

POLL_SECONDS = 0.1
"""How often ``should_stop`` is called, in seconds."""

START_SECONDS = 300.0
"""The most seconds for all members to start. A cold disk takes a minute to give them torch."""


class Team:
    """Processes that paint pictures together on several devices of this machine.

    They start with the first render, and end with ``close``, with this process, or when one of them is lost.

    Args:
        devices: The device of each member, at least two: CUDA devices, or "cpu" several times.
        network: The network that they load, on any device.
        threads: The CPU threads of each member; None: torch's, divided among them.
    """

    def __init__(
        self,
        devices: Sequence[torch.device | str],
        network: VGG19,
        threads: int | None = None,
    ) -> None:
        given = [devices] if isinstance(devices, str) else devices
        self.devices = [torch.device(device) for device in given]
        if len(self.devices) < 2:
            raise ValueError("a team has at least two devices")
        self.network = network
        self._threads = threads or max(1, torch.get_num_threads() // len(self.devices))
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._painting = threading.Lock()
        self._members: list[tuple[subprocess.Popen[bytes], Connection]] = []

    def __enter__(self) -> Team:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self.devices)

    @property
    def pids(self) -> list[int]:
        """The process ids of the members; empty while there are none."""
        return [process.pid for process, _ in self._members]

    def close(self) -> None:
        """End all members, whatever they do."""
        for process, pipe in self._members:
            pipe.close()
            process.kill()
        for process, _ in self._members:
            process.wait()
        self._members = []
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def painter(
        self,
        observer: Observer | None,
        observe_seconds: float,
        should_stop: Callable[[], bool] | None,
        began: float,
    ) -> PaintOnce:
        """Return the function by which a render is painted by this team.

        Args:
            observer: Called with the losses of every step, in batches.
            observe_seconds: Time between two batches, in seconds.
            should_stop: The render is interrupted when it returns True.
            began: The ``time.perf_counter`` of the render's start, less the time before a checkpoint.
        """

        def paint(
            setup: RenderSetup,
            first_picture: int,
            at: Checkpoint | None,
            strips: int,
            on_cut: Callable[[Checkpoint], None],
            concede: Callable[[str], None],
        ) -> Painted:
            order = Order(
                inputs=setup.inputs,
                recipe=setup.recipe,
                fingerprint=setup.fingerprint,
                strips=strips,
                at=at,
                first_picture=first_picture,
                seconds=time.perf_counter() - began,
                observe_seconds=observe_seconds,
            )
            return self.paint(order, observer=observer, should_stop=should_stop, on_cut=on_cut)

        return paint

    def paint(
        self,
        order: Order,
        *,
        observer: Observer | None = None,
        should_stop: Callable[[], bool] | None = None,
        on_cut: Callable[[Checkpoint], None] | None = None,
    ) -> Painted:
        """Paint a render together.

        Args:
            order: The render.
            observer: Called with the losses of every step, in batches.
            should_stop: Called every ``POLL_SECONDS``; the render is interrupted when it returns True.
            on_cut: Called with every checkpoint.

        Returns:
            The pictures and their final losses, in order.

        Raises:
            InterruptedRender: ``should_stop`` returned True.
            DivergedError: The loss did not recover after repeated restarts.
            MemoryError: The memory of a member did not suffice.
            MemberLostError: A member ended without a word.
        """
        with self._painting:  # one after the other, whatever thread asks
            try:
                self._start()
                ended = self._paint(order, observer, should_stop, on_cut)
            except BaseException:
                self.close()  # the members may wait for one another, or paint on
                raise
        if isinstance(ended, Ended):
            _raise(ended, 0)
        assert ended.path is not None
        return _taken(ended.path), tuple(ended.losses)

    def _paint(
        self,
        order: Order,
        observer: Observer | None,
        should_stop: Callable[[], bool] | None,
        on_cut: Callable[[Checkpoint], None] | None,
    ) -> Finished | Ended:
        """Have the members paint, and return how it ended for the first; for all it ended alike."""
        assert self._folder is not None
        path = store(order, Path(self._folder.name))
        for _, pipe in self._members:
            _tell(pipe, Paint(path))
        asked_to_stop = False
        over: dict[int, Finished | Ended] = {}
        taken = 0
        while len(over) < len(self._members):
            if not asked_to_stop and should_stop is not None and should_stop():
                _tell(self._members[0][1], StopPainting())
                asked_to_stop = True
            for member, said in self._heard(POLL_SECONDS):
                if isinstance(said, Taken):
                    taken += 1
                    if taken == len(self._members):
                        Path(path).unlink()
                elif isinstance(said, Observed) and observer is not None:
                    observer(said.steps)
                elif isinstance(said, CutAt):
                    checkpoint: Checkpoint = load(said.path)
                    if on_cut is not None:
                        on_cut(checkpoint)
                    Path(said.path).unlink()
                elif isinstance(said, Finished | Ended):
                    over[member] = said
                    if isinstance(said, Ended) and said.why in ("memory", "error"):
                        _raise(said, member)
        return over[0]

    # -- members ------------------------------------------------------------------------------------

    def _start(self) -> None:
        """Start the members, unless they are there."""
        if self._members:
            return
        self._folder = tempfile.TemporaryDirectory(
            prefix="stylefarm-team-", ignore_cleanup_errors=True
        )
        store_network(self.network, Path(self._folder.name))
        for member, device in enumerate(self.devices):
            ours, theirs = Pipe()
            with theirs:
                process = subprocess.Popen(
                    [
                        *(sys.executable, "-m", MODULE),
                        *(str(theirs.fileno()), str(member), str(len(self.devices))),
                        *(self._folder.name, str(device), str(self._threads)),
                    ],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    start_new_session=True,  # a terminal's Ctrl-C asks this process, which tells them
                    env=_environment(self._threads),
                )
            self._members.append((process, ours))
        ready: set[int] = set()
        deadline = time.monotonic() + START_SECONDS
        while len(ready) < len(self._members):
            if time.monotonic() > deadline:
                raise MemberLostError(
                    f"{len(self._members) - len(ready)} of {len(self._members)} processes that were to "
                    f"paint a picture together did not start within {START_SECONDS:.0f} s"
                )
            for member, said in self._heard(POLL_SECONDS):
                if isinstance(said, Ended):
                    raise MemberLostError(
                        f"process {member + 1} of {len(self._members)} that were to paint a picture "
                        f"together cannot start on {self.devices[member]}: {said.message}"
                    ) from _InMember(said.traceback)
                if isinstance(said, Ready):
                    ready.add(member)
        # What has no name leaves nothing behind, however this process ends.
        (Path(self._folder.name) / NETWORK).unlink()

    def _heard(self, timeout: float) -> list[tuple[int, FromMember]]:
        """Return what members say within a time, one message of each at most.

        Raises:
            MemberLostError: A member has ended.
        """
        pipes = [pipe for _, pipe in self._members]
        said: list[tuple[int, FromMember]] = []
        for pipe in wait(pipes, timeout):
            member = pipes.index(pipe)  # type: ignore[arg-type]
            try:
                said.append((member, pipes[member].recv()))
            except (EOFError, OSError):
                self._lost(member)
        return said

    def _lost(self, member: int) -> NoReturn:
        process, _ = self._members[member]
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5)
        how = f"with status {process.returncode}"
        if process.returncode is not None and process.returncode < 0:
            how = f"by signal {-process.returncode}"
        raise MemberLostError(
            f"process {member + 1} of {len(self._members)} that paint a picture together, on "
            f"{self.devices[member]}, ended {how}"
        )


def _tell(pipe: Connection, message: Paint | StopPainting) -> None:
    # A member that has ended is found out by what it does not say.
    with contextlib.suppress(OSError):
        pipe.send(message)


def _taken(path: str) -> tuple[Picture, ...]:
    """Return the pictures in a file, and delete it."""
    pictures: tuple[Picture, ...] = load(path)
    Path(path).unlink()
    return pictures


def _raise(ended: Ended, member: int) -> NoReturn:
    if ended.why == "interrupted":
        raise InterruptedRender(ended.message)
    if ended.why == "memory":
        raise MemoryError(ended.message)
    if ended.why == "diverged":
        error = DivergedError(ended.message)
        if ended.path is not None:
            error.pictures = _taken(ended.path)
        raise error
    unexpected = ended.error or RuntimeError(f"process {member + 1}: {ended.message}")
    raise unexpected from _InMember(ended.traceback)


class _InMember(Exception):  # noqa: N818 - where an error is from, as a traceback shows it
    """The traceback of an error that a member raised."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


def _environment(threads: int) -> dict[str, str]:
    """Return the environment of a member."""
    found = dict(os.environ)
    # The same code as here, wherever it was imported from.
    found["PYTHONPATH"] = os.pathsep.join(
        dict.fromkeys(path or str(Path.cwd()) for path in sys.path)
    )
    found["OMP_NUM_THREADS"] = str(threads)
    # All members are on this machine, whose own name need not be an address.
    found.setdefault("GLOO_SOCKET_IFNAME", "lo0" if sys.platform == "darwin" else "lo")
    return found
