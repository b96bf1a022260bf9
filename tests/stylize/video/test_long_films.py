"""Ten thousand frames take no more memory than a thousand."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.stylize.video.support import ffmpeg, packets_of, times
from tests.support.memory import peaks

READ = """
from stylize.video.film import open_film

with open_film(arguments) as film:
    assert len(film) == 10_000
    frames = film.frames()
    for _ in range(1_000):
        next(frames)
    peak()
    assert sum(1 for _ in frames) == 9_000
    peak()
"""

WRITE = """
from stylize.video.film import open_film
from stylize.video.writer import film_like

source, path = arguments
with open_film(source) as film, film_like(film, path) as writer:
    for frame in film.frames(0, 2_000):
        writer.write(frame.rgb)
    peak()
    for frame in film.frames(2_000):
        writer.write(frame.rgb)
    peak()
"""


@pytest.mark.slow
def test_memory_stays_where_it_is_over_ten_thousand_frames(tmp_path: Path) -> None:
    path = tmp_path / "long.mp4"
    ffmpeg(
        *("-f", "lavfi", "-i", "testsrc2=s=32x32:r=100:d=100", "-c:v", "libx264", "-preset"),
        *("ultrafast", "-bf", "2", "-g", "250", path),
    )
    before, after = peaks(READ, str(path))
    assert after - before < 4 * 2**20


@pytest.mark.slow
def test_memory_stays_where_it_is_while_ten_thousand_frames_are_written(tmp_path: Path) -> None:
    source, path = tmp_path / "source.mp4", tmp_path / "film.mp4"
    ffmpeg(
        *("-f", "lavfi", "-i", "testsrc2=s=32x32:r=100:d=100", "-f", "lavfi", "-i", "sine=d=100"),
        *("-c:v", "libx264", "-preset", "ultrafast", source),
    )
    before, after = peaks(WRITE, [str(source), str(path)])
    assert after - before < 6 * 2**20
    assert len(times(path)) == 10_000
    assert len(packets_of(path, "a:0")) == len(packets_of(source, "a:0"))
