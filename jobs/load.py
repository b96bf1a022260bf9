"""A job file -> Job, or every problem in it with file, line and field.

``jobs.source`` makes values of the YAML; here they meet the models, and what the models say becomes
sentences.
"""

from __future__ import annotations

import difflib
import itertools
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from jobs import dates
from jobs.errors import JobFileError, Problem
from jobs.source import BYTE_LIMIT, FieldPath, Source, field_name, read_yaml
from jobs.spec.job import JobSpec, section_of
from jobs.spec.values import shown
from jobs.storage.base import Storage
from jobs.storage.open import open_storage
from stylize.recipe import Recipe, resolve

SWEEP_LIMIT = 100_000


@dataclass(frozen=True)
class Job:
    """A job file that was read: what it says, and where each of its fields stands."""

    spec: JobSpec
    file: str
    base: Path
    """The folder that its relative paths are relative to; absolute."""
    source: Source

    def problem(self, path: FieldPath, message: str) -> Problem:
        """Something wrong at a field, found after loading (a glob that matches nothing, say)."""
        return self.source.problem(path, message)


def load_job(path: str | Path, at: str | None = None) -> Job:
    """Read a job file; its output, where it is dated, is that of the moment ``at``, or of now.

    Raises JobFileError with every problem in it, and UsageError when ``at`` is no moment.
    """
    return dates.dated_at(read_job(path), at)


def read_job(path: str | Path) -> Job:
    """Read a job file as it is written, a dated output undated. Raises JobFileError."""
    file = Path(path)
    try:
        with file.open("rb") as stream:
            data = stream.read(BYTE_LIMIT + 1)
    except OSError as error:
        message = f"cannot be read ({error.strerror or error})"
        raise JobFileError([Problem(str(path), None, "", message)]) from error
    return parse_job(data, str(path), file.parent.absolute(), default_name=file.stem)


def parse_job(data: bytes, file: str, base: Path, default_name: str = "job") -> Job:
    """A job from the bytes of its file. Raises JobFileError, and nothing else, whatever they are."""
    source = read_yaml(data, file)
    problems = list(source.problems)
    values = source.values
    if not isinstance(values, dict):
        problems.append(source.problem((), "a job file is a mapping: name:, output:, pairs: ..."))
        raise JobFileError(problems)
    # A section with nothing in it, all its lines commented out perhaps, is one not given.
    values = {key: value for key, value in values.items() if value is not None}
    spec = None
    try:
        spec = JobSpec.model_validate({"name": default_name, **values})
    except ValidationError as error:
        problems += _sentences(source, error)
    problems += _recipe_problems(source, values)
    if isinstance(values.get("pairs"), list) and not values["pairs"]:
        problems.append(source.problem(("pairs",), "is empty; name at least one content and style"))
    if problems or spec is None:
        raise JobFileError(sorted(set(problems), key=lambda p: (p.line or 0, p.field)))
    return Job(spec, file, base, source)


def open_output(job: Job) -> Storage:
    """The storage of a job's output. Raises StorageError when its address means none."""
    return open_storage(job.spec.output, job.spec.storage, base=job.base)


# --- values -> recipes -----------------------------------------------------------------------------


def sweep_combinations(sweep: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Every combination of a sweep, as partial recipes; one empty one without a sweep."""
    for values in itertools.product(*sweep.values()):
        yield dict(zip(sweep, values, strict=True))


def _recipe_problems(source: Source, values: Mapping[str, Any]) -> list[Problem]:
    """Check every recipe that job, pairs and sweeps make together, each value where it was written."""
    job = _mapping(values.get("recipe"))
    problems = _value_problems(source, ("recipe",), job)
    sound = {knob: value for knob, value in job.items() if not _is_wrong(knob, value)}
    pairs = values.get("pairs")
    for k, pair in enumerate(pairs if isinstance(pairs, list) else []):
        if not isinstance(pair, dict):
            continue
        place: FieldPath = ("pairs", k)
        own, sweep = _mapping(pair.get("recipe")), _mapping(pair.get("sweep"))
        found = _value_problems(source, (*place, "recipe"), own)
        found += _sweep_problems(source, (*place, "sweep"), sweep)
        found += _init_problems(
            source, place, {**job, **own}, sweep, pair.get("init"), pair.get("manifest")
        )
        if not found:
            at = (*place, "sweep") if sweep else (*place, "recipe") if own else ("recipe",)
            found = _combination_problems(source, at, {**sound, **own}, sweep, pair.get("init"))
        problems += found
    return problems


def _mapping(value: Any) -> dict[str, Any]:
    """``value`` where it is a mapping; the models say what is wrong with others."""
    return value if isinstance(value, dict) else {}


def _is_wrong(knob: str, value: object) -> bool:
    try:
        resolve({knob: value})
    except ValidationError as error:
        return any(detail["loc"] for detail in error.errors(include_url=False))
    return False


def _value_problems(source: Source, place: FieldPath, patch: Mapping[str, Any]) -> list[Problem]:
    """What is wrong with single values of a partial recipe; how they go together is judged later."""
    try:
        resolve(patch)
    except ValidationError as error:
        return [problem for problem, loc in _located(source, error, place) if loc]
    return []


def _sweep_problems(source: Source, place: FieldPath, sweep: Mapping[str, Any]) -> list[Problem]:
    problems = []
    for knob, options in sweep.items():
        here = (*place, knob)
        if knob not in Recipe.model_fields:
            problems.append(source.problem(here, _unknown(knob, Recipe.model_fields)))
        elif not isinstance(options, list) or not options:
            problems.append(source.problem(here, "takes a list of values, e.g. [1, 10]"))
        else:
            for k, option in enumerate(options):
                for problem in _value_problems(source, here, {knob: option}):
                    at = (*here, k)
                    problems.append(
                        Problem(problem.file, source.line(at), field_name(at), problem.message)
                    )
    size = math.prod(len(v) for v in sweep.values() if isinstance(v, list))
    if size > SWEEP_LIMIT:
        problems.append(
            source.problem(place, f"has {size:,} combinations; at most {SWEEP_LIMIT:,}")
        )
    return problems


def _combination_problems(
    source: Source, place: FieldPath, under: Mapping[str, Any], sweep: Mapping[str, Any], init: Any
) -> list[Problem]:
    """What is wrong between knobs, in the first combination where something is."""
    start = {} if init is None else {"init": "image"}
    for combination in sweep_combinations(sweep):
        try:
            resolve(under, combination, start)
        except ValidationError as error:
            about = f"with {combination}: " if combination else ""
            return [
                Problem(p.file, source.line(place), field_name(place), about + p.message)
                for p, _ in _located(source, error, place)
            ]
    return []


def _init_problems(
    source: Source,
    place: FieldPath,
    recipe: Mapping[str, Any],
    sweep: Mapping[str, Any],
    init: Any,
    manifest: Any,
) -> list[Problem]:
    if manifest is not None:
        return []  # its rows say
    swept = sweep.get("init")
    asked = [*(swept if isinstance(swept, list) else []), recipe.get("init")]
    if init is None and "image" in asked:
        return [
            source.problem(
                (*place, "recipe", "init"), "image needs init: PICTURE beside content and style"
            )
        ]
    if init is not None and any(value not in (None, "image") for value in asked):
        return [
            source.problem((*place, "init"), "is a picture, but recipe.init asks for another start")
        ]
    return []


# --- pydantic's errors -> sentences ----------------------------------------------------------------


def _sentences(source: Source, error: ValidationError) -> list[Problem]:
    return [problem for problem, _ in _located(source, error, ())]


def _located(
    source: Source, error: ValidationError, place: FieldPath
) -> Iterator[tuple[Problem, FieldPath]]:
    """Each error as a problem, with its path below ``place``."""
    for loc, message in complaints(error, place):
        yield source.problem((*place, *loc), message), loc


def complaints(error: ValidationError, place: FieldPath = ()) -> Iterator[tuple[FieldPath, str]]:
    """What pydantic found wrong below ``place``, as (path, sentence)."""
    for detail in _one_for_each_field(error):
        loc = detail["loc"]
        yield loc, _message(detail, field_name((*place, *loc[:-1])))


def _one_for_each_field(error: ValidationError) -> list[dict[str, Any]]:
    """pydantic's errors, where a union (a number or auto) has one for each thing it is not, joined."""
    fields: dict[FieldPath, dict[str, Any]] = {}
    for detail in error.errors(include_url=False):
        loc = detail["loc"]
        if detail["type"] != "extra_forbidden":  # whose last part is the user's word
            loc = (*loc[:1], *(part for part in loc[1:] if not _is_union_tag(part)))
        other = fields.get(loc)
        if other is None:
            fields[loc] = {**detail, "loc": loc}
        elif {other["type"], detail["type"]} == {"int_type", "literal_error"}:
            word = {**other.get("ctx", {}), **detail.get("ctx", {})}["expected"]
            fields[loc] = {**other, "type": "joined", "word": word}
        elif other["type"] == "literal_error":  # a number it is, but not one that is allowed
            fields[loc] = {**detail, "loc": loc}
    return list(fields.values())


def _is_union_tag(part: str | int) -> bool:
    """pydantic names the member of a union it tried: ``int``, ``literal['auto']``, ``constrained-int``.

    Nothing that a user may have written: in a blend, a part can be a glob such as ``[ab].jpg``.
    """
    tags = r"int|str|float|literal\[.*\]|constrained-\w+"
    return isinstance(part, str) and re.fullmatch(tags, part) is not None


def _message(detail: Mapping[str, Any], parent: str) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    value = detail.get("input")
    given = shown(value)
    if isinstance(value, float) and math.isnan(value):
        return "is not a number"
    if kind == "extra_forbidden":
        model = section_of(parent)
        return _unknown(str(detail["loc"][-1]), model.model_fields if model else ())
    if kind == "missing":
        return "is required"
    if kind in ("greater_than_equal", "greater_than"):
        limit = context.get("ge", context.get("gt"))
        return f"{given} is below {limit}" if "ge" in context else f"{given} is not above {limit}"
    if kind in ("less_than_equal", "less_than"):
        return f"{given} is above {context.get('le', context.get('lt'))}"
    if kind == "literal_error":
        return f"{given} is not one of {context['expected'].replace(' or ', ', ')}"
    if kind == "joined":
        return f"{given} is neither a whole number nor {detail['word']}"
    if kind in _TYPES:
        return f"{given} is not {_TYPES[kind]}"
    if kind == "string_too_short":
        return "is empty"
    if kind == "string_too_long":
        return f"{given} is longer than {context['max_length']} characters"
    if kind == "string_pattern_mismatch":
        return f"{given} does not begin with http:// or https://"
    return str(detail["msg"])


_TYPES = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": "text",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}


def _unknown(name: str, known: Iterable[str]) -> str:
    names = list(known)
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(names)}"
    return f"is not a key; {hint}"
