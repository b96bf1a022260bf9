"""``protocol_of``: by which protocol a terminal shows pictures, from its environment or its own answer."""

from __future__ import annotations

import contextlib
import os
import re
import select
import struct
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

Protocol = Literal["kitty", "iterm2", "sixel"]
Choice = Literal["auto", "off", "kitty", "iterm2", "sixel"]

ANSWER_SECONDS = 0.5
"""How long a terminal has to say what it can do, in seconds; each does in milliseconds, or never."""

_QUESTION = b"\x1b[c"
"""Primary device attributes (DA1), which every terminal since the VT100 answers."""
_ANSWER = re.compile(rb"\x1b\[\?([0-9;]*)c")
_SIXEL = b"4"
"""The attribute of terminals that show sixel."""


@dataclass(frozen=True, slots=True)
class Cell:
    """The size of a character, in pixels."""

    width: int = 8
    height: int = 16


def protocol_of(choice: Choice, env: Mapping[str, str] | None = None) -> Protocol | None:
    """Return by which protocol the terminal shows pictures; None: it shows none, or none are wanted.

    Args:
        choice: What the user says; ``auto`` looks at the environment, and asks the terminal if that says
            nothing.
        env: The environment; None: this process's.
    """
    if choice == "off":
        return None
    if choice != "auto":
        return choice
    env = os.environ if env is None else env
    if env.get("CI") or env.get("TERM", "dumb") == "dumb":
        return None
    # Inside of tmux or screen, the environment tells of the terminal outside, which they hide.
    inside = bool(env.get("TMUX")) or env["TERM"].startswith(("tmux", "screen"))
    named = None if inside else _named(env)
    return named or ("sixel" if _says_sixel() else None)


def _named(env: Mapping[str, str]) -> Protocol | None:
    program, term = env.get("TERM_PROGRAM", ""), env.get("TERM", "")
    if env.get("KITTY_WINDOW_ID") or term in ("xterm-kitty", "xterm-ghostty"):
        return "kitty"
    if program == "ghostty":
        return "kitty"
    if program in ("iTerm.app", "WezTerm") or env.get("LC_TERMINAL") == "iTerm2":
        return "iterm2"
    return None


def cell_of(descriptor: int) -> Cell:
    """Return the size of a terminal's characters; a usual one where it does not say."""
    with contextlib.suppress(ImportError, OSError, struct.error):
        import fcntl
        import termios

        answer = fcntl.ioctl(descriptor, termios.TIOCGWINSZ, bytes(8))
        rows, columns, width, height = struct.unpack("HHHH", answer)
        if rows and columns and width >= columns and height >= rows:
            return Cell(width // columns, height // rows)
    return Cell()


def _says_sixel() -> bool:
    """Return whether the terminal says that it shows sixel. It is asked only where nothing can be lost: by
    the process in front, when nothing has been typed that is not read yet."""
    try:
        import termios

        descriptor = sys.__stdin__.fileno() if sys.__stdin__ is not None else -1
        if not os.isatty(descriptor) or os.tcgetpgrp(descriptor) != os.getpgrp():
            return False
        with _unechoed(descriptor):
            return not _readable(descriptor, 0) and _SIXEL in _attributes(descriptor)
    except (ImportError, OSError, ValueError, AttributeError):
        return False
    except termios.error:
        return False


@contextlib.contextmanager
def _unechoed(descriptor: int) -> Iterator[None]:
    """Have what comes from the terminal neither echoed nor held back until a line ends."""
    import termios

    before = termios.tcgetattr(descriptor)
    during = termios.tcgetattr(descriptor)
    during[3] &= ~(termios.ICANON | termios.ECHO)
    try:
        # Not TCSAFLUSH, which would throw away what is typed ahead.
        termios.tcsetattr(descriptor, termios.TCSANOW, during)
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSANOW, before)


def _attributes(descriptor: int) -> list[bytes]:
    """Ask a terminal for its attributes; nothing where it does not answer."""
    os.write(descriptor, _QUESTION)
    until, got = time.monotonic() + ANSWER_SECONDS, b""
    while (left := until - time.monotonic()) > 0 and _readable(descriptor, left):
        # One by one, so that nothing is taken that follows the answer.
        got += os.read(descriptor, 1)
        if answer := _ANSWER.search(got):
            _give_back(descriptor, got[: answer.start()])
            return answer.group(1).split(b";")
    _give_back(descriptor, got)
    return []


def _readable(descriptor: int, seconds: float) -> bool:
    return bool(select.select([descriptor], [], [], seconds)[0])


def _give_back(descriptor: int, typed: bytes) -> None:
    """Put back what was typed in between, where the system allows that."""
    import fcntl
    import termios

    with contextlib.suppress(OSError, AttributeError):
        for byte in typed:
            fcntl.ioctl(descriptor, termios.TIOCSTI, bytes([byte]))
