"""``FlowSource``: where the motion of a film comes from; ``look_up_flow``: whether its files are there."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from jobs.errors import InputError, Problem
from jobs.inputs.addresses import display
from jobs.jobfile.job import Job
from jobs.jobfile.yaml_source import FieldPath
from jobs.spec.films.flow import ENDINGS, GivenFlow
from jobs.spec.films.flow_names import FlowNames, flow_names
from jobs.spec.films.frame_numbers import as_text
from jobs.tasks.films.frames import MISSING_SHOWN, Frames
from jobs.tasks.films.part import Way
from jobs.tasks.pairs import PictureFinder
from stylize.errors import StylizeError
from stylize.film.sources.given import Direction, read_flow


@dataclass(frozen=True)
class FlowSource:
    """Where the motion between the frames of a film comes from."""

    way: Way
    files: Mapping[Direction, FlowNames]
    """The names of the files that have it, both directions; empty where it is found."""

    def names(self, number: int, after: int) -> tuple[str, str]:
        """Return the addresses of the motion from a frame to the next one, and from that one back.

        Args:
            number: The number of the frame.
            after: The number of the next one.
        """
        return (
            self.files["forward"].name(number, after),
            self.files["backward"].name(after, number),
        )


FOUND = FlowSource("dis", {})
"""The usual way."""

_HERE = ("\ue000", "\ue001")
"""Stand for the numbers while an address is spelled: private characters, which no name has."""


def look_up_flow(
    job: Job,
    k: int,
    frames: Frames,
    starts: Sequence[int] | None,
    finder: PictureFinder,
    problems: list[Problem],
) -> FlowSource:
    """Return where the motion of entry ``k`` comes from; where files of it are missing, add a problem.

    The first file of each direction is read, so that files of the wrong kind are known before any picture is
    painted.

    Args:
        job: The job.
        k: Index of an entry with a film.
        frames: The film's frames.
        starts: The indices of the frames that begin a shot, as far as the job file names them; None: they are
            looked for later.
        finder: Finds and reads files.
        problems: Gets what is wrong.

    Raises:
        StorageError: A store cannot be listed or read.
    """
    pair = job.spec.pairs[k]
    if not isinstance(pair.flow, GivenFlow):
        return FlowSource(pair.flow, {})
    files: dict[Direction, FlowNames] = {}
    directions: tuple[Direction, ...] = ("forward", "backward")
    for direction in directions:
        written = getattr(pair.flow, direction)
        path: FieldPath = ("pairs", k, "flow", direction)
        try:
            names = files[direction] = _spelled(finder, written)
            if problem := _leads_elsewhere(names, frames, starts, pair.frames):
                raise InputError(f"{written} {problem}")
            wanted = _wanted(names, direction, frames, starts, loop=pair.loop)
            if wanted:
                _check(finder, written, names, wanted, direction)
        except (InputError, StylizeError) as error:
            problems.append(job.problem(path, str(error)))
    return FlowSource("given", files) if len(files) == 2 else FOUND


def _check(
    finder: PictureFinder,
    written: str,
    names: FlowNames,
    wanted: Sequence[tuple[int, str]],
    direction: Direction,
) -> None:
    """Raise InputError or PictureError where files are missing, or the first is none that can be read."""
    there = frozenset(finder.expand(names.pattern, lambda name: name.lower().endswith(ENDINGS)))
    lacks = sorted(number for number, name in wanted if name not in there)
    if len(lacks) == len(wanted):
        raise InputError(
            f"{written} has the motion of no frame of the film: it lacks {wanted[0][1]}"
        )
    if lacks:
        what = "that of frame" if len(lacks) == 1 else f"those of {len(lacks):,} frames:"
        raise InputError(f"{written} lacks {what} {as_text(lacks, MISSING_SHOWN)}")
    _, first = wanted[0]
    read_flow(finder.read(first).data, display(first), direction)


def _wanted(
    names: FlowNames,
    direction: Direction,
    frames: Frames,
    starts: Sequence[int] | None,
    *,
    loop: bool,
) -> list[tuple[int, str]]:
    """Return (number of the frame, address) of each file that is needed, as far as cuts are known."""
    found = []
    for one, other in _neighbours(frames, starts, loop=loop):
        number, to = (one, other) if direction == "forward" else (other, one)
        found.append((number, names.name(number, to)))
    return found


def _neighbours(
    frames: Frames, starts: Sequence[int] | None, *, loop: bool
) -> Iterator[tuple[int, int]]:
    """Yield the numbers of each two neighbours that are of one shot."""
    cuts = frozenset(starts or ())
    for index, both in enumerate(itertools.pairwise(frames.numbers), 1):
        if index not in cuts:
            yield both
    if loop and len(frames) > 1:
        yield frames.numbers[-1], frames.numbers[0]


def _leads_elsewhere(
    names: FlowNames, frames: Frames, starts: Sequence[int] | None, chosen: str | None
) -> str | None:
    """Return that names with one number do not say to which frame they lead, where frames are left out; None:
    they do."""
    if names.two or chosen is None:
        return None
    for one, other in _neighbours(frames, starts, loop=False):
        if other - one > 1:
            return (
                f"does not say whether the motion of frame {one} leads to {one + 1} or to {other}, since "
                f"frames: {chosen} leaves frames out: write #### a second time, for the frame to which it "
                "leads"
            )
    return None


def _spelled(finder: PictureFinder, written: str) -> FlowNames:
    """Return the names of files in the spelling that is hashed. Raises InputError."""
    names = flow_names(written)
    assert names is not None  # the specification's own validation
    marks = _HERE[: len(names.widths)]
    text = names.parts[0] + "".join(
        mark + part for mark, part in zip(marks, names.parts[1:], strict=True)
    )
    parts = []
    rest = finder.spelling(text)
    for mark in marks:
        before, _, rest = rest.partition(mark)
        parts.append(before)
    return FlowNames((*parts, rest), names.widths)
