"""What a job would render, before a second of GPU time is spent on it."""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jobs.agenda import Agenda, BadRows
from jobs.idset import IdTable
from jobs.ledger import ABSENT, CODES, FAILED, Ledger
from jobs.records import Records
from jobs.source import FieldPath
from jobs.spec import StyleMix
from stylize.memory import history_bytes, predict_bytes
from stylize.recipe import Recipe

MISSING_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Group:
    """Tasks that are alike in what they cost."""

    preset: str
    sizes: tuple[int, ...]
    steps: int
    tasks: int
    left: int
    memory_bytes: int
    """Most that one such render takes, for a square picture, all at once."""
    strips_bytes: int
    """The same in strips, which is how a render goes that does not fit otherwise."""
    history_bytes: int
    """What L-BFGS's remembered pairs take of either."""
    seconds_each: float | None
    """From earlier renders of this kind in the same output; None when there are none."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run would do now."""

    name: str
    output: str
    tasks: int
    done: int
    failed: int
    groups: tuple[Group, ...]
    bad_rows: int = 0
    """Of manifests, which are left out."""
    first_bad_rows: tuple[str, ...] = ()
    unused_columns: tuple[str, ...] = ()
    """Of manifests, which mean nothing here."""

    @property
    def left(self) -> int:
        return self.tasks - self.done - self.failed

    @property
    def device_seconds(self) -> float | None:
        """Device time of what is left, when every group has been rendered before."""
        times = [g.seconds_each for g in self.groups if g.left]
        if any(t is None for t in times):
            return None
        return sum((g.seconds_each or 0.0) * g.left for g in self.groups)

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "left": self.left, "device_seconds": self.device_seconds}


def make_plan(agenda: Agenda, records: Records | None, output: str) -> Plan:
    """Plan a job; ``records`` None means that the output does not exist yet. Raises JobFileError where rows
    of a manifest would end a run."""
    ledger, seconds_of = _known(records)
    tallies: dict[object, _Tally] = {}
    failed, bad = 0, BadRows()
    for draft, code in agenda.drafts(ledger, bad):
        key = _kind(draft.kind.recipe)
        tally = tallies.get(key)
        if tally is None:
            tally = tallies[key] = _Tally(draft.kind.recipe)
        tally.tasks += 1
        tally.masks = max(tally.masks, _masks(draft.styles))
        if code == ABSENT:
            tally.left += 1
        elif code == FAILED:
            failed += 1
        else:
            tally.done.append(draft.number)
    if bad.fatal:
        raise bad.error()
    if not tallies:
        raise agenda.nothing_to_do()
    tasks, left = (sum(getattr(t, what) for t in tallies.values()) for what in ("tasks", "left"))
    return Plan(
        name=agenda.job.spec.name,
        output=output,
        tasks=tasks,
        done=tasks - left - failed,
        failed=failed,
        groups=tuple(_group(tally, seconds_of) for tally in tallies.values()),
        bad_rows=bad.count,
        first_bad_rows=tuple(str(problem) for problem in bad.first),
        unused_columns=agenda.unused_columns,
    )


class _Tally:
    """What was counted of tasks that are alike."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.tasks = self.left = self.masks = 0
        self.done = array("Q")


def _known(records: Records | None) -> tuple[Ledger, IdTable]:
    """What became of every task, and the seconds that each render took."""
    ids, codes, seconds = array("Q"), array("B"), array("d")
    for entry in records.entries() if records else ():
        ids.append(int(entry.id, 16))
        codes.append(CODES[entry.status])
        seconds.append(entry.render_seconds)
    numbers = np.frombuffer(ids, np.uint64)
    ledger = Ledger(numbers, np.frombuffer(codes, np.uint8))
    return ledger, IdTable(numbers, np.frombuffer(seconds, np.float64))


def _kind(recipe: Recipe) -> object:
    return (recipe.preset, recipe.schedule(), recipe.optimizer, recipe.history)


def _masks(styles: StyleMix) -> int:
    return len({part.mask for part in styles if part.mask is not None})


def _group(tally: _Tally, seconds_of: IdTable) -> Group:
    recipe, size = tally.recipe, tally.recipe.size
    took = seconds_of.find(np.frombuffer(tally.done, np.uint64))
    took = took[took > 0]
    return Group(
        preset=recipe.preset,
        sizes=tuple(size for size, _ in recipe.schedule()),
        steps=recipe.total_steps,
        tasks=tally.tasks,
        left=tally.left,
        memory_bytes=predict_bytes(recipe, size, size, regions=tally.masks),
        strips_bytes=predict_bytes(recipe, size, size, regions=tally.masks, strips=True),
        history_bytes=history_bytes(recipe, size, size),
        seconds_each=float(took.mean()) if len(took) else None,
    )


def _memory(group: Group) -> str:
    """ "7.5 GiB, or 2.6 GiB in strips, 0.4 GiB of it L-BFGS's history"."""
    text = (
        f"{group.memory_bytes / 2**30:.1f} GiB, or {group.strips_bytes / 2**30:.1f} GiB in strips"
    )
    if group.history_bytes:
        text += f", {group.history_bytes / 2**30:.1f} GiB of it L-BFGS's history"
    return text


def to_text(plan: Plan, missing: Mapping[str, str]) -> str:
    """The plan for a person; ``missing`` are pictures that are not there, with the reason."""
    lines = [
        f"{plan.name} -> {plan.output}",
        f"  {plan.tasks:,} tasks: {plan.done:,} done, {plan.failed:,} failed, {plan.left:,} to render",
    ]
    for group in plan.groups:
        sizes = " > ".join(str(size) for size in group.sizes)
        each = f", {group.seconds_each:.0f} s each" if group.seconds_each is not None else ""
        lines.append(
            f"  {group.tasks:,} x {group.preset} at {sizes} px, {group.steps:,} steps{each}, "
            f"up to {_memory(group)}"
        )
    if plan.left and plan.device_seconds is not None:
        lines.append(f"  about {plan.device_seconds / 60:,.0f} min of device time are left")
    elif plan.left:
        lines.append("  how long it takes shows after a first picture: stylefarm run JOB --limit 1")
    lines += [f"  skipped: {row}" for row in plan.first_bad_rows]
    if plan.bad_rows > len(plan.first_bad_rows):
        lines.append(f"  {plan.bad_rows:,} rows are skipped in all")
    if plan.unused_columns:
        lines.append(f"  not used: the manifest's {', '.join(plan.unused_columns)}")
    for reason in list(missing.values())[:MISSING_SHOWN]:
        lines.append(f"  will fail: {reason}")
    if len(missing) > MISSING_SHOWN:
        lines.append(f"  and {len(missing) - MISSING_SHOWN} more pictures that are not there")
    return "\n".join(lines)


def missing_pictures(agenda: Agenda, most: int = 1000) -> dict[str, str]:
    """Pictures named one by one that are not on this disk, with the sentence each task would fail with.

    Looks at no more than ``most`` local files, and as many masks; what lies elsewhere shows when it is
    fetched. Of a mask the sentence names the field, since its file's name may not stand in the job.
    """
    names: dict[str, None] = {}
    masks: dict[str, FieldPath] = {}
    for pictures in agenda.sets:
        candidates = (*pictures.contents, *(part.uri for mix in pictures.styles for part in mix))
        for uri in (*candidates, *(() if pictures.init is None else (pictures.init,))):
            if "://" not in uri and len(names) < most:
                names[uri] = None
        # There can be one for every pair, so not even their names are all gone through.
        for place, mask in itertools.islice(pictures.masks(), most):
            if "://" not in mask and len(masks) < most:
                masks.setdefault(mask, place)
    for uri in agenda.first_pictures(most - len(names)):
        if "://" not in uri:
            names[uri] = None
    base = agenda.job.base
    where = f"there is no such picture in {base.absolute()}"

    def is_missing(name: str) -> bool:
        return not (base / Path(name).expanduser()).is_file()

    missing = {name: f"{name}: {where}" for name in names if is_missing(name)}
    for mask, place in masks.items():
        if is_missing(mask):
            missing[mask] = str(agenda.job.problem(place, f"{mask}: {where}"))
    return missing
