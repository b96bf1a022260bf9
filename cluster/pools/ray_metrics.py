"""``Metrics``: a run's metrics for Prometheus, through Ray's exporter. ``deploy/grafana.json`` shows them.

Ray serves them on the nodes' metrics ports, with the prefix ``ray_`` and, for counters, the suffix
``_total``. All come from the driver, which hears every event, so a run has one series of each; workers have
none.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from typing_extensions import assert_never

from cluster.events import events

COUNTERS = {
    "stylefarm_tasks": ("Tasks that ended, and attempts that are made again.", ("status",)),
    "stylefarm_steps": ("Optimiser steps.", ()),
    "stylefarm_device_busy_seconds": (
        "Seconds for which a worker held its devices.",
        ("worker", "node"),
    ),
    "stylefarm_fetch_seconds": ("Seconds spent on fetching and decoding pictures.", ()),
    "stylefarm_store_seconds": ("Seconds spent on encoding and storing pictures.", ()),
    "stylefarm_workers_lost": ("Workers lost, by reason.", ("reason",)),
    "stylefarm_wait_seconds": (
        "Seconds in which the run waited for workers that others had, or was paused.",
        (),
    ),
    "stylefarm_given_back": ("Workers given back, because others were to have their places.", ()),
}
GAUGES = {
    "stylefarm_queue": ("Tasks at hand: waiting, running or retrying.", ("state",)),
    "stylefarm_workers": ("Workers: up or pending.", ("state",)),
    "stylefarm_wanted": ("Workers that the run could use, if nobody else were there.", ()),
    "stylefarm_share": ("Workers that the run may have, on a cluster that others use, too.", ()),
    "stylefarm_paused": ("1 while a storage outage pauses the run.", ()),
    "stylefarm_gpu_hours": ("GPU hours that this run's workers have held.", ()),
}
HISTOGRAMS = {
    "stylefarm_task_seconds": (
        "Device seconds of a finished render.",
        (0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3000, 10000),
    )
}
TAG = "job"
"""The tag of every series: the job's name."""


class Metrics:
    """A listener that passes events on and counts them as Ray metrics. Ray must be connected.

    Args:
        job: The job's name, the value of ``TAG``.
        listen: Hears every event.
    """

    def __init__(self, job: str, listen: Callable[[events.Event], None]) -> None:
        self._listen = listen
        self._counters, self._gauges, self._histograms = make_metrics(
            COUNTERS, GAUGES, HISTOGRAMS, TAG, job
        )
        self._steps: dict[str, int] = {}
        """The steps counted so far for each running render, by task id."""
        self._given_back = 0
        """The workers given back that are counted so far."""
        self._waits_since: float | None = None
        """Since when the time is not counted that the run waits for others; None: it does not wait."""
        self._busy: dict[str, float] = {}
        """The busy seconds counted so far for each worker, by name."""

    def __call__(self, event: events.Event) -> None:
        self._listen(event)
        match event:
            case events.TaskDone():
                self._count("stylefarm_tasks", status="done")
                self._count("stylefarm_steps", event.steps - self._steps.pop(event.id, 0))
                self._count("stylefarm_fetch_seconds", event.phases.get("fetch", 0.0))
                self._count("stylefarm_store_seconds", event.phases.get("store", 0.0))
                # A histogram takes only values above 0.
                self._histograms["stylefarm_task_seconds"].observe(max(event.seconds, 1e-3))
            case events.TaskFailed():
                self._count("stylefarm_tasks", status="failed")
            case events.TaskRetried():
                self._count("stylefarm_tasks", status="retried")
            case events.WorkerLost():
                self._count("stylefarm_workers_lost", reason=event.kind)
            case events.ShareChanged():
                self._set("stylefarm_share", event.workers)
            case events.Beat():
                self._beat(event)
            case (
                events.Started()
                | events.Counted()
                | events.RowsRead()
                | events.RowsSkipped()
                | events.ColumnsUnused()
                | events.KnobsWithoutEffect()
                | events.PicturesUnread()
                | events.PicturesMissing()
                | events.MasksDoubtful()
                | events.PagesLeftOut()
                | events.SavedOtherwise()
                | events.PictureLost()
                | events.InputChanged()
                | events.WebhookFailed()
                | events.NodeAvoided()
                | events.VideoDoubtful()
                | events.VideoProgress()
                | events.VideoMade()
                | events.NoVideo()
                | events.Paused()
                | events.Resumed()
                | events.Live()
                | events.Draining()
                | events.LeftOut()
                | events.OutputHeld()
                | events.JobAwaited()
                | events.FilmSearched()
                | events.WishesChanged()
                | events.Finished()
            ):
                pass  # no metric, or one that comes with Beat
            case _:
                assert_never(event)

    def _beat(self, event: events.Beat) -> None:
        for state in ("waiting", "retrying"):
            self._set("stylefarm_queue", getattr(event, state), state=state)
        self._set("stylefarm_queue", event.in_flight, state="running")
        self._set("stylefarm_workers", event.workers, state="up")
        self._set("stylefarm_workers", event.pending, state="pending")
        self._set("stylefarm_wanted", event.wanted)
        self._count("stylefarm_given_back", event.given_back - self._given_back)
        self._given_back = event.given_back
        now = time.monotonic()
        if self._waits_since is not None:
            self._count("stylefarm_wait_seconds", now - self._waits_since)
        self._waits_since = now if event.waits else None
        self._set("stylefarm_paused", float(event.paused))
        self._set("stylefarm_gpu_hours", event.gpu_hours)
        before, self._steps = self._steps, {p.task_id: p.step for p in event.running}
        for task, step in self._steps.items():
            # A render that started again is counted from its first step.
            self._count("stylefarm_steps", step - min(before.get(task, 0), step))
        for state_ in event.fleet:
            more = state_.busy_seconds - self._busy.get(state_.name, 0.0)
            self._busy[state_.name] = state_.busy_seconds
            worker = state_.name.partition("@")[0]
            self._count("stylefarm_device_busy_seconds", more, worker=worker, node=state_.node)

    def _count(self, name: str, value: float = 1.0, **tags: str) -> None:
        if value > 0:  # a counter takes only values above 0
            self._counters[name].inc(value, tags=tags)

    def _set(self, name: str, value: float, **tags: str) -> None:
        self._gauges[name].set(value, tags=tags)


def make_metrics(
    counters: Mapping[str, tuple[str, tuple[str, ...]]],
    gauges: Mapping[str, tuple[str, tuple[str, ...]]],
    histograms: Mapping[str, tuple[str, tuple[float, ...]]],
    tag: str,
    value: str,
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Make Ray's metrics, each with one tag that always has the same value.

    Args:
        counters: (description, tags) by name, as in ``COUNTERS``.
        gauges: (description, tags) by name, as in ``GAUGES``.
        histograms: (description, upper bounds of the buckets) by name, as in ``HISTOGRAMS``.
        tag: The name of the constant tag.
        value: The tag's value; characters outside ASCII are escaped.

    Returns:
        The counters, gauges and histograms, each by name.
    """
    from ray.util.metrics import Counter, Gauge, Histogram

    # Ray's metrics accept only ASCII, and raise otherwise.
    plain = value.encode("ascii", "backslashreplace").decode()

    def tagged(metric: Any) -> Any:
        return metric.set_default_tags({tag: plain})

    return (
        {
            name: tagged(Counter(name, description=text, tag_keys=(tag, *tags)))
            for name, (text, tags) in counters.items()
        },
        {
            name: tagged(Gauge(name, description=text, tag_keys=(tag, *tags)))
            for name, (text, tags) in gauges.items()
        },
        {
            name: tagged(
                Histogram(name, description=text, boundaries=list(buckets), tag_keys=(tag,))
            )
            for name, (text, buckets) in histograms.items()
        },
    )
