"""Addresses of pictures, and what of them may be shown."""

from __future__ import annotations

import re
from typing import Any

from jobs.errors import printable


def is_web(uri: str) -> bool:
    """Whether it is an http:// or https:// address."""
    return uri[:8].lower().startswith(("http://", "https://"))


def display(uri: str) -> str:
    """The URI as it may be shown and logged: of a web address, not what may hold a secret.

    That is ``user:password@``, the query (signatures) and the fragment.
    """
    if not is_web(uri):
        return printable(uri)
    scheme, _, rest = uri.partition("://")
    place = re.split(r"[/?#\\]", rest, maxsplit=1)[0]
    path = re.split(r"[?#]", rest[len(place) :], maxsplit=1)[0]
    return printable(f"{scheme}://{place.rpartition('@')[2]}{path}")


def without_secrets(value: Any) -> Any:
    """A JSON-like value with every web address in it as ``display`` shows it."""
    if isinstance(value, str):
        return display(value) if is_web(value) else value
    if isinstance(value, dict):
        return {without_secrets(key): without_secrets(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_secrets(item) for item in value]
    return value
