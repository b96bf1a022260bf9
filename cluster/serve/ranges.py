"""``asked_range``: the part of an object that a request asks for (RFC 9110, section 14)."""

from __future__ import annotations

import re


class UnsatisfiableError(ValueError):
    """The range lies behind the end of the object."""


def asked_range(header: str | None, size: int) -> range | None:
    """Return the bytes that a ``Range`` header asks for.

    Args:
        header: The header; None: there is none.
        size: Bytes of the object.

    Returns:
        The bytes; None: the whole object, because nothing, several ranges or something odd is asked for.

    Raises:
        UnsatisfiableError: There is no such part.
    """
    match = re.fullmatch(r"bytes=(\d{0,18})-(\d{0,18})", (header or "").replace(" ", ""), re.ASCII)
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:  # the last bytes
        if not int(match[2]):
            raise UnsatisfiableError
        first, last = max(0, size - int(match[2])), size - 1
    else:
        first, last = int(match[1]), min(int(match[2]) if match[2] else size - 1, size - 1)
        if match[2] and int(match[2]) < first:
            return None
    if first >= size:
        raise UnsatisfiableError
    return range(first, last + 1)
