"""A proxy before an S3 server that fails on purpose, or that speaks TLS for it."""

from __future__ import annotations

import http.client
import random
import socket
import socketserver
import ssl
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

FAULTS = ("reset before", "reset after", "500", "503", "truncated", "delay")
"""A connection reset before or after the server has done what it was asked; a reply that breaks off."""

WEIGHTS = (3, 3, 3, 3, 3, 1)
"""How many of each are among as many faults as all these together."""

SLOW_DOWN = b"""<?xml version="1.0" encoding="UTF-8"?>
<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"""
INTERNAL = b"""<?xml version="1.0" encoding="UTF-8"?>
<Error><Code>InternalError</Code><Message>We encountered an internal error.</Message></Error>"""


@dataclass
class Proxy:
    """Where it listens, and what it did."""

    url: str
    rate: float = 0.0
    """Of requests that fail. Change it at any time."""
    delay: float = 5.0
    faults: Counter[str] = field(default_factory=Counter)
    requests: int = 0
    paths: list[str] = field(default_factory=list)
    """What was asked for, with queries, in order."""
    sent: Counter[str] = field(default_factory=Counter)
    """Bytes of the bodies that came back, by path without query."""
    gets: Counter[str] = field(default_factory=Counter)
    """GET requests that were answered with a body, by path without query."""


MOST_IN_A_ROW = 4
"""The same request never fails more often than this, one time after another."""


@contextmanager
def proxy(upstream: str, *, seed: int = 0, certificate: Path | None = None) -> Iterator[Proxy]:
    """A proxy before ``upstream``. What comes in goes on unchanged, the Host header (which is signed)
    included."""
    target = urlsplit(upstream).netloc
    chance = random.Random(seed)
    coming: list[str] = []
    in_a_row: Counter[tuple[str, str]] = Counter()
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def relay(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            fault = self._choose()
            if fault == "delay":
                time.sleep(state.delay)
            if fault == "reset before":
                self._reset()
            elif fault == "500":
                self._answer(500, [("Content-Type", "application/xml")], INTERNAL)
            elif fault == "503":
                self._answer(503, [("Content-Type", "application/xml")], SLOW_DOWN)
            else:
                self._forward(body, fault)

        def _forward(self, body: bytes, fault: str | None) -> None:
            connection = http.client.HTTPConnection(target, timeout=60)
            connection.putrequest(
                self.command, self.path, skip_host=True, skip_accept_encoding=True
            )
            for name, value in self.headers.items():
                if name.lower() not in ("connection", "expect"):
                    connection.putheader(name, value)
            connection.endheaders(body)
            reply = connection.getresponse()
            data = reply.read()
            with lock:
                path = self.path.partition("?")[0]
                state.sent[path] += len(data)
                state.gets[path] += self.command == "GET" and reply.status in (200, 206)
            headers = [
                (name, value)
                for name, value in reply.getheaders()
                if name.lower() not in ("connection", "transfer-encoding", "content-length")
            ]
            length = reply.getheader("Content-Length") if self.command == "HEAD" else None
            connection.close()
            if fault == "reset after":
                self._reset()
            else:
                self._answer(reply.status, headers, data, length, truncated=fault == "truncated")

        def _answer(
            self,
            status: int,
            headers: list[tuple[str, str]],
            data: bytes,
            length: str | None = None,
            truncated: bool = False,
        ) -> None:
            self.send_response_only(status)
            for name, value in headers:
                self.send_header(name, value)
            if status not in (204, 304):
                self.send_header("Content-Length", length or str(len(data)))
            self.end_headers()
            if self.command == "HEAD":
                data = b""
            self.wfile.write(data[: len(data) // 2] if truncated else data)
            self.wfile.flush()
            if truncated:
                self._reset()

        def _choose(self) -> str | None:
            key = (self.command, self.path)
            with lock:
                state.requests += 1
                state.paths.append(self.path)
                if chance.random() >= state.rate or in_a_row[key] >= MOST_IN_A_ROW:
                    in_a_row[key] = 0
                    return None
                in_a_row[key] += 1
                if not coming:
                    coming.extend(chance.sample(FAULTS, sum(WEIGHTS), counts=WEIGHTS))
                fault = coming.pop()
                state.faults[fault] += 1
                return fault

        def _reset(self) -> None:
            """As when a machine on the way dies: no goodbye."""
            self.close_connection = True
            with suppress(OSError):
                self.connection.setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                )
                self.connection.close()

        do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = relay

        def handle(self) -> None:
            with suppress(OSError, ValueError):  # clients go away; a connection that was reset
                super().handle()

        def finish(self) -> None:
            with suppress(OSError, ValueError):
                super().finish()

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 64

        def shutdown_request(self, request: object) -> None:
            with suppress(OSError):
                socketserver.TCPServer.shutdown_request(self, request)  # type: ignore[arg-type]

    with Server(("127.0.0.1", 0), Handler) as listener:
        port = int(listener.server_address[1])
        state = Proxy(f"http://127.0.0.1:{port}")
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            listener.socket = context.wrap_socket(
                listener.socket, server_side=True, do_handshake_on_connect=False
            )
            state.url = f"https://localhost:{port}"
        thread = threading.Thread(target=listener.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield state
        finally:
            listener.shutdown()
            thread.join()
