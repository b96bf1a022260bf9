"""The recipes that job, entries and sweeps make together, and the problems in them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from jobs.errors import Problem
from jobs.jobfile.messages import located_problems, unknown_key
from jobs.jobfile.yaml_source import FieldPath, Source, field_name
from jobs.spec.pairs import given_knobs, given_sweep
from stylize.recipe import Recipe, resolve

SWEEP_LIMIT = 100_000
"""Combinations of one entry's sweep."""


def sweep_combinations(sweep: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield every combination of a sweep as a partial recipe; without a sweep, one empty recipe."""
    for values in itertools.product(*sweep.values()):
        yield dict(zip(sweep, values, strict=True))


def recipe_problems(source: Source, values: Mapping[str, Any]) -> list[Problem]:
    """Return the problems in all recipes that job, entries and sweeps make together.

    Args:
        source: The file, for the lines of problems.
        values: The file's values as they were read; they need not be valid.

    Returns:
        Problems, each at the field where its value was written.
    """
    job = _mapping(given_knobs(values.get("recipe")))
    problems = _value_problems(source, ("recipe",), job)
    sound = {knob: value for knob, value in job.items() if not _is_wrong(knob, value)}
    pairs = values.get("pairs")
    for k, pair in enumerate(pairs if isinstance(pairs, list) else []):
        if not isinstance(pair, dict):
            continue
        place: FieldPath = ("pairs", k)
        own = _mapping(given_knobs(pair.get("recipe")))
        sweep = _mapping(given_sweep(pair.get("sweep")))
        own_problems = _value_problems(source, (*place, "recipe"), own)
        own_problems += _sweep_problems(source, (*place, "sweep"), sweep)
        own_problems += _init_problems(
            source,
            place,
            job,
            own,
            sweep,
            pair.get("init"),
            pair.get("manifest"),
            pair.get("film"),
        )
        if not own_problems:
            at = (*place, "sweep") if sweep else (*place, "recipe") if own else ("recipe",)
            own_problems = _combination_problems(
                source, at, {**sound, **own}, sweep, pair.get("init")
            )
        problems += own_problems
    return problems


def _mapping(value: Any) -> dict[str, Any]:
    """Return ``value`` if it is a mapping, else an empty one; the models report other values."""
    return value if isinstance(value, dict) else {}


def _is_wrong(knob: str, value: object) -> bool:
    try:
        resolve({knob: value})
    except ValidationError as error:
        return any(detail["loc"] for detail in error.errors(include_url=False))
    return False


def _value_problems(source: Source, place: FieldPath, patch: Mapping[str, Any]) -> list[Problem]:
    """Return the problems in single values of a partial recipe; contradictions between them come later."""
    try:
        resolve(patch)
    except ValidationError as error:
        return [problem for problem, loc in located_problems(source, error, place) if loc]
    return []


def _sweep_problems(source: Source, place: FieldPath, sweep: Mapping[str, Any]) -> list[Problem]:
    problems = []
    for knob, options in sweep.items():
        here = (*place, knob)
        if knob not in Recipe.model_fields:
            problems.append(source.problem(here, unknown_key(knob, Recipe.model_fields)))
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
    """Return the contradictions between knobs, in the first combination of a sweep that has any."""
    start = {} if init is None else {"init": "image"}
    for combination in sweep_combinations(sweep):
        try:
            resolve(under, combination, start)
        except ValidationError as error:
            about = f"with {combination}: " if combination else ""
            return [
                Problem(p.file, source.line(place), field_name(place), about + p.message)
                for p, _ in located_problems(source, error, place)
            ]
    return []


def _init_problems(
    source: Source,
    place: FieldPath,
    job: Mapping[str, Any],
    own: Mapping[str, Any],
    sweep: Mapping[str, Any],
    init: Any,
    manifest: Any,
    film: Any,
) -> list[Problem]:
    if manifest is not None:
        return []  # each row has its own init
    swept = sweep.get("init")
    asked = [*(swept if isinstance(swept, list) else []), own.get("init")]
    if init is None and "image" in (*asked, None if "init" in own else job.get("init")):
        message = "image needs init: PICTURE beside content and style"
        if film is not None:
            message = "image is not for a film, whose frames have no first picture of their own"
        return [source.problem((*place, "recipe", "init"), message)]
    if init is not None and any(value not in (None, "image") for value in asked):
        return [
            source.problem((*place, "init"), "is a picture, but recipe.init asks for another start")
        ]
    return []
