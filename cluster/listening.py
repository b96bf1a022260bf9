"""Quick checks of a server, before a client that would wait for it for minutes."""

from __future__ import annotations

import socket

CONNECT_SECONDS = 10.0
"""How long a server has to accept a connection, and to answer, in seconds."""

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
"""What a client of gRPC says first: HTTP/2's preface and an empty frame of settings (RFC 9113, 3.4)."""


def check_listening(host: str, port: int) -> None:
    """Raise OSError when nobody accepts a connection at ``host``:``port`` in ``CONNECT_SECONDS``."""
    socket.create_connection((host, port), timeout=CONNECT_SECONDS).close()


def speaks_grpc(host: str, port: int) -> bool:
    """Return whether a server greets as gRPC does, without TLS; a web server or a database does not.

    Raises:
        OSError: Nobody accepts a connection.
    """
    with socket.create_connection((host, port), timeout=CONNECT_SECONDS) as connection:
        try:
            connection.sendall(_PREFACE)
            start = connection.recv(4, socket.MSG_WAITALL)
        except OSError:  # it hangs up, or is silent
            return False
    return start[3:] == b"\x04"  # a server, too, begins with a frame of settings
