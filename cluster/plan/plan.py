"""``make_plan``: what a job would render and what that takes, before any GPU time is spent."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from cluster.plan.film_plan import FilmPlan, Trees, plan_films
from jobs.id_sets import IdTable
from jobs.jobfile.job import open_output
from jobs.proofs.proofs import Proofs, have_other_size, proofs_of, wanted_size
from jobs.records.commit import Records
from jobs.records.saved_before import saved_otherwise
from jobs.records.statuses import ABSENT, CODES, FAILED, Ledger
from jobs.spec.styles import StyleMix
from jobs.tasks.films.film_set import useful_workers
from jobs.tasks.identity import Draft, Kind
from jobs.tasks.row_account import RowAccount, RowCounts
from jobs.tasks.todo import Agenda
from stylize.film.structure import hastened
from stylize.memory import MEMORY_SHARE, history_bytes, predict_bytes
from stylize.network.strips import ALL_BLOCKS
from stylize.recipe import Recipe

if TYPE_CHECKING:
    from cluster.plan.pilot import Kinds, Pilot, Sample

Fit = Literal["whole", "strips", "no"]
"""How a render fits a device's memory: at once, in strips only, or not at all."""


@dataclass(frozen=True, slots=True)
class Group:
    """Tasks that cost the same."""

    preset: str
    sizes: tuple[int, ...]
    """The sizes of the schedule, ascending; pixels of the longest side."""
    steps: int
    """Steps of one render, over all sizes."""
    tasks: int
    """All tasks of the group."""
    left: int
    """Tasks that are neither done nor failed."""
    memory_bytes: int
    """The peak memory of one render of a square picture at once, in bytes."""
    strips_bytes: int
    """The same in strips, in bytes; a render that does not fit at once is painted so."""
    history_bytes: int
    """The part of either that L-BFGS's history takes, in bytes."""
    seconds_each: float | None
    """Device seconds per render; None if there are neither earlier renders nor a pilot. Of held frames, the
    pilot's have ``motion_seconds``, too, on a CPU; other devices paint meanwhile, and wait where that is
    longer."""
    told_by: Literal["records", "pilot"] | None = None
    """Where ``seconds_each`` is from."""
    step_seconds: tuple[tuple[int, float], ...] = ()
    """(size in pixels, seconds per step) for each size, as the pilot measured; empty without one."""
    fits: Fit | None = None
    """How a render fits the device's memory; None if that is unknown."""
    members: int = 1
    """The devices that share each render. The memory is that of each."""
    held: bool = False
    """Whether these are frames that hold to others, which take fewer steps."""
    motion_seconds: float | None = None
    """Seconds that a core takes for what such a frame is to keep of others, the motion among it, as the pilot
    measured; None without one."""


@dataclass(frozen=True, slots=True)
class Price:
    """The GPUs for which time and cost are predicted."""

    gpus: int = 1
    """The number of GPUs, >= 1."""
    per_gpu_hour: float | None = None
    """The price of a GPU hour, >= 0, in any currency; None: no cost is predicted."""
    card_bytes: int | None = None
    """The memory of each GPU, in bytes; None: that of the pilot's device."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The tasks of a job by status and group, and the time and cost of those left."""

    name: str
    """The job's name."""
    output: str
    """The address of the output."""
    tasks: int
    """All tasks of the job."""
    done: int
    failed: int
    groups: tuple[Group, ...]
    films: tuple[FilmPlan, ...] = ()
    """The films, in the order of the job file."""
    rows: RowCounts = RowCounts()  # noqa: RUF009 - immutable
    """The rows of the manifests, by what becomes of them."""
    bad_rows: int = 0
    """Rows of manifests that are skipped."""
    first_bad_rows: tuple[str, ...] = ()
    """The first 100,000 of them, each with its place and the reason."""
    unused_columns: tuple[str, ...] = ()
    """Columns of manifests that are not used."""
    without_effect: tuple[str, ...] = ()
    """Knobs that the job gives and that change none of its pictures, each with its place and the reason."""
    unread_pictures: int = 0
    """Pictures of formats that are not read, which patterns match and that are left out."""
    first_unread: tuple[str, ...] = ()
    """The first of them, each with its format."""
    pictures_of_others: tuple[tuple[str, int], ...] = ()
    """(output, pictures) of other jobs that globs come upon, and that are left out."""
    saved_otherwise: tuple[str, ...] = ()
    """What differs between how pictures that are done were saved and how the job says now."""
    own_pictures: int = 0
    """Pictures that patterns match and that are left out, because the job itself has made them."""
    gpus: int = 1
    """The number of workers for which time and cost are predicted."""
    price_per_gpu_hour: float | None = None
    """The price of a GPU hour, in any currency; None: no cost is predicted."""
    startup_seconds: float | None = None
    """Seconds until a worker is ready, as the pilot measured; None without one."""
    device: str | None = None
    """The name of the device that the pilot measured; None without one."""
    frames: int = 0
    """Tasks that are frames of films."""
    useful_workers: int = 0
    """Workers that the films can use at once, at most."""
    films_seconds: float | None = None
    """Seconds that the film takes at least that takes longest, on ``gpus`` workers, because frames hold to
    others; None without films, and where times are unknown."""

    @property
    def only_films(self) -> bool:
        """Whether all tasks are frames of films."""
        return bool(self.films) and self.tasks == self.frames

    @property
    def left(self) -> int:
        """Tasks that are neither done nor failed."""
        return self.tasks - self.done - self.failed

    @property
    def device_seconds(self) -> float | None:
        """Device seconds of the tasks left; None unless known for every group."""
        times = [g.seconds_each for g in self.groups if g.left]
        if any(t is None for t in times):
            return None
        return sum((g.seconds_each or 0.0) * g.left for g in self.groups)

    @property
    def wall_seconds(self) -> float | None:
        """Seconds on ``gpus`` workers: equal shares, but at least the longest render, or what the frames of a
        film take that hold to each other, plus the start-up."""
        if self.device_seconds is None:
            return None
        longest = max((g.seconds_each or 0.0 for g in self.groups if g.left), default=0.0)
        longest = max(longest, self.films_seconds or 0.0)
        return max(self.device_seconds / self.gpus, longest) + (self.startup_seconds or 0.0)

    @property
    def cost(self) -> float | None:
        """The cost of the device time and of each worker's start-up, in the currency of the price."""
        if self.device_seconds is None or self.price_per_gpu_hour is None:
            return None
        starts = self.gpus * (self.startup_seconds or 0.0)
        return (self.device_seconds + starts) / 3600 * self.price_per_gpu_hour

    def to_json(self) -> dict[str, Any]:
        """Return all fields and the computed values, for ``plan --json``."""
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
    """Plan a job: count its tasks, group those that cost the same, and predict memory, time and cost.

    Args:
        agenda: The job's tasks.
        records: The records of its output; None: the output does not exist yet.
        output: The address of the output.
        price: The GPUs for which time and cost are predicted; None: one GPU, no cost.
        pilot: Measures a few steps of each group with tasks left (``Pilots``); None: the times come from the
            records of earlier renders.

    Returns:
        The plan.

    Raises:
        JobFileError: The job has no task, or a manifest has a bad row that would end a run.
        StorageError: The output cannot be read.
        UsageError, WeightsError, MemoryLimitError: The pilot cannot measure; see ``Pilots``.
    """
    price = price or Price()
    ledger, seconds_of = _read_records(records)
    tallies: dict[tuple[object, bool], _Tally] = {}
    failed = frames = 0
    rows, trees = RowAccount(), Trees()
    tally_of: dict[tuple[Kind, bool], _Tally] = {}
    for draft, code in agenda.drafts(ledger, rows):
        kind = draft.kind, draft.is_held
        if kind not in tally_of:
            if len(tally_of) >= MOST_KINDS:
                tally_of.clear()
            recipe = draft.kind.recipe
            key = _kind(recipe), draft.is_held
            tally_of[kind] = tallies.setdefault(key, _Tally(recipe, key))
        tally = tally_of[kind]
        tally.tasks += 1
        frames += draft.spot is not None
        tally.masks = max(tally.masks, _masks(draft.styles))
        if code == ABSENT:
            tally.add_left(draft)
            if draft.spot is not None:
                trees.add(draft, tally.key[0])
        elif code == FAILED:
            failed += 1
        else:
            tally.done.append(draft.number)
    if rows.fatal:
        raise rows.error()
    if not tallies:
        raise agenda.nothing_to_do(rows)
    measured = None
    if pilot is not None and any(tally.left for tally in tallies.values()):
        measured = pilot(
            (key, map(agenda.make, tally.first)) for key, tally in tallies.items() if tally.left
        )
    measured_pair_bytes = None if measured is None else measured.pair_bytes
    card = price.card_bytes or (measured.device.memory_bytes if measured is not None else None)
    tasks, left = (sum(getattr(t, what) for t in tallies.values()) for what in ("tasks", "left"))
    done, pictures = tasks - left - failed, open_output(agenda.job)
    groups = {
        key: _group(
            tally,
            seconds_of,
            None if measured is None else measured.samples.get(key),
            card,
            agenda.job.spec.workers.members,
            on_cpu=measured is not None and measured.device.name == "cpu",
        )
        for key, tally in tallies.items()
    }
    return Plan(
        name=agenda.job.spec.name,
        output=output,
        tasks=tasks,
        done=done,
        failed=failed,
        groups=tuple(groups.values()),
        films=plan_films(agenda, pictures, measured_pair_bytes),
        frames=frames,
        useful_workers=useful_workers(agenda.films) or 0,
        films_seconds=trees.seconds(lambda kind, held: groups[kind, held].seconds_each, price.gpus),
        rows=rows.counts(),
        bad_rows=rows.bad,
        first_bad_rows=tuple(map(str, rows.problems)),
        unused_columns=agenda.unused_columns,
        without_effect=tuple(map(str, agenda.without_effect)),
        unread_pictures=agenda.unread.count,
        first_unread=tuple(agenda.unread.first),
        pictures_of_others=tuple(agenda.of_others.items()),
        saved_otherwise=saved_otherwise(pictures, agenda.job.spec.image)
        if done and output == pictures.url
        else (),
        own_pictures=agenda.own_pictures,
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
    """Plan a job's pictures and its proofs.

    Args:
        agenda: The job's tasks.
        price: The GPUs for which time and cost are predicted.
        pilot: As for ``make_plan``.
        proof_size: The longest side of proofs, in pixels; None: that of existing proofs, else the default.

    Returns:
        The plan of the pictures and the plan of the proofs.

    Raises:
        JobFileError, UsageError, WeightsError, MemoryLimitError: As for ``make_plan``.
        StorageError: The output cannot be read.
    """
    job = agenda.job
    pictures, proofs = open_output(job), open_output(proofs_of(job))
    size = wanted_size(proofs, proof_size)
    # Proofs of another size do not count, because a run renders them again.
    known = None if have_other_size(proofs, size) else Records(proofs)
    seen = agenda.seen_as(Proofs(size))
    return (
        make_plan(agenda, Records(pictures), pictures.url, price, pilot),
        make_plan(seen, known, proofs.url, price, pilot),
    )


PILOT_CANDIDATES = 8
"""Tasks kept per group for a pilot: the pictures of the first may be missing."""

MOST_STYLES = 10_000
"""Styles remembered per group, to bound memory."""


MOST_KINDS = 1024
"""Recipes whose group is remembered: every row of a manifest may have its own."""


class _Tally:
    """The counts of a group, while the job is read."""

    def __init__(self, recipe: Recipe, key: tuple[object, bool]) -> None:
        self.recipe = recipe
        self.key = key
        """What is equal for recipes that cost the same, and whether these are frames that hold to others."""
        self.tasks = self.left = self.masks = 0
        self.done = array("Q")
        self.first: list[Draft] = []
        """The first tasks left, at most ``PILOT_CANDIDATES``."""
        self.styles: set[int] = set()
        """Hashes of the styles of the tasks left, at most ``MOST_STYLES``."""

    def add_left(self, draft: Draft) -> None:
        """Count a task that is left."""
        self.left += 1
        if len(self.first) < PILOT_CANDIDATES:
            self.first.append(draft)
        if len(self.styles) < MOST_STYLES:
            self.styles.add(hash(draft.styles))

    @property
    def new_styles(self) -> float:
        """The share of the tasks left whose style is rendered for the first time, 0 to 1."""
        return min(1.0, len(self.styles) / max(1, self.left))


def _read_records(records: Records | None) -> tuple[Ledger, IdTable]:
    """Return the status of every task, and the seconds of each render."""
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


def _group(
    tally: _Tally,
    seconds_of: IdTable,
    sample: Sample | None,
    card: int | None,
    members: int,
    *,
    on_cpu: bool,
) -> Group:
    (_, held), size = tally.key, tally.recipe.size
    recipe = hastened(tally.recipe) if held else tally.recipe
    took = seconds_of.find(np.frombuffer(tally.done, np.uint64))
    took = took[took > 0]
    seconds: float | None = float(took.mean()) if len(took) else None
    told_by: Literal["records", "pilot"] | None = None if seconds is None else "records"
    if sample is not None:
        share, told_by = tally.new_styles, "pilot"
        seconds = share * sample.new_style + (1 - share) * sample.known_style
        motion = sample.motion_seconds or 0.0
        seconds = seconds + motion if on_cpu else max(seconds, motion)
    whole, strips = (
        predict_bytes(
            recipe, size, size, regions=tally.masks, strips=way, members=members, held=held
        )
        for way in (0, ALL_BLOCKS)
    )
    return Group(
        preset=recipe.preset,
        sizes=tuple(size for size, _ in recipe.schedule()),
        steps=recipe.total_steps,
        tasks=tally.tasks,
        left=tally.left,
        memory_bytes=whole,
        strips_bytes=strips,
        history_bytes=history_bytes(recipe, size, size) // members,
        members=members,
        seconds_each=seconds,
        told_by=told_by,
        step_seconds=() if sample is None else sample.step_seconds,
        held=held,
        motion_seconds=None if sample is None else sample.motion_seconds,
        fits=None if card is None else _fit(whole, strips, MEMORY_SHARE * card),
    )


def _fit(whole: int, strips: int, room: float) -> Fit:
    return "whole" if whole <= room else "strips" if strips <= room else "no"
