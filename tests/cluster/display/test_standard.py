"""Both streams of a process together: their order, and that neither waits for the other."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.displays import Stream, run
from tests.support.farm import ROOT

ALTERNATE = """
import sys
from cluster.display.standard import guarded
with guarded() as streams:
    DISPLAY
    for k in range(300):
        print("out", k, flush=True)
        print("err", k, file=sys.stderr)
"""


@pytest.mark.parametrize("display", ["pass", "streams.display('this')"], ids=["data", "display"])
def test_what_goes_to_one_place_keeps_its_order(display: str):
    done = subprocess.run(
        [sys.executable, "-c", ALTERNATE.replace("DISPLAY", display)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        timeout=30,
        check=True,
    )
    assert done.stdout.splitlines() == [f"{n} {k}" for k in range(300) for n in ("out", "err")]


NEITHER_WAITS = """
import sys
from cluster.display.standard import guarded
with guarded() as streams:
    streams.display("this")
    for k in range(20_000):
        print("a line of this", k, file=sys.stderr)
    print("heard")
    streams.tell_losses()
"""


def test_a_stuck_stream_holds_up_no_other(tmp_path: Path):
    words = [sys.executable, "-c", NEITHER_WAITS]
    ended = run(words, "normal", "stuck", folder=tmp_path, seconds=30)
    assert ended.status == 0
    assert ended.out == (
        "heard\nstandard error could not be written (nobody reads it); this went on without it\n"
    )


OTHERS_PRINT = """
import os, sys
from cluster.display.standard import guarded
with guarded() as streams:
    streams.display("this", for_programs=True)
    with streams.own_output() as out:
        print("by Python")
        os.write(1, b"by C\\n")
        print("Größe", file=out)
    print("afterwards")
    sys.stdout.flush()
    streams.finish(5)
    os.write(1, b"by C afterwards\\n")
"""


@pytest.mark.parametrize("err", ["normal", "closed"])
def test_what_others_print_goes_elsewhere_while_output_is_ours(tmp_path: Path, err: str):
    words = [sys.executable, "-c", OTHERS_PRINT]
    ended = run(
        words, "normal", err, folder=tmp_path, env={"PYTHONIOENCODING": "ascii"}, seconds=30
    )
    assert ended.status == 0
    assert ended.out == "Größe\nafterwards\nby C afterwards\n"
    if err == "normal":
        assert sorted((ended.err or "").splitlines()) == ["by C", "by Python"]


CLOSED = """
import os, sys
from cluster.display.standard import guarded
with guarded() as streams:
    assert sys.stderr.fileno() == 2 and not sys.stderr.isatty()
    assert os.path.samefile("/dev/fd/2", "/dev/null")  # and so no file that is opened gets its number
    assert streams.err.problem is None  # nothing was lost
    print("lost", file=sys.stderr)
    assert streams.err.problem == "it is closed"
"""


def test_a_stream_that_was_closed_can_be_asked_for_its_descriptor(tmp_path: Path):
    """As Ray does."""
    ended = run([sys.executable, "-c", CLOSED], "normal", "closed", folder=tmp_path, seconds=30)
    assert (ended.status, ended.out) == (0, "")


TO_NOTES = """
from pathlib import Path
import sys
from cluster.display.standard import guarded
with guarded() as streams:
    streams.display("the service")
    streams.tell_at_once("; see the history", Path("notes").write_text)
    for k in range(3):
        print("a line")
        streams.out.finish(5)
    streams.finish(5)
    streams.tell_losses()
"""


@pytest.mark.parametrize(
    ("out", "err"), [("full", "normal"), ("broken", "full"), ("closed", "closed"), ("full", "full")]
)
def test_a_loss_is_told_at_once_and_once(tmp_path: Path, out: str, err: str):
    ended = run([sys.executable, "-c", TO_NOTES], out, err, folder=tmp_path, seconds=30)
    assert ended.status == 0
    noted = (tmp_path / "notes").read_text() if (tmp_path / "notes").exists() else ""
    told = ended.err if err == "normal" else noted
    assert (told or "").count("the service goes on without it; see the history") == 1
    assert "went on" not in (told or "")


def test_a_terminal_shows_lines_as_they_come(tmp_path: Path):
    code = ALTERNATE.replace("DISPLAY", "streams.display('this'); assert sys.stdout.isatty()")
    streams = Stream("stopped"), Stream("normal")
    streams[0].go_on()
    process = subprocess.run(
        [sys.executable, "-c", code],
        stdout=streams[0].descriptor,
        stderr=streams[1].descriptor,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=30,
        check=False,
    )
    assert process.returncode == 0
    out, err = (stream.text() or "" for stream in streams)
    assert out.splitlines() == [f"out {k}" for k in range(300)]
    assert err.splitlines() == [f"err {k}" for k in range(300)]
