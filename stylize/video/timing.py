"""``Timing``: when each frame of a film is shown, in whole ticks; and the frame rates that there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import lcm

import numpy as np
import numpy.typing as npt

from stylize.errors import FilmError

Ticks = npt.NDArray[np.int64]

RATES = tuple(
    rate
    for whole in (24, 25, 30, 48, 50, 60, 100, 120, 200, 240, 12, 15, 10, 8, 6, 5)
    for rate in (Fraction(whole), Fraction(whole * 1000, 1001))
    if rate.denominator == 1 or whole % 6 == 0
)
"""Rates that are usual: those of cinema and television, the latter with their thousandths."""


MOST_AT_ONCE = 8
"""Frames within a thousandth of a second, as fine as Matroska usually counts: of 8,000 in a second."""


@dataclass(frozen=True, slots=True, eq=False)
class Timing:
    """When frames are shown."""

    time_base: Fraction
    """Seconds of a tick."""
    pts: Ticks
    """(N,): the tick at which each frame appears; they grow."""
    durations: Ticks
    """(N,): for how many ticks each is shown."""
    said: Fraction | None = None
    """The rate that a file says, roughly: it decides between two that a few frames do not tell apart."""

    def __len__(self) -> int:
        return len(self.pts)

    @property
    def rate(self) -> Fraction:
        """Frames per second, on average.

        A film whose frames lie within half a tick of those of a usual rate has that rate: Matroska has
        thousandths of a second, in which no rate of television is exact.
        """
        first = int(self.pts[0])
        end = int(self.pts[-1] + self.durations[-1])
        if len(self) > 1:
            steps = np.unique(np.diff(self.pts))
            said = self.said
            if len(steps) == 1:
                exact = 1 / (int(steps[0]) * self.time_base)
                if exact in RATES or exact == said:
                    return exact
            fitting = [rate for rate in RATES if self._is_of(rate)]
            if not fitting and said is not None and self._is_of(said):
                return said
            if fitting:
                return fitting[0] if said is None else min(fitting, key=lambda r: abs(r - said))
            if len(steps) == 1:
                return 1 / (int(steps[0]) * self.time_base)
        return Fraction(len(self)) / ((end - first) * self.time_base)

    @property
    def is_constant(self) -> bool:
        """Whether every frame is shown as long as every other, as far as ticks can tell."""
        steps = np.diff(self.pts)
        return len(steps) == 0 or int(steps.max() - steps.min()) <= 1

    @property
    def step(self) -> int:
        """The most ticks of which every time and length is a multiple."""
        return max(1, int(np.gcd.reduce(np.concatenate([self.pts, self.durations]))))

    def part(self, start: int, stop: int, step: int = 1) -> Timing:
        """Return the timing of some frames, which begin at 0.

        Args:
            start: The first.
            stop: The one before which to end.
            step: Of so many frames one is taken, and shown for as long as all of them.

        Raises:
            FilmError: There are no such frames.
        """
        if not 0 <= start < stop <= len(self):
            raise FilmError(f"has {len(self)} frames; there are none from {start} to before {stop}")
        taken = np.arange(start, stop, step)
        ends = self._ends(taken + step - 1)
        pts = self.pts[taken]
        # Up to the next one: a file may say that a frame is shown for a shorter time.
        durations = np.append(pts[1:], ends[-1]) - pts if step > 1 else self.durations[taken]
        said = None if self.said is None else self.said / step
        return Timing(self.time_base, pts - pts[0], durations, said)

    def in_ticks(self, time_base: Fraction) -> Timing:
        """Return the same in other ticks: each frame appears at the nearest that no other one has.

        Args:
            time_base: Seconds of one of them.
        """
        order = np.arange(len(self))
        pts = np.maximum.accumulate(self.nearest(time_base) - order) + order
        end = round(self.seconds(len(self)) / time_base)
        return Timing(time_base, pts, np.diff(pts, append=max(end, pts[-1] + 1)), self.said)

    def exact(self) -> Timing:
        """Return the same at the exact times of its rate, if it is usual and only ticks are too coarse."""
        rate = self.rate
        if self.step > 1 or rate not in RATES or not self._is_of(rate):
            return self
        begin, ticks = self.seconds(0), rate.numerator
        if (begin * ticks).denominator > 1:
            # A film may begin between two of its frames, where its sound begins at 0.
            ticks = lcm(ticks, self.time_base.denominator)
        step = ticks * rate.denominator // rate.numerator
        first, last = (round(seconds * ticks) for seconds in (begin, self._last()))
        if abs(last - step) <= self.time_base * ticks:
            last = step
        pts = first + np.arange(len(self), dtype=np.int64) * step
        durations = np.full(len(self), step, np.int64)
        durations[-1] = last
        return Timing(Fraction(1, ticks), pts, durations, rate)

    def _last(self) -> Fraction:
        """Return for how many seconds the last frame is shown."""
        return int(self.durations[-1]) * self.time_base

    def nearest(self, time_base: Fraction) -> Ticks:
        """Return (N,): the tick of so many seconds that is nearest to when each frame appears.

        Halves go away from 0, as FFmpeg's ``av_rescale_q`` has it.
        """
        ratio = self.time_base / time_base
        halves = (2 * ratio.numerator * abs(self.pts) + ratio.denominator) // (
            2 * ratio.denominator
        )
        ticks: Ticks = np.sign(self.pts) * halves
        return ticks

    def joined(self, taken: Sequence[int], step: int) -> Timing:
        """Return the timing of frames that follow each other, wherever they were; they begin at 0.

        Args:
            taken: Indices of frames, ascending.
            step: Each is shown for as long as so many frames from there on.
        """
        at = np.asarray(taken)
        durations = self._ends(at + step - 1) - self.pts[at]
        return Timing(self.time_base, np.cumsum(durations) - durations, durations)

    def _ends(self, frames: npt.NDArray[np.int64]) -> Ticks:
        """Return when frames are over: when the next appears, or the film ends. Others mean the last."""
        over = np.append(self.pts[1:], self.pts[-1] + self.durations[-1])
        return over[np.minimum(frames, len(self) - 1)]

    def seconds(self, index: int) -> Fraction:
        """Return when a frame appears; for the number of frames: when the last is over."""
        if index == len(self):
            return int(self.pts[-1] + self.durations[-1]) * self.time_base
        return int(self.pts[index]) * self.time_base

    def _is_of(self, rate: Fraction) -> bool:
        step = float(1 / (rate * self.time_base))
        if step < 2:
            return False  # ticks too coarse to tell
        late = (self.pts - self.pts[0]) - np.arange(len(self)) * step
        # The first frame may be rounded, too, so all may be late, but by the same.
        return float(late.max() - late.min()) <= 1.0


def spread(timing: Timing) -> Timing:
    """Return when frames are shown of which a file says of some that they are at once: they share the time
    until the next one.

    Args:
        timing: Their ticks, of which several in a row may be the same.

    Raises:
        FilmError: They are too many to be so by rounding. The text has no name yet.
    """
    times, counts = np.unique(timing.pts, return_counts=True)
    most = int(counts.max())
    if most == 1:
        return timing
    if most > MOST_AT_ONCE:
        at = float(int(times[counts.argmax()]) * timing.time_base)
        raise FilmError(f"is damaged: {most} of its frames are shown at once, at {at:.3f} s")
    end = int(times[-1]) + max(1, int(timing.durations[-1]))
    gaps = np.diff(times, append=end) * most
    place = np.arange(len(timing.pts)) - np.repeat(np.cumsum(counts) - counts, counts)
    later = place * np.repeat(gaps, counts) // np.repeat(counts, counts)
    pts = np.repeat(times * most, counts) + later
    said = timing.said
    return Timing(timing.time_base / most, pts, np.diff(pts, append=end * most), said)


def steady(rate: Fraction, count: int, step: int = 1) -> Timing:
    """Return the timing of numbered frames.

    Args:
        rate: Frames per second.
        count: How many there are.
        step: For how many frames each is shown.

    Raises:
        FilmError: The rate is not above 0 and up to 1,000, or there is no frame.
    """
    if not 0 < rate <= 1000:
        raise FilmError(
            f"a film of {rate} frames per second cannot be made; use more than 0, up to 1000"
        )
    if count < 1:
        raise FilmError("a film needs a frame at least")
    length = rate.denominator * step
    pts = np.arange(count, dtype=np.int64) * length
    durations = np.full(count, length, np.int64)
    return Timing(Fraction(1, rate.numerator), pts, durations, rate / step)
