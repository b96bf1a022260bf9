"""Drafts: tasks as they are while a job is read, with their identity and nothing else.

A job of a million pairs is read twice, to count and to render, and most of its tasks may be done. So what
costs time (the picture's name, the id as text) is computed only for tasks that are handed out.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache

from jobs.spec.styles import StyleMix
from jobs.tasks.films.part import Spot
from stylize.film.structure import hastened
from stylize.recipe import Recipe

# One encoder: json.dumps would make a new one for each of a million contents.
_json = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode


class Kind:
    """A recipe, and the values that all tasks with it have in common.

    Args:
        recipe: A complete recipe.
        digest: The digest of its weights.
    """

    __slots__ = ("_held_work", "digest", "effect", "json", "recipe", "work")

    def __init__(self, recipe: Recipe, digest: str) -> None:
        self.recipe = recipe
        self.digest = digest
        """Digest of the recipe's weights."""
        self.json = _json(recipe.identity())
        """The recipe's part of the text that an id is the digest of."""
        usual = recipe.usual()
        self.effect = None if usual is recipe else _json(usual.identity())
        """The same with the preset's values of knobs without effect; None: they have these."""
        self.work = recipe.total_work
        """Work of one render, in units of ``Recipe.work_at``."""
        self._held_work: int | None = None

    @property
    def held_work(self) -> int:
        """The same of a frame that holds to others, which begins painted."""
        if self._held_work is None:
            self._held_work = hastened(self.recipe).total_work
        return self._held_work


class Draft:
    """One picture to render, with or without a name.

    Args:
        content: Address of the content, in the spelling of ``Inputs.expand``.
        styles: The style, with the masks of this content.
        init: Address of the picture to start from; None: the recipe says.
        kind: The recipe.
        name: The picture's name; None: ``image.name`` makes it.
        spot: The frame's place in its film; None: it is a picture by itself.
        needs: The numbers of the tasks of the frames that it holds to, in the order of ``spot.needs``.
    """

    __slots__ = ("content", "init", "kind", "name", "needs", "number", "spot", "styles")

    def __init__(
        self,
        content: str,
        styles: StyleMix,
        init: str | None,
        kind: Kind,
        name: str | None = None,
        spot: Spot | None = None,
        needs: Sequence[int] = (),
    ) -> None:
        self.content = content
        self.styles = styles
        self.init = init
        self.kind = kind
        self.name = name
        """The picture's name; None: ``image.name`` makes it."""
        self.spot = spot
        """The frame's place in its film; None: it is a picture by itself."""
        self.needs = needs
        """The numbers of the tasks of the frames that it holds to."""
        self.number = _number(content, styles, init, kind, spot)
        """The id as a 64-bit number."""

    @property
    def id(self) -> str:
        """The task's id, 16 hex digits."""
        return f"{self.number:016x}"

    @property
    def is_held(self) -> bool:
        """Whether it is a frame that holds to others."""
        return self.spot is not None and bool(self.spot.needs)

    @property
    def work(self) -> int:
        """Work of the render, in units of ``Recipe.work_at``, as far as it is known before."""
        return self.kind.held_work if self.is_held else self.kind.work

    @property
    def effect(self) -> int:
        """A number that is equal for drafts whose ids differ by knobs without effect alone."""
        if self.kind.effect is None:
            return self.number
        return _number(self.content, self.styles, self.init, self.kind, self.spot, self.kind.effect)

    def rendered_as(self, kind: Kind) -> Draft:
        """Return the same task, under the same id, with another recipe: its proof."""
        other = object.__new__(Draft)  # a million times: copy.copy takes five times as long
        other.content, other.styles, other.init = self.content, self.styles, self.init
        other.kind, other.name, other.number = kind, self.name, self.number
        other.spot, other.needs = self.spot, self.needs
        return other


def _number(
    content: str,
    styles: StyleMix,
    init: str | None,
    kind: Kind,
    spot: Spot | None,
    recipe: str | None = None,
) -> int:
    """Return a task's id as a number: the same for the same work, in every job and on every machine.

    It is the first 64 bits of a SHA-256 over a JSON object with sorted keys. The longest parts of its text
    are made once for many tasks.
    """
    start = "" if init is None else f',"init":{_json(init)}'
    if spot is not None:
        start = f',"film":{_json(spot.held)}{start}'
    text = (
        f'{{"content":{_json(content)}{start},"recipe":{recipe or kind.json},"styles":{_styles_json(styles)},'
        f'"weights":{_json(kind.digest)}}}'
    )
    hashed = hashlib.sha256(text.encode("utf-8", "surrogatepass"))
    return int.from_bytes(hashed.digest()[:8], "big")


@lru_cache(maxsize=4096)
def _styles_json(styles: StyleMix) -> str:
    wholes: defaultdict[str | None, float] = defaultdict(float)
    for _, share, mask in styles:
        wholes[mask] += share
    # Shares are relative, and their order has no meaning: {a: 1, b: 1} equals {b: 0.5, a: 0.5}.
    return _json(
        sorted(
            [uri, round(share / wholes[mask], 9), *(() if mask is None else (mask,))]
            for uri, share, mask in styles
        )
    )
