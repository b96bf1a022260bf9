"""The proof ladder: every picture small, a choice among them, the chosen ones at full size.

A proof represents its task and so has its id, though its recipe is another: what is chosen among the proofs
is what is rendered. That is why proofs lie in an output of their own, and why a proof of another size
replaces the earlier one.
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import lru_cache

from jobs.errors import ObjectNotFoundError
from jobs.jobfile.job import Job
from jobs.records.commit import Records
from jobs.spec.output import ImageOptions
from jobs.storage import keys
from jobs.storage.base import Storage
from jobs.tasks.identity import Draft, Kind
from stylize.recipe import Recipe

PROOF_SIZE = 256
"""Default longest side of a proof, in pixels."""


def proofs_of(job: Job) -> Job:
    """Return the job that renders a job's proofs.

    Its output is ``proofs/`` of the job's output, and its pictures have a format that browsers show: 8 bits
    per channel, and png for tiff and jxl. Its recipes are the job's: the view ``Proofs`` makes them small.
    """
    spec = job.spec
    image = spec.image.model_dump() | {"bit_depth": 8}
    if spec.image.format in ("tiff", "jxl"):  # which browsers do not show
        image["format"] = "png"
    update = {
        "output": f"{spec.output.rstrip('/')}/{keys.PROOFS}",
        "image": ImageOptions.model_validate(image),
    }
    return replace(job, spec=spec.model_copy(update=update))


def proof_recipe(recipe: Recipe, size: int) -> Recipe:
    """Return the recipe with a longest side of ``size`` pixels, or itself where it is not larger."""
    return recipe if recipe.size <= size else recipe.model_copy(update={"size": size})


class Proofs:
    """A view of a job's drafts (``jobs.tasks.todo.View``): every task as its proof.

    Args:
        size: Longest side of the proofs, in pixels.
    """

    def __init__(self, size: int = PROOF_SIZE) -> None:
        self.size = size
        # A manifest can have any number of recipes; the most recent ones are likely to come again.
        self._kind = lru_cache(maxsize=1024)(self._make_kind)

    def __call__(self, draft: Draft) -> Draft:
        return draft.rendered_as(self._kind(draft.kind))

    def _make_kind(self, kind: Kind) -> Kind:
        recipe = proof_recipe(kind.recipe, self.size)
        return kind if recipe is kind.recipe else Kind(recipe, kind.digest)


def done_proofs(storage: Storage) -> list[str]:
    """Return the ids of the proofs that are done, in a storage of proofs. Raises StorageError."""
    return [entry.id for entry in Records(storage).entries() if entry.status == "done"]


def wanted_size(proofs: Storage, asked: int | None) -> int:
    """Return the size to render proofs at: ``asked``, else that of existing proofs, else the default."""
    return asked or size_of_proofs(proofs) or PROOF_SIZE


def have_other_size(proofs: Storage, size: int) -> bool:
    """Return whether there are proofs of another size, which must be rendered again."""
    return size_of_proofs(proofs) not in (None, size)


def size_of_proofs(storage: Storage) -> int | None:
    """Return the size of the proofs in a storage of proofs; None when there are none, or it is unknown."""
    try:
        size = json.loads(storage.get(keys.JOB))["proof_size"]
    except (ObjectNotFoundError, ValueError, TypeError, KeyError):
        return None
    return size if isinstance(size, int) else None
