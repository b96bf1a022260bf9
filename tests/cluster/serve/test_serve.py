"""Outputs in a browser: a real server, asked as browsers and others ask."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import pytest

from jobs.data_script import parse_data_script
from jobs.errors import ExitStatus
from jobs.records.commit import Records, write_json
from jobs.report.gallery import write_gallery
from jobs.storage import keys
from jobs.storage.base import Storage
from jobs.storage.folder import FolderStorage
from tests.jobs.support import a_record
from tests.support.farm import ROOT, command, stylefarm, wait_for
from tests.support.rigs import Rig, free_port

PICTURE = bytes(range(256)) * 5000
"""More than the server reads at a time."""

NAME = "näher <b>&amp; #1"


def fill(storage: Storage) -> str:
    """Store an output with one picture; return the picture's key."""
    key = keys.image(keys.safe_name(NAME), f"{1:016x}", "png")
    storage.put(key, PICTURE)
    output = {"key": key, "sha256": "0", "size": len(PICTURE), "width": 640, "height": 480}
    records = Records(storage)
    records.commit(a_record(1, name="a", output=output, steps=12, seconds={"render": 1.5}))
    records.commit(a_record(2, status="failed", error="<script>alert(1)</script>"))
    records.close()
    storage.put(keys.losses(f"{1:016x}"), b"step,total\n1,2\n")
    write_json(storage, keys.JOB, {"job": {"name": '"fog" <i>'}})
    storage.put(keys.LEASE, b"{}")
    storage.put("checkpoints/0000000000000001.safetensors", b"secret")
    storage.put("images/page.html", b"<script>alert(1)</script>")
    write_gallery(storage, storage)
    return key


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


@dataclass
class Server:
    address: str
    process: subprocess.Popen[str]

    def ask(self, path: str, method: str = "GET", **headers: str) -> Answer:
        where = urlsplit(self.address)
        assert where.hostname
        connection = http.client.HTTPConnection(where.hostname, where.port, timeout=30)
        try:
            connection.request(
                method, path, headers={k.replace("_", "-"): v for k, v in headers.items()}
            )
            answer = connection.getresponse()
            return Answer(
                answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
            )
        finally:
            connection.close()


@contextmanager
def serving(*words: object, **env: str) -> Iterator[Server]:
    process = subprocess.Popen(
        command("serve", *words),
        cwd=ROOT,
        env={**os.environ, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert address.startswith("http://"), process.communicate(timeout=30)
        yield Server(address, process)
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("served") / "out"
    return folder, fill(FolderStorage(folder))


@pytest.fixture(scope="module")
def server(output: tuple[Path, str]) -> Iterator[Server]:
    with serving(output[0]) as found:
        yield found


def test_the_gallery_its_files_and_all_that_it_links_to_are_there(server: Server) -> None:
    assert server.ask("/").headers["location"] == "/out/"
    assert server.ask("/out").headers["location"] == "/out/"
    page = server.ask("/out/")
    assert page.status == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    links = re.findall(r'(?:href|src)="([^"]+)"', page.body.decode())
    assert len(links) == 3
    index = server.ask("/out/gallery/data/index.js").body
    data = parse_data_script("index", index)["folder"]
    for link in (*links, f"{data}rows-0.js", f"{data}error-0.js", "gallery/uplot.js"):
        answer = server.ask(f"/out/{link}")
        assert answer.status == 200, link
    # Nothing in the page would have to be allowed by a policy of its own.
    assert not re.search(r"<script>|<style|style=|onclick=", page.body.decode())
    policy = page.headers["content-security-policy"]
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert page.headers["x-content-type-options"] == "nosniff"


def test_pictures_come_whole_in_parts_and_only_once(
    server: Server, output: tuple[Path, str]
) -> None:
    path = f"/out/{quote(output[1])}"
    whole = server.ask(path)
    assert (whole.status, whole.body) == (200, PICTURE)
    assert (whole.headers["content-type"], whole.headers["content-length"]) == (
        "image/png",
        str(len(PICTURE)),
    )
    part = server.ask(path, Range="bytes=100-1999999")
    assert (part.status, part.body) == (206, PICTURE[100:])
    assert part.headers["content-range"] == f"bytes 100-{len(PICTURE) - 1}/{len(PICTURE)}"
    assert server.ask(path, Range="bytes=99999999-").status == 416
    etag = whole.headers["etag"]
    assert server.ask(path, If_None_Match=f'"x", {etag}').status == 304
    assert server.ask(path, Range="bytes=0-9", If_Range=etag).status == 206
    assert server.ask(path, Range="bytes=0-9", If_Range='"other"').body == PICTURE
    head = server.ask(path, "HEAD")
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", str(len(PICTURE)))


@pytest.mark.parametrize(
    "path",
    [
        *("/out/lease.json", "/out/checkpoints/0000000000000001.safetensors", "/out/segments/"),
        *(
            "/out/images/page.html",
            "/out/images/",
            "/out/../secret.json",
            "/out/images/../lease.json",
        ),
        *("/out/%2e%2e/secret.json", "/out/images/%2e%2e%2fsummary.json", "/out//etc/passwd"),
        *("/other/", "/out/images/a%00.png", "/out/tasks/00/../../lease.json"),
    ],
)
def test_nothing_else_is_there(server: Server, output: tuple[Path, str], path: str) -> None:
    (output[0].parent / "secret.json").write_text("{}")
    assert server.ask(path).status == 404


def test_nothing_is_written_and_no_link_leads_outside(
    server: Server, output: tuple[Path, str]
) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert server.ask("/out/index.html", method).status == 405
    outside = output[0].parent / "outside.png"
    outside.write_bytes(b"mine")
    link = output[0] / "images" / "link.png"
    link.symlink_to(outside)
    assert server.ask("/out/images/link.png").status == 404
    assert server.ask("/out/", Host="evil.example").status == 421


def test_several_outputs_have_a_page_of_their_own(tmp_path: Path) -> None:
    for folder in ("a/out", "b/out"):
        fill(FolderStorage(tmp_path / folder))
    (tmp_path / "b" / "out" / "index.html").unlink()
    with serving(tmp_path / "a" / "out", tmp_path / "b" / "out") as server:
        page = server.ask("/").body.decode()
        assert re.findall(r'<a href="([^"]+)"', page) == ["/out/", "/out-2/"]
        assert "&#34;fog&#34; &lt;i&gt;" in page
        assert "no gallery yet" in page
        assert server.ask("/front.css").headers["content-type"].startswith("text/css")
        assert server.ask("/out-2/").status == 404
        assert b"stylefarm report writes it" in server.ask("/out-2/").body


def test_an_output_on_s3_is_read_by_range(rig: Rig) -> None:
    storage = rig.open()
    key = fill(storage)
    endpoint = rig.options.endpoint_url
    words = [storage.url, *(() if endpoint is None else ("--endpoint-url", endpoint))]
    ca = rig.options.ca_bundle
    more = {} if ca is None else {"AWS_CA_BUNDLE": str(ca)}
    with serving(*words, **rig.environment, **more) as server:
        name = server.ask("/").headers["location"]
        assert server.ask(name).status == 200
        part = server.ask(f"{name}{quote(key)}", Range="bytes=-7")
        assert (part.status, part.body) == (206, PICTURE[-7:])


def test_other_machines_need_the_token(output: tuple[Path, str]) -> None:
    with serving(output[0], "--host", "0.0.0.0") as server:
        where = urlsplit(server.address)
        (token,) = parse_qs(where.query)["token"]
        here = Server(f"http://127.0.0.1:{where.port}/", server.process)
        for cookie in ({}, {"Cookie": "stylefarm_token=wrong"}):
            refused = here.ask("/out/", **cookie)
            assert refused.status == 403
            assert b"with its token" in refused.body
        assert here.ask("/out/?token=wrong").status == 403
        entered = here.ask(f"/out/?token={token}")
        assert entered.status == 307
        assert entered.headers["location"] == "/out/"
        assert "HttpOnly" in entered.headers["set-cookie"]
        cookie = entered.headers["set-cookie"].partition(";")[0]
        assert here.ask("/out/", Cookie=cookie).status == 200


@pytest.mark.parametrize(("sign", "status"), [(signal.SIGINT, 0), (signal.SIGTERM, 0)])
def test_it_ends_when_it_is_asked_to(output: tuple[Path, str], sign: int, status: int) -> None:
    with serving(output[0]) as server:
        server.process.send_signal(sign)
        _, said = server.process.communicate(timeout=30)
        assert server.process.returncode == status, said
        assert "Traceback" not in said


def test_mistakes_are_one_sentence(tmp_path: Path, output: tuple[Path, str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        for words, sentence in (
            ((tmp_path / "nothing",), "nothing has been rendered to"),
            ((output[0], "--host", "no.such.host.invalid"), "is no address of this machine"),
            ((output[0], "--port", str(taken.getsockname()[1])), "give another with --port"),
            ((output[0], "--endpoint-url", "http://here"), "would have no effect"),
        ):
            refused = stylefarm("serve", *words)
            assert refused.returncode == ExitStatus.USAGE, refused.stderr
            assert sentence in refused.stderr
            assert len(refused.stderr.splitlines()) == 1, refused.stderr


def test_live_is_read_as_it_is(server: Server, output: tuple[Path, str]) -> None:
    (output[0] / keys.LIVE).write_text(json.dumps({"state": "running"}))
    answer = server.ask("/out/live.json")
    assert (answer.status, json.loads(answer.body)) == (200, {"state": "running"})
    assert answer.headers["cache-control"] == "private, no-cache"


def test_it_opens_the_page_in_the_browser(output: tuple[Path, str], tmp_path: Path) -> None:
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {tmp_path / "opened"}\n')
    browser.chmod(0o755)
    process = subprocess.Popen(
        command("serve", output[0], "--open", "--port", str(free_port())),
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "BROWSER": f"{browser} %s"},
    )
    try:
        assert process.stdout
        address = process.stdout.readline().strip()
        opened = tmp_path / "opened"
        wait_for(lambda: opened.exists() and opened.read_text())
        assert opened.read_text().strip() == address
    finally:
        process.terminate()
        process.wait(60)
