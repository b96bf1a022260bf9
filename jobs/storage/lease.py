"""One driver per output: a lease that its holder renews, and that others respect until it is stale.

The lease is an object that names its holder. Its age is the time between its last write and that of an
object written now, both by the storage's own clock, so that machines whose clocks differ agree. Where the
storage can create an object only if there is none, two drivers cannot both begin. Where it cannot, both may
run for about a second, until one reads that the lease is the other's, and stops; that harms nothing (see
``jobs/records/README.md``). Whether a process of the same machine is alive can be seen, so a driver that was
killed there is replaced at once.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import logging
import os
import secrets
import socket
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from jobs.errors import LeaseHeldError, LeaseLostError, ObjectNotFoundError, StorageError
from jobs.storage import keys
from jobs.storage.base import Storage

log = logging.getLogger(__name__)

RENEW_SECONDS = 10.0
"""Time between two renewals."""

STALE_SECONDS = 60.0
"""A lease that was not renewed for this long is free."""

SETTLE_SECONDS = 1.0
"""Time from taking a lease to the first check whether another driver took it at the same moment."""


@dataclass(frozen=True)
class Holder:
    """The process that holds a lease."""

    nonce: str
    """Random hex digits, different for every lease."""
    host: str
    """Host name."""
    pid: int
    """Process id on ``host``."""
    born: str
    """The machine's boot and the time the process began: no later process with the same id has the same."""
    user: str
    """Login name."""
    since: float
    """When it was taken, in seconds since the epoch."""
    renewed: int = field(default=0, compare=False)
    """Number of renewals so far."""

    def __str__(self) -> str:
        return f"{self.user}@{self.host} (process {self.pid})"


class Lease:
    """The right to write to one output, renewed by a thread until it is released or lost.

    Call ``acquire`` before the first write, ``guard`` before every write that must not happen without the
    lease, and ``release`` at the end.

    Args:
        storage: The output.
        renew_seconds: Time between two renewals, > 0.
        stale_seconds: A lease that was not renewed for this long is free; several times ``renew_seconds``.
        settle_seconds: Time from ``acquire`` to the first renewal, which finds another driver that took the
            lease at the same moment.
    """

    def __init__(
        self,
        storage: Storage,
        *,
        renew_seconds: float = RENEW_SECONDS,
        stale_seconds: float = STALE_SECONDS,
        settle_seconds: float = SETTLE_SECONDS,
    ) -> None:
        self._storage = storage
        self._renew_seconds = renew_seconds
        self._stale_seconds = stale_seconds
        self._settle_seconds = settle_seconds
        self._me = _myself()
        self._renewals = 0
        self._lost: str | None = None
        self._renewed_at = -1e9
        self._stopping = threading.Event()
        self._writing = threading.Lock()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)

    @property
    def nonce(self) -> str:
        """Random hex digits, different for every lease."""
        return self._me.nonce

    def acquire(self) -> Lease:
        """Take the lease, and begin to renew it.

        Returns:
            The lease itself.

        Raises:
            LeaseHeldError: Another driver holds it; the text names that driver.
            StorageError: The storage cannot be used.
        """
        if not self._storage.put_new(keys.LEASE, self._text()):
            holder = _read(self._storage)
            if holder is not None and holder.nonce != self._me.nonce:
                self._refuse_unless_stale(holder)
                log.warning("taking over the lease of %s, which is stale", holder)
            self._storage.put(keys.LEASE, self._text())
        holder = _read(self._storage)
        if holder is None or holder.nonce != self._me.nonce:
            raise self._refusal(holder)
        self._renewed_at = time.monotonic()
        self._thread.start()
        return self

    def check_free(self) -> None:
        """Raise LeaseHeldError if another driver holds the lease; take nothing."""
        holder = _read(self._storage)
        if holder is not None and holder.nonce != self._me.nonce:
            self._refuse_unless_stale(holder)

    def guard(self) -> None:
        """Raise LeaseLostError if another driver has the lease, or may have it.

        A lease that may be stale is renewed first, which may raise StorageError.
        """
        if self._lost is None and time.monotonic() - self._renewed_at > self._stale_seconds:
            self._renew()  # this process was stopped, or the storage did not answer
        if self._lost is not None:
            raise LeaseLostError(self._lost)

    def release(self) -> None:
        """Delete the lease, if it is still this driver's, and stop renewing it. Never raises StorageError."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        with contextlib.suppress(StorageError):
            holder = _read(self._storage)
            if holder is not None and holder.nonce == self._me.nonce:
                self._storage.delete(keys.LEASE)

    def _keep(self) -> None:
        pause = self._settle_seconds
        while not self._stopping.wait(pause):
            pause = self._renew_seconds
            try:
                self._renew()
            except StorageError as error:
                log.warning("the lease is not renewed: %s", error)
            if self._lost is not None:
                return

    def _renew(self) -> None:
        with self._writing:
            holder = _read(self._storage)
            if holder is None or holder.nonce != self._me.nonce:
                who = str(holder) if holder else "nobody: the lease was deleted"
                url = self._storage.url
                self._lost = f"{url} now belongs to {who}; this run stops; what it committed stays."
                return
            self._renewals += 1
            self._storage.put(keys.LEASE, self._text(), content_type="application/json")
            self._renewed_at = time.monotonic()

    def _refuse_unless_stale(self, holder: Holder) -> None:
        if _is_dead(holder, self._me):
            return
        age = self._age()
        if age is not None and age < self._stale_seconds:
            raise self._refusal(holder, age)

    def _age(self) -> float | None:
        """Return the seconds since the lease was written, by the storage's clock; None when it is gone."""
        key = f"{keys.PROBE}{self._me.nonce}"
        self._storage.put(key, b"now")
        try:
            now, lease = self._storage.stat(key), self._storage.stat(keys.LEASE)
        finally:
            self._storage.delete(key)
        return None if now is None or lease is None else max(0.0, now.modified - lease.modified)

    def _refusal(self, holder: Holder | None, age: float = 0.0) -> LeaseHeldError:
        who = str(holder) if holder else "another driver"
        since = f", last heard of {age:.0f} s ago" if age else ""
        return LeaseHeldError(
            self._storage.url, f"being rendered by {who}{since}", self._stale_seconds
        )

    def _text(self) -> bytes:
        return json.dumps({**asdict(self._me), "renewed": self._renewals}, indent=1).encode()


def is_abandoned(storage: Storage, nonce: str) -> bool:
    """Return whether a lease is held by a process of this machine that has ended without releasing it.

    Args:
        storage: The output.
        nonce: The lease's, as ``Lease.nonce``.

    Returns:
        True only where that can be seen: of a process of another machine, or container, it cannot.

    Raises:
        StorageError: The storage cannot be used.
    """
    holder = _read(storage)
    return holder is not None and holder.nonce == nonce and _is_dead(holder, _myself())


def _read(storage: Storage) -> Holder | None:
    """Return the holder; None when there is no lease, or none that can be read."""
    try:
        values: dict[str, Any] = json.loads(storage.get(keys.LEASE))
        return Holder(**values)
    except (ObjectNotFoundError, ValueError, TypeError, RecursionError):
        return None


def who() -> str:
    """Return who runs this process, and where: ``user@host``."""
    return f"{_user()}@{socket.gethostname()}"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return f"uid {os.getuid()}" if hasattr(os, "getuid") else "somebody"


def _myself() -> Holder:
    return Holder(
        secrets.token_hex(8),
        socket.gethostname(),
        os.getpid(),
        _born(os.getpid()),
        _user(),
        time.time(),
    )


def _born(pid: int) -> str:
    """Return the machine's boot and the time a live process of this machine began; empty for a process that
    has ended, also for a zombie (in a container without an init no process reaps it)."""
    import psutil

    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return ""
        return f"{_boot()}/{process.create_time():.2f}"
    except psutil.Error:
        return ""


def _boot() -> str:
    """Return an id of this boot and process namespace: containers do not see each other's processes."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"  # noqa: PTH115 - no path, but text
    except OSError:
        import psutil

        return f"{psutil.boot_time():.0f}"


def _is_dead(holder: Holder, me: Holder) -> bool:
    """Return whether the holder was a process of this machine that has ended. Others count as alive."""
    same_machine = holder.host == me.host and holder.born.split("/")[0] == me.born.split("/")[0]
    return same_machine and _born(holder.pid) != holder.born
