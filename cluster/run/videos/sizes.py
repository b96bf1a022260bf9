"""``SizesSeen``: tells while frames are painted that they have several sizes, of which there is no video."""

from __future__ import annotations

from collections.abc import Iterable

from cluster.events.events import Listener, VideoDoubtful
from jobs.records.record import TaskRecord, sequence_of
from jobs.tasks.films.film_set import FilmSet
from jobs.videos.finished import several_sizes_text

Sizes = tuple[int, int]
"""Width and height, in pixels."""


class SizesSeen:
    """Compares the frames that a run commits, and tells each film once. Rendering goes on all the same.

    Args:
        films: The films of the run's job.
        listen: Hears of films whose frames have several sizes.
    """

    def __init__(self, films: Iterable[FilmSet], listen: Listener) -> None:
        self._watched = {film.frames.id: film.written for film in films if film.video is not None}
        self._listen = listen
        self._first: dict[str, tuple[int, Sizes]] = {}
        """The number and the size of a frame of each painted film, by ``sequence_of``."""

    def committed(self, record: TaskRecord) -> None:
        """Take a record that is written."""
        frame, output = record.film, record.output
        if frame is None or output is None or frame.film not in self._watched:
            return
        size = output.width, output.height
        video = sequence_of(record)
        assert video is not None
        first, known = self._first.setdefault(video, (frame.number, size))
        if size != known:
            both = sorted([(first, known), (frame.number, size)])
            film = self._watched.pop(frame.film)
            self._listen(VideoDoubtful(film=film, reason=several_sizes_text(*both)))
