"""Tasks: the pieces of a job. ``expand`` makes them lazily; their ids are the same everywhere.

A task and its record are plain data, so that they travel between processes and into JSON unchanged.
Pictures are named, never carried.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import posixpath
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Protocol
from urllib.parse import unquote

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from jobs.errors import InputError, JobFileError, Problem, printable
from jobs.keys import ID_LENGTH, safe_name
from jobs.load import Job, sweep_combinations
from jobs.spec import PairSet, StyleMix
from stylize.recipe import Recipe, resolve


@dataclass(frozen=True, slots=True)
class Task:
    """One picture to render."""

    id: str
    name: str
    """Of the picture's file, before ``-<id>``."""
    content: str
    styles: StyleMix
    init: str | None
    recipe: Recipe
    weights_digest: str


SHOWN_STYLES = 8
"""Of a blend, in the name of its picture."""


Line = Annotated[str, AfterValidator(printable)]
"""Text that came from a user's file names: records are UTF-8, which those need not be."""


class InputRecord(BaseModel):
    """A picture that went into a task, as it was when it was read."""

    model_config = ConfigDict(frozen=True)

    uri: Line
    sha256: str
    size: int
    etag: str | None = None
    modified: float | None = None
    share: float = 1.0


class OutputRecord(BaseModel):
    """A picture that came out."""

    model_config = ConfigDict(frozen=True)

    key: str
    sha256: str
    size: int
    width: int
    height: int


class AttemptRecord(BaseModel):
    """One attempt at a task: who made it, where, and how it ended."""

    model_config = ConfigDict(frozen=True)

    id: str
    worker: str
    node: str
    device: str
    started: float
    """Seconds since the epoch."""
    seconds: float
    error: Line | None = None


class TaskRecord(BaseModel):
    """What became of a task. Its being there is what makes the task done: it is written last."""

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="constants")

    version: Literal[1] = 1
    id: str
    name: str
    status: Literal["done", "failed"]
    error: Line | None = None
    content: Line
    styles: list[tuple[Line, float]]
    init: Line | None = None
    inputs: list[InputRecord] = []
    output: OutputRecord | None = None
    losses: dict[str, float] = {}
    """Final loss terms, weighted: total, content, style, style_<layer>, tv."""
    losses_key: str | None = None
    recipe: dict[str, Any]
    weights_digest: str
    steps: int = 0
    seconds: dict[str, float] = {}
    """Of the attempt that ended it: fetch, wait (for the device), render, store."""
    versions: dict[str, str] = {}
    attempts: list[AttemptRecord] = Field(default=[])
    finished: float
    """Seconds since the epoch."""


class PictureFinder(Protocol):
    """What turns a path, glob, folder or prefix into pictures (``jobs.inputs.Inputs``)."""

    def expand(self, pattern: str) -> list[str]:
        """The pictures it names, in order; none when it matches nothing."""


@dataclass(frozen=True)
class PictureSet:
    """One entry of ``pairs`` with its globs and folders looked up."""

    contents: Sequence[str]
    styles: Sequence[StyleMix]
    combine: Literal["product", "zip"]
    init: str | None
    recipes: Sequence[Recipe]
    """One for each combination of its sweep."""

    def __len__(self) -> int:
        pairs = len(self.contents) * (len(self.styles) if self.combine == "product" else 1)
        return pairs * len(self.recipes)

    def pairs(self) -> Iterator[tuple[str, StyleMix]]:
        """(content, style) in rendering order: all contents of a style together, because workers keep
        what they know about a style."""
        if self.combine == "zip":
            yield from zip(self.contents, self.styles, strict=True)
        else:
            for style, content in itertools.product(self.styles, self.contents):
                yield content, style


def look_up(job: Job, finder: PictureFinder) -> list[PictureSet]:
    """The job's pictures, found. Raises JobFileError for patterns that match nothing and uneven zips."""
    sets: list[PictureSet] = []
    problems: list[Problem] = []
    for k, pair in enumerate(job.spec.pairs):
        contents: list[str] = []
        for n, pattern in enumerate(pair.content):
            contents += _found(job, finder, pattern, ("pairs", k, "content", n), problems)
        styles = _look_up_styles(job, finder, pair, k, problems)
        if pair.combine == "zip" and len(contents) != len(styles) and contents and styles:
            message = (
                f"zip needs as many contents as styles, but there are {len(contents)} contents and "
                f"{len(styles)} styles"
            )
            problems.append(job.problem(("pairs", k, "combine"), message))
        base = {**job.spec.recipe, **pair.recipe}
        if pair.init is not None:
            base["init"] = "image"
        recipes = [resolve(base, combination) for combination in sweep_combinations(pair.sweep)]
        sets.append(PictureSet(contents, styles, pair.combine, pair.init, recipes))
    if problems:
        raise JobFileError(problems)
    return sets


def expand(
    sets: Sequence[PictureSet], template: str, digest_of: Callable[[Recipe], str]
) -> Iterator[Task]:
    """The tasks of a job, one by one: memory does not grow with their number.

    ``template`` is ``image.name``; ``digest_of`` says the digest of a recipe's weights.
    """
    for pictures in sets:
        prepared = [(recipe, digest_of(recipe), recipe.identity()) for recipe in pictures.recipes]
        for content, styles in pictures.pairs():
            for recipe, digest, hashed in prepared:
                yield Task(
                    id=task_id(content, styles, pictures.init, hashed, digest),
                    name=_name(template, content, styles, recipe),
                    content=content,
                    styles=styles,
                    init=pictures.init,
                    recipe=recipe,
                    weights_digest=digest,
                )


def task_id(
    content: str, styles: StyleMix, init: str | None, recipe: Mapping[str, Any], digest: str
) -> str:
    """16 hex digits that are the same for the same work, in every job and on every machine."""
    whole = sum(share for _, share in styles)
    identity: dict[str, Any] = {
        "content": content,
        # Shares are relative; {a: 1, b: 1} is {a: 0.5, b: 0.5} in any order.
        "styles": sorted([uri, round(share / whole, 9)] for uri, share in styles),
        "recipe": recipe,
        "weights": digest,
    }
    if init is not None:
        identity["init"] = init
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:ID_LENGTH]


def _found(
    job: Job,
    finder: PictureFinder,
    pattern: str,
    path: tuple[str | int, ...],
    problems: list[Problem],
) -> list[str]:
    try:
        pictures = finder.expand(pattern)
    except InputError as error:
        problems.append(job.problem(path, str(error)))
        return []
    if not pictures:
        problems.append(job.problem(path, f"{pattern} matches no picture"))
    return pictures


def _look_up_styles(
    job: Job, finder: PictureFinder, pair: PairSet, k: int, problems: list[Problem]
) -> list[StyleMix]:
    styles: list[StyleMix] = []
    for n, style in enumerate(pair.style):
        path = ("pairs", k, "style", n)
        found = [(_found(job, finder, pattern, path, problems), s) for pattern, s in style.parts]
        if not style.blended:
            styles += [((uri, 1.0),) for uris, _ in found for uri in uris]
        else:
            # A glob inside a blend: its pictures divide the share among them.
            styles.append(tuple((uri, share / len(uris)) for uris, share in found for uri in uris))
    return styles


def _name(template: str, content: str, styles: StyleMix, recipe: Recipe) -> str:
    fields = {name: getattr(recipe, name) for name in Recipe.model_fields}
    fields["weights"] = _stem(recipe.weights)
    style = "+".join(_stem(uri) for uri, _ in itertools.islice(styles, SHOWN_STYLES))
    return safe_name(template.format_map({**fields, "content": _stem(content), "style": style}))


def _stem(uri: str) -> str:
    """``s3://b/photos/a.b.jpg`` -> ``a.b``."""
    scheme, mark, path = uri.partition("://")
    if mark and scheme in ("http", "https"):
        path = unquote(re.split(r"[?#]", path, maxsplit=1)[0])
    # Not pathlib, which keeps every part of every path it has seen in a table.
    name = posixpath.basename((path if mark else uri).rstrip("/"))
    return posixpath.splitext(name)[0] or "picture"
