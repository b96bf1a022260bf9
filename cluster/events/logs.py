"""Logs: as text for people, or as one JSON object per line for programs.

Every record about an attempt names it: ``log.info(text, extra={"task": ..., "attempt": ...})``.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Literal

from typing_extensions import assert_never

from cluster.events import events
from cluster.events.json_lines import to_json

log = logging.getLogger("stylefarm")

LogFormat = Literal["text", "json"]

FIELDS = ("task", "attempt", "worker", "node")
"""The fields that a log record may have beside its message."""


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON: time, level, logger, message, ``FIELDS`` and the traceback.

    Args:
        always: Fields of every line.
    """

    def __init__(self, always: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self._always = always or {}

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(
                "T", "milliseconds"
            ),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **self._always,
        }
        for field in FIELDS:
            if hasattr(record, field):
                line[field] = getattr(record, field)
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class TextFormatter(logging.Formatter):
    """Formats a record as a line for people, with its ``FIELDS`` at the end."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        about = [f"{field}={getattr(record, field)}" for field in FIELDS if hasattr(record, field)]
        return f"{text} [{' '.join(about)}]" if about else text


def set_up(format_: LogFormat, level: int, always: Mapping[str, str] | None = None) -> None:
    """Set up logging to standard error.

    Args:
        format_: ``text`` or ``json``.
        level: The lowest level to log.
        always: Fields of every JSON line.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(always) if format_ == "json" else TextFormatter())
    logging.basicConfig(force=True, level=level, handlers=[handler])
    # botocore logs every retried request and where it found credentials, which tells a user nothing.
    logging.getLogger("botocore").setLevel(logging.WARNING)


def log_event(event: events.Event) -> None:
    """Log an event as one line, except ``Beat``, ``Live`` and ``VideoProgress``, which come every few
    seconds or more often."""
    about: dict[str, object] = {}
    level = logging.INFO
    match event:
        case events.Beat() | events.Live() | events.VideoProgress():
            return
        case events.TaskDone():
            about = {"task": event.id, "worker": event.worker}
        case events.TaskFailed():
            level, about = logging.WARNING, {"task": event.id, "attempt": event.attempts}
        case events.TaskRetried():
            level, about = logging.WARNING, {"task": event.id, "attempt": event.attempt_number}
        case events.WorkerLost():
            about = {"worker": event.worker}
        case events.VideoDoubtful():
            level = logging.WARNING
        case events.NoVideo():
            level = logging.WARNING if event.failed else logging.INFO
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
            | events.Paused()
            | events.Resumed()
            | events.VideoMade()
            | events.Draining()
            | events.LeftOut()
            | events.OutputHeld()
            | events.JobAwaited()
            | events.FilmSearched()
            | events.ShareChanged()
            | events.WishesChanged()
            | events.Finished()
        ):
            pass
        case _:
            assert_never(event)
    log.log(level, "%s %s", event.event, to_json(event), extra=about)
