"""A run with the stand-in renderer in a process of its own, which may be stopped at any of its writes.

``python -m tests.support.driver JOB`` runs a job. ``... JOB --count`` prints how many points there are,
just before and just after each write, at which it could be killed; ``... JOB --points 1 2 ...`` makes a copy
of the job's folder for each of these points, runs it there until that point kills it, and runs it again to
the end. ``... JOB --kills N`` kills a run N times at random moments, and prints after each what is committed
by then; then tells it to hurry, and runs it to the end. One process imports everything and forks for each.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import os
import random
import re
import select
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

import cluster.run.run_job
import jobs.storage.folder
from cluster.events.events import Event, TaskDone
from cluster.run.options import RunOptions
from cluster.run.run_job import run_job
from jobs.jobfile.load import load_job
from jobs.storage import keys
from jobs.storage.folder import FolderStorage
from jobs.storage.open import open_storage
from jobs.storage.s3 import S3Storage
from tests.support.farm import PATIENCE, STAND_IN, hurry
from tests.support.forked import preload

_lock = threading.Lock()
_points = 0


def run(job: Path) -> int:
    """The job to its end; its exit status."""
    cluster.run.run_job.CHECKPOINT_SECONDS = 0.0

    def listen(event: Event) -> None:
        if isinstance(event, TaskDone):
            print(event.id, flush=True)

    options = RunOptions(pool="inline", renderer=STAND_IN)
    return run_job(load_job(job), options, listen).exit_status


def _point(last: int | None) -> None:
    global _points
    with _lock:
        _points += 1
        if _points == last:
            os.kill(os.getpid(), signal.SIGKILL)


def _around(
    function: Callable[..., Any], last: int | None, *, before: bool = True, after: bool = True
) -> Callable[..., Any]:
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        # Of the gallery, which is written twice, the index alone: before it the others are as good as none.
        if any(_is_of_gallery(str(arg)) for arg in args[:2]):
            return function(*args, **kwargs)
        if before:
            _point(last)
        try:
            return function(*args, **kwargs)
        finally:
            if after:
                _point(last)

    return wrapped


def _is_of_gallery(place: str) -> bool:
    return bool(re.search(r"(^|/)gallery(/|$)", place)) and not place.endswith("/index.js")


def _watch(last: int | None) -> None:
    """Count points, and die at the last."""
    global _points
    _points = 0
    for storage in (FolderStorage, S3Storage):
        for method in ("put", "put_file", "put_new", "delete"):
            # What a kill after a change in a folder would find, one before the folder's sync finds, too.
            around = _around(getattr(storage, method), last, after=storage is not FolderStorage)
            setattr(storage, method, around)
    # Of a file, also between its writing aside and its coming into place.
    folder = jobs.storage.folder
    folder._write_through = _around(folder._write_through, last, before=False)
    folder._sync_folder = _around(folder._sync_folder, last, after=False)


def _in_child(work: Callable[[], int]) -> int:
    """The exit status of ``work`` in a child; negative the signal that killed it."""
    child = os.fork()
    if child == 0:
        try:
            status = work()
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            status = 99
        os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _count(job: Path) -> int:
    _watch(None)
    status = run(job)
    print("points", _points, flush=True)
    return status


def _interrupted(job: Path, last: int) -> int:
    _watch(last)
    return run(job)


def _killed(job: Path, moments: random.Random) -> None:
    """Run a job in a child, and kill it: soon after its first task is done, or at any moment before."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.dup2(writer, sys.stdout.fileno())
            run(job)
        finally:
            os._exit(99)
    os.close(writer)
    if moments.random() < 0.8:
        select.select([reader], [], [], PATIENCE * 60)
    time.sleep(moments.uniform(0, 0.3))
    os.kill(child, signal.SIGKILL)
    os.close(reader)
    print("status", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def _tell_records(job: Path) -> int:
    loaded = load_job(job)
    storage = open_storage(loaded.spec.output, loaded.spec.storage, base=loaded.base)
    for stat in storage.list(keys.RECORDS):
        digest = hashlib.sha256(storage.get(stat.key)).hexdigest()
        print("record", stat.key, digest, flush=True)
    return 0


def copy_job(job: Path, number: int) -> Path:
    """The job in a folder of its own, with an output of its own."""
    folder = job.parent.with_name(f"{job.parent.name}-{number}")
    shutil.copytree(job.parent, folder)
    spec = yaml.safe_load(job.read_text())
    spec["output"] = f"{spec['output']}-{number}"
    copy = folder / job.name
    copy.write_text(yaml.safe_dump(spec))
    return copy


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("job", type=Path)
    parser.add_argument("--count", action="store_true")
    parser.add_argument("--points", type=int, nargs="+", default=[])
    parser.add_argument("--kills", type=int, default=0)
    options = parser.parse_args()
    if not options.points and not options.kills:
        sys.exit(_count(options.job) if options.count else run(options.job))
    preload()
    gc.freeze()
    # A kill loses nothing that was written, as a loss of power would: nobody needs to wait for the disk.
    os.fsync = lambda descriptor: None
    moments = random.Random(4)
    for _ in range(options.kills):
        _killed(options.job, moments)
        _in_child(lambda: _tell_records(options.job))
    if options.kills:
        hurry(options.job)
        print("status", _in_child(lambda: run(options.job)), flush=True)
        _in_child(lambda: _tell_records(options.job))
    for number in options.points:
        copy = copy_job(options.job, number)
        print("crash", number, flush=True)
        killed = _in_child(lambda n=number, c=copy: _interrupted(c, n))
        print("status", killed, flush=True)
        print("status", _in_child(lambda c=copy: run(c)), flush=True)


if __name__ == "__main__":
    main()
