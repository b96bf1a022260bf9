"""The choice among proofs: ids, proofs' names, a file of these, or all."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from jobs.errors import UsageError
from jobs.storage import keys
from jobs.tasks.identity import Draft

SHOWN_IDS = 5
"""Unknown ids that an error names."""


class Selection:
    """A view of a job's drafts (``jobs.tasks.todo.View``): the chosen tasks and no others.

    Args:
        ids: Task ids, 16 hex digits each.
    """

    def __init__(self, ids: Iterable[str]) -> None:
        self._numbers = frozenset(int(task_id, 16) for task_id in ids)

    def __len__(self) -> int:
        return len(self._numbers)

    def __call__(self, draft: Draft) -> Draft | None:
        return draft if draft.number in self._numbers else None

    def complete(self, drafts: Iterable[Draft]) -> Selection:
        """Return this selection with the frames that chosen frames hold to, also by way of others.

        Args:
            drafts: All tasks of the job, frames after those that they hold to. Reading stops at the last
                chosen one.

        Raises:
            UsageError: A chosen id is none of ``drafts``.
        """
        missing = set(self._numbers)
        frames: dict[int, Sequence[int]] = {}
        for draft in drafts:
            missing.discard(draft.number)
            if draft.spot is not None:
                frames[draft.number] = draft.needs
            if not missing:
                break
        if missing:
            shown = ", ".join(f"{number:016x}" for number in sorted(missing)[:SHOWN_IDS])
            more = f" and {len(missing) - SHOWN_IDS} more" if len(missing) > SHOWN_IDS else ""
            raise UsageError(
                f"the selection has ids that are not tasks of this job: {shown}{more}; was the job file "
                "changed since its proofs were made?"
            )
        chosen = set(self._numbers)
        for number in reversed(frames):
            if number in chosen:
                chosen.update(frames[number])
        return Selection(f"{number:016x}" for number in chosen)


ALL = "all"
"""The selection of every task whose proof is done."""


def read_selection(given: str) -> list[str] | None:
    """Return the ids in a selection.

    Args:
        given: The value of ``--select``: ids or pictures' names, separated by commas; or ``all``; or the path
            of a file with an id, name, path or address per line (``#`` begins a comment), or a JSON list.

    Returns:
        The ids in the order given, repetitions included; None for ``all``.

    Raises:
        UsageError: A word has no task id, the selection is empty, or the file cannot be read.
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
        task_id = keys.named_id(word.strip())
        if task_id is None:
            place = "--select" if file is None else f"{file}:{number}"
            raise UsageError(
                f"{place}: {word.strip()!r} is not a task id: give the 16 hexadecimal digits at the end of "
                "a picture's name"
            )
        any_at_all = True
        yield task_id
    if not any_at_all:
        raise UsageError(
            f"{file or '--select'} selects nothing: give ids, a file of them, or {ALL}"
        )
