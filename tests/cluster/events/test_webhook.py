"""A webhook gets how a run ended, on a real server, which may fail at first."""

from __future__ import annotations

import json
import threading
from base64 import b64encode
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from cluster.events.events import Finished
from cluster.events.webhook import what_happened
from tests.support.farm import records_of, stylefarm, write_job
from tests.support.rigs import web_server


class Hook:
    """A webhook that answers with these statuses, then with 200."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.received: list[dict] = []
        self.tries = 0
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                hook.tries += 1
                status = hook.statuses.pop(0) if hook.statuses else 200
                if status == 200:
                    hook.received.append(json.loads(body))
                self.send_response(status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/T0SECRET/B0"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def make_hook() -> Iterator:
    made = []

    def make(*statuses: int) -> Hook:
        made.append(Hook(*statuses))
        return made[-1]

    yield make
    for hook in made:
        hook.server.shutdown()


def run(job, *options, **how):
    return stylefarm("run", job, "--pool", "inline", *options, **how)


HASTY = {
    "cluster.events.webhook.BACKOFF_SECONDS": 0.01,
    "cluster.events.webhook.TIMEOUT_SECONDS": 300.0,
    "cluster.events.webhook.PATIENCE_SECONDS": 300.0,
}


def run_hastily(job, *options, **env):
    """Where nobody is there, who would be asked again for a quarter of a minute. Who is there may take longer
    than a run would wait for, and is asked again only for what it has answered."""
    return run(job, *options, settings=HASTY, **env)


def test_a_run_that_is_done_is_posted_once_and_again_only_if_something_was_rendered(
    tmp_path, make_hook
):
    hook = make_hook()
    job = write_job(tmp_path, photos=1, styles=1, notify={"url": hook.url})

    assert run_hastily(job).returncode == 0
    assert run(job).returncode == 0

    (message,) = hook.received
    assert (
        message["event"],
        message["job"],
        message["done"],
        message["failed"],
        message["left"],
    ) == (
        "done",
        "test",
        1,
        0,
        0,
    )
    assert message["output"].endswith("out")
    assert "1 done, 0 failed, 0 left" in message["text"]


def test_a_server_in_trouble_is_tried_again_and_changes_nothing(tmp_path, make_hook):
    hook = make_hook(503, 500, 429)
    job = write_job(tmp_path, photos=1, styles=1, notify={"url": hook.url})

    assert run_hastily(job).returncode == 0

    assert hook.tries == 4
    assert [message["event"] for message in hook.received] == ["done"]


def test_a_webhook_that_refuses_or_is_not_there_fails_no_run(tmp_path, make_hook):
    hook = make_hook(*[403] * 9)
    refused = write_job(tmp_path / "a", photos=1, styles=1, notify={"url": hook.url})
    nobody = write_job(tmp_path / "b", photos=1, styles=1, notify={"url": "http://127.0.0.1:9/x"})

    first, second = run_hastily(refused, "--verbose"), run_hastily(nobody)

    assert (first.returncode, second.returncode) == (0, 0)
    assert hook.tries == 1  # to be refused is final
    assert "webhook failed: the webhook at 127.0.0.1 answers 403" in first.stderr
    assert "webhook failed: the webhook at 127.0.0.1 could not be reached" in second.stderr
    assert len(records_of(refused)) == len(records_of(nobody)) == 1


def test_a_webhook_is_reached_through_the_proxy_of_the_environment(tmp_path):
    job = write_job(tmp_path, photos=1, styles=1, notify={"url": "http://chat.invalid/T0SECRET"})
    with web_server(lambda *_: (200, {}, b"")) as gate:
        named = gate.url.replace("http://", "http://me:s3cret%21@")
        assert "webhook failed" not in run(job, http_proxy=named, no_proxy="").stderr
        ((method, path, headers),) = gate.seen
        assert (method, path) == ("POST", "http://chat.invalid/T0SECRET")
        assert headers["proxy-authorization"] == "Basic " + b64encode(b"me:s3cret!").decode()

    nowhere = {"http_proxy": "http://me:s3cret@127.0.0.1:1", "no_proxy": ""}
    failed = run_hastily(job, "--overwrite", **nowhere)
    said = "the webhook at chat.invalid could not be reached through the proxy 127.0.0.1:1 of http_proxy"
    assert said in failed.stderr
    assert "s3cret" not in failed.stderr


def test_failed_tasks_are_posted_and_what_was_not_asked_for_is_not(tmp_path, make_hook):
    hook = make_hook()
    job = write_job(
        tmp_path, photos=2, styles=1, notify={"url": hook.url, "on": ["failed", "stopped"]}
    )

    assert run_hastily(job, "--limit", "1").returncode == 0
    (tmp_path / "photos" / "p1.png").write_bytes(b"no picture")
    (tmp_path / "photos" / "p0.png").write_bytes(b"no picture")
    assert run_hastily(job).returncode == 1
    assert run_hastily(job, "--overwrite").returncode == 1

    assert next((message["event"], message["reason"]) for message in hook.received) == (
        "stopped",
        "limit",
    )
    assert {message["event"] for message in hook.received[1:]} == {"failed"}


def test_its_address_is_in_the_environment_and_in_no_file_or_log(tmp_path, make_hook):
    hook = make_hook(*[403] * 9)
    inline = write_job(tmp_path / "a", photos=1, styles=1, notify={"url": hook.url})
    named = write_job(tmp_path / "b", photos=1, styles=1, notify={"url": "$HOOK"})

    first = run_hastily(inline, "--verbose", "--json")
    second = run_hastily(named, "--verbose", "--json", HOOK=hook.url)

    assert hook.tries == 2
    for done in (first, second):
        assert "T0SECRET" not in done.stdout + done.stderr
    for folder in ("a", "b"):
        for file in (tmp_path / folder / "out").rglob("*"):
            assert not file.is_file() or b"T0SECRET" not in file.read_bytes()


def test_an_address_that_the_environment_lacks_is_the_job_files_mistake(tmp_path):
    refused = run(write_job(tmp_path, notify={"url": "$NO_SUCH_HOOK"}))

    assert refused.returncode == 2
    assert (
        "notify.url: the environment variable NO_SUCH_HOOK holds no web address" in refused.stderr
    )
    assert not (tmp_path / "out" / "tasks").exists()


@pytest.mark.parametrize(
    ("reason", "failed", "what"),
    [
        ("complete", 0, "done"),
        ("complete", 2, "failed"),
        ("interrupted", 0, "stopped"),
        ("preempted", 1, "stopped"),
        ("max_failures", 3, "stopped"),
        ("max_gpu_hours", 0, "stopped"),
        ("limit", 0, "stopped"),
    ],
)
def test_what_happened(reason, failed, what):
    assert (
        what_happened(Finished(done=1, failed=failed, left=0, seconds=1.0, reason=reason)) == what
    )


def test_a_video_that_could_not_be_made_is_a_failure():
    ended = Finished(done=1, failed=0, left=0, seconds=1.0, reason="complete", videos_failed=1)
    assert what_happened(ended) == "failed"
