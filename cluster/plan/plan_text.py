"""``to_text``: a plan as text for people."""

from __future__ import annotations

from cluster.events.progress import plural, rows_text, saved_text, unread_text
from cluster.plan.film_plan import FilmPlan, VideoPlan
from cluster.plan.plan import Group, Plan
from cluster.time_text import duration_text
from jobs.errors import Problem, printable
from jobs.inputs.formats import UNREAD_SHOWN
from jobs.preflight.preflight import Findings

MISSING_SHOWN = 10
BAD_ROWS_SHOWN = 20
VIDEOS_SHOWN = 10


def to_text(
    plan: Plan,
    looked: Findings | None = None,
    proofs: Plan | None = None,
    motion: Problem | None = None,
) -> str:
    """Return a plan as lines of text.

    Args:
        plan: The plan of the pictures.
        looked: What shows of the job's pictures; None: that is left out.
        proofs: The plan of the job's proofs; None: they are left out.
        motion: Why the motion of a film cannot be found here; None: it can.
    """
    lines = [f"{plan.name} -> {plan.output}", *_work(plan, "task")]
    lines += [line for film in plan.films for line in _film(film)]
    lines += _rows(plan)
    if plan.unused_columns:
        lines.append(f"  not used: the manifest's {', '.join(plan.unused_columns)}")
    lines += [f"  note: {note}" for note in plan.without_effect]
    if plan.unread_pictures:
        lines.append(
            f"  not read: {unread_text(plan.unread_pictures, plan.first_unread[:UNREAD_SHOWN])}"
        )
    if plan.saved_otherwise:
        lines.append(f"  note: {saved_text(plan.done, plan.saved_otherwise)}")
    if plan.own_pictures:
        those = plural(plan.own_pictures, "picture")
        lines.append(f"  left out: {those} under {plan.output} that this job itself has made")
    for output, pictures in plan.pictures_of_others:
        those = plural(pictures, "picture")
        lines.append(
            f"  left out: {those} under {output} that another job has made; name it to use them"
        )
    if looked is not None:
        lines += _pictures(looked)
    if motion is not None:
        lines.append(f"  will fail: {motion}")
    if proofs is not None:
        sizes = sorted({group.sizes[-1] for group in proofs.groups})
        few = "" if len(sizes) > 1 else f", {sizes[0]} px"
        lines += [f"proofs (run --proof{few}) -> {proofs.output}", *_work(proofs, "proof")]
    return "\n".join(lines)


def _pictures(looked: Findings) -> list[str]:
    """Return the lines about pictures that cannot be used, and masks that can hardly be meant."""
    lines = [f"  will fail: {picture.problem}" for picture in looked.missing[:MISSING_SHOWN]]
    if len(looked.missing) > MISSING_SHOWN or (lines and not looked.complete):
        lines.append(f"  {looked.scope}")
    if looked.hopeless:
        lines.append(f"  {looked.hopelessness}")
    lines += [f"  will fail: {frames}" for frames in looked.unreadable[:MISSING_SHOWN]]
    lines += [f"  not looked at: {why}" for why in looked.unreachable]
    lines += [f"  doubtful: {doubt}" for doubt in looked.doubts[:MISSING_SHOWN]]
    if len(looked.doubts) > MISSING_SHOWN:
        lines.append(f"  and {len(looked.doubts) - MISSING_SHOWN} more doubtful masks")
    return lines


def _work(plan: Plan, what: str) -> list[str]:
    """Return the lines about tasks, groups and time."""
    counts = f"{plan.done:,} done, {plan.failed:,} failed, {plan.left:,} to render"
    lines = [f"  {plural(plan.tasks, what)}: {counts}"]
    for group in plan.groups:
        lines += _group(group)
    return lines + _time(plan)


def _film(film: FilmPlan) -> list[str]:
    lines = [
        f"  film {film.film}: {_frames(film)} in {plural(film.shots, 'shot')}; "
        f"{film.depth} {'is' if film.depth == 1 else 'are'} painted one after the other",
        f"    its longest shot, {plural(film.longest, 'frame')}, keeps at most "
        f"{plural(film.width, 'worker')} busy at once, all of it {film.workers:,}",
    ]
    if film.motion_bytes is not None:
        lines.append(f"    the motion between its frames takes {_bytes(film.motion_bytes)}")
    lines += [f"    video {_video(video)}" for video in film.videos[:VIDEOS_SHOWN]]
    if len(film.videos) > VIDEOS_SHOWN:
        lines.append(f"    and {len(film.videos) - VIDEOS_SHOWN:,} more videos")
    return lines


def _video(video: VideoPlan) -> str:
    """Return "videos/a--wave-1f.mp4: h264, quality 75, 24 frames per second"."""
    options = video.options
    words = [options["codec"]]
    words += [] if options["quality"] is None else [f"quality {options['quality']}"]
    words += [] if options["bits"] is None else [f"{options['bits']} bits"]
    words += [] if options["rate"] is None else [f"{options['rate']} frames per second"]
    words += [] if options["sound"] or options["source"] is None else ["without sound"]
    return f"{printable(video.video)}: {', '.join(words)}"


def _frames(film: FilmPlan) -> str:
    if film.frames == 1:
        return f"frame {film.first}"
    return f"{film.frames:,} frames {film.first}-{film.last}"


def _bytes(count: int) -> str:
    for unit, size in (("GiB", 2**30), ("MiB", 2**20)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{-(-count // 1024)} KiB"


def _rows(plan: Plan) -> list[str]:
    """Return the lines about the rows of manifests, and about pairs that the job names twice."""
    rows = plan.rows
    lines = []
    if rows.rows:
        counts = rows.rows, rows.used, rows.repeated, rows.left_out, rows.bad
        lines.append(f"  {rows_text(*counts)}")
    lines += [f"  skipped: {row}" for row in plan.first_bad_rows[:BAD_ROWS_SHOWN]]
    if plan.bad_rows > BAD_ROWS_SHOWN:
        lines.append(f"  and {plan.bad_rows - BAD_ROWS_SHOWN:,} more rows, which plan --json names")
    lines += [f"  note: {note}" for note in rows.notes]
    if rows.repeated_pairs:
        lines.append(f"  {plural(rows.repeated_pairs, 'pair')} named more than once: rendered once")
    return lines


def _group(group: Group) -> list[str]:
    sizes = " > ".join(str(size) for size in group.sizes)
    each = f", {group.seconds_each:.3g} s each" if group.seconds_each is not None else ""
    held = ", held to other frames" if group.held else ""
    lines = [
        f"  {group.tasks:,} x {group.preset} at {sizes} px, {group.steps:,} steps{held}{each}, "
        f"up to {_memory(group)}"
    ]
    if group.step_seconds:
        steps = ", ".join(f"{seconds:.3g} s at {size} px" for size, seconds in group.step_seconds)
        lines.append(f"    a step takes {steps}")
    if group.motion_seconds is not None:
        lines.append(
            f"    motion, and what is kept of other frames, takes {group.motion_seconds:.3g} s of a core each"
        )
    if group.fits == "strips":
        lines.append("    fits the card only in strips, which takes longer")
    elif group.fits == "no":
        lines.append("    WILL NOT FIT the card, not even in strips: use a smaller size")
    return lines


def _memory(group: Group) -> str:
    """Return "7.5 GiB, or 2.6 GiB in strips, 0.4 GiB of it L-BFGS's history"."""
    text = (
        f"{group.memory_bytes / 2**30:.1f} GiB, or {group.strips_bytes / 2**30:.1f} GiB in strips"
    )
    if group.history_bytes >= 0.05 * 2**30:
        text += f", {group.history_bytes / 2**30:.1f} GiB of it L-BFGS's history"
    if group.members > 1:
        text += f", on each of the {group.members} devices that share a picture"
    return text


def _time(plan: Plan) -> list[str]:
    if not plan.left:
        return []
    if plan.device_seconds is None or plan.wall_seconds is None:
        return ["  to estimate the time: stylefarm plan JOB --pilot"]
    on = plural(plan.gpus, "worker")
    text = f"  {_hours(plan.device_seconds)} of device time left: about "
    text += f"{_hours(plan.wall_seconds)} on {on}"
    if plan.cost is not None:
        text += f", {plan.cost:,.2f} at {plan.price_per_gpu_hour:,.2f} an hour each"
    lines = [text]
    if plan.only_films and plan.gpus > plan.useful_workers:
        lines.append(
            f"    no more than {plural(plan.useful_workers, 'worker')} can be busy at once"
        )
    if plan.device is not None:
        lines.append(f"    measured by a pilot on {plan.device}, with one worker at a time")
    return lines


def _hours(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else duration_text(seconds)
