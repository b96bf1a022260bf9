"""``nearest``: the name most like a misspelt one."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable


def nearest(name: str, names: Iterable[str]) -> str | None:
    """Return the name most like another, whatever the case; None: none is near.

    Names that differ in their numbers alone, such as frames, are not near: one more is missing there.
    """
    by_lower = {other.lower(): other for other in names if other != name}
    near = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.7)
    if not near or (near[0] != name.lower() and _numberless(near[0]) == _numberless(name.lower())):
        return None
    return by_lower[near[0]]


def _numberless(name: str) -> str:
    return re.sub(r"\d+", "0", name)
