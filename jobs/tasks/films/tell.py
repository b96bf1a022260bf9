"""``tell_frames``: which frames a film has, for the gallery, which knows no job."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence

from jobs.data_script import CONTENT_TYPE, data_script
from jobs.errors import printable
from jobs.storage import keys
from jobs.storage.base import Storage
from jobs.tasks.films.film_set import FilmSet


def tell_frames(storage: Storage, films: Iterable[FilmSet]) -> None:
    """Store which frames each film has, in place of what an earlier job said.

    Args:
        storage: The output.
        films: The films.

    Raises:
        StorageError: It cannot be written.
    """
    for film in films:
        about = {
            "film": film.frames.id,
            "name": printable(film.frames.name),
            "numbers": list(runs(film.frames.numbers)),
        }
        data = data_script("film", about)
        storage.put(keys.film_frames(film.frames.id), data, content_type=CONTENT_TYPE)


def runs(numbers: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """Yield (first, last, step) of parts that make up some numbers.

    Args:
        numbers: The numbers, ascending.
    """
    if isinstance(numbers, range):
        yield numbers[0], numbers[-1], numbers.step
        return
    first, last = None, 0
    for number in itertools.chain(numbers, (None,)):
        if first is not None and number == last + 1:
            last += 1
            continue
        if first is not None:
            yield first, last, 1
        if number is not None:
            first = last = number
