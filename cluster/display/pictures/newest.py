"""``NewestPicture``: fetches the small picture that came last, and shows it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

from cluster.display.pictures.drawings import Drawing, draw
from cluster.display.pictures.terminals import Protocol, cell_of
from cluster.display.standard import ERR

log = logging.getLogger(__name__)

SECONDS = 2.0
"""The shortest time between two pictures, in seconds."""

COLUMNS, ROWS = 40, 8
"""The cells that a picture may take."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where pictures come from, and for what terminal."""

    protocol: Protocol
    get: Callable[[str], bytes]
    """Returns the bytes of a picture's file, by its key; it may wait for a network."""


class NewestPicture:
    """Fetches pictures on a thread of its own, the newest one at a time; what comes between is left out.

    Args:
        source: Where they come from.
        show: Takes each as a drawing, on that thread.
    """

    def __init__(self, source: Source, show: Callable[[Drawing], None]) -> None:
        self._source = source
        self._show = show
        self._key: str | None = None
        self._wanted = threading.Event()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def __call__(self, key: str) -> None:
        """Show this picture soon, unless another one comes. Never waits."""
        self._key = key
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="pictures", daemon=True)
            self._thread.start()
        self._wanted.set()

    def close(self) -> None:
        """Show no more pictures. Waits for nothing."""
        self._closed.set()
        self._wanted.set()

    def _run(self) -> None:
        while self._wanted.wait() and not self._closed.is_set():
            self._wanted.clear()
            try:
                assert self._key is not None
                data = self._source.get(self._key)
                picture = draw(data, self._source.protocol, cell_of(ERR), COLUMNS, ROWS)
                if not self._closed.is_set():
                    self._show(picture)
            except Exception as error:  # a picture less in a terminal, whatever it was
                log.info("%s is not shown: %s", self._key, error)
            self._closed.wait(SECONDS)
