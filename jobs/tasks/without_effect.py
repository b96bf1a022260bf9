"""``knobs_without_effect``: what a job gives that changes none of its pictures."""

from __future__ import annotations

from collections.abc import Sequence

from jobs.errors import Problem
from jobs.jobfile.job import Job
from jobs.tasks.films.film_set import FilmSet
from jobs.tasks.pairs import PictureSet
from stylize.idle_knobs import idle_knobs


def knobs_without_effect(job: Job, sets: Sequence[PictureSet | FilmSet]) -> tuple[Problem, ...]:
    """Return the knobs that a job file gives and that change nothing, such as a sweep of seeds without noise.

    Rows of manifests, which may have knobs of their own, are not looked at.

    Args:
        job: The job.
        sets: Its entries that name pictures or a film, in their order.

    Returns:
        A problem at each such knob, which is no error.
    """
    entries = [(k, pair) for k, pair in enumerate(job.spec.pairs) if pair.manifest is None]
    everywhere = [_idle_in_all(pictures) for pictures in sets]
    found = []
    if len(entries) == len(job.spec.pairs):
        for knob in job.spec.recipe:
            if all(knob in idle for idle in everywhere):
                reason = next(idle[knob] for idle in everywhere)
                found.append(job.problem(("recipe", knob), f"has no effect where {reason}"))
    for (k, pair), idle in zip(entries, everywhere, strict=True):
        for knob in pair.recipe.keys() & idle.keys():
            place = ("pairs", k, "recipe", knob)
            found.append(job.problem(place, f"has no effect where {idle[knob]}"))
        for knob, values in pair.sweep.items():
            if knob in idle:
                many = f": its {len(values)} values make one picture" if len(values) > 1 else ""
                message = f"has no effect where {idle[knob]}{many}"
                found.append(job.problem(("pairs", k, "sweep", knob), message))
    return tuple(found)


def _idle_in_all(pictures: PictureSet | FilmSet) -> dict[str, str]:
    """Return the knobs that are idle in every recipe of an entry, with the reason in the first."""
    first, *others = map(idle_knobs, pictures.recipes)
    return {knob: why for knob, why in first.items() if all(knob in other for other in others)}
