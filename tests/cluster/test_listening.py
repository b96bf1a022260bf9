"""Whether a server is there, and whether it is one of gRPC, is known in a moment."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from cluster import listening
from cluster.listening import check_listening, speaks_grpc
from tests.support.rigs import free_port, make_certificate, web_server


@pytest.fixture
def grpc_port() -> Iterator[int]:
    import grpc

    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield port
    server.stop(None).wait()


def test_a_server_of_grpc_is_one(grpc_port: int) -> None:
    check_listening("127.0.0.1", grpc_port)
    assert speaks_grpc("127.0.0.1", grpc_port)


@pytest.mark.parametrize("tls", [False, True])
def test_a_web_server_is_none(tls: bool, tmp_path) -> None:
    certificate = make_certificate(tmp_path / "tls.pem") if tls else None
    with web_server(lambda *_: (200, {}, b"hello"), certificate) as server:
        assert not speaks_grpc("127.0.0.1", server.port)


@pytest.mark.parametrize("greeting", [b"", b"220 mail\r\n", b"\0\0\0"])
def test_a_server_that_hangs_up_is_none(greeting: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            connection.sendall(greeting)
            connection.close()

        thread = threading.Thread(target=answer)
        thread.start()
        assert not speaks_grpc("127.0.0.1", server.getsockname()[1])
        thread.join()


def test_a_silent_server_is_none_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "CONNECT_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as server:
        began = time.monotonic()
        assert not speaks_grpc("127.0.0.1", server.getsockname()[1])
        assert time.monotonic() - began < 60  # it says nothing for ever


def test_nobody_is_an_error() -> None:
    port = free_port()
    for look in (check_listening, speaks_grpc):
        with pytest.raises(ConnectionRefusedError):
            look("127.0.0.1", port)
