"""A member of a team: ``python -m stylize.team.member`` with the arguments that ``Team`` gives it.

The process joins the others, loads the network on its device, and paints what it is told to until the pipe is
closed.
"""

from __future__ import annotations

import os
import pickle
import queue
import shutil
import sys
import threading
import time
import traceback
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NoReturn

import torch
import torch.distributed as dist

from stylize.errors import DivergedError, InterruptedRender
from stylize.render.checkpoint import Checkpoint
from stylize.render.out_of_memory import is_out_of_memory
from stylize.render.recorder import Recorder, Step
from stylize.render.render import Render
from stylize.render.setup import RenderSetup
from stylize.team.files import load, load_network, store
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


class Member:
    """One process of a team.

    Args:
        pipe: The pipe to the team.
        number: The number of this member, from 0.
        members: The number of members.
        folder: The folder of the team's files.
        device: The device to paint on.
    """

    def __init__(
        self, pipe: Connection, number: int, members: int, folder: Path, device: torch.device
    ) -> None:
        self._pipe = pipe
        self._number = number
        self._folder = folder
        self._device = device
        self._orders: queue.SimpleQueue[Paint] = queue.SimpleQueue()
        self._stop = threading.Event()
        if device.type == "cuda":
            torch.cuda.set_device(device)
        backend = "nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(
            backend, init_method=(folder / "members").as_uri(), rank=number, world_size=members
        )
        # Decisions of the host must not wait for the device.
        self._hosts: Any = None if backend == "gloo" else dist.new_group(backend="gloo")
        self._network = load_network(folder, device)
        # NCCL wants all members in its first call, and rows are exchanged by some of them alone.
        dist.all_reduce(torch.zeros(1, device=device))

    def run(self) -> None:
        """Paint orders until the process ends with its pipe."""
        threading.Thread(target=self._listen, daemon=True).start()
        self._say(Ready())
        while True:
            path = self._orders.get().path
            self._stop.clear()
            order = load(path)
            self._say(Taken())
            self._say(self._painted(order))
            del order

    def _listen(self) -> None:
        while True:
            try:
                said = self._pipe.recv()
            except (EOFError, OSError):
                self._leave()
            if isinstance(said, StopPainting):
                self._stop.set()
            else:
                self._orders.put(said)

    def _say(self, message: FromMember) -> None:
        try:
            self._pipe.send(message)
        except (BrokenPipeError, ConnectionResetError):
            self._leave()

    def _leave(self) -> NoReturn:
        """End, whatever this process does: nobody waits for it any more. Its owner may have ended without
        clearing up."""
        shutil.rmtree(self._folder, ignore_errors=True)
        os._exit(0)

    def _painted(self, order: Order) -> Finished | Ended:
        recorder = Recorder(
            time.perf_counter() - order.seconds,
            self._observe if self._number == 0 else None,
            order.observe_seconds,
            self._stop.is_set,
            step=0 if order.at is None else order.at.steps,
            first_picture=order.first_picture,
            agree=self._agree,
        )
        try:
            render = Render(
                RenderSetup(
                    order.inputs, order.recipe, self._network, self._device, order.fingerprint
                ),
                recorder=recorder,
                on_cut=self._cut,
                strips=order.strips,
                concede=lambda _: None,  # there are no graphs
                at=None if order.at is None else order.at.to(self._device),
                member=self._number,
                group=dist.group.WORLD,
            )
            pictures = render.run()
            return Finished(self._stored(pictures), list(recorder.last))
        except InterruptedRender as error:
            return Ended("interrupted", str(error))
        except DivergedError as error:
            return Ended("diverged", str(error), self._stored(error.pictures))
        except Exception as error:
            first = str(error).splitlines()[0] if str(error) else ""
            if is_out_of_memory(error):
                return Ended("memory", first)
            return Ended(
                "error",
                f"{type(error).__name__}: {first}",
                error=_sendable(error),
                traceback=traceback.format_exc(),
            )

    def _agree(self, number: int) -> int:
        decided = torch.tensor([number])
        dist.broadcast(decided, 0, group=self._hosts)
        return int(decided)

    def _observe(self, steps: Any) -> None:
        self._say(Observed(list[Step](steps)))

    def _cut(self, checkpoint: Checkpoint) -> None:
        path = self._stored(checkpoint.to(torch.device("cpu")))
        assert path is not None
        self._say(CutAt(path))

    def _stored(self, what: Any) -> str | None:
        return store(what, self._folder) if self._number == 0 else None


def _sendable(error: Exception) -> Exception | None:
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return None
    return error


def main(arguments: list[str]) -> None:
    """Be the member that the arguments describe: the pipe's number, member, members, folder, device and
    threads."""
    pipe, number, members, folder, device, threads = arguments
    torch.set_num_threads(int(threads))
    with Connection(int(pipe)) as connection:
        where = Path(folder), torch.device(device)
        try:
            member = Member(connection, int(number), int(members), *where)
        except Exception as error:
            said = str(error).splitlines()[0] if str(error) else type(error).__name__
            connection.send(Ended("error", said, traceback=traceback.format_exc()))
            return
        member.run()


if __name__ == "__main__":
    main(sys.argv[1:])
