"""What a job would render, before a second of GPU time is spent on it."""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from jobs.id_sets import IdTable
from jobs.jobfile.job import open_output
from jobs.jobfile.yaml_source import FieldPath
from jobs.proofs.proofs import Proofs, have_other_size, proofs_of, wanted_size
from jobs.records.commit import Records
from jobs.records.statuses import ABSENT, CODES, FAILED, Ledger
from jobs.spec.styles import StyleMix
from jobs.tasks.census import BadRows
from jobs.tasks.identity import Draft
from jobs.tasks.todo import Agenda
from stylize.memory import MEMORY_SHARE, history_bytes, predict_bytes
from stylize.recipe import Recipe

if TYPE_CHECKING:
    from cluster.plan.pilot import Kinds, Pilot, Sample

Fit = Literal["whole", "strips", "no"]


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
    """Of device time; None when neither earlier renders nor a pilot tell."""
    told_by: Literal["records", "pilot"] | None = None
    step_seconds: tuple[tuple[int, float], ...] = ()
    """Of each size, as the pilot found."""
    fits: Fit | None = None
    """How a render fits the card; None when no card is known."""


@dataclass(frozen=True, slots=True)
class Price:
    """On how many GPUs a job is to run, and what they cost."""

    gpus: int = 1
    per_gpu_hour: float | None = None
    card_bytes: int | None = None
    """Memory of each; None leaves that to the pilot's device."""


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
    gpus: int = 1
    price_per_gpu_hour: float | None = None
    startup_seconds: float | None = None
    """Until a worker is ready, as the pilot found."""
    device: str | None = None
    """Which the pilot was made on."""

    @property
    def left(self) -> int:
        return self.tasks - self.done - self.failed

    @property
    def device_seconds(self) -> float | None:
        """Device time of what is left, when it is known of every group."""
        times = [g.seconds_each for g in self.groups if g.left]
        if any(t is None for t in times):
            return None
        return sum((g.seconds_each or 0.0) * g.left for g in self.groups)

    @property
    def wall_seconds(self) -> float | None:
        """How long that takes on ``gpus`` workers: their share of it, but at least one whole render."""
        if self.device_seconds is None:
            return None
        longest = max((g.seconds_each or 0.0 for g in self.groups if g.left), default=0.0)
        return max(self.device_seconds / self.gpus, longest) + (self.startup_seconds or 0.0)

    @property
    def cost(self) -> float | None:
        """Of the device time, start-up included, in whatever the price is in."""
        if self.device_seconds is None or self.price_per_gpu_hour is None:
            return None
        starts = self.gpus * (self.startup_seconds or 0.0)
        return (self.device_seconds + starts) / 3600 * self.price_per_gpu_hour

    def to_json(self) -> dict[str, Any]:
        return {
            **asdict(self),
            "left": self.left,
            "device_seconds": self.device_seconds,
            "wall_seconds": self.wall_seconds,
            "cost": self.cost,
        }


def make_plan(
    agenda: Agenda,
    records: Records | None,
    output: str,
    price: Price | None = None,
    pilot: Callable[[Kinds], Pilot] | None = None,
) -> Plan:
    """Plan a job; ``records`` None means that the output does not exist yet. ``pilot`` (``Pilots``) makes a
    few steps of each group on this machine.

    Raises JobFileError where rows of a manifest would end a run, and what the pilot raises.
    """
    price = price or Price()
    ledger, seconds_of = _read_records(records)
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
            tally.add_left(draft)
        elif code == FAILED:
            failed += 1
        else:
            tally.done.append(draft.number)
    if bad.fatal:
        raise bad.error()
    if not tallies:
        raise agenda.nothing_to_do()
    measured = None
    if pilot is not None and any(tally.left for tally in tallies.values()):
        measured = pilot(
            (key, map(agenda.make, tally.first)) for key, tally in tallies.items() if tally.left
        )
    card = price.card_bytes or (measured.device.memory_bytes if measured is not None else None)
    tasks, left = (sum(getattr(t, what) for t in tallies.values()) for what in ("tasks", "left"))
    return Plan(
        name=agenda.job.spec.name,
        output=output,
        tasks=tasks,
        done=tasks - left - failed,
        failed=failed,
        groups=tuple(
            _group(tally, seconds_of, None if measured is None else measured.samples.get(key), card)
            for key, tally in tallies.items()
        ),
        bad_rows=bad.count,
        first_bad_rows=tuple(str(problem) for problem in bad.first),
        unused_columns=agenda.unused_columns,
        gpus=price.gpus,
        price_per_gpu_hour=price.per_gpu_hour,
        startup_seconds=None if measured is None else measured.startup_seconds,
        device=None if measured is None else measured.device.name,
    )


def make_ladder(
    agenda: Agenda,
    price: Price,
    pilot: Callable[[Kinds], Pilot] | None = None,
    proof_size: int | None = None,
) -> tuple[Plan, Plan]:
    """The plan of a job's pictures, and that of its proofs. Raises as ``make_plan`` does."""
    job = agenda.job
    pictures, proofs = open_output(job), open_output(proofs_of(job))
    size = wanted_size(proofs, proof_size)
    # Proofs of another size count for nothing: they are made anew.
    known = None if have_other_size(proofs, size) else Records(proofs)
    seen = agenda.seen_as(Proofs(size))
    return (
        make_plan(agenda, Records(pictures), pictures.url, price, pilot),
        make_plan(seen, known, proofs.url, price, pilot),
    )


PILOT_CANDIDATES = 8
"""Tasks of a group that are kept for a pilot: the pictures of the first may not be there."""

MOST_STYLES = 10_000


class _Tally:
    """What was counted of tasks that are alike."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.tasks = self.left = self.masks = 0
        self.done = array("Q")
        self.first: list[Draft] = []
        """Of those that are left."""
        self.styles: set[int] = set()
        """Of those, hashed; as many as are kept."""

    def add_left(self, draft: Draft) -> None:
        """Count one that is to be rendered."""
        self.left += 1
        if len(self.first) < PILOT_CANDIDATES:
            self.first.append(draft)
        if len(self.styles) < MOST_STYLES:
            self.styles.add(hash(draft.styles))

    @property
    def new_styles(self) -> float:
        """The share of tasks whose style is rendered for the first time."""
        return min(1.0, len(self.styles) / max(1, self.left))


def _read_records(records: Records | None) -> tuple[Ledger, IdTable]:
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


def _group(tally: _Tally, seconds_of: IdTable, sample: Sample | None, card: int | None) -> Group:
    recipe, size = tally.recipe, tally.recipe.size
    took = seconds_of.find(np.frombuffer(tally.done, np.uint64))
    took = took[took > 0]
    seconds: float | None = float(took.mean()) if len(took) else None
    told_by: Literal["records", "pilot"] | None = None if seconds is None else "records"
    if sample is not None:
        share, told_by = tally.new_styles, "pilot"
        seconds = share * sample.new_style + (1 - share) * sample.known_style
    whole, strips = (
        predict_bytes(recipe, size, size, regions=tally.masks, strips=way) for way in (False, True)
    )
    return Group(
        preset=recipe.preset,
        sizes=tuple(size for size, _ in recipe.schedule()),
        steps=recipe.total_steps,
        tasks=tally.tasks,
        left=tally.left,
        memory_bytes=whole,
        strips_bytes=strips,
        history_bytes=history_bytes(recipe, size, size),
        seconds_each=seconds,
        told_by=told_by,
        step_seconds=() if sample is None else sample.step_seconds,
        fits=None if card is None else _fit(whole, strips, MEMORY_SHARE * card),
    )


def _fit(whole: int, strips: int, room: float) -> Fit:
    return "whole" if whole <= room else "strips" if strips <= room else "no"


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
