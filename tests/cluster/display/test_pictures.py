"""Small pictures on terminals: they are what was meant, nothing waits for them, and nothing of them stays."""

from __future__ import annotations

import contextlib
import fcntl
import io
import math
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from cluster.display.pictures import newest, strip, terminals
from cluster.display.pictures.drawings import draw, read_small, sixel
from cluster.display.pictures.newest import NewestPicture, Source
from cluster.display.pictures.terminals import Cell, protocol_of
from cluster.events.console import ConsoleView
from cluster.events.events import Beat, Finished, Started, TaskDone
from tests.support.farm import ROOT, picture, wait_for, write_job
from tests.support.screen import INK, Screen

PROTOCOLS = ("kitty", "iterm2", "sixel")
WORDS = {"kitty": "\x1b_G", "iterm2": "\x1b]1337;File=", "sixel": "\x1bP0;1;0q"}
STARTED = Started(job="harbour", output="out", tasks=10, done=4, failed=1, work_left=1000)

each_protocol = pytest.mark.parametrize("protocol", PROTOCOLS)


def webp(width=384, height=256, seed=1, **changes):
    file = io.BytesIO()
    picture(seed, width, height).save(file, "webp", quality=75, **changes)
    return file.getvalue()


def done(number):
    return TaskDone(
        id=f"{number:016x}",
        name=f"p{number}",
        image=f"images/p{number}.png",
        steps=5,
        work=10,
        seconds=1.0,
        total=4.5,
        worker="w",
        thumbnail=f"thumbs/p{number}.webp",
    )


# --- what is sent ----------------------------------------------------------------------------------


@each_protocol
@pytest.mark.parametrize(
    ("size", "fits"),
    [((384, 256), (8, 24)), ((256, 384), (8, 11)), ((384, 20), (2, 40)), ((1, 300), (8, 1))],
)
def test_a_picture_comes_through_and_fits(protocol, size, fits):
    data = webp(*size)
    screen = Screen()
    drawing = draw(data, protocol, Cell(8, 16), 40, 8)
    screen.write(drawing.send + drawing.draw)

    (got,) = screen.pictures
    assert (drawing.rows, drawing.columns) <= (8, 40)
    if protocol != "sixel":  # which is never made larger, so takes what its pixels need
        assert abs(drawing.rows - fits[0]) <= 1
        assert abs(drawing.columns - fits[1]) <= 2
    ((_, rows, columns),) = screen.drawn
    assert rows <= drawing.rows
    assert columns <= drawing.columns
    factor = max(1, math.ceil(size[0] / 320), math.ceil(size[1] / 128))
    shape = math.ceil(size[0] / factor), math.ceil(size[1] / factor)
    assert (got.shape[1], got.shape[0]) == shape
    meant = np.asarray(
        Image.open(io.BytesIO(data)).convert("RGB").resize(shape, Image.Resampling.BOX)
    )
    off = np.abs(got.astype(int) - meant.astype(int)).mean()
    assert off < {"kitty": 6, "iterm2": 8, "sixel": 16}[protocol]


def test_sixel_has_every_pixel_once_in_the_nearest_of_its_colours():
    pixels = np.random.default_rng(5).integers(0, 256, (13, 31, 3)).astype(np.uint8)
    screen = Screen()
    screen.write(sixel(pixels))
    (got,) = screen.pictures
    assert got.shape == pixels.shape
    assert (
        np.abs(got.astype(int) - pixels.astype(int)).max() <= 27
    )  # half a step of 51, and rounding


def test_what_is_transparent_is_white():
    file = io.BytesIO()
    Image.new("RGBA", (64, 64), (0, 0, 0, 0)).save(file, "webp", lossless=True)
    assert (read_small(file.getvalue(), 20, 20) == 255).all()


# --- which terminal --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("env", "protocol"),
    [
        ({"TERM": "xterm-kitty"}, "kitty"),
        ({"TERM": "xterm-256color", "KITTY_WINDOW_ID": "1"}, "kitty"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "ghostty"}, "kitty"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}, "iterm2"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "WezTerm"}, "iterm2"),
        ({"TERM": "xterm-256color"}, None),
        ({"TERM": "xterm-kitty", "CI": "true"}, None),
        ({"TERM": "dumb", "KITTY_WINDOW_ID": "1"}, None),
        ({"KITTY_WINDOW_ID": "1"}, None),
        ({"TERM": "tmux-256color", "KITTY_WINDOW_ID": "1", "TMUX": "/tmp/t"}, None),
        ({"TERM": "screen", "TERM_PROGRAM": "iTerm.app"}, None),
    ],
)
def test_the_environment_says_what_a_terminal_shows(env, protocol, monkeypatch):
    monkeypatch.setattr(terminals, "_says_sixel", lambda: False)
    assert protocol_of("auto", env) == protocol
    assert protocol_of("off", env) is None
    assert protocol_of("sixel", env) == "sixel"


ASK = """
import os, sys, termios
from cluster.display.pictures import terminals
from cluster.display.pictures.terminals import protocol_of
terminals.ANSWER_SECONDS = float(sys.argv[1])
print("asks", flush=True)
before = termios.tcgetattr(0)
print(protocol_of("auto"), termios.tcgetattr(0) == before, flush=True)
print(repr(sys.stdin.readline()), flush=True)
"""


class AtTerminal:
    """A process whose terminal is a pty, and what it writes there."""

    def __init__(self, command, cwd, answer=b"", **env):
        clean = {k: v for k, v in os.environ.items() if k not in ("CI", "TMUX", "TERM_PROGRAM")}
        env = clean | {"PYTHONPATH": str(ROOT), "TERM": "xterm-256color"} | env
        self.got = bytearray()
        self._answer = answer
        self.pid, self.descriptor = pty.fork()
        if self.pid == 0:
            os.chdir(cwd)
            os.execvpe(command[0], command, env)
        fcntl.ioctl(self.descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 120, 0, 0))
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def text(self):
        return self.got.decode(errors="replace")

    def type(self, data):
        os.write(self.descriptor, data)

    def wait(self):
        self._reader.join(180)
        if self._reader.is_alive():
            self.kill()
        _, status = os.waitpid(self.pid, 0)
        os.close(self.descriptor)
        return os.waitstatus_to_exitcode(status)

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)

    def _read(self):
        with contextlib.suppress(OSError):  # EIO: its last user is gone
            while data := os.read(self.descriptor, 65_536):
                self.got += data
                if self._answer and b"\x1b[c" in data:
                    os.write(self.descriptor, self._answer)


@pytest.mark.parametrize(
    ("answer", "protocol"),
    [
        (b"\x1b[?62;4;6c", "sixel"),
        (b"\x1b[?64;1;2;14c", "None"),
        (b"\x1b[?4c", "sixel"),
        (b"\x1b[?41;42c", "None"),
        (b"", "None"),
    ],
)
def test_a_terminal_is_asked_and_is_left_as_it_was(tmp_path, answer, protocol):
    # One that answers may be slow to.
    seconds = "30" if answer else "0.5"
    process = AtTerminal([sys.executable, "-c", ASK, seconds], tmp_path, answer)
    wait_for(lambda: f"{protocol} True" in process.text, 20)
    process.type(b"hello\n")
    assert process.wait() == 0
    # The answer is neither shown nor left for the next program.
    assert "'hello\\n'" in process.text
    assert process.text.count("\x1b[c") == 1
    assert "^[" not in process.text


def test_nothing_that_was_typed_ahead_is_lost(tmp_path):
    ask = "import os, time\nwhile not os.path.exists('typed'): time.sleep(0.01)\n" + ASK
    process = AtTerminal([sys.executable, "-c", ask, "0.5"], tmp_path, b"\x1b[?62;4;6c")
    process.type(b"make\n")
    wait_for(lambda: "make\r\n" in process.text)  # the echo: the terminal has it
    (tmp_path / "typed").touch()
    assert process.wait() == 0
    assert "None True" in process.text
    assert "'make\\n'" in process.text
    assert "\x1b[c" not in process.text


def test_nobody_is_asked_without_a_terminal(tmp_path):
    ended = subprocess.run(
        [sys.executable, "-c", "from cluster.display.pictures.terminals import protocol_of as p\n"
         "print(p('auto'))"],
        cwd=ROOT, env=os.environ | {"TERM": "xterm"}, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert ended.stdout == "None\n"


# --- above the bar ---------------------------------------------------------------------------------


class Tape(io.StringIO):
    """A terminal's text so far, with what a screen makes of it."""

    def __init__(self, **size):
        super().__init__()
        self.size = size

    def screen(self):
        screen = Screen(**self.size)
        screen.write(self.getvalue())
        return screen


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(newest, "SECONDS", 0.05)
    monkeypatch.setattr(strip, "REDRAW_SECONDS", 0.05)


def view_on(tape, protocol, get, height=20):
    console = Console(file=tape, width=120, height=height, force_terminal=True)
    return ConsoleView(console, pictures=Source(protocol, get))


@each_protocol
def test_the_newest_picture_is_above_the_bar_and_goes_with_it(protocol, quick):
    tape = Tape()
    view = view_on(tape, protocol, lambda key: webp(seed=int(key[8:-5])))
    view(STARTED)
    for number in range(30):  # more lines than the terminal has
        if wait := number % 7 == 0:
            count = len(tape.screen().pictures)  # before its picture may be there
        view(done(number))
        view(Beat(done=number, failed=0, workers=1, running=()))
        if wait:
            wait_for(lambda count=count: len(tape.screen().pictures) > count, 10)
    last = read_small(webp(seed=29), 320, 128).astype(int)

    def is_shown():
        screen = tape.screen()
        there = bool(screen.placed) if protocol == "kitty" else INK in "".join(screen.lines)
        got = screen.pictures[-1].astype(int)
        return there and got.shape == last.shape and np.abs(got - last).mean() < 16

    wait_for(is_shown, 10)
    screen = tape.screen()
    row, rows, _ = screen.drawn[-1]
    assert "rendering" in screen.lines[len(screen.gone) + row + rows]
    assert f"done images/p{29}.png" in screen.lines[len(screen.gone) + row - 1]

    view(Finished(done=30, failed=0, left=0, seconds=9.0, reason="complete"))
    screen = tape.screen()
    assert screen.is_clean
    assert screen.lines[1:-1] == [
        f"done images/p{n}.png (5 steps in 1.0 s, loss 4.5)" for n in range(30)
    ]
    assert screen.cursor == (len(screen.lines), 0)
    view.close()
    time.sleep(0.2)  # a picture that was on its way comes too late
    assert tape.screen().lines == screen.lines
    assert tape.screen().is_clean


@each_protocol
def test_while_only_the_bar_moves_no_pixels_are_sent(protocol, quick):
    tape = Tape()
    view = view_on(tape, protocol, lambda key: webp())
    view(STARTED)
    view(done(1))
    wait_for(lambda: tape.screen().drawn, 10)
    before = len(tape.getvalue())

    def frames():
        return tape.getvalue()[before:].count("rendering")

    wait_for(lambda: frames() >= 6, 10)
    view.close()
    assert len(tape.getvalue()) - before < 1000 * frames()
    assert len(tape.screen().drawn) == 1


def test_a_terminal_that_is_too_small_shows_its_lines(quick):
    tape = Tape(height=10)
    view = view_on(tape, "sixel", lambda key: webp(), height=10)
    view(STARTED)
    view(done(1))
    time.sleep(0.5)
    assert not tape.screen().drawn
    view.close()


def test_pictures_that_cannot_be_had_are_left_out(quick):
    tape, asked = Tape(), []

    def get(key):
        asked.append(key)
        if len(asked) == 1:
            raise OSError("the storage is down")
        return b"no picture" if len(asked) == 2 else webp()

    view = view_on(tape, "kitty", get)
    view(STARTED)
    for number in range(3):
        view(done(number))
        wait_for(lambda number=number: len(asked) > number, 10)
    wait_for(lambda: tape.screen().placed, 10)
    view.close()
    assert tape.screen().is_clean


def test_nothing_waits_for_a_picture_and_those_between_are_left_out(quick):
    shown, free = [], threading.Event()

    def get(key):
        assert free.wait(180)
        return webp(8, 8)

    pictures = NewestPicture(Source("sixel", get), shown.append)
    began = time.monotonic()
    for number in range(1000):
        pictures(f"thumbs/{number}.webp")
    assert time.monotonic() - began < 60
    free.set()
    wait_for(lambda: shown, 10)
    pictures.close()
    time.sleep(0.2)
    assert len(shown) <= 2


@pytest.mark.parametrize("how", ["no terminal", "quiet", "no source", "no thumbnail"])
def test_nothing_is_sent_where_no_picture_is_to_be_shown(how, quick):
    text = io.StringIO()
    console = Console(file=text, width=120, height=30, force_terminal=how != "no terminal")
    asked = []
    source = (
        None if how == "no source" else Source("kitty", lambda key: asked.append(key) or webp())
    )
    view = ConsoleView(console, quiet=how == "quiet", pictures=source)
    view(STARTED)
    event = done(1)
    if how == "no thumbnail":
        event = replace(event, thumbnail=None)
    view(event)
    time.sleep(0.3)
    view.close()
    assert not asked
    assert not any(word in text.getvalue() for word in WORDS.values())


# --- a run on a terminal ---------------------------------------------------------------------------

RUN = """
import os, time
from cluster.display.pictures import newest, terminals
from cluster.worker.worker import Worker
newest.SECONDS = 0.1
terminals.ANSWER_SECONDS = 30
run, store, stored = Worker.run, Worker._store, []
def run_in_turn(self, assignments):
    while not stored and all(each.task.recipe.steps > 1000 for each in assignments):
        time.sleep(0.01)
    return run(self, assignments)
Worker.run = run_in_turn
def store_with_thumbnail(self, renderer, key_of, task, picture):
    while stored and not os.path.exists("seen"):
        time.sleep(0.01)
    stored.append(task.id)
    output = store(self, renderer, key_of, task, picture)
    self._storage.put(f"thumbs/{task.id}.png", self._storage.get(output.key))
    return output.model_copy(update={"thumbnail": f"thumbs/{task.id}.png"})
Worker._store = store_with_thumbnail
from cluster.cli.app import main
main()
"""
"""The command, with workers that store a small picture whatever the job says, and a second one only once
there is a file ``seen``. What takes many steps comes after what takes few."""


def command(job, *words):
    return [sys.executable, "-c", RUN, "run", str(job), "--pool", "inline", *words]


def shows(process, word):
    try:
        wait_for(lambda: word in process.text, 60)
    except AssertionError:
        process.kill()  # it may wait for what follows
        raise


@pytest.mark.parametrize(
    ("words", "env", "answer", "protocol"),
    [
        (["--pictures", "iterm2"], {"TERM": "xterm-kitty"}, b"", "iterm2"),
        ([], {}, b"\x1b[?62;4;6c", "sixel"),
    ],
)
def test_a_run_shows_pictures_and_leaves_none(tmp_path, words, env, answer, protocol):
    job = write_job(tmp_path, photos=3, styles=1, recipe={"steps": 60})
    process = AtTerminal(command(job, *words), tmp_path, answer, **env)
    shows(process, WORDS[protocol])
    (tmp_path / "seen").touch()
    assert process.wait() == 0
    screen = Screen(height=30)
    screen.write(process.text.replace("\x1b[c", ""))
    assert screen.pictures
    assert screen.is_clean
    text = "\n".join(screen.lines)
    assert text.count("done images/") == 3
    assert "3 done, 0 failed, 0 left" in text
    assert "rendering" not in text


def test_nothing_stays_when_a_run_is_broken_off(tmp_path):
    pairs = [
        {"content": "photos/p0.png", "style": "styles/", "recipe": {"steps": 5}},
        {"content": "photos/p1.png", "style": "styles/"},  # would take half an hour
    ]
    job = write_job(tmp_path, styles=1, recipe={"steps": 100_000}, pairs=pairs)
    process = AtTerminal(command(job), tmp_path, TERM="xterm-kitty")
    shows(process, WORDS["kitty"])
    os.kill(process.pid, signal.SIGINT)
    shows(process, "stopping")  # it has heard the first: two at once may be one
    os.kill(process.pid, signal.SIGINT)
    assert process.wait() == 130
    screen = Screen(height=30)
    screen.write(process.text)
    assert screen.is_clean
    assert "rendering" not in "\n".join(screen.lines)


def test_a_run_shows_none_where_none_are_wanted(tmp_path):
    job = write_job(tmp_path, photos=1, styles=1)
    process = AtTerminal(command(job, "--pictures", "off"), tmp_path, TERM="xterm-kitty")
    assert process.wait() == 0
    assert "1 done" in process.text
    assert not any(word in process.text for word in (*WORDS.values(), "\x1b[c"))


def test_a_job_without_thumbnails_says_why_none_are_shown(tmp_path):
    job = write_job(tmp_path, photos=1, styles=1, image={"thumbnails": False})
    process = AtTerminal(command(job, "--pictures", "kitty"), tmp_path)
    assert process.wait() == 0
    assert "1 done" in process.text
    assert "--pictures shows thumbnails" in process.text
    assert not any(word in process.text for word in (*WORDS.values(), "\x1b[c"))
