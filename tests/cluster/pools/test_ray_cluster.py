"""An address where no Ray head is: one sentence, at once, that says what is true."""

from __future__ import annotations

import time

import pytest

from cluster import listening
from cluster.pools import ray_cluster
from cluster.pools.ray_cluster import connect
from jobs.errors import ClusterError, ExitStatus, StylefarmError, UsageError
from tests.support.rigs import free_port, web_server


def refusal(address: str | None) -> StylefarmError:
    began = time.monotonic()
    with pytest.raises(StylefarmError) as caught:
        connect(address)
    assert time.monotonic() - began < 30
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, UsageError | ClusterError)
    return caught.value


@pytest.fixture(autouse=True)
def no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    # Who waits for an answer that does not come is seen to.
    for module in (listening, ray_cluster):
        monkeypatch.setattr(module, "CONNECT_SECONDS", 180.0)


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_nobody_listens(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    address = f"{scheme}127.0.0.1:{free_port()}"
    error = refusal(address)
    assert error.exit_status == ExitStatus.UNREACHABLE
    assert str(error).startswith(f"Ray cannot be reached at {address}")
    assert str(error).endswith(": Connection refused; is the head up?")

    monkeypatch.setenv("RAY_ADDRESS", address)
    for asked in (None, "auto"):
        assert str(refusal(asked)).startswith(f"Ray cannot be reached at {address} (RAY_ADDRESS)")


def test_something_else_listens() -> None:
    with web_server(lambda *_: (200, {}, b"hello")) as server:
        error = refusal(f"ray://127.0.0.1:{server.port}")
    assert error.exit_status == ExitStatus.UNREACHABLE
    assert "what listens there is no Ray head; the port of a head is 6379" in str(error)


def test_a_host_that_is_unknown() -> None:
    assert "at nowhere.invalid:6379: " in str(refusal("nowhere.invalid:6379"))


@pytest.mark.parametrize(
    "address", ["localhost", "6379", "127.0.0.1:99999", "ray://", "ray://:10001", ":6379", "a b"]
)
def test_what_is_no_address(address: str) -> None:
    error = refusal(address)
    assert error.exit_status == ExitStatus.USAGE
    assert "this is no address of a Ray head; give host:6379" in str(error)


def test_a_dashboard_is_for_submit(monkeypatch: pytest.MonkeyPatch) -> None:
    error = refusal("http://head:8265")
    assert error.exit_status == ExitStatus.USAGE
    assert "the address of a dashboard, to which stylefarm submit hands jobs" in str(error)
    monkeypatch.setenv("RAY_ADDRESS", "http://head:8265")
    assert "at http://head:8265 (RAY_ADDRESS): " in str(refusal(None))


def test_a_head_that_is_too_busy_is_asked_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[object] = []

    def init(**options: object) -> None:
        calls.append(options["address"])
        if len(calls) == 1:
            raise ConnectionAbortedError("Initialization failure from server:\nTraceback:\nwhy")

    monkeypatch.setattr(ray_cluster, "_check_address", lambda *_: None)
    monkeypatch.setattr(ray_cluster.ray, "init", init)
    connect("ray://head")
    assert calls == ["ray://head"] * 2
    assert [r.message for r in caplog.records] == [
        "the Ray head refused this client, it is asked again: why"
    ]
