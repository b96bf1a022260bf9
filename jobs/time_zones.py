"""Time zones by their names in the tz database."""

from __future__ import annotations

import re
from datetime import timezone, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

_NOT_ZONES = ("localtime", "posixrules", "Factory", "posix/", "right/")
"""Files beside those of the zones: what they mean depends on the machine, or on leap seconds."""


@lru_cache(maxsize=64)
def find_zone(name: str) -> tzinfo:
    """The zone of a name such as Europe/Rome. Raises ValueError when there is none."""
    if name == "UTC":
        return timezone.utc  # also where there is no database
    if not re.fullmatch(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*", name) or name.startswith(_NOT_ZONES):
        raise ValueError(name)
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, LookupError):  # a folder of them, or no such file
        raise ValueError(name) from None
