"""Entries of ``pairs`` that name pictures, expanded to drafts of tasks."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol
from urllib.parse import quote

from jobs.errors import InputError, JobFileError, Problem
from jobs.inputs.addresses import is_web
from jobs.inputs.data import InputData
from jobs.inputs.formats import Unread, check_format
from jobs.inputs.near import why_no_match
from jobs.jobfile.job import Job
from jobs.jobfile.recipes import sweep_combinations
from jobs.jobfile.yaml_source import FieldPath
from jobs.spec.pairs import PairSet
from jobs.spec.styles import MASK_FIELD, StyleMix, StylePart
from jobs.tasks.identity import Draft, Kind
from jobs.tasks.task import Task, make_task, stem_of
from stylize.recipe import Recipe, resolve
from stylize.video.codecs import ContainerName

OWN = "that this job itself has made"
"""Which pictures are no input, in the words of every message about them."""


class PictureFinder(Protocol):
    """Turns patterns into addresses of pictures; ``jobs.inputs.reader.Inputs`` is one."""

    own: Container[str]
    """The pictures that the job itself has made."""
    left_out: int
    """Pictures of its own that ``expand`` has left out so far."""
    unread: Unread
    """Pictures of formats that are not read, which ``expand`` has left out so far."""

    def expand(self, pattern: str, wanted: Callable[[str], bool] | None = None) -> list[str]:
        """Return the pictures that a path, glob, folder or prefix names, in order; none: no match.

        Args:
            pattern: What names them.
            wanted: Returns whether a name is among those looked for; None: those of pictures are.

        Raises:
            InputError: The pattern cannot be expanded.
            StorageError: The store cannot be listed.
        """

    def read(self, uri: str) -> InputData:
        """Read one file.

        Raises:
            InputError: It is missing or forbidden.
            StorageError: The disk or store does not answer.
        """

    def frame_count(self, uri: str) -> int:
        """Return the number of frames of a film file.

        Raises:
            InputError: The film cannot be read.
            StorageError: The store does not answer.
        """

    def check_sound(self, uri: str, container: ContainerName) -> None:
        """Check that a video in a container can have the sound of a film file.

        Raises:
            InputError: It cannot.
            StorageError: The store does not answer.
        """

    def spelling(self, uri: str) -> str:
        """Return an address in the spelling of ``expand``, without a check whether it exists.

        Raises:
            InputError: The address is of no known kind.
        """


@dataclass(frozen=True)
class PictureSet:
    """One entry of ``pairs`` with its globs and folders expanded. ``len()`` is its number of tasks."""

    contents: Sequence[str]
    """Addresses of the contents."""
    styles: Sequence[StyleMix]
    """Styles; ``{content}`` in their masks is not replaced yet."""
    combine: Literal["product", "zip"]
    """``product``: every content in every style; ``zip``: first with first."""
    init: str | None
    """Address of the picture to start from; None: the recipes say."""
    recipes: Sequence[Recipe]
    """One complete recipe per combination of the sweep."""
    mask_fields: Mapping[str, FieldPath] = field(default_factory=dict)
    """The field of the job file that names each mask first."""

    def __len__(self) -> int:
        pairs = len(self.contents) * (len(self.styles) if self.combine == "product" else 1)
        return pairs * len(self.recipes)

    def pairs(self) -> Iterator[tuple[str, StyleMix]]:
        """Yield (content, style) in rendering order, each style with the masks of its content.

        All contents of a style come together, because workers keep what they have computed for a style.
        """
        for content, style in self._written_pairs():
            yield content, for_content(style, content)

    def drafts(self, digest_of: Callable[[Recipe], str]) -> Iterator[Draft]:
        """Yield a draft for every pair with every recipe, lazily.

        Args:
            digest_of: Returns the digest of a recipe's weights; what it raises passes through.
        """
        kinds = [Kind(recipe, digest_of(recipe)) for recipe in self.recipes]
        for content, styles in self.pairs():
            for kind in kinds:
                yield Draft(content, styles, self.init, kind)

    def masks(self) -> Iterator[tuple[FieldPath, str]]:
        """Yield every mask of every pair, with the field of the job file that names it."""
        for content, style in self._written_pairs():
            for part in style:
                if part.mask is not None:
                    yield self.mask_fields.get(part.mask, ()), _mask_of(part.mask, content)

    def _written_pairs(self) -> Iterator[tuple[str, StyleMix]]:
        if self.combine == "zip":
            yield from zip(self.contents, self.styles, strict=True)
        else:
            for style, content in itertools.product(self.styles, self.contents):
                yield content, style


def look_up(job: Job, finder: PictureFinder) -> list[PictureSet]:
    """Return the entries of a job that name pictures one by one, with their pictures found.

    A run reads its job through ``jobs.tasks.todo.Agenda``; this is for scripts and tests.

    Raises:
        JobFileError: Patterns match nothing, or a zip is uneven; the error has the problems of all entries.
        StorageError: A store cannot be listed.
    """
    sets: list[PictureSet] = []
    problems: list[Problem] = []
    for k, pair in enumerate(job.spec.pairs):
        if pair.manifest is None and pair.film is None:
            try:
                sets.append(look_up_pair(job, k, finder))
            except JobFileError as error:
                problems += error.problems
    if problems:
        raise JobFileError(problems)
    return sets


def look_up_pair(job: Job, k: int, finder: PictureFinder) -> PictureSet:
    """Return entry number ``k`` of ``pairs``, with its pictures found and its recipes made.

    Args:
        job: The job.
        k: Index of an entry without a manifest or a film.
        finder: Expands patterns.

    Raises:
        JobFileError: Patterns match nothing, a mask matches several pictures, or a zip is uneven.
        StorageError: A store cannot be listed.
    """
    pair = job.spec.pairs[k]
    problems: list[Problem] = []
    contents: list[str] = []
    for n, pattern in enumerate(pair.content or ()):
        contents += found(job, finder, pattern, ("pairs", k, "content", n), problems)
    mask_fields: dict[str, FieldPath] = {}
    styles = look_up_styles(job, finder, pair, k, mask_fields, problems)
    if pair.combine == "zip" and len(contents) != len(styles) and contents and styles:
        message = (
            f"zip needs as many contents as styles, but there are {len(contents)} contents and "
            f"{len(styles)} styles"
        )
        problems.append(job.problem(("pairs", k, "combine"), message))
    if pair.init is not None:
        try:
            check_format(pair.init)
            finder.spelling(pair.init)
        except InputError as error:
            problems.append(job.problem(("pairs", k, "init"), str(error)))
    if problems:
        raise JobFileError(problems)
    base = {**job.spec.recipe, **pair.recipe}
    if pair.init is not None:
        base["init"] = "image"
    recipes = [resolve(base, combination) for combination in sweep_combinations(pair.sweep)]
    return PictureSet(contents, styles, pair.combine, pair.init, recipes, mask_fields)


def expand(
    sets: Sequence[PictureSet], template: str, digest_of: Callable[[Recipe], str]
) -> Iterator[Task]:
    """Yield the tasks of a job one by one; memory does not grow with their number.

    A task that two entries name comes twice; ``jobs.tasks.todo.Agenda`` yields each once.

    Args:
        sets: The entries, with their pictures found.
        template: ``image.name`` of the job.
        digest_of: Returns the digest of a recipe's weights; what it raises passes through.
    """
    for pictures in sets:
        for draft in pictures.drafts(digest_of):
            yield make_task(draft, template)


def found(
    job: Job,
    finder: PictureFinder,
    pattern: str,
    path: FieldPath,
    problems: list[Problem],
    written: str | None = None,
) -> list[str]:
    """Return the pictures that a pattern matches; where it matches none, add a problem.

    Args:
        job: The job.
        finder: Expands patterns.
        pattern: A path, glob, folder, prefix or URL.
        path: The field.
        problems: Gets what is wrong.
        written: What the job has at ``path``; None: the pattern.

    Raises:
        StorageError: A store cannot be listed.
    """
    written = written or pattern
    before, unread = finder.left_out, finder.unread.count
    try:
        pictures = finder.expand(pattern)
    except InputError as error:
        problems.append(job.problem(path, str(error)))
        return []
    if not pictures:
        if finder.unread.count > unread:
            only = f"only pictures that are not read: {finder.unread}; convert them to PNG or TIFF"
            if finder.unread.are_archives:
                only = f"no picture by itself: {finder.unread}"
        elif finder.left_out > before:
            only = f"only pictures {OWN}"
        else:
            only = _no_picture(job, finder, pattern)
        problems.append(job.problem(path, f"{written} matches {only}"))
    elif pictures[0] in finder.own:  # by its own name: nothing that a pattern matches is
        problems.append(job.problem(path, f"{written} is one of the pictures {OWN}; use a copy"))
    return pictures


def _no_picture(job: Job, finder: PictureFinder, pattern: str) -> str:
    local = not pattern.startswith("s3://")
    why = why_no_match(job.base, finder.spelling(pattern)) if local else None
    return "no picture" + ("" if why is None else f": {why}")


def look_up_styles(
    job: Job,
    finder: PictureFinder,
    pair: PairSet,
    k: int,
    mask_fields: dict[str, FieldPath],
    problems: list[Problem],
) -> list[StyleMix]:
    """Return the styles of an entry; ``{content}`` in their masks is not replaced yet.

    Args:
        job: The job.
        finder: Expands patterns.
        pair: The entry.
        k: Its index in ``pairs``.
        mask_fields: Gets the field that names each mask first.
        problems: Gets what is wrong.

    Raises:
        StorageError: A store cannot be listed.
    """
    styles: list[StyleMix] = []
    for n, style in enumerate(pair.style or ()):
        path: FieldPath = ("pairs", k, "style", n)
        parts: list[StylePart] = []
        for pattern, share, written in style.parts:
            uris = found(job, finder, pattern, path, problems)
            mask = None
            if written is not None:
                place = (*path, *(("blend", pattern) if style.blended else ()), "mask")
                mask = _found_mask(job, finder, written, place, problems)
                mask_fields.setdefault(mask, place)
            # The pictures that a glob in a blend matches divide its share equally.
            each = share / len(uris) if style.blended and uris else share
            parts += [StylePart(uri, each, mask) for uri in uris]
        styles += [tuple(parts)] if style.blended else [(part,) for part in parts]
    return styles


def _found_mask(
    job: Job, finder: PictureFinder, written: str, path: FieldPath, problems: list[Problem]
) -> str:
    """Return a mask in the spelling that is hashed; one with ``{content}`` is not checked for existence."""
    if MASK_FIELD not in written:
        pictures = found(job, finder, written, path, problems)
        if len(pictures) > 1:
            message = f"{written} matches {len(pictures)} pictures, but a mask is one"
            problems.append(job.problem(path, message))
        return pictures[0] if pictures else written
    try:
        return finder.spelling(written)
    except InputError as error:
        problems.append(job.problem(path, str(error)))
        return written


def for_content(style: StyleMix, content: str) -> StyleMix:
    """Return a style with ``{content}`` in its masks replaced by the content's name."""
    if not any(part.mask is not None and MASK_FIELD in part.mask for part in style):
        return style
    return tuple(
        part if part.mask is None else part._replace(mask=_mask_of(part.mask, content))
        for part in style
    )


def _mask_of(mask: str, content: str) -> str:
    stem = stem_of(content)
    return mask.replace(MASK_FIELD, quote(stem, safe="") if is_web(mask) else stem)
