"""A run with the stand-in renderer in a process of its own, which may be stopped at any of its writes.

``python -m tests.support.driver JOB`` runs a job. ``... JOB --count`` prints how many points there are,
just before and just after each write, at which it could be killed; ``... JOB --points 1 2 ...`` makes a copy
of the job's folder for each of these points, runs it there until that point kills it, and runs it again to
the end. One process imports everything and forks for each.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import os
import re
import shutil
import signal
import sys
import threading
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
from jobs.storage.folder import FolderStorage
from jobs.storage.s3 import S3Storage
from tests.support.farm import STAND_IN
from tests.support.forked import PRELOADED

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
    parser.add_argument("--points", type=int, nargs="+")
    options = parser.parse_args()
    if options.points is None:
        sys.exit(_count(options.job) if options.count else run(options.job))
    for name in PRELOADED:
        importlib.import_module(name)
    gc.freeze()
    for number in options.points:
        copy = copy_job(options.job, number)
        print("crash", number, flush=True)
        killed = _in_child(lambda n=number, c=copy: _interrupted(c, n))
        print("status", killed, flush=True)
        print("status", _in_child(lambda c=copy: run(c)), flush=True)


if __name__ == "__main__":
    main()
