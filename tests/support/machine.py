"""Machines as containers are: a user in no list of users, without a home folder; nobody else's processes."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.farm import ROOT, command

STRANGER = 54321
"""The id of a user that no machine's list has."""


@contextmanager
def folder_for_all() -> Iterator[Path]:
    """A folder that every user may write; those of pytest are its own user's."""
    folder = Path(tempfile.mkdtemp(prefix="for-all-"))
    try:
        folder.chmod(0o777)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def as_stranger(words: list[str]) -> list[str]:
    """Return the command line that runs a command as such a user; only root has one.

    The user may read everything, since this Python may lie in a home folder, but write nothing of others.
    """
    setpriv = shutil.which("setpriv")
    if os.geteuid() != 0 or setpriv is None:
        pytest.skip("only root can become another user, with setpriv")
    may_read = "+dac_read_search"
    user = ["--reuid", str(STRANGER), "--regid", str(STRANGER), "--clear-groups"]
    capable = [
        "--inh-caps",
        may_read,
        "--ambient-caps",
        may_read,
        "--bounding-set",
        f"-all,{may_read}",
    ]
    return [setpriv, *user, *capable, *words]


def run_as_stranger(
    words: list[str], folder: Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a command as such a user. HOME is unset unless given.

    Args:
        words: The command line.
        folder: The working directory, from ``folder_for_all``.
        environment: Further variables.
    """
    inherited = {k: v for k, v in os.environ.items() if k != "HOME" and not k.startswith("XDG_")}
    done = subprocess.run(
        as_stranger(words),
        capture_output=True,
        text=True,
        timeout=150,
        cwd=folder,
        env={**inherited, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), **environment},
        check=False,
    )
    if "setpriv:" in done.stderr:
        pytest.skip(done.stderr.strip())
    return done


def stylefarm_of_stranger(
    *arguments: str | Path, folder: Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run ``stylefarm`` as ``run_as_stranger`` does."""
    return run_as_stranger(command(*arguments), folder, **environment)


def alone(words: list[str]) -> list[str]:
    """Return the command line that runs a command where it sees no process but its own."""
    unshare = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
    if os.geteuid() != 0:
        unshare += ["--user", "--map-root-user"]
    try:
        subprocess.run([*unshare, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this user may not hide other processes")
    return [*unshare, *words]
