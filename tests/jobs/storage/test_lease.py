"""One driver per output, on every storage."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil
import pytest

from jobs.errors import LeaseHeldError, LeaseLostError
from jobs.storage import keys
from jobs.storage.base import Storage
from jobs.storage.lease import Lease
from tests.support.farm import wait_for
from tests.support.rigs import Rig


@contextmanager
def held(storage: Storage, **times: float) -> Iterator[Lease]:
    lease = Lease(storage, **times).acquire()
    try:
        yield lease
    finally:
        lease.release()


def foreign(storage: Storage, **changes: Any) -> None:
    """A lease of a driver on another machine."""
    with held(storage):
        holder = json.loads(storage.get(keys.LEASE))
    holder |= {"nonce": "f" * 16, "host": "elsewhere", "born": "another boot/1", "pid": 7}
    storage.put(keys.LEASE, json.dumps({**holder, "user": "ada", **changes}).encode())


def test_a_second_driver_is_refused_by_name(rig: Rig) -> None:
    storage = rig.open()
    with held(storage) as lease:
        with pytest.raises(LeaseHeldError) as caught:
            Lease(rig.open()).acquire()
        lease.guard()
    told = str(caught.value)
    assert storage.url in told
    assert f"(process {os.getpid()})" in told


def test_what_is_given_back_is_free(rig: Rig) -> None:
    storage = rig.open()
    with held(storage):
        pass
    assert list(storage.list()) == []
    with held(storage):
        assert [found.key for found in storage.list()] == [keys.LEASE]


def test_a_lease_of_another_machine_is_respected_until_it_is_stale(rig: Rig) -> None:
    storage = rig.open()
    foreign(storage)
    with pytest.raises(LeaseHeldError, match=r"ada@elsewhere \(process 7\)"):
        Lease(storage).acquire()
    time.sleep(2.2)  # S3 tells seconds
    with held(storage, stale_seconds=1.0) as lease:
        lease.guard()


def test_a_renewed_lease_is_not_stale(rig: Rig) -> None:
    storage = rig.open()
    with held(storage, settle_seconds=0.1, renew_seconds=0.2):
        first = json.loads(storage.get(keys.LEASE))["renewed"]
        wait_for(lambda: json.loads(storage.get(keys.LEASE))["renewed"] > first + 1, 10)


def test_a_driver_that_was_killed_is_gone_on_from_at_once(rig: Rig) -> None:
    storage = rig.open()
    script = """
import os, sys
from jobs.storage.lease import Lease
from jobs.storage.base import StorageOptions
from jobs.storage.open import open_storage
options = StorageOptions.model_validate_json(sys.argv[2])
Lease(open_storage(sys.argv[1], options)).acquire()
os.kill(os.getpid(), 9)
"""
    command = [sys.executable, "-c", script, rig.url, rig.options.model_dump_json()]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == -9, done.stderr
    assert json.loads(storage.get(keys.LEASE))["pid"] != os.getpid()
    with held(storage):
        pass


def test_a_driver_that_was_killed_and_not_reaped_is_gone_on_from_at_once(rig: Rig) -> None:
    """In a container without an init nobody reaps what was killed: it stays a zombie."""
    storage = rig.open()
    script = """
import sys, time
from jobs.storage.lease import Lease
from jobs.storage.base import StorageOptions
from jobs.storage.open import open_storage
options = StorageOptions.model_validate_json(sys.argv[2])
Lease(open_storage(sys.argv[1], options)).acquire()
print("held", flush=True)
time.sleep(60)
"""
    command = [sys.executable, "-c", script, rig.url, rig.options.model_dump_json()]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        process.kill()
        # Popen reaps only when it is asked for the status.
        wait_for(lambda: psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE, 10)
        with held(storage):
            pass


def test_a_driver_that_lost_its_lease_is_told_by_whom(rig: Rig) -> None:
    storage = rig.open()
    lease = Lease(storage, settle_seconds=0.1, renew_seconds=0.1).acquire()
    foreign_text = json.loads(storage.get(keys.LEASE)) | {"nonce": "0", "user": "ada", "host": "b"}

    def is_lost() -> bool:
        # Again: a renewal that had begun before may have come after it.
        storage.put(keys.LEASE, json.dumps(foreign_text).encode())
        try:
            lease.guard()
        except LeaseLostError as error:
            return "now belongs to ada@b" in str(error)
        return False

    wait_for(is_lost, 10)
    lease.release()
    assert json.loads(storage.get(keys.LEASE))["user"] == "ada"  # not ours to delete


def test_a_driver_that_slept_looks_before_it_writes(rig: Rig) -> None:
    """Its renewing thread slept, too, so that only the clock tells."""
    storage = rig.open()
    lease = Lease(storage, stale_seconds=0.2, settle_seconds=600).acquire()
    foreign_text = json.loads(storage.get(keys.LEASE)) | {"nonce": "0"}
    storage.put(keys.LEASE, json.dumps(foreign_text).encode())
    time.sleep(0.3)
    with pytest.raises(LeaseLostError):
        lease.guard()
    lease.release()


@pytest.mark.parametrize("data", [b"", b"{}", b"[1]", b"\xff", b"[" * 100_000])
def test_a_lease_that_says_nothing_is_taken_over(rig: Rig, data: bytes) -> None:
    storage = rig.open()
    storage.put(keys.LEASE, data)
    with held(storage) as lease:
        lease.guard()


def test_two_at_the_same_moment_do_not_both_go_on(rig: Rig) -> None:
    from concurrent.futures import ThreadPoolExecutor

    def take(_: int) -> Lease | None:
        try:
            return Lease(rig.open(), settle_seconds=0.3, renew_seconds=0.3).acquire()
        except LeaseHeldError:
            return None

    with ThreadPoolExecutor(8) as pool:
        taken = [lease for lease in pool.map(take, range(8)) if lease is not None]
    assert taken

    def is_held(lease: Lease) -> bool:
        try:
            lease.guard()
        except LeaseLostError:
            return False
        return True

    # The others learn of it when they renew theirs.
    wait_for(lambda: sum(map(is_held, taken)) == 1, 20)
    for lease in taken:
        lease.release()
