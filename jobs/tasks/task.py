"""Tasks: the pieces of a job. ``expand`` makes them lazily; their ids are the same everywhere.

A task and its record are plain data, so that they travel between processes and into JSON unchanged.
Pictures are named, never carried.
"""

from __future__ import annotations

import itertools
import posixpath
import re
import time
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import unquote

from jobs.inputs.addresses import display, without_secrets
from jobs.records.record import TaskRecord, style_records
from jobs.spec.styles import StyleMix
from jobs.storage.keys import safe_name
from jobs.tasks.identity import Draft
from stylize.recipe import Recipe


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
            recipe=without_secrets(self.recipe.model_dump(mode="json")),
            weights_digest=self.weights_digest,
            finished=time.time(),
            **result,
        )


SHOWN_STYLES = 8
"""Of a blend, in the name of its picture."""


def make_task(draft: Draft, template: str) -> Task:
    """The task of a draft, its picture named after ``template`` if it has no name yet."""
    recipe = draft.kind.recipe
    if draft.name is not None:
        name = safe_name(draft.name)
    else:
        name = _name(template, draft.content, draft.styles, recipe)
    return Task(
        id=draft.id,
        name=name,
        content=draft.content,
        styles=draft.styles,
        init=draft.init,
        recipe=recipe,
        weights_digest=draft.kind.digest,
    )


def _name(template: str, content: str, styles: StyleMix, recipe: Recipe) -> str:
    fields = {name: getattr(recipe, name) for name in Recipe.model_fields}
    fields["weights"] = stem_of(recipe.weights)
    style = "+".join(stem_of(part.uri) for part in itertools.islice(styles, SHOWN_STYLES))
    return safe_name(template.format_map({**fields, "content": stem_of(content), "style": style}))


def stem_of(uri: str) -> str:
    """``s3://b/photos/a.b.jpg`` -> ``a.b``."""
    scheme, mark, path = uri.partition("://")
    if mark and scheme in ("http", "https"):
        path = unquote(re.split(r"[?#]", path, maxsplit=1)[0])
    # Not pathlib, which keeps every part of every path it has seen in a table.
    name = posixpath.basename((path if mark else uri).rstrip("/"))
    return posixpath.splitext(name)[0] or "picture"
