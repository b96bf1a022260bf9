"""What a run writes at its end: the gallery and the summary."""

from __future__ import annotations

import json
import logging

from jobs.errors import ObjectNotFoundError, StorageError
from jobs.jobfile.job import Job, open_output
from jobs.proofs.proofs import proofs_of
from jobs.records.commit import Records, write_json
from jobs.records.statuses import Ledger
from jobs.report.gallery import write_gallery
from jobs.report.summary import summarise
from jobs.storage import keys
from jobs.storage.base import Storage

log = logging.getLogger(__name__)


class Gallery:
    """The gallery of a job's output, with the proofs."""

    def __init__(self, job: Job) -> None:
        self._places = job, proofs_of(job)

    def write(self) -> None:
        """Write the gallery; a failure is logged and does not fail the run."""
        try:
            write_gallery(*map(open_output, self._places))
        except StorageError as error:
            log.warning("the gallery is not written: %s", error)


def write_summary(storage: Storage, records: Records) -> None:
    """Write ``summary.json`` from all records of the output."""
    write_json(storage, keys.SUMMARY, summarise(storage.url, records.entries()).to_json())


def is_summed_up(storage: Storage, ledger: Ledger) -> bool:
    """Return whether ``summary.json`` exists and agrees with the records."""
    try:
        summary = json.loads(storage.get(keys.SUMMARY))
        return (summary["done"], summary["failed"]) == (
            ledger.count("done"),
            ledger.count("failed"),
        )
    except (ObjectNotFoundError, ValueError, TypeError, KeyError):
        return False
