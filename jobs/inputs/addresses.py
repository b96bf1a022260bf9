"""Addresses of pictures, and their form that may be shown and stored."""

from __future__ import annotations

import re
from typing import Any

from jobs.errors import printable


def is_web(uri: str) -> bool:
    """Return whether ``uri`` is an http:// or https:// address."""
    return uri[:8].lower().startswith(("http://", "https://"))


def display(uri: str) -> str:
    """Return ``uri`` as it may be shown, logged and stored.

    A web address loses the parts that may hold a secret: ``user:password@``, the query (signatures) and the
    fragment. Every address loses characters that cannot be printed.
    """
    if not is_web(uri):
        return printable(uri)
    scheme, _, rest = uri.partition("://")
    place = re.split(r"[/?#\\]", rest, maxsplit=1)[0]
    path = re.split(r"[?#]", rest[len(place) :], maxsplit=1)[0]
    return printable(f"{scheme}://{place.rpartition('@')[2]}{path}")


def without_secrets(value: Any) -> Any:
    """Return a JSON-like value with every web address in it, keys included, as ``display`` shows it."""
    if isinstance(value, str):
        return display(value) if is_web(value) else value
    if isinstance(value, dict):
        return {without_secrets(key): without_secrets(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_secrets(item) for item in value]
    return value
