"""The proof ladder: every picture small, a choice among them, the chosen ones at full size.

A proof stands for its task and so has its id, though its recipe is another: what is chosen among the proofs
is what is rendered. That is why proofs lie in an output of their own, and why one of another size takes the
place of the one that was there.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from jobs.errors import ObjectNotFoundError, UsageError
from jobs.jobfile.job import Job
from jobs.records.commit import Records
from jobs.spec.output import ImageOptions
from jobs.storage import keys
from jobs.storage.base import Storage
from jobs.tasks.identity import Draft, Kind
from stylize.recipe import Recipe

PROOF_SIZE = 256
"""Pixels of a proof's longest side, unless another is asked for."""

SHOWN_IDS = 5


def proofs_of(job: Job) -> Job:
    """The job that renders a job's proofs, each a picture that any browser shows."""
    spec = job.spec
    image = spec.image.model_dump() | {"bit_depth": 8}
    if spec.image.format == "tiff":
        image["format"] = "png"
    update = {
        "output": f"{spec.output.rstrip('/')}/{keys.PROOFS}",
        "image": ImageOptions.model_validate(image),
    }
    return replace(job, spec=spec.model_copy(update=update))


def proof_recipe(recipe: Recipe, size: int) -> Recipe:
    """The recipe at ``size`` pixels, or itself where it has no more."""
    return recipe if recipe.size <= size else recipe.model_copy(update={"size": size})


class Proofs:
    """A view of a job: every task as its proof."""

    def __init__(self, size: int = PROOF_SIZE) -> None:
        self.size = size
        # Manifests have recipes without number, of which the last ones come again.
        self._kind = lru_cache(maxsize=1024)(self._make_kind)

    def __call__(self, draft: Draft) -> Draft:
        return draft.rendered_as(self._kind(draft.kind))

    def _make_kind(self, kind: Kind) -> Kind:
        recipe = proof_recipe(kind.recipe, self.size)
        return kind if recipe is kind.recipe else Kind(recipe, kind.digest)


class Selection:
    """A view of a job: the chosen tasks and no others."""

    def __init__(self, ids: Iterable[str]) -> None:
        self._numbers = frozenset(int(task_id, 16) for task_id in ids)

    def __len__(self) -> int:
        return len(self._numbers)

    def __call__(self, draft: Draft) -> Draft | None:
        return draft if draft.number in self._numbers else None

    def check(self, drafts: Iterable[Draft]) -> None:
        """Raise UsageError when some are none of these; looks no further than to the last that is."""
        missing = set(self._numbers)
        for draft in drafts:
            missing.discard(draft.number)
            if not missing:
                return
        if missing:
            shown = ", ".join(f"{number:016x}" for number in sorted(missing)[:SHOWN_IDS])
            more = f" and {len(missing) - SHOWN_IDS} more" if len(missing) > SHOWN_IDS else ""
            raise UsageError(
                f"the selection has ids that are no tasks of this job: {shown}{more}; was the job file "
                "changed since its proofs were made?"
            )


ALL = "all"


def read_selection(given: str) -> list[str] | None:
    """The ids in ``--select``: comma-separated ids or pictures' names, or a file with one in each line, which
    may be a path or address, or a JSON list; None for ``all``. Raises UsageError.
    """
    if given.strip() == ALL:
        return None
    path = Path(given)
    try:
        if path.is_file():
            return list(_ids(_lines(path.read_text(encoding="utf-8-sig")), given))
    except (OSError, ValueError) as error:
        raise UsageError(f"{given} cannot be read as a selection: {error}") from None
    try:
        return list(_ids(enumerate(given.split(","), 1), None))
    except UsageError as error:
        raise UsageError(f"{error}; and there is no such file") from None


def _lines(text: str) -> Iterator[tuple[int, str]]:
    if text.lstrip().startswith("["):
        yield from enumerate(map(str, json.loads(text)), 1)
        return
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            yield number, line


def _ids(words: Iterable[tuple[int, str]], file: str | None) -> Iterator[str]:
    any_at_all = False
    for number, word in words:
        found = keys.named_id(word.strip())
        if found is None:
            place = "--select" if file is None else f"{file}:{number}"
            raise UsageError(
                f"{place}: {word.strip()!r} is no id of a task, 16 digits 0-9a-f, which a picture's name "
                "ends in"
            )
        any_at_all = True
        yield found
    if not any_at_all:
        raise UsageError(
            f"{file or '--select'} selects nothing: give ids, a file of them, or {ALL}"
        )


def done_proofs(storage: Storage) -> list[str]:
    """The ids of the proofs that are done, in a storage of proofs."""
    return [entry.id for entry in Records(storage).entries() if entry.status == "done"]


def wanted_size(proofs: Storage, asked: int | None) -> int:
    """The size to make proofs at: that which is asked for, else that of those that are there."""
    return asked or size_of_proofs(proofs) or PROOF_SIZE


def have_other_size(proofs: Storage, size: int) -> bool:
    """Whether there are proofs, and they are to be made anew, for another size is wanted."""
    return size_of_proofs(proofs) not in (None, size)


def size_of_proofs(storage: Storage) -> int | None:
    """The size of the proofs in a storage of proofs; None when there are none, or nobody knows."""
    try:
        size = json.loads(storage.get(keys.JOB))["proof_size"]
    except (ObjectNotFoundError, ValueError, TypeError, KeyError):
        return None
    return size if isinstance(size, int) else None
