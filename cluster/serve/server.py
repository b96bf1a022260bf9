"""``serve``: the server of outputs, from the choice of its port to its end."""

from __future__ import annotations

import ipaddress
import secrets
import signal
import socket
from collections.abc import Callable, Sequence

import uvicorn

from cluster.serve.app import make_app
from cluster.serve.served import Served
from jobs.errors import UsageError

PORT = 8640
"""The port that is tried first."""

TRIES = 20
"""Ports that are tried where none was asked for."""


def serve(
    outputs: Sequence[Served], host: str, port: int | None, on_ready: Callable[[str], None]
) -> None:
    """Serve outputs until the process is asked to end, by Ctrl-C or SIGTERM.

    Args:
        outputs: What is served.
        host: The address or name to listen at.
        port: The port; None: the first that is free from ``PORT`` on.
        on_ready: Is called with the address to open, once connections are taken.

    Raises:
        UsageError: One cannot listen there.
    """
    listening = _listen(host, port)
    alone = _is_loopback(host)
    token = "" if alone else secrets.token_urlsafe(24)
    # Without a token it is asked under its own names alone.
    hosts = ("localhost", "127.0.0.1", "::1", host.lower()) if alone else ()
    shown = _shown(host, listening.getsockname()[1])
    app = make_app(outputs, token, hosts)
    config = uvicorn.Config(app, log_level="warning", access_log=False, server_header=False)
    server = _Server(config, lambda: on_ready(f"{shown}/?token={token}" if token else f"{shown}/"))
    # uvicorn ends in peace at SIGTERM, and raises it again for whoever handled it before.
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        server.run(sockets=[listening])
    finally:
        signal.signal(signal.SIGTERM, before)
        listening.close()


class _Server(uvicorn.Server):
    """A server that says when it is ready."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_ready()


def _listen(host: str, port: int | None) -> socket.socket:
    tried = range(PORT, PORT + TRIES) if port is None else (port,)
    for candidate in tried:
        try:
            family, kind, proto, _, address = socket.getaddrinfo(
                host, candidate, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            listening = socket.socket(family, kind, proto)
        except (OSError, UnicodeError) as error:
            raise UsageError(f"--host {host} is no address of this machine: {error}") from None
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen(128)
        except OSError as error:
            listening.close()
            reason = error.strerror or str(error)
            continue
        return listening
    asked = (
        f"{host}, port {port}"
        if port is not None
        else f"{host}, ports {PORT} to {PORT + TRIES - 1}"
    )
    raise UsageError(f"one cannot listen at {asked}: {reason}; give another with --port")


def _is_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _shown(host: str, port: int) -> str:
    """Return an address that a browser takes."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return f"http://{host}:{port}"
    if address.is_unspecified:
        return f"http://{socket.gethostname()}:{port}"
    return f"http://[{host}]:{port}" if address.version == 6 else f"http://{host}:{port}"
