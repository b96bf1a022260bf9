"""What a run writes at its end: the gallery, which is begun at its start, and the summary."""

from __future__ import annotations

import csv
import io
import json
import logging
import threading
from collections.abc import Callable
from functools import partial

from jobs.errors import ObjectNotFoundError, StorageError, printable
from jobs.jobfile.job import Job, open_output
from jobs.proofs.proofs import proofs_of
from jobs.records.commit import Records, write_json
from jobs.records.statuses import Ledger
from jobs.report.gallery import begin_gallery, write_gallery
from jobs.report.summary import summarise
from jobs.storage import keys
from jobs.storage.base import Storage
from jobs.tasks.row_account import RowAccount
from jobs.videos.record import video_keys

log = logging.getLogger(__name__)


class Gallery:
    """The gallery of a job's output, with the proofs."""

    def __init__(self, job: Job) -> None:
        self._places = job, proofs_of(job)
        self._beginning: threading.Thread | None = None

    @property
    def url(self) -> str:
        """The address of its first page."""
        return f"{open_output(self._places[0]).url.rstrip('/')}/{keys.INDEX}"

    def begin(self, output: Storage) -> None:
        """Have a page to open while the run lasts. The run does not wait for it.

        Args:
            output: That of the run: the job's, or that of its proofs.
        """
        begin = partial(begin_gallery, running=output)
        self._beginning = threading.Thread(
            target=self._try, args=(begin,), name="gallery", daemon=True
        )
        self._beginning.start()

    def write(self) -> bool:
        """Write the gallery; a failure is logged and does not fail the run. Return whether it is written."""
        if self._beginning is not None:
            self._beginning.join()  # what it writes is older
        return self._try(write_gallery)

    def _try(self, write: Callable[[Storage, Storage], object]) -> bool:
        try:
            write(*map(open_output, self._places))
        except StorageError as error:
            log.warning("the gallery is not written: %s", error)
            return False
        return True


def write_summary(storage: Storage, records: Records) -> None:
    """Write ``summary.json`` from all records of the output, and its videos."""
    summary = summarise(storage.url, records.entries())
    summary.videos = video_keys(storage)
    write_json(storage, keys.SUMMARY, summary.to_json())


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
