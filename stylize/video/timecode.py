"""``Timecode``: what the clock of a camera or of a cutting room calls a frame, ``01:00:59;28``.

Source: SMPTE ST 12-1. Whole frames are counted, 30 to the second also at 30000/1001. That is 108 more in an
hour than there are, so drop-frame code leaves out the numbers 0 and 1 (of 60 frames 0 to 3) of each minute
that is no multiple of ten, and has a semicolon before the frames.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

WRITTEN = (24, 25, 30, 48, 50, 60, 100, 120, 150)
"""The frames of a second with which FFmpeg writes timecode."""

_TEXT = re.compile(r"(\d\d):([0-5]\d):([0-5]\d)([:;.])(\d{2,3})")


@dataclass(frozen=True, slots=True)
class Timecode:
    """The name of a frame."""

    frame: int
    """Frames since midnight, as they are counted, not as they are called."""
    per_second: int
    """How many are counted to a second."""
    drop: bool = False
    """Whether numbers are left out to keep to the clock."""

    def __str__(self) -> str:
        dropped, in_ten_minutes = self._in_ten_minutes()
        number = self.frame % (6 * 24 * in_ten_minutes)
        tens, rest = divmod(number, in_ten_minutes)
        minutes = max(0, rest - dropped) // (60 * self.per_second - dropped)
        number += dropped * (9 * tens + minutes)
        seconds, frames = divmod(number, self.per_second)
        clock = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
        return f"{clock}{';' if self.drop else ':'}{frames:02}"

    def after(self, seconds: Fraction, rate: Fraction, step: int = 1) -> Timecode | None:
        """Return the code of a later frame of the film, as another film has it that begins there.

        Args:
            seconds: How much later it appears.
            rate: The film's frames per second.
            step: Of so many frames the other film has one.

        Returns:
            None: the other film has so few frames in a second that none of its seconds has a whole number.
        """
        if self.per_second % step:
            return None
        frame = (self.frame + round(seconds * rate)) // step
        return Timecode(
            frame, self.per_second // step, self.drop and self.per_second // step % 30 == 0
        )

    def _in_ten_minutes(self) -> tuple[int, int]:
        """Return how many numbers a minute leaves out, and how many frames there are in ten."""
        dropped = self.per_second // 15 if self.drop else 0
        return dropped, 600 * self.per_second - 9 * dropped


def read_timecode(text: str | None, rate: Fraction) -> Timecode | None:
    """Return a timecode.

    Args:
        text: As FFmpeg writes it, ``01:00:59:28``; a semicolon or a point before the frames: drop-frame.
        rate: The film's frames per second.

    Returns:
        None: there is none, it is not understood, or the film has no constant rate that is counted so.
    """
    found = _TEXT.fullmatch(text or "")
    per_second = round(rate)
    # Of 30 that are counted there are 30, or 29.97.
    if found is None or per_second < 1 or abs(rate / per_second - 1) > Fraction(1, 900):
        return None
    hours, minutes, seconds, mark, frames = found.groups()
    if int(frames) >= per_second:
        return None
    drop = mark != ":" and per_second % 30 == 0
    whole_minutes = 60 * int(hours) + int(minutes)
    frame = (60 * whole_minutes + int(seconds)) * per_second + int(frames)
    if drop:
        frame -= per_second // 15 * (whole_minutes - whole_minutes // 10)
    return Timecode(frame, per_second, drop)
