"""``expand_home``: the one place where a leading ``~`` becomes a home folder.

In a container a user may have none: the user id has no entry in the list of users, and HOME is not set or
names a folder that does not exist. Python's own functions then raise RuntimeError, or return the ``~``.
"""

from __future__ import annotations

import os
from pathlib import Path

ADVICE = "set HOME to a folder that exists, or write the path in full"


class HomeError(RuntimeError):
    """There is no such home folder."""


def expand_home(text: str) -> Path:
    """Return the path that a text means in which a leading ``~`` or ``~user`` is a home folder.

    Only a whole first part counts: ``~`` and ``~/a.jpg``, ``~user`` and ``~user/a.jpg``. A folder whose name
    begins with ``~`` is written ``./~name``.

    Args:
        text: The path as it was written.

    Returns:
        The path; relative where the text is, and has no ``~``.

    Raises:
        HomeError: There is no such home folder. The sentence names HOME, or the user, and what to do.
    """
    first, _, rest = text.partition("/")
    if not first.startswith("~"):
        return Path(text)
    home = _home_of(first[1:], text) if len(first) > 1 else _own_home(text)
    return home / rest.lstrip("/")


def _own_home(text: str) -> Path:
    home = os.environ.get("HOME", "")
    cause = f"HOME is {home}"
    if not home:  # as where it is not set
        try:
            home = str(Path.home()) if os.name == "nt" else _entry(os.getuid())
        except (KeyError, RuntimeError):
            raise HomeError(
                f"{text}: ~ is the home folder, and there is none, because HOME is not set and "
                f"user {os.getuid()} is not in the list of users; {ADVICE}"
            ) from None
        cause = f"HOME is not set, and the list of users says {home}"
    path = Path(home)
    if not path.is_absolute() or not os.path.isdir(path):  # noqa: PTH112 - raises nothing
        raise HomeError(
            f"{text}: ~ is the home folder, and there is none: {cause}, which is no folder; {ADVICE}"
        )
    return path


def _home_of(name: str, text: str) -> Path:
    try:
        if os.name == "nt":
            return Path(f"~{name}").expanduser()
        return Path(_entry(name))
    except (KeyError, RuntimeError):
        raise HomeError(
            f"{text}: there is no user {name}, whose home folder ~{name} would be; write the path in "
            f"full, or ./~{name} for a folder of that name"
        ) from None


def _entry(user: int | str) -> str:
    """Return the home folder in a user's entry. Raises KeyError where there is no entry, or none in it."""
    import pwd

    entry = pwd.getpwuid(user) if isinstance(user, int) else pwd.getpwnam(user)
    if not entry.pw_dir:
        raise KeyError(user)
    return entry.pw_dir
