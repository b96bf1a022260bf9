"""What web servers do that is odd and allowed, and what is odd and not: each works, or is one sentence.

The basics, private networks and TLS are in ``test_reader.py``.
"""

from __future__ import annotations

import gzip
import json
import re
import socketserver
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cluster.open_job import open_agenda
from cluster.run.options import RunOptions
from cluster.run.run_job import run_job
from jobs.errors import InputError, JobFileError, StorageUnreachableError
from jobs.inputs.reader import Inputs
from jobs.jobfile.load import load_job
from tests.support.farm import picture as a_picture
from tests.support.farm import records_of, write_job
from tests.support.rigs import Answer, web_server

SECRET = "X-Amz-Signature=5ecret%2F0b%2Bc%3D&X-Amz-Credential=5ecret%2F20250101&se=a+b"


@pytest.fixture
def web(tmp_path: Path) -> Inputs:
    return Inputs(tmp_path, allow_private=True, max_bytes=100_000)


@contextmanager
def raw_server(answers: dict[str, bytes]) -> Iterator[str]:
    """Sends bytes as they are, by path, and closes the connection."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            path = self.rfile.readline().split()[1].decode()
            while self.rfile.readline().strip():
                pass
            self.wfile.write(answers[path])

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as listener:
        listener.daemon_threads = True
        thread = threading.Thread(target=listener.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.server_address[1]}"
        finally:
            listener.shutdown()
            thread.join()


def http(*headers: str, body: bytes = b"") -> bytes:
    return "\r\n".join(["HTTP/1.1 200 OK", *headers, "", ""]).encode() + body


def chunked(*parts: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)


# Redirects


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    "location",
    [
        "{url}/there/a.jpg",
        "//127.0.0.1:{port}/there/a.jpg",
        "/there/a.jpg",
        "there/a.jpg",
        "./x/../there/a.jpg",
        "/there/a.jpg#part",
        "/there/a.jpg?sig=5ecret%2F%3D",
    ],
)
def test_redirects_of_every_kind(web: Inputs, status: int, location: str) -> None:
    def answer(method: str, path: str, _: dict[str, str]) -> Answer:
        if path == "/a":
            where = location.format(url=server.url, port=server.port)
            return status, {"Location": where}, b"moved"
        return 200, {}, b"picture"

    with web_server(answer) as server:
        assert web.read(f"{server.url}/a").data == b"picture"
    query = "?sig=5ecret%2F%3D" if "?" in location else ""
    assert [path for _, path, _ in server.seen] == ["/a", f"/there/a.jpg{query}"]
    assert {method for method, _, _ in server.seen} == {"GET"}


def test_a_redirect_to_a_name_that_is_not_ascii(web: Inputs) -> None:
    """Servers send it as UTF-8, which no header may have."""
    moved = b"HTTP/1.1 302 Found\r\nLocation: /caf\xc3\xa9 1.jpg\r\n\r\n"
    with raw_server(
        {"/a": moved, "/caf%C3%A9%201.jpg": http("Content-Length: 7", body=b"picture")}
    ) as url:
        assert web.read(f"{url}/a").data == b"picture"


def test_five_redirects_are_followed_and_loops_end(web: Inputs) -> None:
    def answer(method: str, path: str, _: dict[str, str]) -> Answer:
        step = int(path.partition("?")[0][1:])
        return (302, {"Location": f"/{step - 1}?5ecret"}, b"") if step else (200, {}, b"picture")

    with web_server(answer) as server:
        assert web.read(f"{server.url}/5").data == b"picture"
        with pytest.raises(InputError) as caught:
            web.read(f"{server.url}/6?5ecret")
        assert str(caught.value) == f"{server.url}/6 redirects more than 5 times."
    with web_server(lambda *_: (301, {"Location": "/a?5ecret"}, b"")) as server:
        with pytest.raises(InputError) as caught:
            web.read(f"{server.url}/a?5ecret")
        assert str(caught.value) == f"{server.url}/a redirects more than 5 times."
        assert len(server.seen) == 6


def test_a_redirect_to_nowhere_is_refused(web: Inputs) -> None:
    with (
        web_server(lambda *_: (302, {}, b"")) as server,
        pytest.raises(InputError, match=r"/a refuses it \(HTTP 302\)\.$"),
    ):
        web.read(f"{server.url}/a")


# Bodies


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (http("Transfer-Encoding: chunked", body=chunked(b"pic", b"ture", b"")), b"picture"),
        (http(body=b"picture"), b"picture"),  # it ends with the connection
        (
            http("Content-Encoding: gzip", "Content-Length: 27", body=gzip.compress(b"picture")),
            b"picture",
        ),
        (
            http(
                "Transfer-Encoding: chunked",
                "Content-Encoding: deflate",
                body=chunked(zlib.compress(b"picture"), b""),
            ),
            b"picture",
        ),
        (http("Content-Length: 3", body=b"picture"), b"pic"),
        (http("Content-Type: text/html", "Content-Length: 7", body=b"picture"), b"picture"),
    ],
    ids=["chunked", "no length", "gzip", "deflate in chunks", "length too small", "wrong type"],
)
def test_bodies_of_every_kind(web: Inputs, answer: bytes, expected: bytes) -> None:
    with raw_server({"/a.jpg": answer}) as url:
        assert web.read(f"{url}/a.jpg").data == expected


@pytest.mark.parametrize(
    ("answer", "kind", "said"),
    [
        (
            http("Transfer-Encoding: chunked", body=b"7\r\npic"),
            StorageUnreachableError,
            "The connection for {} broke; try again later.",
        ),
        (
            http("Transfer-Encoding: chunked", body=b"nonsense\r\n"),
            StorageUnreachableError,
            "The connection for {} broke; try again later.",
        ),
        (
            http("Content-Length: 90", body=b"picture"),
            StorageUnreachableError,
            "The connection for {} broke; try again later.",
        ),
        (b"", StorageUnreachableError, "The connection for {} broke; try again later."),
        (
            b"no HTTP at all\r\n",
            StorageUnreachableError,
            "The connection for {} broke; try again later.",
        ),
        (http("Content-Length: 0"), InputError, "{} is empty (0 bytes)."),
        (http(), InputError, "{} is empty (0 bytes)."),
        (
            http("Transfer-Encoding: chunked", body=chunked(b"")),
            InputError,
            "{} is empty (0 bytes).",
        ),
        (b"HTTP/1.1 204 No Content\r\n\r\n", InputError, "{} is empty (0 bytes)."),
        (
            http("Content-Encoding: gzip", body=gzip.compress(bytes(50_000_000))),
            InputError,
            "{} is larger than the limit of 100,000 bytes for one picture; make it smaller.",
        ),
        (
            http(
                "Content-Type: image/png", body=b"\xef\xbb\xbf\n <!DOCTYPE html><html>5ecret</html>"
            ),
            InputError,
            "{} is a web page, not a picture: write the address of the picture itself.",
        ),
        (
            http("Content-Type: text/html", body=b"<HTML lang=en>5ecret</HTML>"),
            InputError,
            "{} is a web page, not a picture: write the address of the picture itself.",
        ),
    ],
    ids=[
        *(
            "broken chunk",
            "no chunk",
            "length too large",
            "nothing",
            "no HTTP",
            "empty",
            "nothing sent",
        ),
        *("empty in chunks", "no content", "bomb", "page as PNG", "page"),
    ],
)
def test_bodies_that_are_no_picture(
    web: Inputs, answer: bytes, kind: type[Exception], said: str
) -> None:
    with raw_server({"/a.jpg?5ecret": answer}) as url, pytest.raises(kind) as caught:
        web.read(f"{url}/a.jpg?5ecret#5ecret")
    assert type(caught.value) is kind
    assert str(caught.value) == said.format(f"{url}/a.jpg")


# Addresses


@pytest.mark.parametrize(
    "uri",
    [
        "http://",
        "https:///a.jpg",
        "http://?5ecret",
        "http://[x/a.jpg?5ecret",
        "http://h:99999/?5ecret",
    ],
)
def test_what_is_no_web_address_is_told_before_anything_is_fetched(
    tmp_path: Path, web: Inputs, uri: str
) -> None:
    for look in (web.expand, web.spelling):
        with pytest.raises(InputError, match=r"is not a web address|names no host") as caught:
            look(uri)
        assert "5ecret" not in str(caught.value)
    job = write_job(tmp_path, photos=1, pairs=[{"content": uri, "style": "styles/"}])
    with pytest.raises(JobFileError) as refused:
        open_agenda(load_job(job))
    (problem,) = refused.value.problems
    assert re.match(r".*job\.yaml:\d+: pairs\[0\]\.content", str(problem))
    assert "5ecret" not in str(problem)


@pytest.mark.parametrize(
    "uri",
    [
        "https://example.org/a b.jpg",
        "HTTPS://EXAMPLE.ORG:443/a.jpg?x=1#y",
        "http://me:p%40ss@example.org/a.jpg",
        "http://me:p@ss@example.org/a.jpg",
        "http://[2001:db8::1]:8080/a.jpg",
        "https://bücher.example/a.jpg",
        "https://example.org?x=/a.jpg",
    ],
)
def test_web_addresses_are_taken_as_they_are_written(web: Inputs, uri: str) -> None:
    assert web.expand(uri) == [uri]
    assert web.spelling(uri) == uri


PLACES: dict[str, Callable[[str], dict[str, object]]] = {
    "content": lambda uri: {"content": uri, "style": "styles/s0.png"},
    "style": lambda uri: {"content": "photos/p0.png", "style": uri},
    "blend": lambda uri: {
        "content": "photos/p0.png",
        "style": {"blend": {uri: 1, "styles/s0.png": 2}},
    },
    "mask": lambda uri: {
        "content": "photos/p0.png",
        "style": {"picture": "styles/s0.png", "mask": uri},
    },
    "init": lambda uri: {"content": "photos/p0.png", "style": "styles/s0.png", "init": uri},
    "manifest": lambda uri: {"manifest": "rows.jsonl"},
}


def png(seed: int) -> bytes:
    import io

    buffer = io.BytesIO()
    a_picture(seed).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("scheme", ["http", "HTTP"])
def test_signed_addresses_work_everywhere_and_are_shown_nowhere(
    tmp_path: Path, scheme: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Each place has a picture that is there and one that is not."""

    def answer(method: str, path: str, _: dict[str, str]) -> Answer:
        if method != "GET":
            return 405, {}, b""
        return (403, {}, b"") if "refused" in path else (200, {}, png(7))

    with web_server(answer) as server:
        pairs = []
        rows = []
        for name, place in PLACES.items():
            for kind in ("good", "refused"):
                uri = f"{scheme}://me:5ecret@127.0.0.1:{server.port}/{name}-{kind}.png?{SECRET}#5ecret"
                if name == "manifest":
                    rows.append({"content": uri, "style": "styles/s0.png"})
                else:
                    pairs.append(place(uri))
        (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        pairs.append({"manifest": "rows.jsonl"})
        job = write_job(tmp_path, photos=1, styles=1, pairs=pairs, inputs={"allow_private": True})
        events: list[object] = []
        result = run_job(load_job(job), RunOptions(pool="inline"), events.append)

    assert (result.counts.done, result.counts.failed) == (6, 6)
    assert {method for method, _, _ in server.seen} == {"GET"}
    assert {path.partition("?")[2] for _, path, _ in server.seen} == {SECRET}
    errors = [record.error for record in records_of(job).values() if record.error]
    for name in PLACES:
        uri = f"{scheme}://127.0.0.1:{server.port}/{name}-refused.png"
        assert f"The server of {uri} refuses it (HTTP 403)." in errors
    assert "5ecret" not in repr(events)
    out, err = capfd.readouterr()
    assert "5ecret" not in out + err
    for file in (tmp_path / "out").rglob("*"):
        assert "5ecret" not in file.name
        if file.is_file():
            assert b"5ecret" not in file.read_bytes(), file
