"""Join a Ray cluster or start one on this machine, and list its nodes."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import ray

import cluster
from cluster.listening import CONNECT_SECONDS, speaks_grpc
from cluster.local_ray import local_options
from cluster.pools.ray_placement import Node, View
from jobs.errors import ClusterError, UsageError

log = logging.getLogger(__name__)


TOKEN_ADVICE = (
    " (a head listens there: is it a head of this version, and is the token the cluster's? With "
    "RAY_AUTH_MODE=token it is read from RAY_AUTH_TOKEN or ~/.ray/auth_token)"
)

PACKAGE_ROOT = Path(cluster.__file__).resolve().parents[1]
"""The folder that holds ``cluster``, ``jobs`` and ``stylize``."""

CLIENT_PORT = 10001
"""The port of ``ray://`` unless the address names one."""

CLIENT_TRIES = 3
"""How often a head is asked for a server for this client, by ``ray://``."""

_FORMS = (
    "this is no address of a Ray head; give host:6379, ray://host:10001, or auto on a machine of the "
    "cluster"
)

_HEAD_METHOD = "/ray.rpc.NodeInfoGcsService/GetClusterId"
_CLIENT_METHOD = "/ray.rpc.RayletDriver/ClusterInfo"

_PING = b"\x08\x06"
"""A ``ClusterInfoRequest`` whose type is PING."""

LOCAL_STORE_BYTES = 128 * 1024 * 1024
"""The size of a local object store, in bytes. It is small because no picture goes through it."""


def connect(address: str | None) -> bool:
    """Join a Ray cluster, or start one on this machine.

    Args:
        address: ``auto``, ``host:port`` or ``ray://host:port``; ``local`` starts a cluster. None: the value
            of RAY_ADDRESS, else ``local``.

    Returns:
        Whether the cluster was there before.

    Raises:
        UsageError: The address is of no form that Ray knows.
        ClusterError: The cluster cannot be reached, or none can be started.
    """
    asked = address or "default"
    from_environment = os.environ.get("RAY_ADDRESS") if asked in ("default", "auto") else None
    address = from_environment or ("local" if asked == "default" else asked)
    # Without this, Ray warns that it will stop hiding GPUs from actors that request none.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    where = f"at {address}{' (RAY_ADDRESS)' if from_environment else ''}"
    options: dict[str, Any] = {}
    if address == "local":
        where = "on this machine"
        options = {"object_store_memory": LOCAL_STORE_BYTES, **local_options()}
    else:
        _check_address(address, where)
    try:
        with _keep_sigterm_handler():
            _join_patiently(
                address=address,
                # Ray's client cannot send one, nor needs it.
                job_config=None if address.startswith("ray://") else _job_config(),
                include_dashboard=False if address == "local" else None,
                log_to_driver=False,
                logging_level=logging.ERROR,
                configure_logging=True,
                **options,
            )
    except ConnectionAbortedError as error:  # with the head's traceback, whose end is the reason
        raise ClusterError(
            f"Ray cannot be reached {where}: the head listens, but did not start a server for this client "
            f"in {CLIENT_TRIES} attempts: {last_line(error)}"
        ) from error
    except Exception as error:  # ConnectionError, RuntimeError, AuthenticationError, ...
        advice = "" if address == "local" else TOKEN_ADVICE
        raise ClusterError(f"Ray cannot be reached {where}: {first_line(error)}{advice}") from error
    return address != "local"


def _job_config() -> Any:
    """Return the config of a Ray job whose workers import this package from the same place as the driver.

    Ray puts the driver's working directory first on its workers' path, unless the job comes from a Ray
    client. A user's folder ``jobs`` or ``cluster`` would then be imported instead of this package's. Changing
    the directory during ``ray.init`` would not help, because other threads resolve relative paths.
    """
    from ray.job_config import JobConfig

    try:
        return JobConfig(_client_job=True, _py_driver_sys_path=[str(PACKAGE_ROOT)])
    except TypeError:
        # This Ray has other names for these. Its default works wherever nothing shadows this package.
        log.debug("this Ray puts the working directory on its workers' path")
        return JobConfig()


@contextlib.contextmanager
def _keep_sigterm_handler() -> Iterator[None]:
    """Keep Ray from replacing an existing SIGTERM handler while entered.

    Ray's handler exits at any point, which between Python and C++ is a crash, and never with the status of an
    interrupted run. A Ray without this private hook keeps its own behaviour.
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


def _join_patiently(**options: Any) -> None:
    """Call ``ray.init``, again if a head was too busy.

    For each client, a head starts a process that imports Ray, and gives up on it after 30 s, so that a head
    at work refuses some.

    Raises:
        ConnectionAbortedError: It refused each time.
    """
    for left in reversed(range(CLIENT_TRIES)):
        try:
            ray.init(**options)
        except ConnectionAbortedError as error:
            if not left:
                raise
            log.warning("the Ray head refused this client, it is asked again: %s", last_line(error))
        else:
            return


def _check_address(address: str, where: str) -> None:
    """Check that a head of Ray listens where Ray would look for it; Ray would wait a quarter of an hour.

    Args:
        address: ``auto``, ``host:port`` or ``ray://host:port``.
        where: The address as a phrase: "at auto".

    Raises:
        UsageError: The address is of another form.
        ClusterError: No cluster runs on this machine, or no head listens at the address.
    """
    if address.startswith(("http://", "https://")):
        raise UsageError(
            f"Ray cannot be reached {where}: this is the address of a dashboard, to which stylefarm submit "
            "hands jobs; to render from here, give --address host:6379, auto or local"
        )
    resolved = address if address.startswith("ray://") else _resolve(address)
    try:
        parts = urlsplit(resolved if "://" in resolved else f"//{resolved}")
        host, port = parts.hostname, parts.port or CLIENT_PORT
    except ValueError:  # no number, or none of a port
        host, port = None, 0
    if not host:
        raise UsageError(f"Ray cannot be reached {where}: {_FORMS}")
    what_to_do = "is the head up?"
    if address == "auto":
        where = f"at {resolved}, where a cluster was started on this machine"
        what_to_do = "it has ended: start one with ray start --head, or leave --address out"
    elif resolved != address:  # Ray takes localhost for the address that other machines know
        where += f", which Ray takes for {resolved}"
    try:
        is_head = speaks_grpc(host, port) or _uses_tls()
    except OSError as error:
        raise ClusterError(
            f"Ray cannot be reached {where}: {error.strerror or error}; {what_to_do}"
        ) from error
    if not is_head:
        raise ClusterError(
            f"Ray cannot be reached {where}: what listens there is no Ray head; the port of a head is 6379 "
            f"unless ray start was given another, and of ray:// it is {CLIENT_PORT}"
        )
    if address == "auto":
        _take_known_token()
    at = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if _wants_another_token(at, client=address.startswith("ray://")):
        has_one = os.environ.get("RAY_AUTH_MODE") == "token"
        raise ClusterError(
            f"Ray cannot be reached {where}: the cluster asks for a token, "
            + ("and has another than this machine" if has_one else "and none was given")
            + ": set RAY_AUTH_MODE=token, and put the cluster's token into RAY_AUTH_TOKEN or "
            "~/.ray/auth_token"
        )


def _wants_another_token(address: str, *, client: bool) -> bool:
    """Return whether a head refuses this process, because it asks for a token that the process does not give.

    Ray would ask again for half a minute, and print a warning each time.

    Args:
        address: ``host:port`` of the head.
        client: Whether that is its port for Ray's client, ``ray://``.

    Returns:
        False also where that cannot be told, as of another version of Ray.
    """
    try:
        import grpc
        from ray._private.grpc_utils import init_grpc_channel

        with init_grpc_channel(address) as channel:
            method, request, metadata = _HEAD_METHOD, b"", None
            if client:
                method, request, metadata = _CLIENT_METHOD, _PING, [("client_id", "check")]
            channel.unary_unary(method)(request, timeout=CONNECT_SECONDS, metadata=metadata)
    except ImportError:
        return False
    except grpc.RpcError as error:
        return bool(error.code() == grpc.StatusCode.UNAUTHENTICATED)
    except Exception:  # it is private to Ray, which says itself what is wrong
        return False
    return False


def _take_known_token() -> None:
    """Have Ray give the token that this machine knows, as ``ray.init`` does for ``auto``."""
    try:
        from ray._private.authentication import authentication_token_setup as setup
    except ImportError:
        return
    take = getattr(setup, "maybe_enable_token_auth_if_token_available", None)
    if take is not None:
        with contextlib.suppress(Exception):
            take(warn_if_disabled=False)


def _resolve(address: str) -> str:
    """Return the host:port that Ray makes of ``auto`` or ``host:port``. Raises as ``_check_address``."""
    try:
        from ray._private import services

        resolve = services.canonicalize_bootstrap_address
    except (
        ImportError,
        AttributeError,
    ):  # another Ray than those that are known; it has to do without
        return address
    try:
        return str(resolve(address))
    except ConnectionError:
        raise ClusterError(
            "no Ray cluster runs on this machine, where the address auto looks for one: start one with ray "
            "start --head, name a head elsewhere with --address host:6379, or render here with "
            "--address local"
        ) from None
    except ValueError:
        raise UsageError(f"Ray cannot be reached at {address}: {_FORMS}") from None


def _uses_tls() -> bool:
    return os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true")


def disconnect() -> None:
    """Leave the cluster; a cluster that ``connect`` started ends."""
    ray.shutdown()


def as_shipped(base: str) -> str:
    """Return the path by which workers find the job's folder.

    The files of a submission are, on every node, in a folder that Ray unpacks and starts workers in. The path
    of a job in that folder is therefore made relative to it.

    Args:
        base: The job's folder on the driver's machine, absolute.

    Returns:
        ``base``, or its path relative to the submission's folder.
    """
    here = Path.cwd()
    unpacked = ray.get_runtime_context().runtime_env.get("working_dir")
    if unpacked and Path(base).is_relative_to(here):
        return str(Path(base).relative_to(here))
    return base


def describe() -> str:
    """Return what the connected cluster has, as a phrase: Ray's version, nodes, GPUs, CPUs."""
    nodes = read_view().nodes
    gpus, cpus = (sum(node.resources.get(what, 0) for node in nodes) for what in ("GPU", "CPU"))
    plural = "s" if len(nodes) > 1 else ""
    return f"{ray.__version__}, {len(nodes)} node{plural}, {gpus:g} GPUs, {cpus:g} CPUs"


def read_view() -> View:
    """Return the cluster's nodes that are up. Asks the head, which takes milliseconds."""
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
    # There is no public API; Ray Serve does the same. Without it a spot notice still reaches the workers, as
    # SIGTERM, but not the driver.
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
    """Return the first line of an error's message that is not empty, else the error's type."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def last_line(error: BaseException) -> str:
    """Return the last line of an error's message, which Ray's traceback of a constructor ends with."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
