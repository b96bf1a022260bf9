"""What Ray needs of this machine to start a cluster here: a token, and a folder for its sockets and logs.

Left alone, Ray writes a new token into the home folder, which a container's user may not have, and makes its
sockets below TMPDIR, where their paths may become longer than the system allows.
"""

from __future__ import annotations

import logging
import os
import secrets
import sys
import tempfile
from pathlib import Path
from typing import Any

from jobs.errors import ClusterError

log = logging.getLogger(__name__)

SOCKET_BYTES = 103 if sys.platform == "darwin" else 107
"""The longest path of a socket, in bytes."""

LONGEST_SOCKET = "/session_2026-11-29_05-05-20_934664_4194304/sockets/plasma_store"
"""The longest path of a socket in Ray's folder."""

BLOCK = bytes(1 << 16)
"""What a folder must have room for."""


def local_options() -> dict[str, Any]:
    """Return arguments for ``ray.init`` that starts a cluster here, and see to its token.

    Raises:
        ClusterError: There is no folder for Ray's sockets and logs.
    """
    _provide_token()
    if os.name == "nt":
        return {}
    folder = _find_folder()
    return {} if folder is None else {"_temp_dir": folder}


def _provide_token() -> None:
    """Give Ray a token through the environment where it would find none.

    The cluster is for this run alone, so nobody else needs its token. One in the home folder would also have
    every later ``ray start`` of this user ask for it.
    """
    if os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH"):
        return
    home = os.environ.get("HOME")  # Ray looks nowhere else
    if not (home and os.access(Path(home) / ".ray/auth_token", os.R_OK)):
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)


def _find_folder() -> str | None:
    """Return a folder for Ray's sockets and logs; None: its default will do. Raises ClusterError."""
    preferred = _ray_default()
    refusals: list[str] = []
    for folder in dict.fromkeys((preferred, "/tmp/ray", "/var/tmp/ray", f"/tmp/ray-{os.getuid()}")):
        problem = _problem_of(folder)
        if problem is None:
            if refusals:
                log.info("Ray's sockets and logs are in %s: %s", folder, "; ".join(refusals))
            return folder if refusals else None
        refusals.append(f"{folder} {problem}")
    name = next((name for name in ("RAY_TMPDIR", "TMPDIR") if name in os.environ), "RAY_TMPDIR")
    raise ClusterError(
        f"Ray has no folder for its sockets and logs: {'; '.join(refusals)}; set {name} to a folder that "
        f"can be written, with a path of at most {SOCKET_BYTES - len(LONGEST_SOCKET) - len('/ray')} bytes"
    )


def _ray_default() -> str:
    parent = os.environ.get("RAY_TMPDIR")
    if parent is None and sys.platform == "linux":
        parent = os.environ.get("TMPDIR")
    return os.path.join("/tmp" if parent is None else parent, "ray")  # noqa: PTH118


def _problem_of(folder: str) -> str | None:
    """Return why a folder cannot have Ray's sockets, as the rest of a sentence; None where it can."""
    if not Path(folder).is_absolute():
        return "is not an absolute path"
    if len(os.fsencode(folder + LONGEST_SOCKET)) > SOCKET_BYTES:
        return "is too long for a socket's path"
    try:
        Path(folder).parent.stat()
        Path(folder).mkdir(exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(BLOCK)
    except OSError as error:
        return f"cannot be used ({error.strerror})"
    return None
