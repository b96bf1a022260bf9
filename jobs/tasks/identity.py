"""Drafts: tasks as they are while a job is read, before anything but their identity matters.

A job of a million pairs is read twice, to count and to render, and most of its tasks may be done. So what
costs time (a name for the picture, text for the id) is made only of tasks that are handed out.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections import defaultdict
from functools import lru_cache
from typing import Any

from jobs.spec.styles import StyleMix
from stylize.recipe import Recipe


class Kind:
    """A recipe, and what all tasks with it have in common."""

    __slots__ = ("digest", "json", "recipe", "work")

    def __init__(self, recipe: Recipe, digest: str) -> None:
        self.recipe = recipe
        self.digest = digest
        """Of its weights."""
        self.json = _json(recipe.identity())
        self.work = recipe.total_work


class Draft:
    """One picture to render, named or not. ``number`` is its id as a number."""

    __slots__ = ("content", "init", "kind", "name", "number", "styles")

    def __init__(
        self, content: str, styles: StyleMix, init: str | None, kind: Kind, name: str | None = None
    ) -> None:
        self.content = content
        self.styles = styles
        self.init = init
        self.kind = kind
        self.name = name
        """The picture's name, where the job does not leave it to ``image.name``."""
        self.number = _number(content, styles, init, kind)

    @property
    def id(self) -> str:
        """16 hex digits."""
        return f"{self.number:016x}"

    def rendered_as(self, kind: Kind) -> Draft:
        """The same task, under the same id, rendered with another recipe: its proof."""
        other = copy.copy(self)
        other.kind = kind
        return other


def _number(content: str, styles: StyleMix, init: str | None, kind: Kind) -> int:
    """The same for the same work, in every job and on every machine: the first 64 bits of a SHA-256
    over a JSON object with sorted keys, of which the longest parts are made once for many tasks."""
    start = "" if init is None else f',"init":{_json(init)}'
    text = (
        f'{{"content":{_json(content)}{start},"recipe":{kind.json},"styles":{_styles_json(styles)},'
        f'"weights":{_json(kind.digest)}}}'
    )
    hashed = hashlib.sha256(text.encode("utf-8", "surrogatepass"))
    return int.from_bytes(hashed.digest()[:8], "big")


@lru_cache(maxsize=4096)
def _styles_json(styles: StyleMix) -> str:
    wholes: defaultdict[str | None, float] = defaultdict(float)
    for _, share, mask in styles:
        wholes[mask] += share
    # Shares are relative; {a: 1, b: 1} is {a: 0.5, b: 0.5} in any order.
    return _json(
        sorted(
            [uri, round(share / wholes[mask], 9), *(() if mask is None else (mask,))]
            for uri, share, mask in styles
        )
    )


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
