"""``video_problems``: what a video cannot have beside its film."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jobs.errors import Problem
from jobs.jobfile.yaml_source import Source
from jobs.spec.films.film import is_film


def video_problems(source: Source, values: Mapping[str, Any]) -> list[Problem]:
    """Return the problems of videos that the keys beside them cause.

    They are told with those of the keys themselves, which need not be valid.

    Args:
        source: The file, for the lines of problems.
        values: The file's values as they were read.

    Returns:
        Problems, each at the field that is wrong.
    """
    problems: list[Problem] = []
    pairs = values.get("pairs")
    for k, pair in enumerate(pairs if isinstance(pairs, list) else []):
        film, video = (
            (pair.get("film"), pair.get("video")) if isinstance(pair, dict) else (None, None)
        )
        if not (isinstance(film, str) and isinstance(video, dict)):
            continue
        if video.get("rate") is not None and is_film(film):
            message = f"{film} has times of its own, and the video has them, too: leave rate out"
            problems.append(source.problem(("pairs", k, "video", "rate"), message))
    return problems
