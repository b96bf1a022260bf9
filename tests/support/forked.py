"""The command in a process of its own that need not import it: it is forked from one that has.

Importing the command and what it renders with takes some seconds of a core, and the tests call it hundreds of
times. One process for each process of pytest imports all of it once, and then forks for every call. It has no
threads when it does. What a fork shows less truly than a process that was started is what is decided before
the first line of the command and after its last: how Python meets closed streams, which modules are imported
when, how Python ends. The tests of these start their processes, and so does each that holds on to a process.

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


def run(
    words: Sequence[str], environment: Mapping[str, str], timeout: float
) -> subprocess.CompletedProcess[str]:
    """Run the command with these words, as ``subprocess.run`` does it.

    Raises:
        subprocess.TimeoutExpired: It did not end in time, and was killed.
    """
    said = []
    request = {
        "words": list(words),
        "folder": str(Path.cwd()),
        "environment": dict(environment),
    }
    with (
        tempfile.TemporaryFile() as nothing,
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as err,
        socket.socket(socket.AF_UNIX) as line,
    ):
        line.connect(_parent())
        socket.send_fds(line, [b"."], [file.fileno() for file in (nothing, out, err)])
        line.sendall(json.dumps(request).encode() + b"\n")
        answers = line.makefile("r")
        number = int(answers.readline())
        if not select.select([line], [], [], timeout)[0]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
            raise subprocess.TimeoutExpired(list(words), timeout)
        status = int(answers.readline())
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


def _become(streams: list[int], words: list[str], folder: str, environment: dict[str, str]) -> None:
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
    sys.argv = [str(ROOT / "cluster/cli/__main__.py"), *words]
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


if __name__ == "__main__":
    main(sys.argv[1])
