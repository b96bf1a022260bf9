"""``Searching``: tell how far films are looked through for cuts, and end the looking when a run ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from cluster.events.events import FilmSearched, Listener
from cluster.events.live import heed
from cluster.messages import Asked

TELL_SECONDS = 10.0
"""Time between two events. What takes no longer is not told."""


class Searching:
    """Is called for each frame that is looked at (``jobs.tasks.films.survey.Watch``), on any thread.

    Args:
        listen: Hears how far it is, on the thread that made this object.
        asked: Returns whether whoever looks is asked to end.
    """

    def __init__(self, listen: Listener, asked: Callable[[], Asked] = lambda: "no") -> None:
        self._listen = listen
        self._asked = asked
        self._thread = threading.get_ident()
        self._now: FilmSearched | None = None
        self._told: FilmSearched | None = None
        self._told_at = time.monotonic()
        self._ended = False

    def __call__(self, film: str, looked_at: int, frames: int) -> None:
        """Take notice of one more frame.

        Args:
            film: What the film is called.
            looked_at: How many frames were looked at.
            frames: How many there are.

        Raises:
            KeyboardInterrupt: ``end`` was called; or, on the thread of ``listen``, it is asked to end.
        """
        self._now = FilmSearched(film=film, looked_at=looked_at, frames=frames)
        if self._ended:
            raise KeyboardInterrupt
        if threading.get_ident() == self._thread:
            self.check()
            self.tell()

    def tell(self) -> None:
        """Say how far it is, if that is due: every few seconds, and at the end of what was told before."""
        now, told = self._now, self._told
        if now is None or now == told:
            return
        was_told = told is not None and told.film == now.film
        due = time.monotonic() >= self._told_at + TELL_SECONDS
        # A run that paints long since has nothing to say of a film that was looked through in a second.
        if was_told if now.looked_at == now.frames else due:
            self._told, self._told_at = now, time.monotonic()
            self._listen(now)

    def check(self) -> None:
        """Raise AskedToEndError, which is a KeyboardInterrupt, if it is asked to end."""
        heed(self._asked())

    def end(self) -> None:
        """Have whoever looks, on another thread, look no further."""
        self._ended = True
