"""A writer holds nobody up, keeps the order, and says what it has left out where it has."""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from io import TextIOWrapper
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.display import writer as writer_module
from cluster.display.stream import GuardedStream
from cluster.display.writer import Outlet, Writer
from tests.support.farm import wait_for


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "STUCK_SECONDS", 0.1)
    monkeypatch.setattr(writer_module, "BRIEF_SECONDS", 0.1)


class Pipe:
    """A stream into a pipe that holds one page, and who reads it."""

    def __init__(self, *, patient: bool = False) -> None:
        self.reader, number = os.pipe()
        fcntl.fcntl(number, fcntl.F_SETPIPE_SZ, 4096)
        self.file = os.fdopen(number, "w", encoding="utf-8")
        self.writer = Writer()
        self.outlet = Outlet(self.file)
        self.stream = GuardedStream(self.file, self.outlet, self.writer)
        self.stream.patient = patient
        self.read = bytearray()

    def start_to_read(
        self, pause: float = 0.0, sleep: Callable[[float], None] = time.sleep
    ) -> threading.Thread:
        def read() -> None:
            while part := os.read(self.reader, 1000):
                self.read += part
                sleep(pause)

        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        return thread

    def close(self) -> None:
        """As a process that ends: its descriptors are closed."""
        self.file.close()
        assert self.outlet._descriptor is not None
        os.close(self.outlet._descriptor)

    def lines(self) -> list[str]:
        return self.read.decode().splitlines()


@contextlib.contextmanager
def pipe(**how: bool) -> Iterator[Pipe]:
    made = Pipe(**how)
    yield made
    os.close(made.reader)


def test_lines_arrive_at_once_and_in_order():
    with pipe() as it:
        for k in range(3):
            print("line", k, file=it.stream)
            until = time.monotonic() + 5
            while (got := os.read(it.reader, 100)) == b"" and time.monotonic() < until:
                time.sleep(0.01)
            assert got == f"line {k}\n".encode()


def test_who_writes_never_waits_for_a_reader_that_reads_nothing():
    with pipe() as it:
        it.stream.room = 100_000
        began = time.monotonic()
        for k in range(20_000):
            print("line", k, file=it.stream, flush=True)
        assert time.monotonic() - began < 120  # nobody reads until afterwards
        assert it.stream.problem is None  # it may come back

        reading = it.start_to_read()
        assert it.writer.drain(60)
        print("the end", file=it.stream)
        assert it.writer.drain(60)
        it.close()
        reading.join()
    notices = [line for line in it.lines() if "left out" in line]
    assert len(notices) == 1
    at = it.lines().index(notices[0])
    assert it.lines()[:at] == [f"line {k}" for k in range(at)]
    assert it.lines()[at:] == [f"[{20_000 - at:,} lines were left out here]", "the end"]
    assert at > 5000


@settings(max_examples=25)
@given(
    lines=st.lists(st.tuples(st.integers(0, 3000), st.sampled_from([None, 0.5, 2.0])), max_size=60),
    room=st.integers(0, 20_000),
    begins=st.integers(0, 60),
)
def test_every_line_is_read_or_counted(lines, room, begins):
    """Whenever the reader begins, and however large lines are: what is read is in order, the rest is told."""
    with pipe() as it:
        it.stream.room = room
        it.outlet.notice = lambda lines: f"! {lines}\n"
        reading = None
        for k, (size, part) in enumerate(lines):
            if k == begins:
                reading = it.start_to_read()
            it.stream.write_line(f"{k} {'x' * size}", None if part is None else int(room * part))
        reading = reading or it.start_to_read()
        assert it.writer.drain(60)
        it.close()
        reading.join()
    told = [int(line.split()[1]) for line in it.lines() if line.startswith("!")]
    numbers = [int(line.split()[0]) for line in it.lines() if not line.startswith("!")]
    assert numbers == sorted(set(numbers))
    assert len(numbers) + sum(told) == len(lines)
    assert all(told)


def test_of_data_nothing_is_left_out_however_slow_its_reader_is():
    with pipe(patient=True) as it:
        text = "".join(f"line {k}\n" for k in range(50_000))
        reading = it.start_to_read(pause=0.0001)
        it.stream.write(text)
        it.stream.flush()  # returns when all is written
        it.close()
        reading.join()
    assert it.read.decode() == text


def test_who_writes_data_waits_for_its_reader():
    with pipe(patient=True) as it:
        over = threading.Event()

        def write() -> None:
            it.stream.write("x" * 20_000)
            it.stream.flush()
            over.set()

        threading.Thread(target=write, daemon=True).start()
        assert not over.wait(0.5)
        reading = it.start_to_read()
        assert over.wait(60)
        it.close()
        reading.join()
    assert len(it.read) == 20_000


def test_frames_of_a_bar_do_not_pile_up_and_are_not_counted():
    with pipe() as it:
        print("first", file=it.stream)
        for k in range(10_000):
            it.stream.write(f"\r\x1b[2Kframe {k}")
            it.stream.flush()
        print("last", file=it.stream)
        reading = it.start_to_read()
        assert it.writer.drain(60)
        it.close()
        reading.join()
    text = it.read.decode()
    assert text.startswith("first\n\r\x1b[2Kframe 0")
    assert text.endswith("last\n")
    assert len(text) < 10_000
    assert "left out" not in text


def test_the_end_waits_briefly_and_then_lets_go_of_who_reads_nothing():
    with pipe() as it:
        print("x" * 10_000, file=it.stream)
        began = time.monotonic()
        it.stream.finish(0.3)
        assert 0.25 < time.monotonic() - began < 30
        assert it.stream.problem == "nobody reads it"
        print("more", file=it.stream)  # waits for nobody
        it.stream.finish(0.3)


class ReadersClock:
    """A clock that only the pauses of a reader move: by it they take no longer than they are meant to."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.sleep = time.sleep  # of whoever else reads this clock

    def monotonic(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        time.sleep(seconds)
        self.now += seconds


def test_the_end_waits_for_who_reads_slowly_for_as_long_as_that_takes(
    monkeypatch: pytest.MonkeyPatch,
):
    clock = ReadersClock()
    monkeypatch.setattr(writer_module, "time", clock)
    with pipe() as it:
        text = "".join(f"line {k}\n" for k in range(2000))
        it.stream.write(text)
        began = clock.now
        # Half a second for each page of the pipe.
        reading = it.start_to_read(pause=0.1, sleep=clock.pause)
        it.stream.finish(1.5)
        assert clock.now - began > 1.5
        assert it.stream.problem is None
        it.close()
        reading.join()
    assert it.read.decode() == text


def test_other_code_is_not_held_up_at_the_same_descriptor():
    """Such as a library's warnings in C; and it is heard again when the reader is back."""
    with pipe() as it:
        print("x" * 10_000, file=it.stream)
        wait_for(lambda: os.path.samestat(os.fstat(it.file.fileno()), Path(os.devnull).stat()))
        os.write(it.file.fileno(), b"y" * 100_000)  # or it waits for ever
        reading = it.start_to_read()
        assert it.writer.drain(60)
        os.write(it.file.fileno(), b"heard\n")
        it.close()
        reading.join()
    assert it.read.endswith(b"x\nheard\n")
    assert b"y" not in it.read


def test_what_another_process_makes_non_blocking_loses_nothing():
    with pipe() as it:
        os.set_blocking(it.file.fileno(), False)
        text = "".join(f"line {k}\n" for k in range(20_000))
        it.stream.write(text)
        reading = it.start_to_read()
        assert it.writer.drain(60)
        it.close()
        reading.join()
    assert it.read.decode() == text


def test_a_reader_that_goes_away_is_no_error():
    it = Pipe()
    told = []
    it.stream.when_lost(lambda: told.append(it.stream.problem))
    os.close(it.reader)
    for _ in range(3):
        print("into the void", file=it.stream)
        assert it.writer.drain(60)
    assert (it.stream.problem, it.stream.reader_gone) == ("Broken pipe", True)
    assert told == ["Broken pipe"]
    os.write(it.file.fileno(), b"nor for others")
    it.stream.when_lost(lambda: told.append("once more"))
    assert told == ["Broken pipe", "once more"]


@pytest.mark.parametrize("patient", [False, True])
def test_a_disk_that_was_full_is_written_again_when_it_has_room(tmp_path: Path, patient: bool):
    """Unless data has a hole in it by then, which is an error."""
    path = tmp_path / "log"
    with path.open("w") as file:
        writer, outlet = Writer(), Outlet(file)
        stream = GuardedStream(file, outlet, writer)
        stream.patient = patient
        print("before", file=stream, flush=True)
        assert writer.drain(60)
        full, assert_kept = os.open("/dev/full", os.O_WRONLY), os.dup(outlet._descriptor or 0)
        os.dup2(full, outlet._descriptor or 0)
        print("lost\nlost", file=stream, flush=True)
        print("lost", file=stream, flush=True)
        assert writer.drain(60)
        os.dup2(assert_kept, outlet._descriptor or 0)
        print("after", file=stream, flush=True)
        assert writer.drain(60)
    assert stream.problem == "No space left on device"
    assert path.read_text() == (
        "before\n" if patient else "before\n[3 lines were left out here]\nafter\n"
    )


def test_characters_that_an_encoding_lacks_are_escaped(tmp_path: Path):
    with (tmp_path / "log").open("w", encoding="ascii") as file:
        stream = GuardedStream(file, Outlet(file), Writer())
        print("Größe \udcff", file=stream)
        stream.finish(60)
        assert stream.problem is None
    assert (tmp_path / "log").read_text() == "Gr\\xf6\\xdfe \\udcff\n"


def test_bytes_go_behind_the_text_before_them(tmp_path: Path):
    with (tmp_path / "log").open("w") as file:
        stream = GuardedStream(file, Outlet(file), Writer())
        stream.write("text ")
        stream.buffer.write(b"\xff ")
        stream.writelines(["a ", "b"])
        stream.finish(60)
    assert (tmp_path / "log").read_bytes() == b"text \xff a b"


def test_a_stream_without_a_descriptor_is_written_to_as_it_is():
    import io

    kept = TextIOWrapper(io.BytesIO(), encoding="utf-8")
    stream = GuardedStream(kept, Outlet(kept), Writer())
    print("Größe", file=stream)
    stream.finish(60)
    kept.seek(0)
    assert kept.read() == "Größe\n"


FORK = """
import os, sys
from cluster.display.standard import guarded
with guarded() as streams:
    print("parent", flush=True)
    if os.fork() == 0:
        print("child", flush=True)
        os._exit(0)
    os.wait()
    print("parent again")
print("and after")
"""


def test_a_forked_process_writes_without_the_thread():
    done = subprocess.run(
        [sys.executable, "-c", FORK], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.stdout.split("\n") == ["parent", "child", "parent again", "and after", ""]


def test_where_no_thread_can_be_had_lines_are_written_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with (tmp_path / "log").open("w") as file:
        stream = GuardedStream(file, Outlet(file), Writer())
        with monkeypatch.context() as limited:
            limited.setattr(threading.Thread, "start", refuse)
            print("without", file=stream, flush=True)
        print("with", file=stream, flush=True)
        stream.finish(60)
    assert (tmp_path / "log").read_text() == "without\nwith\n"


def test_whoever_hears_of_a_loss_cannot_end_the_writer():
    with Path("/dev/full").open("w") as file:
        stream = GuardedStream(file, Outlet(file), Writer())
        stream.patient = False
        stream.when_lost(lambda: 1 / 0)
        for _ in range(3):
            print("lost", file=stream)
        stream.finish(60)
    assert stream.problem == "No space left on device"
