"""A Ray head of its own, started by the command that people start it with."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.support.farm import ROOT, wait_for
from tests.support.rigs import free_port

PORTS = (
    *("dashboard-port", "dashboard-agent-listen-port", "dashboard-agent-grpc-port"),
    *("runtime-env-agent-port", "metrics-export-port", "ray-client-server-port"),
)
"""All that a head listens at under a number given to it: a Ray beside it may have the usual ones."""

SECONDS = 90
"""Until a head is up, on a machine that has other work."""

GRACE_SECONDS = 2
"""For a head to end by itself. One on which something was rendered takes over twenty, and is killed."""


@dataclass(frozen=True)
class RayHead:
    """Where a cluster of one machine is to be reached."""

    gcs: str
    """``host:port``, as ``run --address`` takes it."""
    dashboard: str
    """``http://host:port``, whether or not there is one."""
    metrics_port: int
    client_port: int
    """Where ``ray://`` is answered, some seconds after the head is up."""
    pid: int
    """The process that all others of it descend from."""


@contextlib.contextmanager
def ray_head(
    *options: str,
    env: Mapping[str, str] | None = None,
    ready: Callable[[RayHead], bool] = lambda _: True,
) -> Iterator[RayHead]:
    """A head with two cores; gone with all its processes in the end.

    Raises:
        AssertionError: It did not come up; with what it said.
    """
    folder = Path(tempfile.mkdtemp(prefix="sf-"))  # short, for the sockets in it
    ports = {name: free_port() for name in PORTS}
    start = [
        *(str(Path(sys.executable).with_name("ray")), "start", "--head", "--block"),
        *("--num-cpus=2", "--disable-usage-stats", "--object-store-memory=80000000"),
        # Each of these two would be a process that takes seconds to start, and nobody would hear of it.
        *("--no-monitor", "--include-log-monitor=false"),
        # These are for Ray to choose when it binds them: nobody can be faster.
        *("--port=0", "--min-worker-port=0", "--max-worker-port=0", f"--temp-dir={folder}"),
        *(f"--{name}={port}" for name, port in ports.items()),
        *options,
    ]
    clean = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    clean |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    # A token in the home folder, as any ray.init leaves one there, would have the head ask for it.
    clean |= {"RAY_AUTH_MODE": "disabled"}
    clean |= {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            start,
            env=clean | dict(env or {}),
            stdout=log,
            stderr=log,
            cwd=folder,
            start_new_session=True,
        )
    known = folder / "ray_current_cluster"

    def found() -> RayHead | None:
        gcs = known.read_text().strip() if known.exists() else ""
        if not gcs:  # Ray makes the file, and then writes into it
            return None
        head = RayHead(
            gcs,
            f"http://127.0.0.1:{ports['dashboard-port']}",
            ports["metrics-export-port"],
            ports["ray-client-server-port"],
            process.pid,
        )
        return head if ready(head) else None

    try:
        head = wait_for(lambda: "it ended" if process.poll() is not None else found(), SECONDS)
        assert isinstance(head, RayHead), (folder / "log").read_text()
        yield head
    finally:
        family = descendants(process.pid)
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_SECONDS)
        for left in family:
            with contextlib.suppress(psutil.Error):
                left.kill()
        process.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def open_to_all() -> Iterator[None]:
    """While entered, a Ray that this process starts asks for no token.

    Ray would leave one in the home folder, which every later head asks for, and note in the environment that
    clusters do, which later commands would inherit.
    """
    names = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN")
    before = {name: os.environ.pop(name, None) for name in names}
    os.environ["RAY_AUTH_MODE"] = "disabled"
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


@contextlib.contextmanager
def ray_here(cpus: int, gpus: int) -> Iterator[None]:
    """A Ray of this process, whose cores and cards exist on paper: it counts and pins them like real ones."""
    import ray  # where it is not installed, these tests are skipped

    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    with open_to_all():
        ray.init(
            address="local",
            num_cpus=cpus,
            num_gpus=gpus,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
            object_store_memory=100 * 2**20,
            runtime_env={"env_vars": {"PYTHONPATH": str(ROOT)}},
        )
        yield
        ray.shutdown()


def answers(address: str) -> bool:
    """Whether a dashboard that asks for a token is up."""
    try:
        urllib.request.urlopen(f"{address}/api/version", timeout=5).close()
    except urllib.error.HTTPError as error:
        return error.code == 401  # it wants the token
    except OSError:
        return False
    return True


def descendants(pid: int) -> list[psutil.Process]:
    """Every process below ``pid``; none when it is gone."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return []
