"""Joining a Ray cluster, or starting one here, and what its nodes have."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import ray

import cluster
from cluster.listening import check_listening
from cluster.pools.ray_placement import Node, View
from jobs.errors import ClusterError

log = logging.getLogger(__name__)


TOKEN_ADVICE = (
    " (somebody listens there: is it a Ray head of this version, and is the token the cluster's? With "
    "RAY_AUTH_MODE=token it is read from RAY_AUTH_TOKEN or ~/.ray/auth_token)"
)

PACKAGE_ROOT = Path(cluster.__file__).resolve().parents[1]
"""The folder that holds ``cluster``, ``jobs`` and ``stylize``."""

LOCAL_STORE_BYTES = 128 * 1024 * 1024
"""Pictures never go through Ray's object store, so a local one need not be large."""


def connect(address: str | None) -> None:
    """Join the cluster at ``address`` (or RAY_ADDRESS), or start one on this machine.

    Raises ClusterError.
    """
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    # Ray would otherwise warn that it will stop hiding GPUs from actors that ask for none.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    local = address == "local"
    options: dict[str, Any] = {"object_store_memory": LOCAL_STORE_BYTES} if local else {}
    if not local:
        _check_address(address)
    try:
        with _keep_sigterm_handler():
            ray.init(
                address=address,
                job_config=_job_config(),
                include_dashboard=False if local else None,
                log_to_driver=False,
                logging_level=logging.ERROR,
                configure_logging=True,
                **options,
            )
    except Exception as error:  # ConnectionError, RuntimeError, AuthenticationError, ...
        where = "on this machine" if local else f"at {address}"
        advice = "" if local else TOKEN_ADVICE
        raise ClusterError(f"Ray cannot be reached {where}: {first_line(error)}{advice}") from error


def _job_config() -> Any:
    """A Ray job whose workers import this package from where the driver does.

    Ray puts the driver's working directory first on its workers' path, unless the job comes from a Ray
    client; a folder ``jobs`` or ``cluster`` of the user's would then be imported in place of ours. Changing
    the directory for the duration of ``ray.init`` is no way out: other threads resolve relative paths.
    """
    from ray.job_config import JobConfig

    try:
        return JobConfig(_client_job=True, _py_driver_sys_path=[str(PACKAGE_ROOT)])
    except TypeError:
        # A Ray that has renamed these: its own default serves wherever nothing shadows us.
        log.debug("this Ray puts the working directory on its workers' path")
        return JobConfig()


@contextlib.contextmanager
def _keep_sigterm_handler() -> Iterator[None]:
    """Keep Ray from replacing an existing SIGTERM handler while entered.

    Ray's own handler exits in the middle of whatever is being done, which between Python and C++ is a crash,
    and never with the status of an interrupted run. A Ray without this private hook keeps its own behaviour.
    """
    try:
        from ray._private import utils
    except ImportError:
        yield
        return
    set_handler = getattr(utils, "set_sigterm_handler", None)
    if set_handler is None or signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        yield
        return
    utils.set_sigterm_handler = lambda handler: None
    try:
        yield
    finally:
        utils.set_sigterm_handler = set_handler


def _check_address(address: str) -> None:
    """Raise ClusterError when nobody listens at host:port: Ray itself would try for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdigit():
        return  # auto, and whatever else Ray understands
    try:
        check_listening(host.strip("[]"), int(port))
    except OSError as error:
        raise ClusterError(
            f"Ray cannot be reached at {address}: {error.strerror or error}; is the head up?"
        ) from error


def disconnect() -> None:
    """Leave the cluster; a local one ends with it."""
    ray.shutdown()


def as_shipped(base: str) -> str:
    """A job's folder as workers are to take it. What came along with a submission lies, on every node, in the
    folder that Ray unpacks there and starts workers in: so the path is made relative to that."""
    here = Path.cwd()
    unpacked = ray.get_runtime_context().runtime_env.get("working_dir")
    if unpacked and Path(base).is_relative_to(here):
        return str(Path(base).relative_to(here))
    return base


def describe() -> str:
    """What the connected cluster has, for a person."""
    nodes = read_view().nodes
    gpus, cpus = (sum(node.resources.get(what, 0) for node in nodes) for what in ("GPU", "CPU"))
    plural = "s" if len(nodes) > 1 else ""
    return f"{ray.__version__}, {len(nodes)} node{plural}, {gpus:g} GPUs, {cpus:g} CPUs"


def read_view() -> View:
    """Return the cluster's nodes. Asks the head, which takes milliseconds."""
    nodes = tuple(
        Node(
            id=node["NodeID"],
            host=node["NodeManagerHostname"],
            resources=node.get("Resources", {}),
            labels=node.get("Labels", {}),
        )
        for node in ray.nodes()
        if node["Alive"]
    )
    return View(nodes, _draining())


def _draining() -> frozenset[str]:
    # Ray Serve asks like this; there is no public way. Without it a spot notice still reaches the workers,
    # as SIGTERM, only not the driver.
    try:
        client = _gcs_client(ray.get_runtime_context().gcs_address)
        return frozenset(node.hex() for node in client.get_draining_nodes(timeout=5))
    except Exception as error:
        log.debug("draining nodes are not known: %s", error)
        return frozenset()


@lru_cache(maxsize=1)
def _gcs_client(address: str) -> Any:
    from ray._raylet import GcsClient  # type: ignore[attr-defined]

    return GcsClient(address=address)


def first_line(error: BaseException) -> str:
    """The first thing that an error says."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def last_line(error: BaseException) -> str:
    """What a worker's constructor raised: the last line of the traceback that Ray reports."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
