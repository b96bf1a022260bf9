"""``python -m tests.support.clock STATE JOB... [--seconds S] [--status N]``: the clock, with ticks that
are quick to start. ``... tick`` is such a tick: it takes S seconds, or until there is a file ``enough``
beside the job file, says when it began and ended, and heeds signals as a run does. When it has heard one,
there is a file ``asked`` beside the job file."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from datetime import datetime
from pathlib import Path

COMMITTED, CHECKPOINT, DONE = "interrupted", "preempted", "complete"

RELOAD_SECONDS = 1
"""The interval between two looks of the clock at its job files, in seconds."""


def tick(folder: Path, planned: str, seconds: float, status: int) -> int:
    """What a run does, without rendering."""
    asked: list[int] = []

    def hear(number: int, _: object) -> None:
        asked.append(number)
        (folder / "asked").touch()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, hear)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT, signal.SIGTERM))  # as a run does
    began = time.time()
    until = time.monotonic() + seconds
    while (
        time.monotonic() < until
        and signal.SIGTERM not in asked
        and not (folder / "enough").exists()
    ):
        time.sleep(0.02)
    reason = CHECKPOINT if signal.SIGTERM in asked else COMMITTED if asked else DONE
    with (folder / "ticks.jsonl").open("a") as file:
        line = {"planned": planned, "began": began, "ended": time.time(), "reason": reason}
        file.write(json.dumps(line) + "\n")
    if status:
        print("nothing of this works", flush=True)
        return status
    left = 0 if reason == DONE else 1
    counts = {"done": 1, "failed": 0, "left": left, "seconds": seconds, "reason": reason}
    print(json.dumps({"event": "finished", **counts}), flush=True)
    return 130 if asked else 0


def clock(state: Path, jobs: list[Path], seconds: float, status: int) -> int:
    """The clock itself, as the command starts it."""
    from cluster.schedule import service
    from cluster.schedule.service import Command, Service
    from jobs.jobfile.job import Job

    service.RELOAD_SECONDS = RELOAD_SECONDS

    class Quick(Command):
        def words(self, job: Job, planned: datetime) -> list[str]:
            words = [sys.executable, __file__, "tick", job.base, planned.isoformat()]
            return [*map(str, words), str(seconds), str(status)]

    return Service(jobs, state, Quick(), lambda text: print(text, flush=True)).run()


def main() -> int:
    if sys.argv[1] == "tick":
        folder, planned, seconds, status = sys.argv[2:]
        return tick(Path(folder), planned, float(seconds), int(status))
    parser = argparse.ArgumentParser()
    parser.add_argument("state", type=Path)
    parser.add_argument("jobs", type=Path, nargs="+")
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--status", type=int, default=0)
    arguments = parser.parse_args()
    return clock(arguments.state, arguments.jobs, arguments.seconds, arguments.status)


if __name__ == "__main__":
    sys.exit(main())
