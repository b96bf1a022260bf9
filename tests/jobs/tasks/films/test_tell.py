"""Which frames a film has, as the gallery reads it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from jobs.data_script import parse_data_script
from jobs.storage import keys
from jobs.storage.folder import FolderStorage
from jobs.tasks.films.tell import runs, tell_frames
from jobs.tasks.todo import Agenda
from tests.jobs.support import read, touch


@pytest.mark.parametrize(
    ("numbers", "told"),
    [
        (range(1001, 1041), [(1001, 1040, 1)]),
        (range(1001, 1010, 2), [(1001, 1009, 2)]),
        (range(7, 8), [(7, 7, 1)]),
        ([1, 2, 3, 7, 9, 10], [(1, 3, 1), (7, 7, 1), (9, 10, 1)]),
    ],
)
def test_numbers_are_told_in_parts(
    numbers: Sequence[int], told: list[tuple[int, int, int]]
) -> None:
    assert list(runs(numbers)) == told
    assert [n for first, last, step in told for n in range(first, last + 1, step)] == list(numbers)


def test_a_film_is_told_by_its_id(tmp_path: Path) -> None:
    touch(tmp_path, "w.jpg", *(f"shots/a.{n:04d}.png" for n in range(1001, 1021)))
    text = "output: out\npairs: [{film: shots/a.####.png, frames: 1001-1010x3, style: w.jpg}]\n"
    (film,) = Agenda(read(text, tmp_path), lambda recipe: "digest").films
    storage = FolderStorage(tmp_path / "out")
    tell_frames(storage, [film])

    told = parse_data_script("film", storage.get(keys.film_frames(film.frames.id)))
    assert told == {"film": film.frames.id, "name": "a", "numbers": [[1001, 1010, 3]]}
