"""One suite, every storage; then what only folders and only S3 can get wrong."""

from __future__ import annotations

import hashlib
import os
import pickle
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from jobs.errors import (
    AddressError,
    ExitStatus,
    ObjectNotFoundError,
    StorageDeniedError,
    StorageError,
    StorageFullError,
    StorageUnreachableError,
)
from jobs.storage.addresses import split_url
from jobs.storage.base import Storage, StorageOptions
from jobs.storage.folder import FolderStorage
from jobs.storage.open import open_storage
from jobs.storage.s3 import S3Storage
from tests.support.rigs import (
    Answer,
    Rig,
    clean_aws,
    free_port,
    make_certificate,
    no_root,
    web_server,
)


def keys(storage: Storage, prefix: str = "") -> list[str]:
    return [found.key for found in storage.list(prefix)]


# Every storage


def test_check_leaves_nothing_behind(rig: Rig) -> None:
    storage = rig.open()
    storage.check()
    assert keys(storage) == []


def test_put_then_get_stat_and_list_agree(rig: Rig) -> None:
    storage = rig.open()
    before = time.time()
    storage.put("images/a.png", b"pixels", content_type="image/png")
    found = storage.stat("images/a.png")
    assert found is not None
    assert storage.get("images/a.png") == b"pixels"
    assert (found.key, found.size) == ("images/a.png", 6)
    assert before - 2 <= found.modified <= time.time() + 2
    listed = next(storage.list("images/"))
    assert (listed.key, listed.size) == (found.key, found.size)
    assert abs(listed.modified - found.modified) < 1.01


def test_put_replaces_and_an_etag_changes(rig: Rig) -> None:
    storage = rig.open()
    etags = []
    for data in (b"first", b"", b"third and longest"):
        storage.put("a", data)
        assert storage.get("a") == data
        found = storage.stat("a")
        assert found is not None
        etags.append(found.etag)
    # JuiceFS keeps no ETags: a store may say nothing, but nothing wrong
    assert len(set(etags)) == 3 or set(etags) == {""}


def test_what_is_missing(rig: Rig) -> None:
    storage = rig.open()
    assert storage.stat("no/such") is None
    storage.delete("no/such")
    assert keys(storage, "no/") == []
    with pytest.raises(ObjectNotFoundError, match="no/such"):
        storage.get("no/such")
    storage.put("folder/file", b"x")
    assert storage.stat("folder") is None
    with pytest.raises(ObjectNotFoundError):
        storage.get("folder")


def test_delete(rig: Rig) -> None:
    storage = rig.open()
    storage.put("a", b"x")
    storage.delete("a")
    assert storage.stat("a") is None
    assert keys(storage) == []


def test_an_empty_folder_goes_and_no_other(rig: Rig) -> None:
    storage = rig.open()
    storage.remove_empty("previews/")
    storage.put("previews/a", b"x")
    storage.put("kept/a", b"x")
    storage.delete("previews/a")
    for prefix in ("previews/", "kept/"):
        storage.remove_empty(prefix)
    assert keys(storage) == ["kept/a"]
    if isinstance(storage, FolderStorage):
        assert not (storage.root / "previews").exists()
    storage.put("previews/b", b"x")
    assert keys(storage) == ["kept/a", "previews/b"]


def test_list_takes_plain_prefixes_and_keeps_the_order_of_bytes(rig: Rig) -> None:
    storage = rig.open()
    stored = [
        "run-2/a",
        "run.txt",
        "run/a-b/c",
        "run/a.txt",
        "run/a/b",
        "run/ab",
        "run/z",
        "runner",
    ]
    for key in reversed([*stored, "é/x", "zebra"]):
        storage.put(key, b"x")
    assert keys(storage) == [*stored, "zebra", "é/x"]
    assert keys(storage, "run") == stored
    assert keys(storage, "run/") == [key for key in stored if key.startswith("run/")]
    assert keys(storage, "run/a") == ["run/a-b/c", "run/a.txt", "run/a/b", "run/ab"]
    assert keys(storage, "run/a/") == ["run/a/b"]
    assert keys(storage, "un") == []


def test_list_goes_on_after_a_thousand(rig: Rig) -> None:
    storage = rig.open()
    expected = [f"tasks/{number % 7:02x}/{number:04d}.json" for number in range(1105)]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda key: storage.put(key, b"{}"), expected))
    assert keys(storage, "tasks/") == sorted(expected)


@pytest.mark.parametrize(
    "key",
    [
        "with space.png",
        "Füße/naïve 写真.png",
        "a+b=c&d?e#f%20.png",
        "100% 'sure' (1) [2] {3}~!@$,;:.x",
    ],
)
def test_keys_of_all_kinds(rig: Rig, key: str) -> None:
    storage = rig.open()
    storage.put(key, key.encode())
    assert storage.get(key) == key.encode()
    assert storage.stat(key) is not None
    assert keys(storage, key[:3]) == [key]
    storage.delete(key)
    assert storage.stat(key) is None


@pytest.mark.parametrize("size", [0, 5, 3 * 1024 * 1024 + 7])
def test_a_file_is_stored_as_its_bytes_are(rig: Rig, tmp_path: Path, size: int) -> None:
    storage, path = rig.open(), tmp_path / "film.mp4"
    path.write_bytes(os.urandom(size))
    storage.put("videos/a.mp4", b"another")

    etag = storage.put_file("videos/a.mp4", path, content_type="video/mp4")

    assert storage.get("videos/a.mp4") == path.read_bytes()
    found = storage.stat("videos/a.mp4")
    assert found is not None
    assert found.size == size
    assert found.etag in ("", etag)  # JuiceFS lists none
    assert keys(storage) == ["videos/a.mp4"]


def test_a_file_that_is_not_there_is_named_and_stores_nothing(rig: Rig, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"Cannot read .*/gone to store it"):
        rig.open().put_file("a", tmp_path / "gone")
    with pytest.raises(StorageError, match="cannot be the name of an output"):
        rig.open().put_file("../a", tmp_path)
    assert keys(rig.open()) == []


@pytest.mark.parametrize(
    "key", ["", "/a", "a/", "a//b", "../a", "a/../../b", "./a", "a/.part-1", "a\\b", "a\0b"]
)
def test_keys_that_leave_the_output_are_refused(rig: Rig, key: str) -> None:
    with pytest.raises(StorageError, match="cannot be the name of an output"):
        rig.open().put(key, b"x")


def test_outputs_do_not_see_each_other(rig: Rig) -> None:
    rig.open("one").put("a", b"1")
    rig.open("one-and-a-half").put("a", b"1.5")
    assert keys(rig.open("one")) == ["a"]
    assert rig.open("one").get("a") == b"1"
    assert rig.open("two").stat("a") is None


def test_a_reader_never_sees_half_an_object(rig: Rig) -> None:
    storage, reader = rig.open(), rig.open()
    versions = [bytes([number]) * 300_000 for number in range(8)]
    storage.put("a", versions[0])
    enough = threading.Event()

    def write() -> None:
        # As long as somebody reads: on a slow machine a fixed number of writes can outrun the reader.
        while not enough.is_set():
            for version in versions:
                storage.put("a", version)

    with ThreadPoolExecutor(1) as pool:
        writer = pool.submit(write)
        try:
            for _ in range(20):
                assert reader.get("a") in versions
        finally:
            enough.set()
        writer.result()
    assert reader.get("a") == versions[-1]


def test_threads_share_a_storage(rig: Rig) -> None:
    storage = rig.open()

    def round_trip(number: int) -> bool:
        key, data = f"deep/{number % 3}/er/{number}", str(number).encode() * 1000
        storage.put(key, data)
        storage.put("same", data)
        return storage.get(key) == data

    with ThreadPoolExecutor(12) as pool:
        assert all(pool.map(round_trip, range(48)))
    assert len(keys(storage, "deep/")) == 48
    assert storage.stat("same") is not None


def test_a_storage_can_be_pickled_to_a_worker(rig: Rig) -> None:
    storage = rig.open()
    storage.put("a", b"x")
    copy = pickle.loads(pickle.dumps(storage))
    assert copy.get("a") == b"x"
    assert copy.url == storage.url == rig.url


def test_a_child_process_finds_the_same_storage(rig: Rig) -> None:
    code = (
        "import sys; from jobs.storage.base import StorageOptions\n"
        "from jobs.storage.open import open_storage\n"
        "options = StorageOptions.model_validate_json(sys.argv[2])\n"
        "open_storage(sys.argv[1], options).put('a', b'from the child')"
    )
    arguments = [sys.executable, "-c", code, rig.url, rig.options.model_dump_json()]
    subprocess.run(arguments, check=True)
    assert rig.open().get("a") == b"from the child"


# Which storage


def test_urls_that_mean_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    other = tmp_path / "jobs"
    assert open_storage("out").url == str(tmp_path / "out")
    assert open_storage("./out", base=other).url == str(other / "out")
    assert open_storage(str(tmp_path), base=other).url == str(tmp_path)
    assert open_storage("~/out", base=other).url == str(tmp_path / "home/out")
    assert open_storage((tmp_path / "a b").as_uri()).url == str(tmp_path / "a b")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "An empty address names no folder"),
        (" ", "An empty address names no folder"),
        ("s3:/bucket/x", "s3:/bucket/x lacks //: write s3://bucket/x"),
        ("s3://ab", "at least three"),
        ("gs://bucket/x", "gs:// is not a storage that stylefarm supports"),
        ("file://server/x", "three slashes"),
        ("s3://", "must read s3://bucket/prefix"),
        ("s3:///prefix", "must read s3://bucket/prefix"),
    ],
)
def test_urls_that_mean_nothing(url: str, message: str) -> None:
    """A mistake of who wrote it, not trouble of a storage."""
    with pytest.raises(AddressError, match=message) as caught:
        open_storage(url)
    assert caught.value.exit_status == ExitStatus.USAGE


def test_credentials_in_a_url_are_refused_and_not_repeated() -> None:
    with pytest.raises(StorageError) as caught:
        open_storage("s3://AKIAEXAMPLE:hunter2@bucket/x")
    assert "hunter2" not in str(caught.value)


def test_s3_urls_are_taken_as_they_stand() -> None:
    assert split_url("s3://b-1.x/a b/c?d#e%20/") == ("b-1.x", "a b/c?d#e%20/")
    assert split_url("s3://bucket") == split_url("s3://bucket/") == ("bucket", "")


def test_folders_need_no_boto3() -> None:
    code = (
        "import sys; from jobs.storage.open import open_storage; open_storage('out')\n"
        "sys.exit('boto3' in sys.modules or 'botocore' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# Folders


@pytest.fixture
def folder(tmp_path: Path) -> FolderStorage:
    return FolderStorage(tmp_path / "out")


def test_a_folder_is_made_when_first_written_to(folder: FolderStorage) -> None:
    assert keys(folder) == []
    assert not folder.root.exists()
    folder.put("a/b/c", b"x")
    assert (folder.root / "a/b/c").read_bytes() == b"x"


def test_files_have_the_permissions_that_the_user_wants(folder: FolderStorage) -> None:
    mask = os.umask(0o027)
    try:
        folder.put("a", b"x")
    finally:
        os.umask(mask)
    assert (folder.root / "a").stat().st_mode & 0o777 == 0o640


def test_what_a_killed_writer_left_is_not_listed(folder: FolderStorage) -> None:
    folder.put("a/b", b"x")
    (folder.root / "a/.part-0123").write_bytes(b"half")
    assert keys(folder) == keys(folder, "a/") == ["a/b"]
    assert keys(folder, "a/.") == []


@pytest.mark.parametrize("prefix", ["../", "/etc/", "a/../../x", "a//b"])
def test_listing_stays_in_the_folder(folder: FolderStorage, prefix: str) -> None:
    with pytest.raises(StorageError, match="cannot be the name"):
        folder.list(prefix)


def test_links_to_folders_are_followed_but_not_in_circles(
    folder: FolderStorage, tmp_path: Path
) -> None:
    folder.put("a/b", b"x")
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk/picture").write_bytes(b"x")
    (folder.root / "images").symlink_to(tmp_path / "disk")
    (folder.root / "a/up").symlink_to(folder.root)
    (folder.root / "broken").symlink_to("nowhere")
    assert keys(folder) == ["a/b", "images/picture"]


def test_a_file_in_the_place_of_a_folder(folder: FolderStorage) -> None:
    folder.put("a", b"x")
    with pytest.raises(StorageError, match="is a file, not a folder"):
        folder.put("a/b", b"x")
    with pytest.raises(StorageError, match="is a file, not a folder"):
        FolderStorage(folder.root / "a").check()
    assert folder.stat("a/b") is None


def test_a_name_that_is_too_long(folder: FolderStorage) -> None:
    with pytest.raises(StorageError, match=r"Shorten image\.name"):
        folder.put("x" * 300, b"x")


def test_a_folder_of_somebody_else(folder: FolderStorage) -> None:
    folder.put("a", b"x")
    folder.root.chmod(0o500)
    with no_root(), pytest.raises(StorageDeniedError, match="Give this user access"):
        folder.check()
    folder.root.chmod(0o700)


PUT_A_MEGABYTE = """
import resource, sys
from pathlib import Path
from jobs.errors import StorageFullError
from jobs.storage.folder import FolderStorage
if len(sys.argv) > 2:
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
storage = FolderStorage(Path(sys.argv[1]))
storage.put("a", b"before")
try:
    storage.put("a", bytes(1_000_000))
except StorageFullError as error:
    print(error)
assert storage.get("a") == b"before"
"""


def assert_full_is_survived(root: Path, *limit: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PUT_A_MEGABYTE, str(root), *limit], capture_output=True, text=True
    )
    assert done.stderr == ""
    assert done.stdout.startswith(f"Cannot write {root}/a: ")
    assert "Make room there or choose another output." in done.stdout
    assert [path.name for path in root.iterdir()] == ["a"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limits")
def test_a_file_size_limit_keeps_what_was_there(tmp_path: Path) -> None:
    assert_full_is_survived(tmp_path / "out", "limited")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(disk)]
    if sys.platform != "linux" or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small tmpfs needs root on Linux")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_keeps_what_was_there(small_disk: Path) -> None:
    assert_full_is_survived(small_disk / "out")


def test_a_disk_that_is_read_only(small_disk: Path) -> None:
    storage = FolderStorage(small_disk / "out")
    storage.put("a", b"x")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(StorageDeniedError, match="Give this user access to the folder"):
        storage.check()
    assert storage.get("a") == b"x"


# S3


def complaint(storage: Storage) -> StorageError:
    """What ``check`` raises: one line, ending in a full stop, for exit status 3."""
    with pytest.raises(StorageError) as caught:
        storage.check()
    text = str(caught.value)
    assert text.startswith(("Cannot ", "storage."))
    assert text.endswith((".", "?"))
    assert "\n" not in text
    assert caught.value.exit_status == 3
    return caught.value


@pytest.mark.parametrize("size", [200_000, 5 * 1024 * 1024 + 200_001])
def test_large_objects_go_in_parts(s3_rig: Rig, tmp_path: Path, size: int) -> None:
    storage = S3Storage(
        s3_rig.url, s3_rig.options, multipart_threshold=100_000, part_size=5 * 1024 * 1024
    )
    data = os.urandom(size)
    storage.put("big", data, content_type="image/tiff")
    assert storage.get("big") == data
    (tmp_path / "big").write_bytes(data)
    storage.put_file("from a file", tmp_path / "big")
    assert storage.get("from a file") == data
    found = storage.stat("big")
    assert found is not None
    assert found.size == size


def test_a_file_in_parts_takes_the_memory_of_one(s3_rig: Rig, tmp_path: Path) -> None:
    with (tmp_path / "film").open("wb") as file:
        file.truncate(120 << 20)
    storage = S3Storage(s3_rig.url, s3_rig.options, part_size=6 << 20)
    storage.stat("a")  # the client is made
    tracemalloc.start()
    try:
        storage.put_file("a", tmp_path / "film")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    found = storage.stat("a")
    assert found is not None
    assert found.size == 120 << 20
    assert peak < 20 << 20


def test_an_upload_that_breaks_off_leaves_nothing(s3_rig: Rig, tmp_path: Path) -> None:
    """Of a file that becomes shorter while it is read, as of a run that is stopped."""
    storage = S3Storage(s3_rig.url, s3_rig.options, multipart_threshold=1, part_size=5 << 20)
    storage.put("a", b"as it was")
    (tmp_path / "film").write_bytes(bytes(11 << 20))
    call, sent = storage._call, []

    def cut(operation: str, **request: object) -> object:
        if operation == "upload_part":
            sent.append(operation)
            os.truncate(tmp_path / "film", 6 << 20)
        return call(operation, **request)

    storage._call = cut  # type: ignore[method-assign]
    with pytest.raises(StorageError, match=r"film has become shorter while it was stored"):
        storage.put_file("a", tmp_path / "film")
    assert sent == ["upload_part"]
    assert storage.get("a") == b"as it was"
    uploads = storage._client.list_multipart_uploads(Bucket=storage.bucket).get("Uploads", [])
    assert [u for u in uploads if u["Key"] == f"{storage.prefix}a"] == []


def test_a_listing_can_stop_at_the_slash(s3_rig: Rig) -> None:
    storage = S3Storage(s3_rig.url, s3_rig.options)
    for key in ("p/a", "p/b/c", "p/d", "q"):
        storage.put(key, b"x")
    assert [found.key for found in storage.list("p/", deep=False)] == ["p/a", "p/d"]


def test_fetch_leaves_large_objects_alone(s3_rig: Rig) -> None:
    storage = S3Storage(s3_rig.url, s3_rig.options)
    storage.put("a", b"12345")
    found, data = storage.fetch("a", at_most=4)
    assert (found.size, data) == (5, None)
    assert storage.fetch("a", at_most=5) == (storage.stat("a"), b"12345")


def test_wrong_secret(s3: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-wrong-and-secret-key")
    error = complaint(s3.open())
    assert isinstance(error, StorageDeniedError)
    assert "the secret key is wrong (check AWS_SECRET_ACCESS_KEY or the profile)" in str(error)
    assert "a-wrong" not in str(error)
    with pytest.raises(StorageDeniedError, match="the secret key is wrong"):  # a bare 403 of HEAD
        s3.open().stat("a")


def test_unknown_access_key(s3: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    error = complaint(s3.open())
    assert isinstance(error, StorageDeniedError)
    assert "does not know the access key; check AWS_ACCESS_KEY_ID" in str(error)


def test_missing_bucket(s3_rig: Rig) -> None:
    storage = open_storage("s3://no-such-bucket-here/x", s3_rig.options)
    error = complaint(storage)
    assert isinstance(error, StorageUnreachableError)
    assert "there is no bucket 'no-such-bucket-here' on http" in str(error)
    with pytest.raises(StorageUnreachableError, match="there is no bucket"):  # a bare 404 of HEAD
        storage.stat("a")
    with pytest.raises(StorageUnreachableError, match="there is no bucket"):
        list(storage.list())


def test_no_credentials(s3_rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    clean_aws(monkeypatch)
    error = complaint(s3_rig.open())
    assert isinstance(error, StorageDeniedError)
    for way in ("AWS_ACCESS_KEY_ID", "storage.profile", "IAM role"):
        assert way in str(error)


def test_half_of_the_credentials(s3: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    clean_aws(monkeypatch, {"AWS_ACCESS_KEY_ID": "only-this"})
    assert "AWS_SECRET_ACCESS_KEY is missing" in str(complaint(s3.open()))


def test_missing_profile(no_aws: None) -> None:
    storage = open_storage("s3://bucket", StorageOptions(profile="nightly"))
    assert "there is no profile nightly in ~/.aws/config" in str(complaint(storage))


@pytest.mark.parametrize("content", [None, b"no certificate"])
def test_missing_ca_bundle(no_aws: None, content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "ca.pem").write_bytes(content)
    options = StorageOptions(endpoint_url="https://localhost", ca_bundle="ca.pem")
    with pytest.raises(StorageError, match=rf"storage\.ca_bundle: .*{tmp_path}/ca\.pem"):
        open_storage("s3://bucket", options, base=tmp_path).check()


@pytest.fixture
def some_credentials(monkeypatch: pytest.MonkeyPatch) -> str:
    secret = "sEcReTsEcReT"
    extra = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": secret}
    clean_aws(monkeypatch, extra)
    return secret


@pytest.mark.usefixtures("some_credentials")
def test_dead_endpoint() -> None:
    options = StorageOptions(endpoint_url=f"http://user:pass@127.0.0.1:{free_port()}/x")
    error = complaint(open_storage("s3://bucket", options))
    assert isinstance(error, StorageUnreachableError)
    assert "cannot connect to http://127.0.0.1" in str(error)
    assert "pass" not in str(error)


@pytest.mark.parametrize("endpoint", ["http://", "http://a b", "http://[x", "http://host:port"])
@pytest.mark.usefixtures("some_credentials")
def test_an_endpoint_that_is_no_address(endpoint: str) -> None:
    error = complaint(open_storage("s3://bucket", StorageOptions(endpoint_url=endpoint)))
    assert isinstance(error, StorageUnreachableError)
    assert "storage.endpoint_url" in str(error)


PAGE = b"<html><body><p>Welcome to the console<br></body></html>"


@pytest.mark.parametrize(
    "answer",
    [
        (200, {}, PAGE),
        (200, {}, b""),
        (404, {}, PAGE),
        (405, {}, PAGE),
        (501, {}, PAGE),
        (400, {}, b"400 bad request"),
    ],
)
@pytest.mark.usefixtures("some_credentials")
def test_an_endpoint_that_is_not_s3(answer: Answer) -> None:
    with web_server(lambda *_: answer) as server:
        storage = open_storage("s3://bucket", StorageOptions(endpoint_url=server.url))
        with pytest.raises(StorageError, match=r"is this (the S3 endpoint|really the storage)"):
            storage.check()
        with pytest.raises(StorageUnreachableError, match="not as S3 does"):
            storage.stat("a")
        if answer[2]:  # an empty 200 reads like an empty listing
            with pytest.raises(StorageUnreachableError, match="not as S3 does"):
                list(storage.list())


@pytest.mark.usefixtures("some_credentials")
def test_tls_where_there_is_none() -> None:
    with web_server(lambda *_: (200, {}, b"")) as server:
        options = StorageOptions(endpoint_url=server.url.replace("http:", "https:"))
        error = complaint(open_storage("s3://bucket", options))
    assert isinstance(error, StorageUnreachableError)
    assert "if it speaks plain http, write http://" in str(error)


def s3_error(code: str, status: int) -> Answer:
    body = f"<Error><Code>{code}</Code><Message>for key AKIA and token T0KEN</Message></Error>"
    return status, {"Content-Type": "application/xml"}, body.encode()


@pytest.mark.parametrize(
    ("code", "status", "kind", "sentence"),
    [
        ("AccessDenied", 403, StorageDeniedError, "access denied by http"),
        ("RequestTimeTooSkewed", 403, StorageDeniedError, "set the clock"),
        ("ExpiredToken", 400, StorageDeniedError, "the credentials have expired"),
        ("InvalidToken", 400, StorageDeniedError, "check AWS_SESSION_TOKEN"),
        ("PermanentRedirect", 301, StorageUnreachableError, "redirects every request"),
        ("AuthorizationHeaderMalformed", 400, StorageUnreachableError, "set storage.region"),
        ("XMinioStorageFull", 507, StorageFullError, "no room left"),
        ("Whatever", 507, StorageFullError, "no room left"),
        ("BadDigest", 400, StorageUnreachableError, "damaged on its way"),
        ("SomethingNew", 418, StorageError, "answered SomethingNew (HTTP 418)"),
    ],
)
def test_what_servers_complain_about(
    code: str, status: int, kind: type[StorageError], sentence: str, some_credentials: str
) -> None:
    with web_server(lambda *_: s3_error(code, status)) as server:
        options = StorageOptions(endpoint_url=server.url)
        error = complaint(S3Storage("s3://bucket", options, attempts=1))
    assert type(error) is kind
    assert sentence in str(error)
    assert not any(secret in str(error) for secret in (some_credentials, "AKIA", "T0KEN"))
    assert error.__cause__ is None
    assert error.__suppress_context__


@pytest.mark.usefixtures("some_credentials")
def test_a_busy_server_is_asked_again() -> None:
    def answer(method: str, path: str, headers: dict[str, str]) -> Answer:
        return (
            s3_error("InternalError", 500) if len(server.seen) < 3 else (200, {"ETag": '"e"'}, b"")
        )

    with web_server(answer) as server:
        S3Storage("s3://bucket", StorageOptions(endpoint_url=server.url)).put("a", b"x")
        assert [method for method, _, _ in server.seen] == ["PUT"] * 3

    with web_server(lambda *_: s3_error("SlowDown", 503)) as server:
        storage = S3Storage("s3://bucket", StorageOptions(endpoint_url=server.url), attempts=1)
        with pytest.raises(StorageUnreachableError, match=r"SlowDown \(HTTP 503\); try again"):
            storage.put("a", b"x")


@pytest.mark.usefixtures("some_credentials")
def test_a_download_that_breaks_off_is_begun_again() -> None:
    def answer(method: str, path: str, headers: dict[str, str]) -> Answer:
        common = {"Last-Modified": "Wed, 01 Jan 2025 00:00:00 GMT", "ETag": '"e"'}
        body = b"half" if len(server.seen) < 3 else b"half and half"
        return 200, {**common, "Content-Length": "13"}, body

    with web_server(answer) as server:
        storage = open_storage("s3://bucket", StorageOptions(endpoint_url=server.url))
        assert storage.get("a") == b"half and half"
        assert len(server.seen) == 3


@pytest.mark.usefixtures("some_credentials")
def test_what_a_put_sends() -> None:
    with web_server(lambda *_: (200, {"ETag": '"e"'}, b"")) as server:
        storage = open_storage("s3://bucket/prefix", StorageOptions(endpoint_url=server.url))
        storage.put("a b.png", b"hello", content_type="image/png")
    [(method, path, headers)] = server.seen
    assert (method, path) == ("PUT", "/bucket/prefix/a%20b.png")
    assert headers["Content-MD5"] == "XUFAKrxLKna5cZ2REBfFkg=="
    assert headers["Content-Type"] == "image/png"
    assert "stylefarm" in headers["User-Agent"]
    assert headers["Authorization"].startswith("AWS4-HMAC-SHA256")
    assert not [name for name in headers if name.lower().startswith("x-amz-checksum")]


@pytest.mark.usefixtures("some_credentials")
def test_https_needs_neither_trailers_nor_a_known_authority(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_certificate(tmp_path / "ca.pem")
    with web_server(lambda *_: (200, {"ETag": '"e"'}, b""), tmp_path / "ca.pem") as server:
        options = StorageOptions(endpoint_url=server.url)
        with pytest.raises(StorageUnreachableError, match=r"its authority in storage\.ca_bundle"):
            S3Storage("s3://bucket", options, attempts=1).put("a", b"hello")
        assert server.seen == []
        monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "ca.pem"))
        assert S3Storage("s3://bucket", options, attempts=1).put("a", b"hello") == "e"
        monkeypatch.delenv("AWS_CA_BUNDLE")
        server.seen.clear()
        trusting = options.model_copy(update={"ca_bundle": "ca.pem"})
        open_storage("s3://bucket", trusting, base=tmp_path).put("a", b"hello")
        [(_, _, headers)] = server.seen
        make_certificate(tmp_path / "other.pem")
        other = options.model_copy(update={"ca_bundle": str(tmp_path / "other.pem")})
        with pytest.raises(StorageUnreachableError, match=r"only the authorities in .*/other\.pem"):
            S3Storage("s3://bucket", other, attempts=1).put("a", b"hello")
    assert headers["Content-MD5"] == "XUFAKrxLKna5cZ2REBfFkg=="
    assert headers["Content-Length"] == "5"
    assert not {"Transfer-Encoding", "X-Amz-Trailer"} & set(headers)


@pytest.mark.parametrize("is_ours", [True, False])
@pytest.mark.usefixtures("some_credentials")
def test_a_lost_reply_to_the_end_of_an_upload(is_ours: bool) -> None:
    """botocore asks again and hears NoSuchUpload; whether it is there, the ETag tells."""
    data = b"x" * 6
    digests = hashlib.md5(data[:4]).digest() + hashlib.md5(data[4:]).digest()
    etag = hashlib.md5(digests).hexdigest() + "-2" if is_ours else "another"

    def answer(method: str, path: str, headers: dict[str, str]) -> Answer:
        if method == "POST" and "uploads" in path:
            begun = b"<InitiateMultipartUploadResult><UploadId>u</UploadId>"
            return 200, {}, begun + b"</InitiateMultipartUploadResult>"
        if method == "POST":
            return s3_error("NoSuchUpload", 404)
        return 200, {"ETag": f'"{etag}"'}, b""

    with web_server(answer) as server:
        options = StorageOptions(endpoint_url=server.url)
        storage = S3Storage("s3://bucket", options, multipart_threshold=1, part_size=4)
        if is_ours:
            storage.put("a", data)
        else:
            with pytest.raises(StorageError, match="NoSuchUpload"):
                storage.put("a", data)
    parts = [headers["Content-MD5"] for method, _, headers in server.seen if method == "PUT"]
    assert len(set(parts)) == 2
    assert ("DELETE" in [method for method, _, _ in server.seen]) is not is_ours


def test_virtual_addressing_puts_the_bucket_into_the_host(some_credentials: str) -> None:
    options = StorageOptions(endpoint_url="http://localhost:1", addressing="virtual")
    storage = S3Storage("s3://bucket", options, attempts=1)
    with pytest.raises(StorageUnreachableError):
        storage.get("a")
    assert storage._client.meta.config.s3["addressing_style"] == "virtual"


def test_the_gateway_verifies_content_md5(s3: Rig) -> None:
    """What "durable when put returns" rests on: data damaged on the way is refused."""
    assert s3.server is not None
    bucket, prefix = split_url(s3.url)
    client = s3.server.client
    wrong = "XUFAKrxLKna5cZ2REBfFkg=="
    with pytest.raises(client.exceptions.ClientError, match=r"BadDigest|Content-Md5"):
        client.put_object(Bucket=bucket, Key=prefix + "a", Body=b"other", ContentMD5=wrong)
