"""Real storage for tests: a folder, JuiceFS's S3 gateway, moto's server, or any S3 endpoint.

``STYLEFARM_TEST_S3_ENDPOINT`` (with the usual AWS variables) puts that endpoint in the place of the
two servers. A server that is not installed skips its tests, except under CI, where it fails them.
"""

from __future__ import annotations

import os
import random
import secrets
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from jobs.storage.base import Storage, StorageOptions
from jobs.storage.open import open_storage

ENDPOINT_VARIABLE = "STYLEFARM_TEST_S3_ENDPOINT"
S3_RIGS = (
    ["endpoint"] if os.environ.get(ENDPOINT_VARIABLE) else ["juicefs", "moto", "juicefs-https"]
)
RIGS = ["folder", *S3_RIGS]
OTHER_WAYS = ["juicefs-https"]
"""Other ways to the same server: what stands on storage sees nothing of them."""


@dataclass(frozen=True)
class S3Server:
    """An S3 endpoint that runs, and what to set to be let in."""

    endpoint: str
    access_key: str
    secret_key: str = field(repr=False)
    ca_bundle: str | None = None

    @property
    def options(self) -> StorageOptions:
        return StorageOptions(endpoint_url=self.endpoint, ca_bundle=self.ca_bundle)

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs in its environment to be let in, whoever runs the tests."""
        return {
            **CLEAN_AWS,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
        }

    def create_bucket(self) -> str:
        """A fresh bucket's name."""
        bucket = f"test-{secrets.token_hex(6)}"
        self.client.create_bucket(Bucket=bucket)
        return bucket

    @cached_property
    def client(self) -> Any:
        """A bare client, for what no Storage does."""
        import boto3

        return boto3.session.Session(
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            aws_session_token=os.environ.get("AWS_SESSION_TOKEN"),
            region_name=os.environ.get("AWS_REGION", "us-east-1"),
        ).client("s3", endpoint_url=self.endpoint, verify=self.ca_bundle)


CLEAN_AWS = {
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
}
FOREIGN_AWS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_CA_BUNDLE",
)


def clean_aws(monkeypatch: pytest.MonkeyPatch, extra: Mapping[str, str] | None = None) -> None:
    """Forget the machine's AWS set-up, then set ``extra``. Child processes inherit it."""
    for name in FOREIGN_AWS:
        monkeypatch.delenv(name, raising=False)
    for name, value in {**CLEAN_AWS, **(extra or {})}.items():
        monkeypatch.setenv(name, value)


@dataclass(frozen=True)
class Rig:
    """A place to store things, fresh for each test, with the credentials already in ``os.environ``.

    ``url`` is the output's; ``options`` go with it; ``environment`` is for processes that do not
    inherit ``os.environ`` (a Ray cluster that was started before).
    """

    name: str
    url: str
    options: StorageOptions
    server: S3Server | None = None

    @property
    def is_s3(self) -> bool:
        return self.server is not None

    @property
    def environment(self) -> dict[str, str]:
        return self.server.environment if self.server else {}

    def open(self, below: str = "") -> Storage:
        """A new Storage on the same place, or on a place below it."""
        return open_storage(f"{self.url}/{below}" if below else self.url, self.options)


def make_rig(name: str, server: S3Server | None, folder: Path) -> Rig:
    if server is None:
        return Rig(name, str(folder / "out"), StorageOptions())
    return Rig(name, f"s3://{server.create_bucket()}/renders/out", server.options, server)


def open_rig(name: str, request: pytest.FixtureRequest, folder: Path) -> Rig:
    """The rig of a name, for the test that asks for it."""
    if name == "endpoint":
        return make_rig(name, given_server(), folder)
    server: S3Server | None = (
        None if name == "folder" else request.getfixturevalue(name.replace("-", "_"))
    )
    clean_aws(request.getfixturevalue("monkeypatch"), server.environment if server else {})
    return make_rig(name, server, folder)


def missing(what: str) -> None:
    """Skip on a laptop, fail in CI, where everything has to be there."""
    if os.environ.get("CI"):
        pytest.fail(f"{what}, but CI needs it: pip install 'stylefarm[test]'")
    pytest.skip(what)


def find_command(name: str) -> str:
    """A console script of this environment, whether or not it is activated."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        missing(f"{name} is not installed")
    assert found is not None
    return found


def free_port() -> int:
    """A port that nothing listens at.

    From below those that systems hand to outgoing connections (32768 and up on Linux): one of these
    would be taken by somebody's connection before the server that it is meant for comes up. At
    random, for tests run side by side.
    """
    for port in random.SystemRandom().sample(range(20_000, 30_000), 100):
        with suppress(OSError), socket.create_server(("0.0.0.0", port)):
            return port
    raise OSError("none of 100 ports is free")


@contextmanager
def no_root() -> Iterator[None]:
    """For tests of permissions, which root does not have to obey."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@contextmanager
def juicefs_server(folder: Path) -> Iterator[S3Server]:
    """JuiceFS's gateway (MinIO's S3 front end): checks signatures, does multipart."""
    command = find_command("juicefs")
    meta = f"sqlite3://{folder / 'META.db'}"
    data = f"{folder / 'data'}/"
    subprocess.run(
        [
            command,
            "format",
            "--storage",
            "file",
            "--bucket",
            data,
            "--trash-days",
            "0",
            meta,
            "rig",
        ],
        check=True,
        capture_output=True,
    )
    server = S3Server(
        f"http://127.0.0.1:{free_port()}", f"key{secrets.token_hex(6)}", secrets.token_hex(20)
    )
    arguments = ["gateway", "--multi-buckets", "--no-usage-report", "--no-banner"]
    arguments += ["--cache-dir", str(folder / "cache"), meta, server.endpoint.rpartition("/")[2]]
    environment = {
        "MINIO_ROOT_USER": server.access_key,
        "MINIO_ROOT_PASSWORD": server.secret_key,
        "HOME": str(folder),
    }
    with running([command, *arguments], environment, folder / "gateway.log") as process:
        wait_until_up(f"{server.endpoint}/minio/health/live", process, folder / "gateway.log")
        yield server


@contextmanager
def moto_server(folder: Path) -> Iterator[S3Server]:
    """moto's S3: closer to AWS in errors and listings, but lets everybody in."""
    command = find_command("moto_server")
    server = S3Server(f"http://127.0.0.1:{free_port()}", "moto-key", secrets.token_hex(20))
    port = server.endpoint.rpartition(":")[2]
    log = folder / "moto.log"
    with running([command, "-H", "127.0.0.1", "-p", port], CLEAN_AWS, log) as process:
        wait_until_up(f"{server.endpoint}/moto-api/data.json", process, log)
        yield server


@contextmanager
def over_https(server: S3Server, folder: Path) -> Iterator[S3Server]:
    """The same server behind a proxy that speaks TLS, with an authority that nobody knows."""
    from tests.support.proxy import proxy

    certificate = make_certificate(folder / "tls.pem")
    with proxy(server.endpoint, certificate=certificate) as before:
        yield S3Server(before.url, server.access_key, server.secret_key, str(certificate))


def given_server() -> S3Server:
    """The endpoint of the environment. Region and session token are taken from there too."""
    return S3Server(
        os.environ[ENDPOINT_VARIABLE],
        os.environ["AWS_ACCESS_KEY_ID"],
        os.environ["AWS_SECRET_ACCESS_KEY"],
    )


@contextmanager
def running(
    command: list[str], environment: Mapping[str, str], log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env={**os.environ, **environment}, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait_until_up(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for _ in range(3600):  # three minutes: others may be at work
        if process.poll() is not None:
            break
        try:
            opener.open(url, timeout=5).close()
            return
        except OSError:
            time.sleep(0.05)
    pytest.fail(f"{process.args!r} did not come up:\n{log.read_text(errors='replace')[-2000:]}")


# A web server of the test's own, for what real ones do too seldom

Answer = tuple[int, dict[str, str], bytes]
"""Status, headers, body. A Content-Length above the body's breaks the connection off."""


@dataclass
class WebServer:
    """``answer(method, path, headers)`` decides every reply; ``seen`` keeps what was asked."""

    url: str
    port: int
    seen: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)


@contextmanager
def web_server(
    answer: Callable[[str, str, dict[str, str]], Answer], certificate: Path | None = None
) -> Iterator[WebServer]:
    """Serves on 127.0.0.1, over TLS where there is a ``certificate`` (``make_certificate``)."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # answers "Expect: 100-continue", which boto3 waits for

        def reply(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            asked = (self.command, self.path, dict(self.headers))
            server.seen.append(asked)
            status, headers, body = answer(*asked)
            self.send_response(status)
            common = {"Content-Length": str(len(body)), "Connection": "close"}
            for name, value in {**common, **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)
            self.close_connection = True

        do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = reply

        def handle(self) -> None:
            with suppress(OSError):  # a client that does not trust the certificate
                super().handle()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listener:
        port = int(listener.server_address[1])
        server = WebServer(f"http://127.0.0.1:{port}", port)
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            listener.socket = context.wrap_socket(listener.socket, server_side=True)
            server.url = f"https://localhost:{port}"
        thread = threading.Thread(target=listener.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            listener.shutdown()
            thread.join()


def make_certificate(file: Path) -> Path:
    """A PEM file: a key, and a certificate signed with it for ``localhost`` and no address."""
    return make_authority(file, file)[0]


def make_authority(authority: Path, server: Path) -> tuple[Path, Path]:
    """Two PEM files: a certificate authority, as users name it, and a key with the certificate that it has
    signed for ``localhost``. The same file twice: a certificate that has signed itself, with its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    def named(name: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])

    key = ec.generate_private_key(ec.SECP256R1())
    name, now = named(f"stylefarm tests {secrets.token_hex(4)}"), datetime.now(timezone.utc)
    pem = serialization.Encoding.PEM

    def signed(subject: x509.Name, owner: ec.EllipticCurvePrivateKey, ca: bool) -> bytes:
        known = x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())
        certificate = (
            x509.CertificateBuilder(name, subject, owner.public_key(), x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(known, critical=False)
            .sign(key, hashes.SHA256())
        )
        return certificate.public_bytes(pem)

    own = key if server == authority else ec.generate_private_key(ec.SECP256R1())
    authority.write_bytes(signed(name, key, ca=True))
    certificate = authority.read_bytes() if own is key else signed(named("server"), own, ca=False)
    private = own.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    server.write_bytes(private + certificate)
    return authority, server
