"""What a job would render, before a second of GPU time is spent on it."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from jobs.agenda import Agenda
from jobs.records import Records
from jobs.source import FieldPath
from jobs.tasks import Task
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
    """Plan a job; ``records`` None means that the output does not exist yet."""
    known = {record.id: record for record in records.all()} if records else {}
    seconds: dict[object, list[float]] = {}
    tasks: Counter[object] = Counter()
    left: Counter[object] = Counter()
    examples: dict[object, Recipe] = {}
    masks: dict[object, int] = {}
    failed = 0
    for task in agenda.tasks():
        kind = _kind(task.recipe)
        examples.setdefault(kind, task.recipe)
        masks[kind] = max(masks.get(kind, 0), _masks(task))
        tasks[kind] += 1
        record = known.get(task.id)
        if record is None:
            left[kind] += 1
        elif record.status == "failed":
            failed += 1
        elif record.status == "done" and "render" in record.seconds:
            seconds.setdefault(kind, []).append(record.seconds["render"])
    return Plan(
        name=agenda.job.spec.name,
        output=output,
        tasks=tasks.total(),
        done=tasks.total() - left.total() - failed,
        failed=failed,
        groups=tuple(
            _group(recipe, masks[kind], tasks[kind], left[kind], seconds.get(kind))
            for kind, recipe in examples.items()
        ),
    )


def _kind(recipe: Recipe) -> object:
    return (recipe.preset, recipe.schedule(), recipe.optimizer, recipe.history)


def _masks(task: Task) -> int:
    return len({part.mask for part in task.styles if part.mask is not None})


def _group(recipe: Recipe, masks: int, tasks: int, left: int, seconds: list[float] | None) -> Group:
    size = recipe.size
    return Group(
        preset=recipe.preset,
        sizes=tuple(size for size, _ in recipe.schedule()),
        steps=recipe.total_steps,
        tasks=tasks,
        left=left,
        memory_bytes=predict_bytes(recipe, size, size, regions=masks),
        strips_bytes=predict_bytes(recipe, size, size, regions=masks, strips=True),
        history_bytes=history_bytes(recipe, size, size),
        seconds_each=sum(seconds) / len(seconds) if seconds else None,
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
        for uri in candidates:
            if "://" not in uri and len(names) < most:
                names[uri] = None
        # There can be one for every pair, so not even their names are all gone through.
        for place, mask in itertools.islice(pictures.masks(), most):
            if "://" not in mask and len(masks) < most:
                masks.setdefault(mask, place)
    base = agenda.job.base
    where = f"there is no such picture in {base.absolute()}"

    def is_missing(name: str) -> bool:
        return not (base / Path(name).expanduser()).is_file()

    missing = {name: f"{name}: {where}" for name in names if is_missing(name)}
    for mask, place in masks.items():
        if is_missing(mask):
            missing[mask] = str(agenda.job.problem(place, f"{mask}: {where}"))
    return missing
