"""Quick checks of a server, before a client that would wait for it for minutes."""

from __future__ import annotations

import socket

CONNECT_SECONDS = 10.0
"""How long a server has to accept a connection, and to answer, in seconds."""

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
"""What a client of gRPC says first: HTTP/2's preface and an empty frame of settings (RFC 9113, 3.4)."""

_HEAD_METHOD = "/ray.rpc.NodeInfoGcsService/GetClusterId"
_CLIENT_METHOD = "/ray.rpc.RayletDriver/ClusterInfo"

_PING = b"\x08\x06"
"""A ``ClusterInfoRequest`` whose type is PING."""


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


def wants_another_token(address: str, *, client: bool) -> bool:
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
