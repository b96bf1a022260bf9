"""The command in a process of its own that need not import it: it is forked from one that has.

Importing the command and what it renders with takes some seconds of a core, and the tests call it hundreds of
times. One process for each process of pytest imports all of it once, and then forks for every call. It has no
threads when it does. What a fork shows less truly than a process that was started is what is decided before
the first line of the command and after its last: how Python meets closed streams, which modules are imported
when, how Python ends. The tests of these start their processes. ``begin`` comes nearest to that: its process
has streams as Python makes them of these descriptors, and ends as Python does.

``python -m tests.support.forked SOCKET`` is that process. Whoever connects sends three descriptors and, as
JSON, the words, the folder and the environment. The answers are two lines: the process's id, and its status.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import io
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

ROOT = Path(__file__).resolve().parents[2]

PRELOADED = (
    *("cluster.cli.app", "cluster.run.run_job", "cluster.run.after", "cluster.pools.inline_pool"),
    *("cluster.worker.worker", "cluster.worker.renderer", "cluster.display.pictures.newest"),
    *("cluster.plan.plan", "cluster.plan.plan_text", "cluster.complete.small"),
    *("jobs.report.gallery", "jobs.report.tables", "jobs.report.templates", "jobs.storage.s3"),
    *("jobs.proofs.find_job", "stylize.api", "stylize.render.render", "stylize.pictures.codec"),
    *("boto3", "imagecodecs", "jinja2", "requests", "safetensors.torch", "tifffile"),
    *("aiohttp.web", "filelock", "google.protobuf.message_factory", "jsonschema", "psutil"),
)
"""What most calls need. Never Ray, which starts threads and reads the environment when it is imported; but
what Ray imports, which takes as long."""

Settings = Mapping[str, float]
"""Variables of modules that are numbers, by their full names, and what they are to be."""

READ_EARLY = ("LANG", "LC_", "OMP_", "PYTHON")
"""How names of variables begin that are read before the command is: it has to be started for them."""

SECONDS = 300
"""Until everything is imported, on a machine that has other work."""


def preload() -> None:
    """Import what most calls need; it starts no thread."""
    for name in PRELOADED:
        importlib.import_module(name)
    # By its door, which sets how it allocates; an allocator that is not used would start a thread.
    os.environ["JE_ARROW_MALLOC_CONF"] = "background_thread:false"
    importlib.import_module("jobs.arrow").compute()


class Forked:
    """The command in a fork, with what ``subprocess.Popen`` has of it."""

    def __init__(self, line: socket.socket, words: Sequence[str]) -> None:
        self.args = list(words)
        self.returncode: int | None = None
        self._line = line
        self._answers = line.makefile("r")
        self.pid = int(self._answers.readline())

    def poll(self) -> int | None:
        """Its status once it has ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Its status when it has ended.

        Raises:
            subprocess.TimeoutExpired: It does not end in time.
        """
        if self.returncode is None:
            if not select.select([self._line], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            self.returncode = int(self._answers.readline())
            self._answers.close()
            self._line.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)


def begin(
    words: Sequence[str],
    out: int,
    err: int,
    *,
    folder: Path,
    environment: Mapping[str, str],
    settings: Settings = MappingProxyType({}),
    anew: bool = True,
) -> Forked:
    """Begin the command with these words.

    Args:
        words: What follows its name.
        out: The descriptor of its standard output.
        err: That of its standard error.
        folder: Where it begins.
        environment: All of its environment.
        settings: What it finds in modules, by names such as ``cluster.run.looking.LOOK_SECONDS``.
        anew: Whether its streams are made, and it ends, as those of a process that was started.
    """
    request = {
        "words": list(words),
        "folder": str(folder),
        "environment": dict(environment),
        "settings": dict(settings),
        "anew": anew,
    }
    line = socket.socket(socket.AF_UNIX)
    line.connect(_parent())
    with open(os.devnull, "rb") as nothing:  # noqa: PTH123
        socket.send_fds(line, [b"."], [nothing.fileno(), out, err])
    line.sendall(json.dumps(request).encode() + b"\n")
    return Forked(line, words)


def run(
    words: Sequence[str], environment: Mapping[str, str], settings: Settings, timeout: float
) -> subprocess.CompletedProcess[str]:
    """Run the command with these words, as ``subprocess.run`` does it.

    Raises:
        subprocess.TimeoutExpired: It did not end in time, and was killed.
    """
    said = []
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = begin(
            words,
            out.fileno(),
            err.fileno(),
            folder=Path.cwd(),
            environment=environment,
            settings=settings,
            anew=False,
        )
        try:
            status = process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        for file in (out, err):
            file.seek(0)
            said.append(io.TextIOWrapper(file, "utf-8").read())
    return subprocess.CompletedProcess(list(words), status, *said)


@lru_cache(maxsize=1)
def _parent() -> str:
    """The socket of the process that forks; it ends with this one."""
    address = Path(tempfile.mkdtemp(prefix="sf-")) / "forked"
    process = subprocess.Popen(
        [sys.executable, "-m", __name__, str(address)],
        stdin=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
    )
    until = time.monotonic() + SECONDS
    while not address.exists():
        assert process.poll() is None, "what forks the command ended"
        assert time.monotonic() < until, f"what forks the command is not there after {SECONDS} s"
        time.sleep(0.05)
    _kept.append(process)
    return str(address)


_kept: list[subprocess.Popen[bytes]] = []
"""Whose standard input is open as long as this process lives."""


def main(address: str) -> None:
    """Fork for everybody who connects, until standard input ends."""
    preload()
    assert len(os.listdir("/proc/self/task")) == threading.active_count() == 1  # noqa: PTH208
    gc.freeze()  # so that looking for garbage copies none of this memory
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    server = socket.socket(socket.AF_UNIX)
    server.bind(f"{address}-")
    server.listen(50)
    os.rename(f"{address}-", address)  # noqa: PTH104

    while True:
        ready, _, _ = select.select([server, 0], [], [], 1.0)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if 0 in ready:
            os.unlink(address)  # noqa: PTH108
            os.rmdir(os.path.dirname(address))  # noqa: PTH106, PTH120
            return
        if server in ready:
            line, _ = server.accept()
            if os.fork() == 0:
                server.close()
                _attend(line)
            line.close()


def _attend(line: socket.socket) -> None:
    """Fork once more, and tell what became of it."""
    _, streams, *_ = socket.recv_fds(line, 1, 3)
    request = json.loads(line.makefile("r").readline())
    child = os.fork()
    if child == 0:
        line.close()
        _become(streams, **request)
    for number in streams:
        os.close(number)
    line.sendall(f"{child}\n".encode())
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with contextlib.suppress(OSError):  # nobody waits for it any more
        line.sendall(f"{status}\n".encode())
    os._exit(0)


def _become(
    streams: list[int],
    words: list[str],
    folder: str,
    environment: dict[str, str],
    settings: dict[str, float],
    anew: bool,
) -> None:
    """Run the command in this process, and end it as it ends."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    tempfile.tempdir = None
    os.chdir(folder)
    for name, value in settings.items():
        module, _, variable = name.rpartition(".")
        setattr(importlib.import_module(module), variable, value)
    sys.argv = [str(ROOT / "cluster/cli/__main__.py"), *words]
    if anew:
        _make_streams()
        from cluster.cli.app import main as started

        started()
        sys.exit()  # through all that is above, to where Python ends
    # Of a new process these have nothing in their buffers.
    for stream in (sys.stdout, sys.stderr):
        assert isinstance(stream, io.TextIOWrapper)
        stream.reconfigure(line_buffering=stream is sys.stderr)
    from cluster.cli.app import main as command

    status: object = 1
    try:
        command()
    except SystemExit as ended:
        status = ended.code
    except BaseException:
        traceback.print_exc()
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    # Taking apart all that was imported, object by object, would take its time.
    os._exit(status if isinstance(status, int) else status is not None)


def _make_streams() -> None:
    """Make standard output and standard error as Python does when it starts."""
    for number, name, errors in ((1, "stdout", "strict"), (2, "stderr", "backslashreplace")):
        was = getattr(sys, name)
        stream = io.TextIOWrapper(
            open(number, "wb", closefd=False),  # noqa: SIM115
            encoding=was.encoding,
            errors=errors,
            newline="\n",
            line_buffering=number == 2 or os.isatty(number),
        )
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


if __name__ == "__main__":
    main(sys.argv[1])
