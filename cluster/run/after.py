"""What a run writes at its end: the gallery and the summary."""

from __future__ import annotations

import csv
import io
import json
import logging

from jobs.errors import ObjectNotFoundError, StorageError, printable
from jobs.jobfile.job import Job, open_output
from jobs.proofs.proofs import proofs_of
from jobs.records.commit import Records, write_json
from jobs.records.statuses import Ledger
from jobs.report.gallery import write_gallery
from jobs.report.summary import summarise
from jobs.storage import keys
from jobs.storage.base import Storage
from jobs.tasks.row_account import RowAccount

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


def write_skipped_rows(storage: Storage, rows: RowAccount) -> None:
    """Write ``skipped.csv``, which names the rows that could not be used; without such rows, delete it."""
    if not rows.problems:
        if rows.counts().rows:
            storage.delete(keys.SKIPPED)
        return
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(("row", "column", "problem"))
    table.writerows((p.file, p.field, printable(p.message)) for p in rows.problems)
    storage.put(keys.SKIPPED, text.getvalue().encode(), content_type="text/csv")


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
