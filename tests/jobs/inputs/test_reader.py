"""Where pictures come from: the disk, S3 and the web, and whose fault it is when they do not."""

from __future__ import annotations

import base64
import glob
import hashlib
import itertools
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from jobs.errors import (
    InputError,
    InputNotFoundError,
    StorageDeniedError,
    StorageError,
    StorageUnreachableError,
)
from jobs.inputs.addresses import display
from jobs.inputs.globs import matches_glob
from jobs.inputs.reader import Inputs
from jobs.inputs.web import _is_public
from jobs.manifests.manifest import is_manifest
from jobs.storage.base import StorageOptions
from jobs.storage.s3 import S3Storage
from tests.support.proxy import proxy
from tests.support.rigs import (
    Answer,
    Rig,
    clean_aws,
    free_port,
    make_authority,
    make_certificate,
    no_root,
    web_server,
)


@pytest.fixture
def inputs(tmp_path: Path) -> Inputs:
    return Inputs(tmp_path)


def touch(base: Path, *names: str) -> None:
    for name in names:
        path = base / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"picture")


# Reading files


def test_a_file(inputs: Inputs, tmp_path: Path) -> None:
    touch(tmp_path, "photos/a b.jpg")
    path = tmp_path / "photos/a b.jpg"
    for uri in ("photos/a b.jpg", str(path), path.as_uri()):
        found = inputs.read(uri)
        assert (found.uri, found.data, found.size) == (uri, b"picture", 7)
        assert found.sha256 == hashlib.sha256(b"picture").hexdigest()
        assert (found.etag, found.modified) == (None, path.stat().st_mtime)
        assert "picture" not in repr(found)  # it may have 256 MiB


def test_files_that_cannot_be_read(inputs: Inputs, tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg")
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")  # opening it would wait for ever
    for uri, message in {
        "folder.jpg": r"folder\.jpg is a folder; name a picture in it\.",
        "empty.jpg": r"empty\.jpg is empty \(0 bytes\)\.",
        "pipe.jpg": r"pipe\.jpg is not a regular file\.",
        "loop.jpg": r"loop\.jpg cannot be opened",
        "a\0.jpg": "cannot be the name of a file",
        "x" * 300: "cannot be opened: File name too long",
        "gs://bucket/a.jpg": "Pictures cannot be read from gs://",
        "file://server/a.jpg": "three slashes",
        "": "An empty path",
    }.items():
        with pytest.raises(InputError, match=message):
            inputs.read(uri)
        assert_checked_as_read(inputs, uri)
    for uri in ("no.jpg", "a.jpg/b.jpg"):
        with pytest.raises(InputNotFoundError, match=rf"There is no file {uri} \(looked for /"):
            inputs.read(uri)
        assert_checked_as_read(inputs, uri)
    assert_checked_as_read(inputs, "a.jpg")


def assert_checked_as_read(inputs: Inputs, uri: str) -> None:
    """What ``read`` says about a picture, ``check`` says, too: nothing if it can be read."""
    said = []
    for look in (inputs.read, inputs.check):
        try:
            look(uri)
            said.append("")
        except InputError as error:
            said.append(f"{type(error).__name__}: {error}")
    assert said[0] == said[1]


def test_a_link_to_nothing_is_named_with_what_it_leads_to(inputs: Inputs, tmp_path: Path) -> None:
    touch(tmp_path, "photos/a.jpg")
    (tmp_path / "photos/x.jpg").symlink_to("../gone/x.jpg")
    (tmp_path / "nas").symlink_to("/mnt/nas-that-is-not-there")
    # A folder and a glob name it, so that it is not lost in silence.
    assert inputs.expand("photos/") == ["photos/a.jpg", "photos/x.jpg"]
    assert inputs.expand("photos/*.jpg") == ["photos/a.jpg", "photos/x.jpg"]
    for uri, link, target in (
        ("photos/x.jpg", "photos/x.jpg", "../gone/x.jpg"),
        ("nas/a.jpg", f"{tmp_path}/nas", "/mnt/nas-that-is-not-there"),
    ):
        with pytest.raises(InputNotFoundError) as caught:
            inputs.read(uri)
        assert str(caught.value) == (
            f"{link} is a link to {target}, which is not there; mend the link or remove it."
        )
        assert_checked_as_read(inputs, uri)


def test_a_forbidden_file(inputs: Inputs, tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg")
    (tmp_path / "a.jpg").chmod(0)
    with no_root(), pytest.raises(InputError, match=r"Permission denied: a\.jpg"):
        inputs.read("a.jpg")
    with no_root():
        assert_checked_as_read(inputs, "a.jpg")
    with no_root(), pytest.raises(InputError, match="Permission denied: cannot list"):
        inputs.expand("folder")


def test_a_file_above_the_limit(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg")
    assert Inputs(tmp_path, max_bytes=7).read("a.jpg").size == 7
    with pytest.raises(InputError, match=r"a\.jpg has 7 bytes, more than the limit of 6 bytes"):
        Inputs(tmp_path, max_bytes=6).read("a.jpg")
    assert_checked_as_read(Inputs(tmp_path, max_bytes=6), "a.jpg")


def test_inputs_can_be_pickled_to_a_worker(inputs: Inputs, tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg")
    assert pickle.loads(pickle.dumps(inputs)).read("a.jpg").data == b"picture"


# Expanding paths, folders and globs


def test_a_plain_name_is_taken_at_its_word(inputs: Inputs) -> None:
    for name in ("no/such.jpg", "../up.PNG", "https://host/x.jpg?a=*", "s3://bucket/x.jpg", "no"):
        assert inputs.expand(name) == [name]


def test_one_file_has_one_spelling(inputs: Inputs, tmp_path: Path) -> None:
    for name in ("./a.jpg", ".//a.jpg", str(tmp_path / "a.jpg"), (tmp_path / "a.jpg").as_uri()):
        assert inputs.expand(name) == ["a.jpg"]
    assert inputs.expand("b/../a.jpg") == ["b/../a.jpg"]  # b may be a link to elsewhere
    assert inputs.expand("/else/where.jpg") == ["/else/where.jpg"]


def test_home(inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path.parent
    monkeypatch.setenv("HOME", str(home))
    assert inputs.expand("~/a.jpg") == [f"{home}/a.jpg"]
    touch(tmp_path, "~a.jpg")
    assert inputs.expand("~a.jpg") == ["~a.jpg"]
    assert inputs.read("~a.jpg").size == 7


def test_a_folder_means_its_pictures(inputs: Inputs, tmp_path: Path) -> None:
    good = ["1.JPG", "a.jpeg", "b.png", "c.webp", "d.tif", "e.tiff", "f.GIF", "g.bmp"]
    touch(tmp_path, *(f"p/{name}" for name in [*good, ".hidden.jpg", "notes.txt", "deep/h.jpg"]))
    (tmp_path / "p/folder.jpg").mkdir()
    expected = [f"p/{name}" for name in good]
    for pattern in ("p", "p/", "./p", str(tmp_path / "p"), (tmp_path / "p").as_uri()):
        assert inputs.expand(pattern) == expected
    assert inputs.expand("p/deep/") == ["p/deep/h.jpg"]
    assert Inputs(tmp_path / "p").expand(".") == good
    (tmp_path / "q").mkdir()
    assert Inputs(tmp_path / "q").expand("../p/deep") == ["../p/deep/h.jpg"]
    assert Inputs(tmp_path / "q").expand(str(tmp_path / "p/deep")) == [f"{tmp_path}/p/deep/h.jpg"]
    (tmp_path / "bare").mkdir()
    assert inputs.expand("bare") == []


def test_globs(inputs: Inputs, tmp_path: Path) -> None:
    touch(tmp_path, "p/a.jpg", "p/b.jpg", "p/c.png", "p/c.txt", "p/.h.jpg", "p/q/d.jpg", "e.jpg")
    (tmp_path / "p/folder.jpg").mkdir()
    for pattern, expected in {
        "p/*.jpg": ["p/a.jpg", "p/b.jpg"],
        "p/*": ["p/a.jpg", "p/b.jpg", "p/c.png"],
        "p/[ac].*": ["p/a.jpg", "p/c.png"],
        "./p/?.jpg": ["p/a.jpg", "p/b.jpg"],
        "**/*.jpg": ["e.jpg", "p/a.jpg", "p/b.jpg", "p/q/d.jpg"],
        "*/q/*.jpg": ["p/q/d.jpg"],
        str(tmp_path / "p/?.png"): ["p/c.png"],
        "no/*.jpg": [],
        "*.gif": [],
    }.items():
        assert inputs.expand(pattern) == expected, pattern
    elsewhere = Inputs(tmp_path / "p/q")
    assert elsewhere.expand("../*.png") == ["../c.png"]
    assert elsewhere.expand(f"{tmp_path}/p/*.png") == [f"{tmp_path}/p/c.png"]


def test_names_that_look_like_globs(inputs: Inputs, tmp_path: Path) -> None:
    touch(tmp_path, "a[1].jpg", "a1.jpg", "Trip [24]/b.jpg", "Trip 2/c.jpg")
    assert inputs.expand("a[1].jpg") == ["a[1].jpg"]
    assert inputs.expand("a[12].jpg") == ["a1.jpg"]
    assert inputs.expand("Trip [24]") == ["Trip [24]/b.jpg"]
    assert inputs.expand("Trip [24]/*.jpg") == ["Trip [24]/b.jpg"]
    assert inputs.expand("Trip [2]/*.jpg") == ["Trip 2/c.jpg"]


def test_variables_are_filled_in_nowhere_and_this_is_told(
    inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task's id is made from addresses, so it would differ from machine to machine."""
    monkeypatch.setenv("PHOTOS", str(tmp_path))
    touch(tmp_path, "$a.jpg", "$b/c.jpg", "photos/d.jpg")
    assert inputs.expand("$a.jpg") == ["$a.jpg"]
    assert (
        inputs.expand("$b/") == inputs.expand("$b/*.jpg") == inputs.expand("$?/*") == ["$b/c.jpg"]
    )
    for pattern in ("$PHOTOS/d.jpg", "${PHOTOS}/*.jpg", "$PHOTOS/", "/mnt/$PHOTOS"):
        variable = "${PHOTOS}" if "{" in pattern else "$PHOTOS"
        with pytest.raises(InputError) as caught:
            inputs.expand(pattern)
        assert str(caught.value) == (
            f"{pattern} matches nothing: {variable} is taken as it is written, because environment variables "
            "may be in output alone; write the path itself"
        )
    with pytest.raises(InputError, match="write / between folders"):
        inputs.expand("photos\\*.jpg")


def test_addresses_that_lead_nowhere_are_told_what_to_write(inputs: Inputs, tmp_path: Path) -> None:
    for look in (inputs.expand, inputs.spelling):
        with pytest.raises(InputError, match=r"^s3:/art/a\.jpg lacks //: write s3://art/a\.jpg$"):
            look("s3:/art/a.jpg")
    touch(tmp_path, "s3:/art/a.jpg")
    assert inputs.expand("./s3:/art/*.jpg") == ["s3:/art/a.jpg"]
    assert inputs.read("s3:/art/a.jpg").data == b"picture"


def test_a_glob_of_folders_means_their_pictures(inputs: Inputs, tmp_path: Path) -> None:
    touch(tmp_path, "p/a/1.jpg", "p/b/2.jpg", "p/b/deep/3.jpg", "p/4.jpg", "p/b/.h.jpg", "[x].jpg")
    assert inputs.expand("p/*/") == ["p/a/1.jpg", "p/b/2.jpg"]
    assert inputs.expand("p/[b]/") == ["p/b/2.jpg"]
    assert inputs.expand("[x].jpg/") == []  # it is no folder


@pytest.mark.parametrize(
    ("name", "pattern", "expected"),
    [
        ("a.jpg", "*.jpg", True),
        ("p/a.jpg", "*.jpg", False),
        ("p/a.jpg", "*/?.jpg", True),
        ("a.jpg", "**/*.jpg", True),
        ("p/q/r/a.jpg", "**/*.jpg", True),
        ("p/q/r/a.jpg", "p/**/a.jpg", True),
        ("p/a.jpg", "p/**", True),
        ("p/a.jpg", "p/a.jpg/**", False),
        ("p/.h/a.jpg", "p/**", False),
        ("q/a.jpg", "p/**", False),
        ("p/.h/a.jpg", "**/*.jpg", False),
        (".a.jpg", "*.jpg", False),
        (".a.jpg", ".*.jpg", True),
        ("a1.jpg", "a[!2-9].jpg", True),
        ("a1.jpg", "a[2-9].jpg", False),
        ("a[.jpg", "a[.jpg", True),
        ("A.jpg", "a.jpg", False),
    ],
)
def test_globs_over_keys(name: str, pattern: str, expected: bool) -> None:
    assert matches_glob(name.split("/"), pattern.split("/")) is expected


# S3


@pytest.fixture
def bucket(s3_rig: Rig) -> str:
    """A bucket with pictures; returns ``s3://bucket/prefix``."""
    storage = s3_rig.open()
    for key in ("a.jpg", "b c.jpg", "p/d.png", "p/q/e[1].png", "p/.h.png", "p/notes.txt"):
        storage.put(key, b"picture")
    storage.put("empty.jpg", b"")
    return s3_rig.url


def test_reading_from_s3(bucket: str, s3_rig: Rig, tmp_path: Path) -> None:
    inputs = Inputs(tmp_path, s3_rig.options)
    found = inputs.read(f"{bucket}/b c.jpg")
    stat = S3Storage(bucket, s3_rig.options).stat("b c.jpg")
    assert stat is not None
    assert (found.data, found.etag or "", found.modified) == (b"picture", stat.etag, stat.modified)
    with pytest.raises(InputNotFoundError, match=r"There is no object s3://.*/no\.jpg"):
        inputs.read(f"{bucket}/no.jpg")
    with pytest.raises(InputError, match=r"s3://.*/empty\.jpg is empty"):
        inputs.read(f"{bucket}/empty.jpg")
    with pytest.raises(InputError, match="is a folder"):
        inputs.read(f"{bucket}/p/")
    with pytest.raises(InputError, match="must read s3://bucket"):
        inputs.read("s3:///a.jpg")
    limited = Inputs(tmp_path, s3_rig.options, max_bytes=6)
    with pytest.raises(InputError, match="has 7 bytes, more than the limit of 6"):
        limited.read(f"{bucket}/a.jpg")
    assert_checked_as_read(limited, f"{bucket}/a.jpg")
    for name in ("b c.jpg", "no.jpg", "empty.jpg", "p/"):
        assert_checked_as_read(inputs, f"{bucket}/{name}")
    assert_checked_as_read(inputs, "s3:///a.jpg")


def test_expanding_on_s3(bucket: str, s3_rig: Rig, tmp_path: Path) -> None:
    inputs = Inputs(tmp_path, s3_rig.options)

    def expand(pattern: str) -> list[str]:
        return [uri.removeprefix(bucket + "/") for uri in inputs.expand(f"{bucket}/{pattern}")]

    assert expand("") == ["a.jpg", "b c.jpg", "empty.jpg"]
    assert expand("p/") == ["p/d.png"]
    assert expand("*.jpg") == ["a.jpg", "b c.jpg", "empty.jpg"]
    assert expand("**/*.png") == ["p/d.png", "p/q/e[1].png"]
    assert expand("p/*/e*") == ["p/q/e[1].png"]
    assert expand("p/q/e[1].png") == ["p/q/e[1].png"]
    assert expand("no/*") == expand("no/") == []
    assert inputs.expand("s3://" + bucket.split("/")[2]) == []
    assert inputs.read(inputs.expand(f"{bucket}/p/q/*")[0]).data == b"picture"


def test_names_that_look_like_globs_on_s3(s3_rig: Rig, tmp_path: Path) -> None:
    """As on a disk: what exists as it is written is meant."""
    storage = s3_rig.open()
    keys = ["a[1].jpg", "a1.jpg", "Trip [24]/b.jpg", "Trip [24]/x/d.jpg", "Trip 2/c.jpg"]
    for key in [*keys, "Trip [24]/pairs.csv", "Trip 2/pairs.csv"]:
        storage.put(key, b"picture")
    inputs = Inputs(tmp_path, s3_rig.options)

    def expand(pattern: str, *wanted: Callable[[str], bool]) -> list[str]:
        found = inputs.expand(f"{s3_rig.url}/{pattern}", *wanted)
        return [uri.removeprefix(s3_rig.url + "/") for uri in found]

    assert expand("a[1].jpg") == ["a[1].jpg"]
    assert expand("a[12].jpg") == ["a1.jpg"]
    assert expand("Trip [24]/*.jpg") == ["Trip [24]/b.jpg"]
    assert expand("Trip [24]/**/*.jpg") == ["Trip [24]/b.jpg", "Trip [24]/x/d.jpg"]
    assert expand("Trip [24]/[x]/*.jpg") == ["Trip [24]/x/d.jpg"]
    assert expand("Trip [24]") == expand("Trip [24]/") == ["Trip [24]/b.jpg"]
    assert expand("Trip [24]/*.csv", is_manifest) == ["Trip [24]/pairs.csv"]
    assert expand("Trip [2]/*.jpg") == expand("Trip [2]/") == ["Trip 2/c.jpg"]
    assert expand("Trip [!2]*/b.jpg") == ["Trip [24]/b.jpg"]
    assert inputs.read(inputs.expand(f"{s3_rig.url}/Trip [24]/*")[0]).data == b"picture"


def test_a_glob_on_s3_costs_a_listing_for_each_folder_with_wildcards(
    s3: Rig, tmp_path: Path
) -> None:
    """And one for what it matches, of the folder alone: not of all that begins like it."""
    storage = s3.open()
    for key in ["[a] b/[c] d/e/f.jpg", "z.jpg"]:
        storage.put(key, b"picture")
    assert s3.server is not None
    with proxy(s3.server.endpoint) as counted:
        inputs = Inputs(tmp_path, StorageOptions(endpoint_url=counted.url))
        below = s3.url.partition("://")[2].partition("/")[2]
        for pattern, prefixes in {
            "*.jpg": [""],
            "[a] b/[c] d/e/*.jpg": ["[a] b/", "[a] b/[c] d/", "[a] b/[c] d/e/"],
            "[a] b/*/*/*/*.jpg": ["[a] b/", "[a] b/*/", "[a] b/"],
            "[a] b/**/f.jpg": ["[a] b/", "[a] b/**/", "[a] b/"],
        }.items():
            counted.paths.clear()
            assert len(inputs.expand(f"{s3.url}/{pattern}")) == (pattern.count("*/") < 2)
            asked = [parse_qs(urlsplit(path).query)["prefix"] for path in counted.paths]
            assert asked == [[f"{below}/{prefix}"] for prefix in prefixes]


# MinIO's front end refuses "." and ".." as parts of keys and, with spaces around them, of prefixes.
NAMES = st.text(alphabet="ab[]*?! .-#%+&='$é日", min_size=1, max_size=4).filter(
    lambda name: not re.match(r"\s*\.\.?([\s*?\[]|$)", name)
)
TREES = st.lists(
    st.tuples(
        st.lists(NAMES | st.sampled_from(["a", "b", "[a]", "**"]), max_size=3),
        NAMES | st.sampled_from(["a", "b", "[a]"]),
        st.sampled_from([".jpg", ".png", ".txt", ""]),
    ),
    min_size=1,
    max_size=5,
)


@st.composite
def patterns_for(draw: st.DrawFn, tree: set[str]) -> str:
    """A path of the tree, with wildcards for some of its parts, or a pattern that may match nothing."""
    parts = draw(st.sampled_from(sorted(tree))).split("/")
    for k, part in enumerate(parts):
        parts[k] = draw(
            st.sampled_from(
                [part] * 4 + ["*", "**", "*.jpg", f"?{part[1:]}", f"[{part[0]}]{part[1:]}"]
            )
            | NAMES
        )
    return "/".join(parts) + draw(st.sampled_from(["", "", "/", "/*", "/**"]))


@given(data=st.data(), written=TREES)
@settings(
    max_examples=40,
    phases=[Phase.generate],  # shrinking would take thousands of requests
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_a_pattern_means_the_same_on_a_disk_and_on_s3(
    s3: Rig, tmp_path: Path, data: st.DataObject, written: list[tuple[list[str], str, str]]
) -> None:
    number = next(TREE_NUMBERS)
    disk, bucket = Inputs(tmp_path / number), f"{s3.url}/{number}"
    storage = s3.open(number)
    tree: set[str] = set()
    for folders, stem, ending in written:
        name = "/".join([*folders, stem + ending])
        # What is a file cannot be a folder, too.
        if not any(f"{a}/".startswith(f"{b}/") for n in tree for a, b in ((n, name), (name, n))):
            tree.add(name)
            touch(tmp_path / number, name)
            storage.put(name, b"picture")
    for _ in range(5):
        pattern = data.draw(patterns_for(tree))
        if not glob.has_magic(pattern) and not pattern.endswith("/"):
            continue  # one address, which S3 is not asked for
        found = matches_of(Inputs(tmp_path, s3.options), f"{bucket}/{pattern}")
        expected = matches_of(disk, pattern)
        assert expected == [uri.removeprefix(f"{bucket}/") for uri in found], pattern


def matches_of(inputs: Inputs, pattern: str) -> list[str]:
    try:
        return inputs.expand(pattern)
    except InputError:  # nothing, and the pattern shows what may have been meant
        return []


TREE_NUMBERS = map(str, itertools.count())


def test_the_pictures_of_the_jobs_own_are_left_out_on_s3(
    bucket: str, s3_rig: Rig, tmp_path: Path
) -> None:
    own = {f"{bucket}/p/d.png", f"{bucket}/a.jpg"}
    inputs = Inputs(tmp_path, s3_rig.options, own=own)
    assert inputs.expand(f"{bucket}/**/*.png") == [f"{bucket}/p/q/e[1].png"]
    assert inputs.expand(f"{bucket}/p/") == []
    assert inputs.left_out == 2
    assert inputs.expand(f"{bucket}/a.jpg") == [
        f"{bucket}/a.jpg"
    ]  # by its own name: the caller's word


def test_s3_trouble_is_the_machines_fault(
    bucket: str, s3_rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StorageUnreachableError, match="no bucket"):
        Inputs(tmp_path, s3_rig.options).read("s3://no-such-bucket/a.jpg")
    clean_aws(monkeypatch)
    with pytest.raises(StorageDeniedError, match="no credentials"):
        Inputs(tmp_path, s3_rig.options).read(f"{bucket}/a.jpg")
    with pytest.raises(StorageError):
        Inputs(tmp_path, StorageOptions(profile="none")).expand("s3://bucket/*.jpg")


# The web


PICTURE = {"ETag": '"e1"', "Last-Modified": "Wed, 01 Jan 2025 00:00:00 GMT"}


def serve(answers: dict[str, Answer]) -> Callable[[str, str, dict[str, str]], Answer]:
    def answer(method: str, path: str, headers: dict[str, str]) -> Answer:
        return answers.get(path.partition("?")[0], (404, {}, b"not here"))

    return answer


@pytest.fixture
def web(tmp_path: Path) -> Inputs:
    return Inputs(tmp_path, allow_private=True, max_bytes=100_000)


def test_a_web_picture(web: Inputs) -> None:
    with web_server(serve({"/a%20%C3%A9.jpg": (200, PICTURE, b"picture")})) as server:
        uri = f"{server.url}/a%20é.jpg?size=big&sig=s3cret#part"
        found = web.read(uri)
    assert (found.uri, found.data, found.etag) == (uri, b"picture", '"e1"')
    assert found.modified == 1735689600.0
    [(method, path, headers)] = server.seen
    assert (method, path) == ("GET", "/a%20%C3%A9.jpg?size=big&sig=s3cret")
    assert headers["User-Agent"].startswith("stylefarm")
    assert headers["Host"] == f"127.0.0.1:{server.port}"


def test_names_are_looked_up(web: Inputs) -> None:
    with web_server(serve({"/a.jpg": (200, {"Last-Modified": "soon"}, b"picture")})) as server:
        found = web.read(f"HTTP://LOCALHOST:{server.port}/a.jpg")
    assert (found.data, found.etag, found.modified) == (b"picture", None, None)
    assert server.seen[0][2]["Host"] == f"localhost:{server.port}"


def test_private_addresses_are_refused(inputs: Inputs) -> None:
    with web_server(serve({"/a.jpg": (200, PICTURE, b"picture")})) as server:
        for host in ("127.0.0.1", "localhost", "[::1]", "2130706433", "[::ffff:127.0.0.1]"):
            with pytest.raises(InputError, match="leads to a private address"):
                inputs.read(f"http://{host}:{server.port}/a.jpg?sig=s3cret")
        for uri in ("http://169.254.169.254/latest/meta-data", "http://10.0.0.1/", "http://0/"):
            with pytest.raises(InputError, match="leads to a private address"):
                inputs.read(uri)
    assert server.seen == []


def test_every_hop_is_looked_at(
    inputs: Inputs, web: Inputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A public server that redirects to a private one. "Public" is its port here."""
    with (
        web_server(serve({"/a.jpg": (200, PICTURE, b"secret")})) as private,
        web_server(serve({"/": (302, {"Location": f"{private.url}/a.jpg"}, b"")})) as public,
    ):
        assert web.read(f"{public.url}/").data == b"secret"
        private.seen.clear()
        hops: list[str] = []

        def is_public(address: str) -> bool:
            hops.append(address)
            return len(hops) == 1

        monkeypatch.setattr("jobs.inputs.web._is_public", is_public)
        with pytest.raises(InputError, match="leads to a private address"):
            inputs.read(f"{public.url}/")
        assert len(hops) == 2
        assert private.seen == []


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1::1", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("100.64.0.1", False),
        ("169.254.169.254", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("::ffff:10.0.0.1", False),
        ("2002:0a00:0001::", False),
        ("64:ff9b::10.0.0.1", False),
        ("64:ff9b::93.184.216.34", True),
    ],
)
def test_which_addresses_are_public(address: str, expected: bool) -> None:
    assert _is_public(address) is expected


def test_redirects(web: Inputs) -> None:
    hops: dict[str, Answer] = {
        f"/{n}": (status, {"Location": f"{n + 1}"}, b"")
        for n, status in enumerate((301, 302, 303, 307, 308, 302))
    }
    with web_server(serve({**hops, "/6": (200, PICTURE, b"picture")})) as server:
        assert web.read(f"{server.url}/1").data == b"picture"
        with pytest.raises(InputError, match="redirects more than 5 times"):
            web.read(f"{server.url}/0")


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://host/x", "http://[", "http://"])
def test_redirects_to_what_is_no_web_address(web: Inputs, location: str) -> None:
    with (
        web_server(serve({"/": (302, {"Location": location}, b"")})) as server,
        pytest.raises(InputError),
    ):
        web.read(f"{server.url}/")


def test_passwords_go_to_their_own_server_only(web: Inputs) -> None:
    with (
        web_server(serve({"/a.jpg": (200, PICTURE, b"picture")})) as other,
        web_server(serve({"/": (302, {"Location": f"{other.url}/a.jpg"}, b"")})) as server,
    ):
        web.read(f"http://me:pa%40ss@127.0.0.1:{server.port}/")
    expected = "Basic " + base64.b64encode(b"me:pa@ss").decode()
    assert {k.lower(): v for k, v in server.seen[0][2].items()}["authorization"] == expected
    assert "authorization" not in {name.lower() for name in other.seen[0][2]}


@pytest.mark.parametrize(
    ("answer", "kind", "message"),
    [
        ((404, {}, b""), InputNotFoundError, "There is no picture at"),
        ((410, {}, b""), InputNotFoundError, "HTTP 410"),
        ((403, {}, b""), InputError, r"refuses it \(HTTP 403\)"),
        ((304, {}, b""), InputError, r"refuses it \(HTTP 304\)"),
        ((429, {}, b""), StorageUnreachableError, "answers HTTP 429; try again"),
        ((500, {}, b""), StorageUnreachableError, "answers HTTP 500; try again"),
        ((503, {}, b""), StorageUnreachableError, "answers HTTP 503; try again"),
        ((200, {}, b""), InputError, "is empty"),
        ((200, {}, bytes(100_001)), InputError, "is larger than the limit of 100,000 bytes"),
        ((200, {"Content-Length": "50"}, b"half"), StorageUnreachableError, "broke; try again"),
        ((200, {"Content-Encoding": "gzip"}, b"no gzip"), StorageUnreachableError, "broke"),
    ],
)
def test_what_web_servers_do_wrong(
    web: Inputs, answer: Answer, kind: type[Exception], message: str
) -> None:
    with web_server(lambda *_: answer) as server, pytest.raises(kind, match=message) as caught:
        web.read(f"http://me:s3cret@127.0.0.1:{server.port}/dir/a.jpg?sig=s3cret#s3cret")
    assert type(caught.value) is kind
    assert f"http://127.0.0.1:{server.port}/dir/a.jpg" in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_web_servers_that_are_not_there(web: Inputs) -> None:
    with pytest.raises(StorageUnreachableError, match="Cannot connect to the server of http://127"):
        web.read(f"http://127.0.0.1:{free_port()}/a.jpg?sig=s3cret")
    with pytest.raises(StorageUnreachableError, match=r"host of http://nowhere\.invalid/a\.jpg"):
        web.read("http://nowhere.invalid/a.jpg?sig=s3cret")
    with (
        web_server(lambda *_: (200, {}, b"x")) as server,
        pytest.raises(StorageUnreachableError, match="No trusted TLS connection"),
    ):
        web.read(server.url.replace("http:", "https:"))


def test_https_checks_the_name_and_not_the_address(
    web: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection goes to the address that was checked; the certificate is the name's."""
    certificate = make_certificate(tmp_path / "tls.pem")
    with web_server(serve({"/a.jpg": (200, PICTURE, b"picture")}), certificate) as server:
        with pytest.raises(StorageUnreachableError, match="No trusted TLS connection"):
            web.read(f"{server.url}/a.jpg")
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert web.read(f"{server.url}/a.jpg").data == b"picture"
        with pytest.raises(StorageUnreachableError, match="No trusted TLS connection"):
            web.read(f"https://127.0.0.1:{server.port}/a.jpg")


def test_an_own_authority_is_trusted_besides_the_systems(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the key of a job file that is for S3, too."""
    _, ours = make_authority(tmp_path / "ca.pem", tmp_path / "ours.pem")
    systems, theirs = make_authority(tmp_path / "systems.pem", tmp_path / "theirs.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(systems))
    inputs = Inputs(tmp_path, StorageOptions(ca_bundle="ca.pem"), allow_private=True)
    answers = serve({"/a.jpg": (200, PICTURE, b"picture")})
    with web_server(answers, ours) as server, web_server(answers, theirs) as public:
        assert inputs.read(f"{server.url}/a.jpg").data == b"picture"
        assert inputs.read(f"{public.url}/a.jpg").data == b"picture"
        assert pickle.loads(pickle.dumps(inputs)).read(f"{server.url}/a.jpg").data == b"picture"
        with pytest.raises(StorageUnreachableError) as caught:
            Inputs(tmp_path, allow_private=True).read(f"{server.url}/a.jpg?sig=s3cret")
        assert str(caught.value).startswith(
            f"No trusted TLS connection for {server.url}/a.jpg (unable to get local issuer certificate); "
        )
        assert "name it in storage.ca_bundle" in str(caught.value)
        with pytest.raises(StorageUnreachableError, match="is the server's certificate valid"):
            inputs.read(f"https://127.0.0.1:{server.port}/a.jpg")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "there is no file"),
        (b"", "has no certificates"),
        (b"no certificate", "has no certificates"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "damaged ones"),
    ],
)
def test_a_file_of_authorities_that_is_none(
    content: bytes | None, problem: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "ca.pem").write_bytes(content)
    inputs = Inputs(tmp_path, StorageOptions(ca_bundle="ca.pem"), allow_private=True)
    with pytest.raises(
        StorageError, match=rf"^storage\.ca_bundle: .*{tmp_path}/ca.pem.*"
    ) as caught:
        inputs.read("https://localhost:1/a.jpg")
    assert problem in str(caught.value)


def test_a_proxy_that_is_not_used_is_told(web: Inputs, monkeypatch: pytest.MonkeyPatch) -> None:
    said = "Pictures are fetched directly, not through the proxy of https_proxy."
    with pytest.raises(StorageUnreachableError) as caught:
        web.read(f"https://localhost:{free_port()}/a.jpg")
    assert said not in str(caught.value)
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    for address in (f"https://localhost:{free_port()}/a.jpg", "https://nowhere.invalid/a.jpg"):
        with pytest.raises(StorageUnreachableError) as caught:
            web.read(address)
        assert str(caught.value).endswith(said)


@pytest.mark.parametrize("uri", ["http://", "https:///a.jpg", "http://[x/a.jpg", "http://h:99999/"])
def test_what_is_no_web_address(web: Inputs, uri: str) -> None:
    with pytest.raises(InputError, match=r"is not a web address|names no host"):
        web.read(uri)


def test_display_hides_what_may_be_secret() -> None:
    assert display("https://me:pw@host:1/a/b.jpg?sig=x#y") == "https://host:1/a/b.jpg"
    assert display("https://me:p@ss@host?x@y") == "https://host"
    assert display("s3://bucket/a?b") == "s3://bucket/a?b"
    assert display("photos/a#1.jpg") == "photos/a#1.jpg"


def test_reading_files_needs_no_boto3(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg")
    code = (
        "import sys; from pathlib import Path; from jobs.inputs.reader import Inputs\n"
        "Inputs(Path(sys.argv[1])).read('a.jpg'); sys.exit('botocore' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)


def test_a_link_to_itself_hides_no_other_picture(inputs: Inputs, tmp_path: Path) -> None:
    folder = inputs.base / "linked"
    folder.mkdir()
    (folder / "a.png").write_bytes(b"a")
    (folder / "loop.png").symlink_to("loop.png")
    assert inputs.expand("linked/") == ["linked/a.png", "linked/loop.png"]


def test_a_folder_that_is_not_there_matches_nothing(inputs: Inputs) -> None:
    assert inputs.expand("nofolder/") == []
