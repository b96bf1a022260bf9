"""Time zones by their names in the tz database."""

from __future__ import annotations

import re
from datetime import timezone, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

_NOT_ZONES = ("localtime", "posixrules", "Factory", "posix/", "right/")
"""Names in the database that are no zones: their meaning depends on the machine, or on leap seconds."""


@lru_cache(maxsize=64)
def find_zone(name: str) -> tzinfo:
    """Return the time zone of a tz database name such as ``Europe/Rome``.

    Raises:
        ValueError: There is no zone of this name.
    """
    if name == "UTC":
        return timezone.utc  # also on a machine without the database
    if not re.fullmatch(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*", name) or name.startswith(_NOT_ZONES):
        raise ValueError(name)
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, LookupError):  # a folder of zones, or no such file
        raise ValueError(name) from None
