"""Ten thousand frames take no more memory than a thousand."""

from __future__ import annotations

import resource

import pytest

from stylize.video.film import open_film
from stylize.video.writer import film_like
from tests.stylize.video.support import (
    ffmpeg,
    packets_of,
    times,
)


@pytest.mark.slow
def test_memory_stays_where_it_is_over_ten_thousand_frames(tmp_path):
    path = tmp_path / "long.mp4"
    ffmpeg(
        *("-f", "lavfi", "-i", "testsrc2=s=32x32:r=100:d=100", "-c:v", "libx264", "-preset"),
        *("ultrafast", "-bf", "2", "-g", "250", path),
    )
    with open_film(path) as film:
        assert len(film) == 10_000
        frames = film.frames()
        for _ in range(1_000):
            next(frames)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert sum(1 for _ in frames) == 9_000
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert after - before < 4 * 1024  # KiB


@pytest.mark.slow
def test_memory_stays_where_it_is_while_ten_thousand_frames_are_written(tmp_path):
    source = tmp_path / "source.mp4"
    ffmpeg(
        *("-f", "lavfi", "-i", "testsrc2=s=32x32:r=100:d=100", "-f", "lavfi", "-i", "sine=d=100"),
        *("-c:v", "libx264", "-preset", "ultrafast", source),
    )
    path = tmp_path / "film.mp4"
    with open_film(source) as film, film_like(film, path) as writer:
        for frame in film.frames(0, 2_000):
            writer.write(frame.rgb)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for frame in film.frames(2_000):
            writer.write(frame.rgb)
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert after - before < 6 * 1024  # KiB
    assert len(times(path)) == 10_000
    assert len(packets_of(path, "a:0")) == len(packets_of(source, "a:0"))
