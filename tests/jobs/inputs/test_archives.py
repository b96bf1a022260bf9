"""Pictures in archives: on a disk and on S3, by range, with a sentence for all that is wrong."""

from __future__ import annotations

import io
import pickle
import subprocess
import tarfile
import threading
import time
import tracemalloc
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from jobs.errors import InputError, InputNotFoundError, StorageError
from jobs.inputs.archives.archive import Archive
from jobs.inputs.archives.source import Source, Stored
from jobs.inputs.reader import Inputs
from jobs.tasks.task import stem_of
from tests.support.farm import records_of, stylefarm, write_job
from tests.support.rigs import Rig

FILES = {
    "a.png": b"first" * 1000,
    "deep/b.jpg": b"second" * 50,
    f"{'long/' * 40}c.png": b"third",  # more than a header has room for
    "notes.txt": b"no picture",
    "日本/d.png": b"fourth",
}
PICTURES = sorted(name for name in FILES if not name.endswith(".txt"))


def pack_tar(path: Path, files: dict[str, bytes], kind: int = tarfile.PAX_FORMAT) -> None:
    with tarfile.open(path, "w", format=kind) as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def pack_zip(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", method) as file:
        for name, data in files.items():
            file.writestr(name, data)


KINDS: dict[str, Callable[[Path, dict[str, bytes]], None]] = {
    "pax.tar": pack_tar,
    "gnu.tar": lambda path, files: pack_tar(path, files, tarfile.GNU_FORMAT),
    "stored.zip": pack_zip,
    "deflated.zip": lambda path, files: pack_zip(path, files, zipfile.ZIP_DEFLATED),
    "lzma.zip": lambda path, files: pack_zip(path, files, zipfile.ZIP_LZMA),
}


@pytest.fixture(params=KINDS)
def archive(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / request.param
    KINDS[request.param](path, FILES)
    return path


def test_a_member_is_a_picture_like_others(archive: Path) -> None:
    inputs = Inputs(archive.parent)
    for name, data in FILES.items():
        uri = f"{archive.name}::{name}"
        found = inputs.read(uri)
        assert (found.data, found.size, found.uri) == (data, len(data), uri)
        inputs.check(uri)
        stat = inputs.stat(uri)
        assert stat is not None
        assert (stat.size, stat.modified) == (len(data), archive.stat().st_mtime)
    assert inputs.stat(f"{archive.name}::nothing.png") is None
    assert inputs.stat("nothing.tar::a.png") is None


def test_an_archive_stands_for_its_pictures(archive: Path) -> None:
    inputs = Inputs(archive.parent)
    name = archive.name
    assert inputs.expand(name) == [f"{name}::{picture}" for picture in PICTURES]
    assert inputs.expand(f"{name}::*.png") == [f"{name}::a.png"]
    assert inputs.expand(f"{name}::deep/*") == [f"{name}::deep/b.jpg"]
    assert inputs.expand(f"*.{name[-3:]}::**/b.jpg") == [f"{name}::deep/b.jpg"]
    assert inputs.expand(f"{name}::a.png") == [f"{name}::a.png"]
    assert inputs.expand(str(archive)) == inputs.expand(f"./{name}") == inputs.expand(name)


def test_names_of_pictures_are_those_that_they_have_in_the_archive() -> None:
    assert stem_of("s3://b/shard-01.tar::000.jpg") == "000"
    assert stem_of("x.zip::deep/a.b.jpg") == "a.b"


def test_as_a_program_packs_them(tmp_path: Path) -> None:
    for name, data in FILES.items():
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(data)
    subprocess.run(["tar", "-cf", tmp_path / "x.tar", "-C", tmp_path / "in", "."], check=True)
    inputs = Inputs(tmp_path)
    names = inputs.expand("x.tar")
    assert sorted(inputs.read(name).data for name in names) == sorted(
        FILES[name] for name in PICTURES
    )
    # A file that was added anew counts, as when it is unpacked.
    (tmp_path / "in/a.png").write_bytes(b"newer")
    subprocess.run(["tar", "-rf", tmp_path / "x.tar", "-C", tmp_path / "in", "./a.png"], check=True)
    assert inputs.read("x.tar::./a.png").data == b"newer"


def test_links_in_a_tar_lead_to_what_they_name(tmp_path: Path) -> None:
    pack_tar(tmp_path / "x.tar", FILES)
    with tarfile.open(tmp_path / "x.tar", "a") as tar:
        for name, target, kind in (
            ("hard.png", "a.png", tarfile.LNKTYPE),
            ("soft.png", "a.png", tarfile.SYMTYPE),
            ("deep/soft.png", "../soft.png", tarfile.SYMTYPE),
            ("nowhere.png", "gone.png", tarfile.SYMTYPE),
            ("self.png", "self.png", tarfile.SYMTYPE),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            tar.addfile(info)
    inputs = Inputs(tmp_path)
    names = [name.partition("::")[2] for name in inputs.expand("x.tar")]
    assert names == sorted([*PICTURES, "hard.png", "soft.png", "deep/soft.png"])
    for name in ("hard.png", "soft.png", "deep/soft.png"):
        assert inputs.read(f"x.tar::{name}").data == FILES["a.png"]


def test_of_a_file_and_a_link_of_one_name_the_later_counts(tmp_path: Path) -> None:
    pack_tar(tmp_path / "x.tar", {"a.png": b"a", "b.png": b"b"})
    with tarfile.open(tmp_path / "x.tar", "a") as tar:
        link = tarfile.TarInfo("a.png")
        link.type, link.linkname = tarfile.SYMTYPE, "b.png"
        tar.addfile(link)
    assert Inputs(tmp_path).read("x.tar::a.png").data == b"b"
    with tarfile.open(tmp_path / "x.tar", "a") as tar:
        info = tarfile.TarInfo("a.png")
        info.size = 1
        tar.addfile(info, io.BytesIO(b"c"))
    assert Inputs(tmp_path).read("x.tar::a.png").data == b"c"


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_a_damaged_member_of_a_zip_is_one_sentence(tmp_path: Path, method: int) -> None:
    pack_zip(tmp_path / "x.zip", {"a.png": bytes(range(256)) * 100}, method)
    with zipfile.ZipFile(tmp_path / "x.zip") as packed:
        (info,) = packed.infolist()
    data = bytearray((tmp_path / "x.zip").read_bytes())
    start = info.header_offset + 30 + len("a.png")
    data[start : start + info.compress_size] = b"\xa5" * info.compress_size
    (tmp_path / "x.zip").write_bytes(data)
    with pytest.raises(InputError, match=r"^x\.zip is damaged, or no archive"):
        Inputs(tmp_path).read("x.zip::a.png")


def test_an_archive_that_is_replaced_is_read_anew(archive: Path) -> None:
    inputs = Inputs(archive.parent)
    assert inputs.read(f"{archive.name}::a.png").data == FILES["a.png"]
    archive.unlink()
    KINDS[archive.name](archive, {"other.png": b"x", "a.png": b"changed"})
    assert inputs.read(f"{archive.name}::a.png").data == b"changed"


class Counted(Source):
    def __init__(self, data: bytes) -> None:
        self.stored = Stored(len(data), None, None)
        self.data = data
        self.asked: list[tuple[int, int]] = []

    def read(self, start: int, size: int) -> bytes:
        self.asked.append((start, size))
        return self.data[start : start + size]


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_headers_and_the_member_are_read(tmp_path: Path, kind: str) -> None:
    path = tmp_path / kind
    files = {f"{k}.jpg": bytes(100_000) + bytes([k]) for k in range(50)}
    KINDS[kind](path, files)
    source = Counted(path.read_bytes())
    archive = Archive(kind, source)
    assert sum(size for _, size in source.asked) <= max(66_000, 52 * 2048)
    source.asked.clear()
    assert archive.read("17.jpg") == files["17.jpg"]
    assert len(source.asked) == 1
    assert source.asked[0][1] <= 100_001 + 4096


def test_headers_that_lie_near_each_other_are_read_together(tmp_path: Path) -> None:
    files = {f"{k:04}.jpg": bytes([k % 256]) * (300 + k * k % 2000) for k in range(1000)}
    pack_tar(tmp_path / "x.tar", files)
    source = Counted((tmp_path / "x.tar").read_bytes())
    archive = Archive("x.tar", source)
    assert sorted(archive.names()) == sorted(files)
    assert len(source.asked) <= 32
    assert sum(size for _, size in source.asked) <= 1.05 * source.stored.size
    assert archive.read("0777.jpg") == files["0777.jpg"]


@pytest.mark.parametrize("name", ["x.tar", "x.zip"])
def test_members_on_s3_are_read_by_range(tmp_path: Path, s3_rig: Rig, name: str) -> None:
    (pack_tar if name == "x.tar" else pack_zip)(tmp_path / name, FILES)
    storage = s3_rig.open()
    storage.put(name, (tmp_path / name).read_bytes())
    inputs = Inputs(tmp_path, s3_rig.options)
    uri = f"{s3_rig.url}/{name}"
    assert inputs.expand(uri) == [f"{uri}::{picture}" for picture in PICTURES]
    stored = storage.stat(name)
    assert stored is not None
    found = inputs.read(f"{uri}::a.png")
    assert (found.data, found.etag) == (FILES["a.png"], stored.etag or None)
    inputs.check(f"{uri}::a.png")
    # Another archive in its place: the read fails as one that may succeed, and then does.
    time.sleep(0 if stored.etag else 1.1)
    (pack_tar if name == "x.tar" else pack_zip)(tmp_path / name, {"b.png": b"x", "a.png": b"new"})
    storage.put(name, (tmp_path / name).read_bytes())
    with pytest.raises(StorageError, match="replaced"):
        inputs.read(f"{uri}::a.png")
    assert inputs.read(f"{uri}::a.png").data == b"new"
    with pytest.raises(InputNotFoundError, match="There is no object"):
        inputs.read(f"{s3_rig.url}/nothing.tar::a.png")
    with pytest.raises(InputNotFoundError, match="There is no object"):
        inputs.check(f"{s3_rig.url}/nothing.tar::a.png")


def test_threads_share_one_list_of_members(archive: Path) -> None:
    inputs = pickle.loads(pickle.dumps(Inputs(archive.parent)))
    begin = threading.Barrier(8)

    def read(name: str) -> bytes:
        begin.wait(300)
        return b"".join(inputs.read(f"{archive.name}::{name}").data for _ in range(20))

    with ThreadPoolExecutor(8) as pool:
        names = [*PICTURES, *PICTURES][:8]
        assert list(pool.map(read, names)) == [FILES[name] * 20 for name in names]


def encrypted_zip(path: Path) -> None:
    pack_zip(path, {"a.png": b"data"})
    data = bytearray(path.read_bytes())
    for mark, at in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        data[data.index(mark) + at] |= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("x.tar::a.pngg", "There is no a.pngg in x.tar; is a.png meant?"),
        ("x.tar::7.png", "There is no 7.png in x.tar"),
        ("none.tar::a.png", "There is no file none.tar"),
        ("folder.tar::a.png", "folder.tar is a folder"),
        ("x.tar::empty.png", "x.tar::empty.png is empty (0 bytes)"),
        ("x.tar::inner.zip::a.png", "in an archive that is itself in one"),
        ("text.tar::a.png", "text.tar is damaged, or no archive that can be read (invalid header)"),
        (
            "text.zip::a.png",
            "text.zip is damaged, or no archive that can be read (File is not a zip",
        ),
        ("cut.tar::a.png", "cut.tar is damaged, or no archive that can be read"),
        ("secret.zip::a.png", "is encrypted, which is not read"),
        ("large.zip::a.png", "large.zip::a.png"),
        ("https://x.org/a.tar::a.png", "https://x.org/a.tar is an archive on the web: copy it"),
    ],
)
def test_what_is_wrong_is_one_sentence(tmp_path: Path, uri: str, said: str) -> None:
    pack_tar(tmp_path / "x.tar", {**FILES, "empty.png": b"", "inner.zip": b"PK"})
    (tmp_path / "folder.tar").mkdir()
    (tmp_path / "text.tar").write_text("no archive" * 1000)
    (tmp_path / "text.zip").write_text("no archive" * 1000)
    (tmp_path / "cut.tar").write_bytes((tmp_path / "x.tar").read_bytes()[:1000])
    encrypted_zip(tmp_path / "secret.zip")
    pack_zip(tmp_path / "large.zip", {"a.png": bytes(20_000_000)}, zipfile.ZIP_DEFLATED)
    with pytest.raises(InputError) as caught:
        Inputs(tmp_path, max_bytes=10_000_000).read(uri)
    assert said in str(caught.value)


def test_an_archive_in_an_archive_is_no_picture(tmp_path: Path) -> None:
    pack_zip(tmp_path / "inner.zip", {"a.png": b"data"})
    inner = (tmp_path / "inner.zip").read_bytes()
    pack_tar(tmp_path / "x.tar", {"inner.zip": inner, "b.png": b"data", "deep/inner.tar": b"data"})
    inputs = Inputs(tmp_path)
    # The picture beside it is used, and what is left out is named.
    assert inputs.expand("x.tar") == ["x.tar::b.png"]
    assert [said.partition(" (")[0] for said in inputs.unread.first] == [
        "x.tar::deep/inner.tar",
        "x.tar::inner.zip",
    ]
    for name in ("inner.zip", "deep/inner.tar"):
        with pytest.raises(InputError) as caught:
            inputs.expand(f"x.tar::{name}")
        assert str(caught.value) == (
            f"x.tar::{name} is an archive in an archive, where nothing is looked for: unpack the outer one"
        )
    assert inputs.expand("x.tar::inner.zip::*.png") == []
    for look in (inputs.read, inputs.check):
        with pytest.raises(
            InputError, match="is in an archive that is itself in one, where nothing"
        ):
            look("x.tar::inner.zip::a.png")


def peak_of(work: Callable[[], object]) -> float:
    """The most megabytes that Python holds while ``work`` runs, beside those of before."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        tracemalloc.stop()


def say_another_size(path: Path, size: int) -> None:
    """Have the only member of a zip say that it has so many bytes."""
    data = bytearray(path.read_bytes())
    for mark, at in ((b"PK\3\4", 22), (b"PK\1\2", 24)):
        start = data.index(mark) + at
        data[start : start + 4] = size.to_bytes(4, "little")
    path.write_bytes(data)


METHODS = [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]


@pytest.mark.parametrize("method", METHODS)
def test_a_member_that_is_larger_than_it_says_is_one_sentence_and_takes_no_memory(
    tmp_path: Path, method: int
) -> None:
    """What it unpacks to has eighty times the limit of a picture."""
    pack_zip(tmp_path / "x.zip", {"a.png": bytes(80_000_000)}, method)
    say_another_size(tmp_path / "x.zip", 900_000)

    def read() -> None:
        with pytest.raises(InputError) as caught:
            Inputs(tmp_path, max_bytes=1_000_000).read("x.zip::a.png")
        assert str(caught.value).startswith("x.zip is damaged, or no archive that can be read (")

    assert peak_of(read) < 20  # modules are imported, too


@pytest.mark.parametrize("method", METHODS)
def test_a_member_that_is_smaller_than_it_says_is_what_it_is(tmp_path: Path, method: int) -> None:
    pack_zip(tmp_path / "x.zip", {"a.png": b"data" * 100}, method)
    say_another_size(tmp_path / "x.zip", 900_000)
    inputs = Inputs(tmp_path, max_bytes=1_000_000)
    assert inputs.read("x.zip::a.png").data == b"data" * 100
    say_another_size(tmp_path / "x.zip", 1_000_001)
    with pytest.raises(InputError, match=r"has 1,000,001 bytes, more than the limit of 1,000,000"):
        inputs.read("x.zip::a.png")


def tar_header(name: str, kind: bytes, size: bytes) -> bytes:
    """A header as tar writes it, with anything in the field of its size."""
    info = tarfile.TarInfo(name)
    info.type = kind
    data = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    data[124:136] = size
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data)
    return bytes(data)


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
@pytest.mark.parametrize(
    "size",
    [b"77777777777\0", b"\x80" + bytes(3) + b"\x7f" * 8, b"\xff" * 10 + b"\xfe\0"],
    ids=["eight gigabytes", "more than there can be", "a header less"],
)
def test_a_header_of_a_tar_that_lies_is_one_sentence_and_takes_no_memory(
    tmp_path: Path, kind: bytes, size: bytes
) -> None:
    pack_tar(tmp_path / "x.tar", {"a.png": bytes(20_000_000), "b.png": b"data"})
    data = (tmp_path / "x.tar").read_bytes()
    (tmp_path / "x.tar").write_bytes(tar_header("first", kind, size) + data)

    def read() -> None:
        with pytest.raises(InputError) as caught:
            Inputs(tmp_path).read("x.tar::b.png")
        assert str(caught.value).startswith("x.tar is damaged, or no archive that can be read (")

    assert peak_of(read) < 15


@pytest.mark.parametrize("name", ["x.tar", "x.zip"])
def test_too_many_members_are_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("jobs.inputs.archives.archive.MOST_MEMBERS", 10)
    files = {f"{k}.png": bytes(5000) for k in range(10)}
    pack = pack_tar if name == "x.tar" else pack_zip
    pack(tmp_path / name, files)
    assert len(Inputs(tmp_path).expand(name)) == 10
    source = Counted(b"")
    pack(tmp_path / name, {**files, **{f"{k}.png": bytes(5000) for k in range(10, 100)}})
    source = Counted((tmp_path / name).read_bytes())
    with pytest.raises(InputError) as caught:
        Archive(name, source)
    assert str(caught.value) == f"{name} has more than 10 members; divide it into several archives"
    assert len(source.asked) <= 12
    for look in (Inputs(tmp_path).expand, lambda uri: Inputs(tmp_path).read(f"{uri}::1.png")):
        with pytest.raises(InputError, match="has more than 10 members"):
            look(name)


def test_members_of_one_name_count_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.inputs.archives.archive.MOST_MEMBERS", 10)
    for _ in range(11):
        with tarfile.open(tmp_path / "x.tar", "a") as tar:
            tar.addfile(tarfile.TarInfo("a.png"), io.BytesIO(b""))
    with pytest.raises(InputError, match="has more than 10 members"):
        Inputs(tmp_path).expand("x.tar")


def test_a_list_of_members_that_is_too_long_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack_zip(tmp_path / "x.zip", {f"{k}.png": b"data" for k in range(100)})
    monkeypatch.setattr("jobs.inputs.archives.archive.MOST_DIRECTORY", 4000)
    with pytest.raises(InputError, match=r"^x\.zip is damaged, or no .* members or a header would"):
        Inputs(tmp_path).expand("x.zip")


@pytest.mark.parametrize("name", ["x.tar.gz", "x.tgz", "x.tar.zst", "x.7z", "x.rar"])
def test_archives_that_are_packed_as_a_whole_are_refused(tmp_path: Path, name: str) -> None:
    for pattern in (name, f"{name}::a.png", f"{name}::*.png"):
        with pytest.raises(InputError, match=r"unpack it, or pack it as \.tar or \.zip"):
            Inputs(tmp_path).expand(pattern)


def test_a_folder_leaves_archives_out_and_says_so(tmp_path: Path) -> None:
    pack_tar(tmp_path / "x.tar", FILES)
    (tmp_path / "a.png").write_bytes(b"x")
    inputs = Inputs(tmp_path)
    assert inputs.expand(".") == ["a.png"]
    assert [said.partition(" (")[0] for said in inputs.unread.first] == ["x.tar"]


@pytest.mark.slow
def test_a_job_renders_pictures_in_archives(tmp_path: Path) -> None:
    job = write_job(
        tmp_path,
        photos=2,
        styles=1,
        pairs=[{"content": "photos.tar", "style": "art.zip::s0.png"}, {"manifest": "rows.csv"}],
    )
    (tmp_path / "rows.csv").write_text(
        "content,style\nphotos.tar::p1.png,art.zip::s0.png\nphotos.tar::p9.png,art.zip::s0.png\n"
        "photos.tar,art.zip::s0.png\n"
    )
    pack_tar(
        tmp_path / "photos.tar", {p.name: p.read_bytes() for p in (tmp_path / "photos").iterdir()}
    )
    pack_zip(
        tmp_path / "art.zip", {p.name: p.read_bytes() for p in (tmp_path / "styles").iterdir()}
    )
    text = job.read_text().replace(
        "- manifest: rows.csv", "- {manifest: rows.csv, on_bad_row: skip}"
    )
    job.write_text(text)
    planned = stylefarm("plan", job).stdout
    assert "3 rows: 1 used, 1 repeated, 1 skipped" in planned
    assert "is an archive: name a picture in it, as photos.tar::a.jpg" in planned
    assert "There is no p9.png in photos.tar" in planned
    ran = stylefarm("run", job, "--pool=inline")
    assert ran.returncode == 1, ran.stderr
    names = sorted((r.name, r.status) for r in records_of(job).values())
    assert names == [("p0--s0", "done"), ("p1--s0", "done"), ("p9--s0", "failed")]
