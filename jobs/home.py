"""``expand_home``: a leading ``~`` becomes a home folder, or the error that says why it cannot."""

from __future__ import annotations

from pathlib import Path

from jobs.errors import NoHomeError
from stylize import home


def expand_home(text: str) -> Path:
    """Return the path that a text means in which a leading ``~`` or ``~user`` is a home folder.

    Args:
        text: The path as it was written. ``./~name`` is a folder of that name.

    Returns:
        The path; relative where the text is, and has no ``~``.

    Raises:
        NoHomeError: There is no such home folder. The sentence names HOME, or the user, and what would do.
    """
    try:
        return home.expand_home(text)
    except home.HomeError as error:
        raise NoHomeError(str(error)) from None
