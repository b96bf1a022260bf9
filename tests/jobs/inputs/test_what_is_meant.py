"""What patterns leave out, or do not match, is said with what is meant."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.errors import InputError, InputNotFoundError
from jobs.inputs.near import why_no_match
from jobs.inputs.reader import Inputs


def table(path: Path, *cells: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"image": pa.array(cells, pa.binary())}), path)


@pytest.mark.parametrize("link", ["../sub", "../..", "."])
def test_a_link_to_a_folder_above_is_not_followed(tmp_path: Path, link: str) -> None:
    (tmp_path / "sub" / "deep").mkdir(parents=True)
    (tmp_path / "sub" / "deep" / "a.png").touch()
    (tmp_path / "sub" / "loop").symlink_to(link)
    assert Inputs(tmp_path).expand("sub/**/*.png") == ["sub/deep/a.png"]


def test_links_to_each_other_are_followed_once(tmp_path: Path) -> None:
    for one, other in (("a", "b"), ("b", "a")):
        (tmp_path / one).mkdir()
        (tmp_path / one / f"{one}.png").touch()
        (tmp_path / one / "other").symlink_to(f"../{other}")
    assert Inputs(tmp_path).expand("a/**") == ["a/a.png", "a/other/b.png"]


def test_archives_that_are_packed_as_a_whole_are_named(tmp_path: Path) -> None:
    for name in ("a.tar.gz", "b.TGZ", "c.7z", "notes.gz", "d.png"):
        (tmp_path / name).touch()
    inputs = Inputs(tmp_path)
    assert inputs.expand(".") == ["d.png"]
    assert [one.partition(" ")[0] for one in sorted(inputs.unread.first)] == [
        "a.tar.gz",
        "b.TGZ",
        "c.7z",
    ]
    with pytest.raises(InputError, match=r"a\.tar\.gz is packed as a whole .*: unpack it"):
        inputs.expand("a.tar.gz")


def test_a_folder_without_pictures_says_where_some_may_be(tmp_path: Path) -> None:
    table(tmp_path / "hub" / "train-00000.parquet", b"a")
    (tmp_path / "trips" / "2024").mkdir(parents=True)
    (tmp_path / "empty").mkdir()
    assert why_no_match(tmp_path, "hub") == "hub/*.parquet means the pictures in its tables"
    assert why_no_match(tmp_path, "trips/") == "trips/** means the pictures in its folders, too"
    assert why_no_match(tmp_path, "empty") is None


def test_a_column_that_is_not_there_is_told_from_one_without_a_row(tmp_path: Path) -> None:
    table(tmp_path / "a.parquet", b"a")
    inputs = Inputs(tmp_path)
    with pytest.raises(
        InputError, match=r"no column of pictures imge .*: write a\.parquet::image/\*"
    ):
        inputs.expand("a.parquet::imge/*")
    with pytest.raises(InputNotFoundError, match=r"a\.parquet::image/\* means all its pictures"):
        inputs.read("a.parquet::image")


def test_an_encrypted_member_is_called_that(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("a.png", b"picture")
    data = bytearray((tmp_path / "a.zip").read_bytes())
    for mark, offset in ((b"PK\1\2", 8), (b"PK\3\4", 6)):  # the flag of encryption
        data[data.index(mark) + offset] |= 1
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(InputError, match=r"^a\.png in a\.zip is encrypted.*: pack it without"):
        Inputs(tmp_path).read("a.zip::a.png")
