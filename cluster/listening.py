"""A quick check that a server listens, before a client that would wait for it for minutes."""

from __future__ import annotations

import socket

CONNECT_SECONDS = 10.0
"""How long a server has to accept a connection, in seconds."""


def check_listening(host: str, port: int) -> None:
    """Raise OSError when nobody accepts a connection at ``host``:``port`` in ``CONNECT_SECONDS``."""
    socket.create_connection((host, port), timeout=CONNECT_SECONDS).close()
