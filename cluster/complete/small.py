"""``complete_small``: small pictures and cards for the tasks of an output that have none.

Those are the tasks of earlier versions, and those whose worker could not write them. Each record is written
again by the ordinary commit, with the output's lease, and differs only in naming what was made.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cluster.worker.paint_thread import keep_to_one_core
from cluster.worker.small import (
    COPY_QUALITY,
    COPY_SIZE,
    THUMBNAIL_QUALITY,
    THUMBNAIL_SIZE,
    WEBP,
    Small,
)
from jobs.errors import InputError, LeaseLostError, ObjectNotFoundError, StorageError
from jobs.inputs.addresses import is_web
from jobs.inputs.reader import Inputs
from jobs.parallel import parallel_map
from jobs.records.card import Copies, card_of
from jobs.records.columns import mapped
from jobs.records.commit import Records
from jobs.records.record import OutputRecord, TaskRecord
from jobs.records.statuses import CODES, DONE
from jobs.records.verify import find_missing
from jobs.spec.output import ImageOptions
from jobs.storage import keys
from jobs.storage.base import Storage, StorageOptions
from jobs.storage.lease import Lease
from stylize.errors import PictureError

if TYPE_CHECKING:
    from stylize.pictures.mask import Mask
    from stylize.pictures.picture import Picture

log = logging.getLogger(__name__)

THREADS = min(4, os.cpu_count() or 1)
"""Pictures at a time, each whole in memory."""


def complete_small(
    storage: Storage, on_progress: Callable[[int, int], None] = lambda done, all_: None
) -> int:
    """Make what done tasks lack: the small picture, the card, and the copies of inputs that are still there.

    A job with ``image.thumbnails: false`` is left as it is, and so are pictures that are missing or damaged.
    What was made when an error, or Ctrl-C, ends this stays, and is not made again.

    Args:
        storage: The output.
        on_progress: Called with the number of tasks looked at, and of all; not at all where none lacks
            anything.

    Returns:
        The number of tasks that lack nothing any more.

    Raises:
        LeaseHeldError: A run works on the output.
        StorageError: The output cannot be read, or not be written.
    """
    job = _job_of(storage)
    if job.get("job", {}).get("image", {}).get("thumbnails") is False:
        return 0
    ids = list(_incomplete(Records(storage)))
    if ids:
        missing = {damage.id for damage in find_missing(storage, Records(storage).entries())}
        ids = [task_id for task_id in ids if task_id not in missing]
    if not ids:
        return 0
    lease = Lease(storage).acquire()
    try:
        records = Records(storage, lease.guard)
        completer = _Completer(storage, records, _inputs_of(job))
        made, lost = 0, False
        try:
            on_progress(0, len(ids))
            for done, completed in enumerate(parallel_map(completer.complete, ids, THREADS), 1):
                made += completed
                on_progress(done, len(ids))
        except LeaseLostError:
            lost = True
            raise
        finally:
            if not lost:  # what is packed may be another's by now
                records.close()
        records.sweep_segments()
        return made
    finally:
        lease.release()


def _incomplete(records: Records) -> Iterator[str]:
    """Yield the ids of done tasks that lack a small picture or a card."""
    for table, valid in records.tables(("id", "status", "thumbnail", "card")):
        done = mapped(table.column("status"), CODES, 0) == DONE
        there = table.column("thumbnail").to_numpy() & table.column("card").to_numpy()
        ids = table.column("id").to_numpy()[valid & done & ~there]
        yield from (f"{number:0{keys.ID_LENGTH}x}" for number in ids.tolist())


def _job_of(storage: Storage) -> dict[str, Any]:
    """Return what ``job.json`` says; nothing where it is missing or damaged."""
    try:
        job = json.loads(storage.get(keys.JOB))
    except (ObjectNotFoundError, ValueError):
        return {}
    whole = isinstance(job, dict) and isinstance(job.get("job"), dict)
    return job if whole and isinstance(job["job"].get("image", {}), dict) else {}


def _inputs_of(job: dict[str, Any]) -> Inputs | None:
    """Return the reader of a job's inputs; None where ``job.json`` does not say where they are."""
    try:
        options = StorageOptions.model_validate(job["job"]["storage"])
        return Inputs(Path(job["file"]).parent, options)
    except (KeyError, TypeError, ValueError, StorageError):
        return None


class _Completer:
    """Completes tasks, on several threads.

    Args:
        storage: The output.
        records: Its records.
        inputs: Reads what the pictures were made from; None: nobody can.
    """

    def __init__(self, storage: Storage, records: Records, inputs: Inputs | None) -> None:
        self._storage = storage
        self._records = records
        self._inputs = inputs
        self._small = Small(storage, ImageOptions())
        self._unreadable: set[str] = set()
        """Keys of copies that cannot be made."""

    def complete(self, task_id: str) -> bool:
        """Complete a task; return whether it lacks nothing now.

        Raises:
            StorageError: The output cannot be read or written.
        """
        record = self._records.read(task_id)
        if record is None or record.status != "done" or record.output is None:
            return False
        try:
            thumbnail = record.output.thumbnail or self._thumbnail(task_id, record.output)
        except (PictureError, ObjectNotFoundError, MemoryError) as error:
            log.warning("%s has no small picture: %s", record.output.key, error)
            return False
        output = record.output.model_copy(update={"thumbnail": thumbnail})
        self._records.commit(
            record.model_copy(update={"output": output, "card": record.card or self._card(record)})
        )
        return True

    def _thumbnail(self, task_id: str, output: OutputRecord) -> str:
        from stylize.pictures.codec import decode
        from stylize.pictures.small import small_webp

        keep_to_one_core()
        data = self._storage.get(output.key)
        if hashlib.sha256(data).hexdigest() != output.sha256:
            raise PictureError("it is not the picture that was stored")
        small = small_webp(decode(data, output.key), THUMBNAIL_SIZE, THUMBNAIL_QUALITY)
        key = keys.thumb(task_id)
        self._storage.put(key, small, content_type=WEBP)
        return key

    def _card(self, record: TaskRecord) -> str:
        try:
            losses = b"" if record.losses_key is None else self._storage.get(record.losses_key)
        except ObjectNotFoundError:
            losses = b""
        key = keys.card(record.id)
        card = card_of(record, losses, self._copies(record))
        self._storage.put(key, card, content_type="text/javascript")
        return key

    def _copies(self, record: TaskRecord) -> Copies:
        digests = {source.uri: source.sha256 for source in record.inputs}

        def copy(uri: str | None, *, mask: bool = False) -> str | None:
            sha256 = digests.get(uri or "")
            if uri is None or sha256 is None:
                return None
            key = keys.input_copy(sha256, mask=mask)
            if key in self._unreadable:
                return None
            if self._small.has_copy(key, lambda: self._copied(uri, sha256, mask=mask)):
                return key
            self._unreadable.add(key)
            return None

        styles = [
            (copy(uri), copy(mask[0], mask=True) if mask else None)
            for uri, _, *mask in record.styles
        ]
        return Copies(copy(record.content), tuple(styles), copy(record.init))

    def _copied(self, uri: str, sha256: str, *, mask: bool) -> bytes:
        """Return the small copy of an input that is still what it was. Raises InputError or PictureError."""
        from stylize.pictures.codec import decode
        from stylize.pictures.mask import read_mask
        from stylize.pictures.small import small_webp

        keep_to_one_core()
        # An address on the web has lost what gives access to it, and nobody asked to call its server.
        if self._inputs is None or is_web(uri):
            raise InputError(f"{uri} is not read again")
        try:
            data = self._inputs.read(uri)
        except StorageError as error:  # of the input, not of the output
            raise InputError(str(error)) from error
        if data.sha256 != sha256:
            raise InputError(f"{uri} has changed")
        picture: Picture | Mask = read_mask(data.data, uri) if mask else decode(data.data, uri)
        return small_webp(picture, COPY_SIZE, COPY_QUALITY)


def small_picture(data: bytes, name: str, longest: int, quality: int) -> bytes | None:
    """Return a picture, small, as a WebP file.

    Args:
        data: The picture's file.
        name: What it is, for error messages.
        longest: The longest side of the result at most, in pixels.
        quality: 1 to 100.

    Returns:
        The file; None if the picture cannot be read.
    """
    from stylize.pictures.codec import decode
    from stylize.pictures.small import small_webp

    keep_to_one_core()
    try:
        return small_webp(decode(data, name), longest, quality)
    except PictureError:
        return None
