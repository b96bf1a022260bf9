"""Tasks: the units of work of a job.

A task is plain data, so that it travels between processes and into JSON unchanged. It names its pictures, and
never carries them. Its id is that of its draft (``jobs.tasks.identity``).
"""

from __future__ import annotations

import itertools
import json
import posixpath
import re
import time
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import unquote

from jobs.inputs.addresses import display, is_web, without_secrets
from jobs.records.record import TaskRecord, style_records
from jobs.spec.output import DEFAULT_NAME
from jobs.spec.styles import StyleMix
from jobs.storage.keys import safe_name
from jobs.tasks.films.part import FILM_NAME, FilmPart, Spot
from jobs.tasks.identity import Draft
from stylize.film.structure import hastened
from stylize.presets import AUTO
from stylize.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Task:
    """One picture to render."""

    id: str
    """16 hex digits; the same for the same work, in every job and on every machine."""
    name: str
    """The name of the picture's file before ``-<id>``, safe on any system."""
    content: str
    """Address of the content, relative to the job file's folder where it lies below it."""
    styles: StyleMix
    """The style: pictures with their shares and masks, addresses as those of ``content``."""
    init: str | None
    """Address of the picture to start from; None: ``recipe.init`` says."""
    recipe: Recipe
    """The complete recipe."""
    weights_digest: str
    """Digest of the network's weights."""
    part: FilmPart | None = None
    """The frame's place in its film; None: it is a picture by itself."""

    @property
    def is_held(self) -> bool:
        """Whether it is a frame that holds to others."""
        return self.part is not None and bool(self.part.needs)

    @property
    def work(self) -> int:
        """Work of the render, in units of ``Recipe.work_at``, as far as it is known before."""
        return (hastened(self.recipe) if self.is_held else self.recipe).total_work

    def about(self) -> dict[str, str]:
        """Return what the picture's file says about itself: the id and, as JSON, the recipe."""
        return {"id": self.id, "recipe": json.dumps(self._shown_recipe())}

    def _shown_recipe(self) -> Any:
        return without_secrets(self.recipe.model_dump(mode="json"))

    def record(self, status: Literal["done", "failed"], **result: Any) -> TaskRecord:
        """Return the task's record, as of now.

        Args:
            status: Whether the picture was rendered.
            **result: The fields of ``TaskRecord`` that say what came of it.
        """
        return TaskRecord(
            id=self.id,
            name=self.name,
            status=status,
            content=display(self.content),
            styles=style_records(self.styles),
            init=display(self.init) if self.init else None,
            recipe=self._shown_recipe(),
            weights_digest=self.weights_digest,
            finished=time.time(),
            **{"film": None if self.part is None else self.part.record(), **result},
        )


SHOWN_STYLES = 8
"""Pictures of a blend that ``{style}`` in ``image.name`` names."""


def make_task(draft: Draft, template: str) -> Task:
    """Return the task of a draft.

    Args:
        draft: Its identity.
        template: ``image.name`` of the job, for a draft without a name.
    """
    recipe, spot = draft.kind.recipe, draft.spot
    if draft.name is not None:
        name = safe_name(draft.name)
    elif spot is not None and template == DEFAULT_NAME:
        name = _name(FILM_NAME, draft.content, draft.styles, recipe, spot)
    else:
        name = _name(template, draft.content, draft.styles, recipe, spot)
    return Task(
        id=draft.id,
        name=name,
        content=draft.content,
        styles=draft.styles,
        init=draft.init,
        recipe=recipe,
        weights_digest=draft.kind.digest,
        part=None if spot is None else spot.part([f"{number:016x}" for number in draft.needs]),
    )


def _name(template: str, content: str, styles: StyleMix, recipe: Recipe, spot: Spot | None) -> str:
    fields = {name: getattr(recipe, name) for name in Recipe.model_fields}
    # A name that has been written has what auto stands for.
    fields |= {knob: value for knob, value in AUTO.items() if fields[knob] == "auto"}
    fields["weights"] = stem_of(recipe.weights)
    style = "+".join(stem_of(part.uri) for part in itertools.islice(styles, SHOWN_STYLES))
    fields |= {"content": stem_of(content), "style": style}
    if spot is not None:
        fields |= {"film": spot.name, "number": f"{spot.number:06d}"}
    return safe_name(template.format_map(fields))


def stem_of(uri: str) -> str:
    """Return the name in an address without its extension: ``s3://b/photos/a.b.jpg`` -> ``a.b``."""
    _, mark, path = uri.partition("://")
    if is_web(uri):
        path = unquote(re.split(r"[?#]", path, maxsplit=1)[0])
    # pathlib would keep every part of every path it has seen in a table.
    # A picture in an archive, as in shard.tar::a.jpg, has the name that it has there.
    name = posixpath.basename((path if mark else uri).rstrip("/")).rpartition("::")[2]
    return posixpath.splitext(name)[0] or "picture"
