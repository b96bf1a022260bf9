"""Temporary files that find no room: one sentence that names TMPDIR."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

import pytest

from jobs.errors import StorageError, StorageFullError
from jobs.inputs.reader import Inputs
from jobs.storage.scratch import scratch_errors, scratch_folder
from tests.support.rigs import Rig


def test_a_folder_is_there_until_it_is_left() -> None:
    with scratch_folder("copies") as folder:
        assert Path(folder).is_dir()
    assert not Path(folder).exists()


@pytest.mark.parametrize("place", ["/dev/null", "/proc"])
def test_no_place_for_a_folder(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", place)
    with pytest.raises(StorageError) as caught:
        scratch_folder("copies of manifests")
    assert str(caught.value).startswith("Cannot write copies of manifests to a temporary file: ")
    assert str(caught.value).endswith("; set TMPDIR to a folder that can be written and has room.")


def test_a_full_disk_is_told_as_one() -> None:
    with (
        pytest.raises(StorageFullError, match="No space left on device; set TMPDIR"),
        scratch_errors("a copy"),
        Path("/dev/full").open("wb") as file,
    ):
        file.write(bytes(1 << 16))
    with pytest.raises(StorageError), scratch_errors("a copy"):
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))


def test_a_copy_from_s3_that_finds_no_room(s3: Rig, tmp_path: Path) -> None:
    s3.open().put("pairs.csv", b"content,style\na,b\n")
    inputs = Inputs(tmp_path, s3.options)
    with pytest.raises(
        StorageError, match=r"a copy of s3://.*/pairs.csv to a temporary file: .* set TMPDIR"
    ):
        inputs.local_copy(f"{s3.url}/pairs.csv", Path("/dev/null"))
