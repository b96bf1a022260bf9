"""Runs by the driver of ``driver.py``, and all that is in the outputs they leave."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from jobs.jobfile.load import load_job
from jobs.records.commit import Records
from jobs.storage import keys
from jobs.storage.base import Storage
from jobs.storage.open import open_storage
from tests.support.farm import ROOT, write_stand_in_job
from tests.support.rigs import Rig

DRIVER = [sys.executable, "-m", "tests.support.driver"]

TIMED = (
    *(keys.RECORDS, keys.CARDS, keys.JOB, keys.SUMMARY, keys.LIVE),
    *(keys.INDEX, keys.GALLERY),
)
"""What tells times, by the beginning of its key."""


def drive(job: Path, *options: str) -> list[list[str]]:
    """The words of every line that the driver prints."""
    done = subprocess.run(
        [*DRIVER, str(job), *options], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, 1), done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return [line.split() for line in done.stdout.splitlines()]


def storage_of(job: Path) -> Storage:
    loaded = load_job(job)
    return open_storage(loaded.spec.output, loaded.spec.storage, base=loaded.base)


def contents(storage: Storage) -> dict[str, bytes | None]:
    """Every object; of those that tell times only that they are there."""
    found: dict[str, bytes | None] = {}
    for stat in storage.list():
        if stat.key.startswith((keys.SEGMENTS, keys.PROBE)):
            continue  # how records are packed is nobody's business; a probe is swept when it is old
        # The data of each gallery have a folder of their own.
        key = re.sub(rf"^{keys.GALLERY_DATA}[0-9a-f]{{12}}/", f"{keys.GALLERY_DATA}_/", stat.key)
        found[key] = None if key.startswith(TIMED) else storage.get(stat.key)
    return found


def results(storage: Storage) -> dict[str, tuple[Any, ...]]:
    """What the records say that is the same in every run."""
    return {
        r.id: (r.status, r.error, r.output, r.losses, r.losses_key, r.card)
        for r in Records(storage).all()
    }


def rig_job(rig: Rig, folder: Path, directives: list[dict[str, Any]]) -> Path:
    job = write_stand_in_job(
        folder / "job",
        directives,
        output=rig.url,
        storage=rig.options.model_dump(mode="json", exclude_none=True),
    )
    return folder / "job" / Path(job.file).name
