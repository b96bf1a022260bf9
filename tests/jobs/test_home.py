"""A leading ``~`` is a home folder, or one sentence says why it is none."""

from __future__ import annotations

import os
import pwd
import sys
from pathlib import Path

import pytest

from jobs.errors import NoHomeError, StorageError
from jobs.home import expand_home
from jobs.inputs.reader import Inputs
from jobs.storage.open import open_storage
from tests.support.machine import folder_for_all, run_as_stranger


def test_home_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert expand_home("~") == expand_home("~/") == tmp_path
    assert expand_home("~/a/b.jpg") == expand_home("~//a/b.jpg") == tmp_path / "a/b.jpg"
    somebody = pwd.getpwall()[-1]
    assert expand_home(f"~{somebody.pw_name}/out") == Path(somebody.pw_dir) / "out"


@pytest.mark.parametrize("text", ["a", "./~", "./~nobody-at-all", "a/~", "/~/b", ""])
def test_other_paths_stay(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/dev/null/home")
    assert expand_home(text) == Path(text)


@pytest.mark.parametrize("home", ["/dev/null/home", "/dev/null", "relative"])
def test_a_home_that_is_no_folder_is_named(home: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", home)
    with pytest.raises(NoHomeError) as caught:
        expand_home("~/out")
    assert str(caught.value) == (
        f"~/out: ~ is the home folder, and there is none: HOME is {home}, which is no folder; set HOME to a "
        "folder that exists, or write the path in full"
    )


def test_an_empty_home_is_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "")
    assert expand_home("~/out") == Path(pwd.getpwuid(os.getuid()).pw_dir) / "out"


def test_a_user_without_an_entry() -> None:
    program = "from jobs.home import expand_home; expand_home('~/pics')"
    with folder_for_all() as folder:
        ended = run_as_stranger([sys.executable, "-c", program], folder)
    assert ended.stderr.splitlines()[-1].removeprefix("jobs.errors.NoHomeError: ") == (
        "~/pics: ~ is the home folder, and there is none, because HOME is not set and "
        "user 54321 is not in the list of users; set HOME to a folder that exists, or write the path in full"
    )


def test_an_unknown_user_is_named() -> None:
    with pytest.raises(
        StorageError, match=r"there is no user nobody-at-all, .* or \./~nobody-at-all"
    ):
        open_storage("~nobody-at-all/out")


def test_pictures_may_be_named_with_a_tilde(tmp_path: Path) -> None:
    (tmp_path / "~root").mkdir()
    (tmp_path / "~root/~a.jpg").write_bytes(b"picture")
    inputs = Inputs(tmp_path)
    assert inputs.expand("~root/") == ["~root/~a.jpg"]
    assert inputs.read("~root/~a.jpg").data == b"picture"
