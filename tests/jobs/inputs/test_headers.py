"""The list of a tar is the same whether its headers are read one after the other or at several places."""

from __future__ import annotations

import io
import tarfile
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobs.inputs.archives import headers
from jobs.inputs.archives.headers import entries_of
from jobs.inputs.archives.source import Source, Stored


class Bytes(Source):
    """An archive in memory, each read of which takes as long as a request."""

    is_remote = True

    def __init__(self, data: bytes, seconds: float = 0.0) -> None:
        self.stored = Stored(len(data), None, None)
        self.reads = 0
        self._data = data
        self._seconds = seconds

    def read(self, start: int, size: int) -> bytes:
        time.sleep(self._seconds)
        self.reads += 1
        return self._data[start : start + size]


def packed(members: list[tuple[str, bytes | str]], kind: int) -> bytes:
    """A tar of files, given by their bytes, and links, given by what they lead to."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=kind) as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
                tar.addfile(info)
            else:
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return file.getvalue()


INNER = packed([(f"inner/{k}.jpg", bytes(600)) for k in range(6)], tarfile.PAX_FORMAT)
"""An archive, whose headers look like those of the archive that it is in."""

NAMES = st.sampled_from(["a.jpg", "b/c.png", "日本.png", "long/" * 40 + "d.jpg", "e" * 101])
CONTENTS = st.one_of(
    st.integers(0, 9000).map(lambda size: bytes([size % 251]) * size),
    st.sampled_from([INNER, INNER[:1500], INNER[512:], b"", bytes(1024), "a.jpg"]),
)
KINDS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Archives of a few members count as large ones."""
    monkeypatch.setattr(headers, "PROBE", 3)
    monkeypatch.setattr(headers, "LEAST_HEADERS", 1)
    monkeypatch.setattr(headers, "MOST_THROUGH", 0)
    monkeypatch.setattr(headers, "WINDOW", 1024)


@settings(
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(st.tuples(NAMES, CONTENTS), max_size=40), st.sampled_from(KINDS), st.data())
def test_the_list_is_the_same(
    members: list[tuple[str, bytes | str]], kind: int, data: st.DataObject
) -> None:
    if kind == tarfile.USTAR_FORMAT:
        members = [(name[-20:], content) for name, content in members]
    whole = packed(members, kind)
    kept = data.draw(st.one_of(st.just(len(whole)), st.integers(1, len(whole))))
    patched = bytearray(whole[:kept])
    if data.draw(st.booleans()):
        patched[data.draw(st.integers(0, kept - 1))] ^= 0x41
    seen = []
    for at_once in (False, True):
        found: list[object] = []
        try:
            found += entries_of(Bytes(bytes(patched)), at_once=at_once)
        except (tarfile.TarError, OSError, ValueError) as error:
            found.append(type(error))
        seen.append(found)
    assert seen[1] == seen[0]


def test_a_large_shard_is_listed_in_a_fraction_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    shard = packed([(f"{k:05}.jpg", bytes(20_000)) for k in range(600)], tarfile.USTAR_FORMAT)
    took = []
    for at_once in (False, True, True, True):
        source = Bytes(shard, seconds=0.004)
        began = time.perf_counter()
        names = [entry.name for entry in entries_of(source, at_once=at_once)]
        took.append(time.perf_counter() - began)
        assert names == [f"{k:05}.jpg" for k in range(600)]
        assert source.reads < 700
    assert min(took[1:]) < took[0] / 2


def test_small_members_are_read_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    source = Bytes(packed([(f"{k}.jpg", bytes(900)) for k in range(500)], tarfile.USTAR_FORMAT))
    assert len(list(entries_of(source, at_once=True))) == 500
    assert source.reads < 30
