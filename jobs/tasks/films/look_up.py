"""``look_up_film``: find the frames of an entry with a film, and say what is missing."""

from __future__ import annotations

import glob
import itertools
import posixpath
import re
from bisect import bisect_left
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath

from jobs.errors import InputError, InputNotFoundError, JobFileError, Problem, StorageError
from jobs.inputs.archives.archive import MARK
from jobs.inputs.archives.film import DIGITS
from jobs.inputs.formats import is_picture
from jobs.inputs.similar import nearest
from jobs.jobfile.job import Job
from jobs.jobfile.recipes import sweep_combinations
from jobs.jobfile.yaml_source import FieldPath
from jobs.spec.films.film import is_film
from jobs.spec.films.frame_numbers import as_text, numbers_of
from jobs.spec.pairs import PairSet
from jobs.tasks.films.film_set import FilmSet, mask_sequence
from jobs.tasks.films.flow_source import FOUND, look_up_flow
from jobs.tasks.films.frames import (
    MISSING_SHOWN,
    Frames,
    Numbered,
    find_number,
    in_natural_order,
    listed_frames,
    missing_text,
    named_frames,
    numbered_in,
    several_in,
)
from jobs.tasks.films.spots import Shots
from jobs.tasks.pairs import OWN, PictureFinder, found, look_up_styles
from stylize.errors import StylizeError
from stylize.film.cv import opencv
from stylize.recipe import resolve
from stylize.video.codecs import check_written

_TAPES = (".avi", ".mxf", ".mpg", ".mpeg", ".mts", ".m2ts", ".ts", ".m2v", ".vob", ".mod", ".tod")
_WEB = (".wmv", ".asf", ".flv", ".f4v", ".ogv", ".rm", ".rmvb", ".divx", ".gif", ".apng")
UNREAD = frozenset((*_TAPES, *_WEB, ".dv", ".y4m"))
"""Endings of film files that are not read, and of pictures that move."""

_MARKS = re.compile(r"@|\$F\d*(?=\W|$)|<\w+>")
"""What stands for the number in names that other programs write: a.@@@@.exr, a.$F4.exr, a.<UDIM>.exr."""

_BELOW_ZERO = re.compile(r"(?:.*[._])?-")
"""How names begin whose number seems to be below 0: a.-0001.png; shot-0001.png is none."""

_HERE = "\ue000"
"""Stands for the number while an address is spelled: a private character, which no name has."""


def look_up_film(
    job: Job, k: int, finder: PictureFinder, survey: Callable[[Frames], Shots]
) -> FilmSet:
    """Return entry number ``k`` of ``pairs``, with its frames found and its recipes made.

    Args:
        job: The job.
        k: Index of an entry with a film.
        finder: Expands patterns.
        survey: Looks for the cuts of a film; called only when its tasks are read.

    Raises:
        JobFileError: There are no frames, or some of those that are named are missing; or a style or a mask
            is; or what finds motion, or writes the video, is not installed.
        StorageError: A store cannot be listed.
    """
    pair = job.spec.pairs[k]
    assert pair.film is not None
    problems: list[Problem] = []
    try:
        opencv()
    except StylizeError as error:  # now, and not when the first frame is painted
        problems.append(job.problem(("pairs", k, "film"), str(error)))
    _check_video(job, k, pair, problems)
    frames = _look_up_frames(job, k, pair, pair.film, finder, problems)
    mask_fields: dict[str, FieldPath] = {}
    styles = look_up_styles(job, finder, pair, k, mask_fields, problems)
    shots: Shots | None = None
    flow = FOUND
    if frames is not None:
        _check_masks(job, finder, frames, mask_fields, problems)
        shots = _shots_of(job, k, pair, frames, problems)
        starts = None if shots is None else [first for first, _ in shots]
        flow = look_up_flow(job, k, frames, starts, finder, problems)
    if problems or frames is None:
        raise JobFileError(problems)
    base = {**job.spec.recipe, **pair.recipe}
    recipes = [resolve(base, combination) for combination in sweep_combinations(pair.sweep)]
    return FilmSet(
        written=pair.film,
        frames=frames,
        styles=styles,
        recipes=recipes,
        find_shots=lambda: survey(frames) if shots is None else shots,
        loop=pair.loop,
        video=pair.video,
        step=1 if pair.frames is None else _step(frames.numbers),
        mask_fields=mask_fields,
        flow=flow,
    )


def _check_video(job: Job, k: int, pair: PairSet, problems: list[Problem]) -> None:
    """Add what would be found out about a video only after its frames are painted."""
    if pair.video is None:
        return
    try:
        check_written(pair.video.written_codec)
    except StylizeError as error:
        problems.append(job.problem(("pairs", k, "video"), str(error)))


def _step(numbers: Sequence[int]) -> int:
    """Return the smallest distance of frames that follow each other; 1: there are no two."""
    return min((b - a for a, b in itertools.pairwise(numbers)), default=1)


def _look_up_frames(
    job: Job, k: int, pair: PairSet, written: str, finder: PictureFinder, problems: list[Problem]
) -> Frames | None:
    """Return the frames of a film; None: what is wrong was added to the problems."""
    place: FieldPath = ("pairs", k, "film")
    if is_film(written):
        return _frames_of_file(job, k, pair, written, finder, problems)
    try:
        sequence = _sequence(finder, written)
    except InputError as error:
        problems.append(job.problem(place, str(error)))
        return None
    if sequence is None:
        if fault := _no_folder(finder, written):
            problems.append(job.problem(place, f"{written} {fault}"))
            return None
        before = len(problems)
        uris = in_natural_order(found(job, finder, written, place, problems))
        if not uris:
            if films := _films_in(finder, written):
                message = f"{written} has films and no frames: name one, such as {films[0]}"
                problems[before:] = [job.problem(place, message)]
            return None
        if uris == [finder.spelling(written)]:
            try:
                finder.read(uris[0])
            except InputNotFoundError as error:
                # A folder that is not there is told with the one that is near.
                if PurePosixPath(written).suffix or found(
                    job, finder, f"{written}/", place, problems
                ):
                    problems.append(job.problem(place, _no_film(finder, written, error)))
                return None
            except InputError:  # it is there
                pass
            kind = "is one picture" if is_picture(written) else "is no film of a kind that is read"
            problems.append(
                job.problem(place, f"{written} {kind}: name the frames as in a.####.png")
            )
            return None
        sequence = numbered_in(uris)
        if sequence is None and (several := several_in(uris)):
            problems.append(
                job.problem(place, f"{written} has {several}: name the frames as in a.####.png")
            )
            return None
        if sequence is None:
            return _chosen_of_list(job, k, pair, listed_frames(written, uris), problems)
    else:
        uris = found(job, finder, sequence.pattern, place, problems, written)
    there = sorted(n for n in map(sequence.number_in, uris) if n is not None)
    if fault := _below_zero(sequence, uris, there, pair.frames):
        problems.append(job.problem(place, f"{written} {fault}"))
        return None
    if fault := _unmatched(sequence, uris, there):
        problems.append(job.problem(place, f"{written} matches {fault}"))
    if fault or not there:
        return None
    numbers = _chosen(job, k, pair, written, there, problems)
    return None if numbers is None else named_frames(sequence, numbers)


def _frames_of_file(
    job: Job, k: int, pair: PairSet, written: str, finder: PictureFinder, problems: list[Problem]
) -> Frames | None:
    """Return the frames of a film file, from 1; None: what is wrong was added to the problems."""
    place: FieldPath = ("pairs", k, "film")
    try:
        if finder.spelling(written) in finder.own:
            problems.append(job.problem(place, f"{written} is a video {OWN}; use a copy"))
            return None
        there = range(1, finder.frame_count(written) + 1)
        names = Numbered(f"{finder.spelling(written)}{MARK}", DIGITS, "")
    except InputError as error:
        problems.append(job.problem(place, _no_film(finder, written, error)))
        return None
    if pair.video is not None and pair.video.sound:
        try:
            finder.check_sound(written, pair.video.written_container)
        except InputError as error:  # now, and not when all frames are painted
            problems.append(job.problem(("pairs", k, "video"), f"{error}: sound: false"))
    return _chosen_of_list(job, k, pair, named_frames(names, there), problems)


def _no_film(finder: PictureFinder, written: str, error: InputError) -> str:
    """Return the sentence about a film that cannot be used, with the name that is probably meant."""
    if not isinstance(error, InputNotFoundError):
        return str(error)
    if glob.has_magic(posixpath.basename(written)):
        return f"{written} has wildcards: write an entry of pairs for each film"
    folder, name = posixpath.split(written)
    near = nearest(name, map(posixpath.basename, _films_in(finder, folder)))
    if near is None:
        return str(error)
    return f"{str(error).rstrip('.')}; is {posixpath.join(folder, near)} meant?"


def _films_in(finder: PictureFinder, folder: str) -> list[str]:
    """Return the film files in a folder; none where it cannot be listed."""
    try:
        return finder.expand(posixpath.join(glob.escape(folder), "*"), is_film)
    except (InputError, StorageError):
        return []


def _sequence(finder: PictureFinder, written: str) -> Numbered | None:
    """Return a sequence in the spelling that is hashed; None: it is a folder. Raises InputError."""
    parts = find_number(written)
    if parts is None:
        return None
    head, width, tail = parts
    before, _, after = finder.spelling(f"{head}{_HERE}{tail}").partition(_HERE)
    return Numbered(before, width, after)


def _below_zero(
    sequence: Numbered, uris: Sequence[str], there: Sequence[int], chosen: str | None
) -> str | None:
    """Return that frames have numbers below 0; None: none has, or the job file leaves them out.

    Args:
        sequence: The names of frames.
        uris: Names of pictures that are like these.
        there: The numbers that these have.
        chosen: The job file's ``frames``.
    """
    if chosen is not None:
        return None
    how = f"write frames: {as_text(there)}" if there else ""
    # The sign would be taken for a part of the name, and frames for those of the reverse order.
    if there and _BELOW_ZERO.fullmatch(posixpath.basename(sequence.head)):
        below, without = sequence.name(there[0]), f"; if the hyphen is no sign, {how}"
    else:
        head, tail = len(sequence.head), len(sequence.tail)
        below = next((u for u in uris if re.fullmatch(r"-\d+", u[head : len(u) - tail])), "")
        without = f"; to do without, {how}" if how else ""
    if not below:
        return None
    return f"has numbers below 0, such as {below}: number its frames from 0 on{without}"


def _unmatched(sequence: Numbered, uris: Sequence[str], there: Sequence[int]) -> str | None:
    """Return what a pattern matches, if that is probably not what is meant; None: it is.

    Args:
        sequence: The pattern's.
        uris: Names that are like it but for the number.
        there: The numbers of those that it matches.
    """
    if not there:
        meant = numbered_in(uris)
        near = "" if meant is None else f"; is {meant} meant?"
        return f"no frame: {uris[0]} is none{near}" if uris else None
    # Of 0001 to 1200 a single # matches 1000 and more.
    head, tail = len(sequence.head), len(sequence.tail)
    like = [uri for uri in uris if uri[head : len(uri) - tail].isdigit()]
    meant = numbered_in(like)
    if meant is None or meant.width <= sequence.width:
        return None
    return f"{len(there):,} of {len(like):,} frames; is {meant} meant?"


def _no_folder(finder: PictureFinder, written: str) -> str | None:
    """Return why a name without a number cannot be a folder of frames; None: it can."""
    name = posixpath.basename(written)
    if PurePosixPath(written).suffix.lower() in UNREAD:
        return (
            "is a film of a kind that is not read, as MP4, MOV, MKV and WebM are: ffmpeg -i FILM -c:v ffv1 "
            "-c:a flac FILM.mkv makes one of it"
        )
    if glob.has_magic(name) and not _is_folder(finder, written):
        return "has wildcards: write #### or %04d for the number, or name the folder"
    if "%" in name or "#" in name:
        return "has no single place for the number: write it once, as #### or %04d"
    if _MARKS.search(name) and is_picture(name):
        return "has no number: write #### or %04d for it"
    return None


def _is_folder(finder: PictureFinder, written: str) -> bool:
    """Return whether a name with wildcards is that of a folder with pictures."""
    try:
        return bool(finder.expand(f"{glob.escape(written)}/*"))
    except InputError:
        return False


def _chosen(
    job: Job,
    k: int,
    pair: PairSet,
    written: str,
    there: Sequence[int],
    problems: list[Problem],
) -> Sequence[int] | None:
    """Return the numbers of the frames that are meant; None: some are missing."""
    place = "film" if pair.frames is None else "frames"
    if pair.frames is not None:
        wanted = numbers_of(pair.frames)
    else:
        wanted = range(there[0], there[-1] + 1, _step(there))
        if any(number not in wanted for number in there):
            wanted = range(there[0], there[-1] + 1)
    problem = _missing(written, there, wanted)
    if problem is None:
        return wanted
    if pair.frames is None and len(text := as_text(there)) <= 60:
        problem += f"; to do without, write frames: {text}"
    problems.append(job.problem(("pairs", k, place), problem))
    return None


def _missing(written: str, there: Sequence[int], wanted: Sequence[int]) -> str | None:
    """Return the sentence about the frames that are wanted and not there; None: all are there."""
    known = set(there)
    # Not counted one by one: a stray name with a large number makes them many.
    asked = wanted if isinstance(wanted, range) else frozenset(wanted)
    count = len(wanted) - sum(number in asked for number in known)
    if not count:
        return None
    if count == len(wanted):
        return f"{written} has none of these frames: it has {as_text(there, MISSING_SHOWN)}"
    what = "the frame" if count == 1 else f"{count:,} frames:"
    return f"{written} lacks {what} {missing_text(n for n in wanted if n not in known)}"


def _chosen_of_list(
    job: Job, k: int, pair: PairSet, frames: Frames, problems: list[Problem]
) -> Frames | None:
    """Return those frames of a list that are meant: they are counted from 1."""
    if pair.frames is None:
        return frames
    wanted = numbers_of(pair.frames)
    if wanted[0] < 1 or wanted[-1] > len(frames):
        message = f"{pair.film} has the frames 1-{len(frames)}, by their order"
        problems.append(job.problem(("pairs", k, "frames"), message))
        return None
    if frames.numbered is not None:
        return named_frames(frames.numbered, wanted)
    uris = [frames.uris[number - 1] for number in wanted]
    return Frames(frames.name, wanted, uris, None)


def _check_masks(
    job: Job,
    finder: PictureFinder,
    frames: Frames,
    mask_fields: dict[str, FieldPath],
    problems: list[Problem],
) -> None:
    """Add a problem for each sequence of masks that lacks some of the frames."""
    for mask, place in mask_fields.items():
        sequence = mask_sequence(mask)
        if sequence is None:
            continue
        uris = found(job, finder, sequence.pattern, place, problems, mask)
        if not uris:
            continue
        there = sorted(n for n in map(sequence.number_in, uris) if n is not None)
        if problem := _missing(mask, there, frames.numbers):
            problems.append(job.problem(place, problem))


def _shots_of(
    job: Job, k: int, pair: PairSet, frames: Frames, problems: list[Problem]
) -> Shots | None:
    """Return the shots that a job file names; None: they are to be looked for."""
    if pair.cuts == "auto" and not pair.loop:
        return None
    starts = {0}
    for n, cut in enumerate(pair.cuts if isinstance(pair.cuts, list) else ()):
        if not frames.numbers[0] <= cut <= frames.numbers[-1]:
            message = f"{cut} is not among the frames {as_text(frames.numbers, MISSING_SHOWN)}"
            problems.append(job.problem(("pairs", k, "cuts", n), message))
        else:
            starts.add(bisect_left(frames.numbers, cut))
    return shots_from(sorted(starts), len(frames))


def shots_from(starts: Sequence[int], frames: int) -> Shots:
    """Return the shots of a film.

    Args:
        starts: The indices of their first frames, ascending from 0.
        frames: The number of the film's frames.
    """
    return list(zip(starts, [*starts[1:], frames], strict=True))
