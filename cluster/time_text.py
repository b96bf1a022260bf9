"""Durations as text: to the second, or rounded for people."""

from __future__ import annotations

from datetime import timedelta


def duration_text(seconds: float) -> str:
    """Return a duration to the second: "0:12:05", "2 days, 1:00:00"."""
    return str(timedelta(seconds=round(seconds)))


def rough_duration_text(duration: timedelta) -> str:
    """Return a duration in its largest units: "45 s", "5 min", "3 h 20 min", "2 d 1 h"; "0 s" if negative."""
    seconds = max(0, round(duration.total_seconds()))
    if seconds < 90:
        return f"{seconds} s"
    minutes = round(seconds / 60)
    hours, rest = divmod(minutes, 60)
    days, hours_left = divmod(hours, 24)
    if days:
        return f"{days} d {hours_left} h"
    return f"{hours} h {rest} min" if hours else f"{rest} min"
