"""How near films are to what a player shows: ``python tests/bench/video_colours.py``.

A chart of ramps and patches goes into films and out again. Part 1: films by ffmpeg's zscale (zimg), tagged by
matrix and range, read by ``open_film``, by PyAV's own ``to_ndarray`` and by ffmpeg's ``scale`` with
``accurate_rnd+full_chroma_int``; each against zscale of the same film. Part 2: films by ``FilmWriter``, read
by zscale and by ``open_film``, against the chart. Part 3: seconds for a frame, as fast as one core goes.

Differences are in levels of 255: the largest on flat patches, the mean over all, and the mean with its sign.
Needs ffmpeg with zscale.
"""

from __future__ import annotations

import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from stylize.video.film import open_film  # noqa: E402
from stylize.video.pixels.tags import ColourTags  # noqa: E402
from stylize.video.timing import steady  # noqa: E402
from stylize.video.writer import FilmWriter  # noqa: E402
from tests.stylize.video.support import (  # noqa: E402
    LOSSLESS,
    PATCHES,
    Picture,
    chart,
    film_of_chart,
    patch,
    rgb_by_ffmpeg,
    unit,
)

WIDTH, HEIGHT = 192, 128
MATRICES = {
    "BT.601": ("170m", "smpte170m", 6),
    "BT.709": ("709", "bt709", 1),
    "BT.2020": ("2020_ncl", "bt2020nc", 9),
}


def said(seen: Picture, wanted: Picture) -> str:
    """The differences in a line."""
    off = (seen - wanted) * 255
    worst = 0.0
    for number in range(len(PATCHES)):
        worst = max(worst, float(np.abs(off[patch(number, WIDTH, HEIGHT, 4)]).max()))
    return f"{worst:6.2f} {np.abs(off).mean():6.2f} {off.mean():+6.2f}"


def by_zimg(path: Path, matrix: str, range_: str) -> Picture:
    filters = (
        f"zscale=matrixin={matrix}:rangein={range_}:matrix=gbr:range=full:chromalin=left:f=bilinear"
    )
    return rgb_by_ffmpeg(path, f"{filters},format=gbrp16le", (WIDTH, HEIGHT))


def by_swscale(path: Path, matrix: str, range_: str) -> Picture:
    levels = "tv" if range_ == "limited" else "pc"
    name = {"smpte170m": "smpte170m", "bt709": "bt709", "bt2020nc": "bt2020"}[matrix]
    filters = f"scale=in_color_matrix={name}:in_range={levels}:flags=bilinear+accurate_rnd+full_chroma_int"
    return rgb_by_ffmpeg(path, f"{filters},format=rgb48le", (WIDTH, HEIGHT))


def by_pyav(path: Path) -> Picture:
    import av

    with av.open(str(path)) as container:
        return next(container.decode(video=0)).to_ndarray(format="rgb24") / 255


def ours(path: Path) -> Picture:
    with open_film(path) as film:
        return unit(film.frame(0).rgb)


def reading(folder: Path) -> None:
    names = ("open_film", "PyAV to_ndarray", "ffmpeg scale")
    print("1. read; against zscale of the same film (worst patch, mean, signed mean)")
    print(f"{'':28}" + "".join(f"{name:>24}" for name in names))
    for matrix, (zimg, tag, _) in MATRICES.items():
        for range_ in ("limited", "full"):
            for pixels in ("yuv420p", "yuv420p10le", "yuv422p10le", "yuv444p"):
                path = film_of_chart(
                    folder / "film.mp4",
                    f"zscale=matrixin=gbr:rangein=full:matrix={zimg}:range={range_}:chromal=left,"
                    f"format={pixels}",
                    *(
                        *LOSSLESS,
                        "-colorspace",
                        tag,
                        "-color_range",
                        (range_[0:1] == "l" and "tv") or "pc",
                    ),
                    *("-color_primaries", "bt709", "-color_trc", "bt709"),
                    picture=chart(WIDTH, HEIGHT),
                )
                wanted = by_zimg(path, zimg, range_)
                seen = (ours(path), by_pyav(path), by_swscale(path, tag, range_))
                line = "".join(f"{said(each, wanted):>24}" for each in seen)
                print(f"{matrix:8}{range_:9}{pixels:11}{line}")


def writing(folder: Path) -> None:
    print("\n2. written at quality 100; against the chart (worst patch, mean, signed mean)")
    print(f"{'':32}{'read by zscale':>24}{'read by open_film':>24}")
    picture = chart(WIDTH, HEIGHT)
    kinds: list[tuple[Any, str, int]] = [
        *(("h264", "mp4", 8), ("h264", "mp4", 10), ("h265", "mp4", 8), ("h265", "mov", 10)),
        *(("av1", "webm", 8), ("av1", "mp4", 10), ("prores", "mov", 10)),
    ]
    for codec, suffix, bits in kinds:
        for matrix in ("BT.601", "BT.709"):
            for range_ in ("limited", "full"):
                if codec == "prores" and range_ == "full":
                    continue
                zimg, _, code = MATRICES[matrix]
                path = folder / f"film.{suffix}"
                tags = ColourTags(code, 1, 1, range_)  # type: ignore[arg-type]
                values = np.rint(picture * 65535).astype(np.uint16)
                timing, how = steady(Fraction(25), 2), {"codec": codec, "bits": bits, "tags": tags}
                with FilmWriter(path, (WIDTH, HEIGHT), timing, quality=100, **how) as writer:
                    writer.write(values)
                    writer.write(values)
                line = f"{said(by_zimg(path, zimg, range_), picture):>24}{said(ours(path), picture):>24}"
                print(f"{codec:7}{bits:3} {matrix:8}{range_:9}    {line}")


def speed(folder: Path) -> None:
    print("\n3. seconds for a frame")
    for width, height in ((1280, 720), (1920, 1080), (3840, 2160)):
        for bits in (8, 10):
            y, x = np.mgrid[0:height, 0:width]
            frame = np.stack([x % 256, y % 256, (x + y) % 256], -1).astype(np.uint8)
            path = folder / "film.mp4"
            began = time.perf_counter()
            with FilmWriter(path, (width, height), steady(Fraction(25), 4), bits=bits) as writer:
                for _ in range(4):
                    writer.write(frame)
            written = (time.perf_counter() - began) / 4
            with open_film(path) as film:
                began = time.perf_counter()
                for _ in film.frames():
                    pass
                read = (time.perf_counter() - began) / 4
            print(
                f"{width} x {height}, {bits:2} bits: read {read:.2f}, written as h264 {written:.2f}"
            )


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for part in (reading, writing, speed):
            part(Path(folder))


if __name__ == "__main__":
    main()
