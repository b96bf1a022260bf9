"""Where Ray's sockets go, and its token, on machines of every kind."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cluster.local_ray import LONGEST_SOCKET, SOCKET_BYTES, local_options
from jobs.errors import ClusterError
from tests.support.machine import folder_for_all

ROOM = SOCKET_BYTES - len(LONGEST_SOCKET) - len("/ray")
"""The longest path of TMPDIR."""


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TMPDIR", "RAY_TMPDIR", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv(name, "")  # so that it is taken back when the test ends
        monkeypatch.delenv(name)


def folder_of(length: int, below: Path) -> str:
    path = below / ("x" * (length - len(f"{below}/")))
    path.mkdir()
    return str(path)


def test_the_default_is_left_to_ray() -> None:
    assert local_options() == {}


@pytest.mark.parametrize("name", ["TMPDIR", "RAY_TMPDIR"])
def test_as_long_a_path_as_fits_is_used_and_a_longer_one_is_not(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with folder_for_all() as below:
        monkeypatch.setenv(name, folder_of(ROOM, below))
        assert local_options() == {}
        monkeypatch.setenv(name, folder_of(ROOM + 1, below))
        assert local_options() == {"_temp_dir": "/tmp/ray"}


@pytest.mark.parametrize("value", ["", "relative", "/dev/null/home", "/proc", "/dev/null"])
def test_a_folder_that_cannot_be_used_is_not(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", value)
    assert local_options() == {"_temp_dir": "/tmp/ray"}


def test_no_folder_at_all_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.TemporaryFile", _full)
    monkeypatch.setenv("TMPDIR", "/proc")
    with pytest.raises(ClusterError) as caught:
        local_options()
    assert "/proc/ray cannot be used (No such file or directory); /tmp/ray cannot" in str(
        caught.value
    )
    assert (
        f"set TMPDIR to a folder that can be written, with a path of at most {ROOM} bytes"
        in str(caught.value)
    )


def _full(**_: object) -> None:
    raise OSError(28, os.strerror(28))


def test_a_token_is_made_where_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    local_options()
    made = os.environ["RAY_AUTH_TOKEN"]
    assert len(made) >= 32
    local_options()
    assert os.environ["RAY_AUTH_TOKEN"] == made
    assert list(tmp_path.iterdir()) == []


def test_a_token_of_the_user_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray/auth_token").write_text("0" * 32)
    local_options()
    assert "RAY_AUTH_TOKEN" not in os.environ
    monkeypatch.setenv("HOME", "/dev/null/home")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / ".ray/auth_token"))
    local_options()
    assert "RAY_AUTH_TOKEN" not in os.environ
