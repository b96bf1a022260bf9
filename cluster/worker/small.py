"""``Small``: what the gallery shows of a task besides its picture: a thumbnail, copies of inputs, a card.

Nobody needs any of it: what fails is logged, and the record names what is there.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from threading import Lock
from typing import Any

from cluster.worker.attempt import Fetched
from cluster.worker.renderer import Order, Renderer
from jobs.errors import StorageError
from jobs.inputs.data import InputData
from jobs.records.card import Copies, card_of
from jobs.records.record import TaskRecord
from jobs.spec.output import ImageOptions
from jobs.storage import keys
from jobs.storage.base import Storage

log = logging.getLogger(__name__)

THUMBNAIL_SIZE, THUMBNAIL_QUALITY = 384, 75
"""Longest side in pixels at most, and WebP's quality."""

COPY_SIZE, COPY_QUALITY = 1024, 80
"""The same of copies of inputs, which are looked at closely."""

PREVIEW_SIZE, PREVIEW_QUALITY = 512, 75
"""The same of previews."""

WEBP = "image/webp"
"""The media type."""

MOST_KNOWN = 4096
"""The largest number of copies that a worker remembers to be there."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What was stored of a task."""

    thumbnail: str | None = None
    """Key of the thumbnail; None: there is none."""
    copies: Copies = Copies()  # noqa: RUF009 - frozen
    """The copies of the inputs."""


class Small:
    """Makes and stores what is small. Several threads may call it.

    Args:
        storage: The output.
        image: The job's ``image`` section.
    """

    def __init__(self, storage: Storage, image: ImageOptions) -> None:
        self._storage = storage
        self._image = image
        self._lock = Lock()
        self._known: OrderedDict[str, Future[bool]] = OrderedDict()
        """Copies that are there, or are being made, by key."""

    def pictures(
        self, renderer: Renderer, order: Order, fetched: Fetched, picture: Any | None
    ) -> Shown:
        """Store a task's thumbnail, and the copies of its inputs that are not there yet.

        Args:
            renderer: Makes them.
            order: The task, with its inputs decoded.
            fetched: The files of its inputs.
            picture: The finished picture, or the last good one.
        """
        if not self._image.thumbnails:
            return Shown()
        thumbnail: str | None = None
        copies = Copies()
        try:
            thumbnail = self._thumbnail(renderer, order.task.id, picture)
            copies = self._copies(renderer, order, fetched)
        except Exception as error:
            self._tell(order.task.id, error)
        return Shown(thumbnail, copies)

    def confidence(self, renderer: Renderer, order: Order) -> str | None:
        """Store how firmly the pixels of a film's frame are held.

        Args:
            renderer: Makes the picture.
            order: The task.

        Returns:
            The picture's key; None: there is none.
        """
        if order.hold is None or not self._image.thumbnails:
            return None
        key = keys.confidence(order.task.id)
        mask = order.hold.confidence
        try:
            data = renderer.thumbnail(mask, self._image, THUMBNAIL_SIZE, THUMBNAIL_QUALITY)
            self._storage.put(key, data, content_type=WEBP)
        except Exception as error:
            self._tell(order.task.id, error)
            return None
        return key

    def card(self, record: TaskRecord, log_: bytes, copies: Copies) -> str | None:
        """Store a task's card.

        Args:
            record: Its record, with the last attempt.
            log_: Its loss log, as CSV.
            copies: The copies of its inputs.

        Returns:
            The card's key; None: there is none.
        """
        if not self._image.thumbnails:
            return None
        key = keys.card(record.id)
        try:
            card = card_of(record, log_, copies)
            self._storage.put(key, card, content_type="text/javascript")
        except Exception as error:
            self._tell(record.id, error)
            return None
        return key

    def has_copy(self, key: str, make: Callable[[], bytes]) -> bool:
        """Return whether a copy of an input is there, after storing it if it was not.

        Args:
            key: The copy's key.
            make: Returns the copy; what it raises is logged, but for StorageError.

        Raises:
            StorageError: The output cannot be looked at, or written.
        """
        with self._lock:
            known = self._known.get(key)
            ours = known is None
            if known is None:
                known = self._known[key] = Future()
            self._known.move_to_end(key)
            while len(self._known) > MOST_KNOWN:
                self._known.popitem(last=False)
        if not ours:
            # Pictures of one call often have a style in common, which one of them copies.
            return known.result()
        there = False
        try:
            if self._storage.stat(key) is None:
                self._storage.put(key, make(), content_type=WEBP)
            there = True
        except StorageError:
            raise
        except Exception as error:
            log.warning("%s is not made: %s", key, error)
        finally:
            if not there:
                with self._lock:
                    self._known.pop(key, None)
            known.set_result(there)
        return there

    def _thumbnail(self, renderer: Renderer, task_id: str, picture: Any) -> str:
        key = keys.thumb(task_id)
        data = renderer.thumbnail(picture, self._image, THUMBNAIL_SIZE, THUMBNAIL_QUALITY)
        self._storage.put(key, data, content_type=WEBP)
        return key

    def _copies(self, renderer: Renderer, order: Order, fetched: Fetched) -> Copies:
        def copy(file: InputData, picture: Any, *, mask: bool = False) -> str | None:
            key = keys.input_copy(file.sha256, mask=mask)

            def make() -> bytes:
                return renderer.thumbnail(picture, self._image, COPY_SIZE, COPY_QUALITY)

            return key if self.has_copy(key, make) else None

        styles = []
        for file, (picture, _, mask), part in zip(
            fetched.styles, order.styles, order.task.styles, strict=True
        ):
            of_mask = None
            if part.mask is not None:
                of_mask = copy(fetched.masks[part.mask], mask, mask=True)
            styles.append((copy(file, picture), of_mask))
        init = None if fetched.init is None else copy(fetched.init, order.init)
        return Copies(copy(fetched.content, order.content), tuple(styles), init)

    def _tell(self, task_id: str, error: Exception) -> None:
        log.warning("the gallery lacks a part of it: %s", error, extra={"task": task_id})
