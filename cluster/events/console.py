"""``ConsoleView``: a run on a console, as a bar and a line per picture; on a pipe, as lines only."""

from __future__ import annotations

import time

from rich.console import Console
from rich.filesize import decimal
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from typing_extensions import assert_never

from cluster.display.pictures.newest import NewestPicture, Source
from cluster.display.pictures.strip import PictureStrip
from cluster.events import events
from cluster.events.progress import (
    Meter,
    plural,
    rows_text,
    saved_text,
    searched_text,
    status_line,
    unread_text,
    video_text,
    wishes_text,
)
from cluster.time_text import duration_text
from jobs.storage import keys

LINE_SECONDS = 30.0
"""The interval between two lines about progress, where there is no terminal, in seconds."""


class ConsoleView:
    """A listener that shows a run on a console.

    Args:
        console: Where to print.
        quiet: Whether to show errors only.
        overwrite: Whether the run was started with ``--overwrite``, which must not be repeated to resume it.
        remote: Whether the run is elsewhere, so that its events come from a log: progress is then in ``Live``
            events, and Ctrl-C does not stop the run.
        pictures: Where small pictures come from, if the console is a terminal that shows them; None: none are
            shown.
    """

    def __init__(
        self,
        console: Console,
        quiet: bool = False,
        overwrite: bool = False,
        remote: bool = False,
        pictures: Source | None = None,
    ) -> None:
        self._console = console
        self._quiet = quiet
        self._overwrite = overwrite
        self._remote = remote
        self._meter = Meter(None)
        self._left: int | None = None
        """Tasks left in the whole job before this run; None until the job is read."""
        self._failed_before = 0
        self._line_at = time.monotonic()
        self._bar: TaskID | None = None
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[state]}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=quiet or not console.is_terminal,
        )
        self._pictures: NewestPicture | None = None
        if pictures is not None and not self._progress.disable:
            self._progress.live = strip = PictureStrip(console, self._progress.get_renderable)
            self._pictures = NewestPicture(pictures, strip.show)

    def __call__(self, event: events.Event) -> None:
        match event:
            case events.OutputHeld():
                self._output_held(event)
            case events.JobAwaited():
                self._say(
                    f"[yellow]waiting[/] for {escape(event.job)}: {escape(event.what)}",
                    even_if_quiet=True,
                )
            case events.FilmSearched():
                self.starting(searched_text(event))
            case events.Started():
                self._started(event)
            case events.Counted():
                self._counted(event)
            case events.RowsRead():
                self._rows_read(event)
            case events.RowsSkipped():
                self._rows_skipped(event)
            case events.ColumnsUnused():
                names = ", ".join(escape(name) for name in event.columns)
                self._say(f"[yellow]not used[/]: the manifest's {names}")
            case events.KnobsWithoutEffect():
                for knob in event.knobs:
                    self._say(f"[yellow]note[/] {escape(knob)}", even_if_quiet=True)
            case events.PicturesUnread():
                text = unread_text(event.pictures, event.first)
                self._say(f"[yellow]not read[/]: {escape(text)}", even_if_quiet=True)
            case events.PicturesMissing():
                self._pictures_missing(event)
            case events.MasksDoubtful():
                self._masks_doubtful(event)
            case events.PagesLeftOut():
                self._pages_left_out(event)
            case events.SavedOtherwise():
                text = saved_text(event.done, event.changes)
                self._say(f"[yellow]note[/] {escape(text)}", even_if_quiet=True)
            case events.PictureLost():
                image = escape(event.image)
                self._say(f"[yellow]{escape(event.what)}[/] {image}: it will be rendered again")
            case events.InputChanged():
                self._input_changed(event)
            case events.WebhookFailed():
                host, reason = escape(event.host), escape(event.reason)
                self._say(
                    f"[yellow]webhook failed[/]: the webhook at {host} {reason}", even_if_quiet=True
                )
            case events.Beat():
                self._beat(event)
            case events.Live():
                if self._remote:  # else Beat events come, which have more
                    self._live(event)
            case events.TaskDone():
                self._task_done(event)
            case events.TaskFailed():
                self._task_failed(event)
            case events.TaskRetried():
                name = f"{escape(event.name)}-{event.id}"
                self._say(f"[yellow]retry[/] {name}: {escape(event.error)}")
            case events.WorkerLost():
                self._say(f"[yellow]lost[/] {escape(event.worker)}: {escape(event.reason)}")
            case events.NodeAvoided():
                node = escape(event.node)
                self._say(
                    f"[yellow]avoiding[/] node {node}: {event.faults} workers were lost there"
                )
            case events.Paused():
                self._paused(event)
            case events.Resumed():
                self._say(f"[green]resumed[/] after {event.seconds:.0f} s", even_if_quiet=True)
            case events.WishesChanged():
                self._say(f"[yellow]asked[/] by {escape(event.by)}: {wishes_text(event)}")
            case events.ShareChanged():
                self._share_changed(event)
            case events.VideoDoubtful():
                self._say(
                    f"[red]no video[/] can be made of {escape(event.film)}: {escape(event.reason)}",
                    even_if_quiet=True,
                )
            case events.VideoProgress():
                self._video_progress(event)
            case events.VideoMade():
                self._video_made(event)
            case events.NoVideo():
                colour = "red" if event.failed else "yellow"
                what = event.video or f"video of {event.name}"
                self._say(
                    f"[{colour}]no[/] {escape(what)}: {escape(event.reason)}",
                    even_if_quiet=event.failed,
                )
            case events.Draining():
                self._draining(event)
            case events.LeftOut():
                lines = plural(event.lines, "line")
                self._say(f"[yellow]left out[/]: {lines} of this log", even_if_quiet=True)
            case events.Finished():
                self._finished(event)
            case _:
                assert_never(event)

    def starting(self, what: str) -> None:
        """Print what is being done before the first picture begins, because it takes seconds.

        Args:
            what: One phrase.
        """
        self._say(f"[dim]{escape(what)}[/]")

    def close(self) -> None:
        """Remove the bar, and the picture."""
        self._stop()

    def _output_held(self, event: events.OutputHeld) -> None:
        most = "" if event.patience is None else f" for up to {duration_text(event.patience)}"
        self._say(
            f"[yellow]waiting[/]{most}: {escape(event.reason)}; press Ctrl-C to wait no longer",
            even_if_quiet=True,
        )

    def _started(self, event: events.Started) -> None:
        head = f"[bold]{escape(event.job)}[/] -> {escape(event.output)}: "
        if event.counting:
            self._say(f"{head}the job is still being read")
            self._tell_gallery(event)
            self._bar = self._progress.add_task("rendering", total=None, state="")
            self._progress.start()
            return
        self._count(event)
        self._say(head + self._tally(event))
        if self._left:
            self._tell_gallery(event)
            self._bar = self._progress.add_task("rendering", total=self._left, state="")
            self._progress.start()

    def _tell_gallery(self, event: events.Started) -> None:
        if event.gallery:
            self._say(f"[dim]gallery: {escape(event.gallery)}[/]")

    def _counted(self, event: events.Counted) -> None:
        self._count(event)
        self._say(f"read to the end: {self._tally(event)}")
        if self._bar is not None:
            self._progress.update(self._bar, total=self._left)

    def _count(self, event: events.Started | events.Counted) -> None:
        self._meter.work_left = event.work_left
        self._left = event.tasks - event.done - event.failed
        self._failed_before = event.failed

    def _tally(self, event: events.Started | events.Counted) -> str:
        parts = [plural(event.tasks, "task"), f"{event.done:,} done already"]
        if event.failed:
            parts.append(f"{event.failed:,} failed earlier (--retry-failed retries them)")
        return ", ".join(parts)

    def _rows_read(self, event: events.RowsRead) -> None:
        counts = event.rows, event.used, event.repeated, event.left_out, event.skipped
        self._say(rows_text(*counts))
        for note in event.notes:
            self._say(f"[yellow]note[/] {escape(note)}", even_if_quiet=True)

    def _rows_skipped(self, event: events.RowsSkipped) -> None:
        for row in event.first:
            self._say(f"[yellow]skipped[/] {escape(row)}", even_if_quiet=True)
        if event.rows > len(event.first):
            more = event.rows - len(event.first)
            self._say(
                f"and {more:,} more rows: {keys.SKIPPED} in the output names them",
                even_if_quiet=True,
            )

    def _pictures_missing(self, event: events.PicturesMissing) -> None:
        for picture in event.first:
            self._say(f"[yellow]will fail[/] {escape(picture)}", even_if_quiet=True)
        if event.pictures > len(event.first) or not event.complete:
            some = f"{event.pictures:,} of {plural(event.looked_at, 'picture')} looked at cannot be used"
            rest = "" if event.complete else "; others were not looked at"
            self._say(f"{some}{rest}", even_if_quiet=True)

    def _masks_doubtful(self, event: events.MasksDoubtful) -> None:
        for mask in event.first:
            self._say(f"[yellow]doubtful[/] {escape(mask)}")
        if event.masks > len(event.first):
            self._say(f"{plural(event.masks - len(event.first), 'more mask')} are doubtful")

    def _pages_left_out(self, event: events.PagesLeftOut) -> None:
        for picture in event.first:
            self._say(f"[yellow]in part[/] {escape(picture)}")
        if event.pictures > len(event.first):
            self._say(f"{plural(event.pictures - len(event.first), 'more picture')} likewise")

    def _input_changed(self, event: events.InputChanged) -> None:
        then = "stays as it is" if event.what == "gone" else "will be rendered again"
        self._say(
            f"[yellow]{escape(event.what)}[/] {escape(event.uri)}: "
            f"{escape(event.name)}-{event.id} {then}"
        )

    def _task_done(self, event: events.TaskDone) -> None:
        self._meter.end(event.work, event.steps)
        decimals = 0 if event.seconds >= 10 else 1
        loss = "" if event.total is None else f", loss {event.total:.4g}"
        self._say(
            f"[green]done[/] {escape(event.image)} "
            f"[dim]({event.steps} steps in {event.seconds:.{decimals}f} s{loss})[/]"
        )
        if self._pictures is not None and event.thumbnail is not None:
            self._pictures(event.thumbnail)

    def _task_failed(self, event: events.TaskFailed) -> None:
        self._meter.end(event.work)
        failed = f"[red]failed[/] {escape(event.name)}-{event.id}: {escape(event.error)}"
        kept = f" [dim](last good picture: {escape(event.kept)})[/]" if event.kept else ""
        self._say(failed + kept, even_if_quiet=True)

    def _video_progress(self, event: events.VideoProgress) -> None:
        if self._bar is None:
            self._bar = self._progress.add_task("videos", total=event.frames, state="")
            self._progress.start()
        self._progress.update(self._bar, description="videos", total=event.frames)
        self._show(event.frame, video_text(event), time.monotonic())

    def _video_made(self, event: events.VideoMade) -> None:
        frames = plural(event.frames, "frame")
        self._say(
            f"[green]video[/] {escape(event.video)} "
            f"[dim]({frames}, {event.length:.1f} s, {decimal(event.size)}; made in "
            f"{duration_text(event.seconds)})[/]"
        )

    def _paused(self, event: events.Paused) -> None:
        patience = duration_text(event.patience)
        self._say(
            f"[yellow]paused[/]: {escape(event.reason)} "
            f"[dim](nothing is lost; retrying for up to {patience})[/]",
            even_if_quiet=True,
        )

    def _share_changed(self, event: events.ShareChanged) -> None:
        if event.before is None and not event.waits:
            return  # it has all that it wants, as if it were alone
        may = "no worker" if not event.workers else plural(event.workers, "worker")
        why = f": {escape(event.waits)}" if event.waits else ""
        self._say(f"[yellow]shared[/]: the run may have {may} now{why}")

    def _draining(self, event: events.Draining) -> None:
        insist = "" if self._remote else "; press Ctrl-C again to stop now"
        self._say(
            "[yellow]stopping[/]: running tasks store checkpoints"
            if event.preempted
            else f"[yellow]stopping[/] when running tasks are committed{insist}"
        )

    def _beat(self, event: events.Beat) -> None:
        now = time.monotonic()
        running = event.running
        self._meter.beat(sum(p.step for p in running), sum(p.work for p in running), now)
        state = f"{event.done} done, {event.failed} failed, "
        if self._left is not None:
            state += f"{self._left - event.done - event.failed} left, "
        state += plural(event.workers, "worker")
        state += _busy(event)
        if event.pending:
            state += f" (+{event.pending:,} pending)"
        if event.waits:
            state += f", {event.waits}"
        if event.paused:
            state += ", paused"
        if self._meter.steps_per_second:
            state += f", {self._meter.steps_per_second:.1f} steps/s"
        if self._meter.seconds_left is not None:
            state += f", ETA {duration_text(self._meter.seconds_left)}"
        self._show(event.done + event.failed, state, now)

    def _live(self, event: events.Live) -> None:
        ended = None if self._left is None or event.left is None else self._left - event.left
        if event.state != "ended":
            self._show(ended, status_line(event), time.monotonic())

    def _show(self, ended: int | None, state: str, now: float) -> None:
        if self._bar is not None:
            self._progress.update(self._bar, completed=ended, state=state)
        if not self._console.is_terminal and now - self._line_at > LINE_SECONDS:
            self._line_at = now
            self._say(state)

    def _finished(self, event: events.Finished) -> None:
        self._stop()
        took = duration_text(event.seconds)
        if event.reason == "complete" and not event.done and not event.failed and not event.left:
            rest = (
                "nothing is left to render" if self._failed_before else "everything is already done"
            )
            self._say(f"[green]{rest}[/]{_videos(event)} [dim]({took})[/]")
            return
        left = "more" if event.left is None else f"{event.left}"
        text = f"{event.done} done, {event.failed} failed, {left} left{_videos(event)} in {took}"
        if event.reason in ("interrupted", "preempted"):
            again = "submit it again" if self._remote else "run the same command again"
            text += f"; {again} to resume" + (", without --overwrite" if self._overwrite else "")
        elif event.reason == "max_failures":
            text += "; stopped by stop.max_failures"
        elif event.reason == "max_gpu_hours":
            text += "; stopped by stop.max_gpu_hours; the same command resumes"
        elif event.reason == "limit":
            text += "; stopped by --limit"
        self._say(text)

    def _stop(self) -> None:
        if self._pictures is not None:
            self._pictures.close()
        self._progress.stop()

    def _say(self, text: str, even_if_quiet: bool = False) -> None:
        if even_if_quiet or not self._quiet:
            self._console.print(text, highlight=False, soft_wrap=True)


def _videos(event: events.Finished) -> str:
    """Return what became of videos: ", 2 videos made, 1 failed"; empty: none was made."""
    made = f", {plural(event.videos, 'video')} made" if event.videos else ""
    failed = f", {plural(event.videos_failed, 'video')} failed" if event.videos_failed else ""
    return made + failed


def _busy(event: events.Beat) -> str:
    """Return how busy the workers are, and the least busy one: " 97% busy (least gpu-3: 61%)"."""
    shares = [(state.busy, state.name) for state in event.fleet if state.busy is not None]
    if not shares:
        return ""
    text = f" {sum(share for share, _ in shares) / len(shares):.0%} busy"
    least, name = min(shares)
    if len(shares) > 1:
        text += f" (least {name.partition('@')[0]}: {least:.0%})"
    return text
