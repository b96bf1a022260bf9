"""``data_script``: data that the gallery reads as a script, since a page from a folder can fetch nothing."""

from __future__ import annotations

import json
import math
from typing import Any

CONTENT_TYPE = "text/javascript; charset=utf-8"


def data_script(function: str, value: object) -> bytes:
    """Return a script that calls a function of the gallery's page with data.

    Args:
        function: The function's name, without ``stylefarm.``.
        value: What ``json.dumps`` takes; numbers that JSON does not have become null.
    """
    return f"stylefarm.{function}({data_text(value)});\n".encode()


def parse_data_script(function: str, script: bytes) -> Any:
    """Return the data of a script that ``data_script`` made.

    Args:
        function: As in ``data_script``.
        script: Its bytes.

    Raises:
        ValueError: It is no such script.
    """
    text = script.decode()
    begin, end = f"stylefarm.{function}(", ");\n"
    if not (text.startswith(begin) and text.endswith(end)):
        raise ValueError(f"this is no data for {function}")
    return json.loads(text[len(begin) : -len(end)])


def data_text(value: object) -> str:
    """Return data as JSON in ASCII, without ``<``; numbers that JSON does not have become null."""
    return json.dumps(finite(value), allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def finite(value: object) -> object:
    """Return a value with null in place of the numbers that JSON does not have."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
