"""Films for tests, made and looked at by an FFmpeg that is not the one under test: the system's commands."""

from __future__ import annotations

import json
import shutil
import subprocess
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stylize.video.film import open_film
from stylize.video.timing import steady
from stylize.video.writer import FilmWriter, film_like
from tests.support.rigs import missing

Picture = npt.NDArray[np.float64]

WIDTH, HEIGHT = 96, 64


def command(name: str) -> str:
    """``ffmpeg`` or ``ffprobe``."""
    found = shutil.which(name)
    if found is None:
        missing(f"{name} is not installed")
    assert found is not None
    return found


def ffmpeg(*arguments: object, data: bytes | None = None) -> bytes:
    """Run ffmpeg; return what it writes to its output."""
    done = subprocess.run(
        [command("ffmpeg"), "-loglevel", "error", "-y", *map(str, arguments)],
        input=data,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def ffprobe(path: Path, *arguments: str) -> dict[str, Any]:
    """Return what ffprobe says."""
    done = subprocess.run(
        [command("ffprobe"), "-loglevel", "error", "-of", "json", *arguments, str(path)],
        capture_output=True,
        check=True,
    )
    parsed: dict[str, Any] = json.loads(done.stdout)
    return parsed


def stream_of(path: Path, kind: str = "v:0") -> dict[str, Any]:
    """Return what ffprobe says of a stream."""
    found: dict[str, Any] = ffprobe(path, "-select_streams", kind, "-show_streams")["streams"][0]
    return found


def packets_of(path: Path, kind: str = "v:0") -> list[tuple[int, int, str, str]]:
    """Return (pts, duration, flags, digest) of the packets of a stream, by time."""
    said = ffprobe(
        path, "-select_streams", kind, "-show_packets", "-show_data_hash", "md5", "-show_entries",
        "packet=pts,duration,flags,data_hash",
    )  # fmt: skip
    packets = [
        (int(p["pts"]), int(p.get("duration", 0)), p["flags"], p["data_hash"])
        for p in said["packets"]
    ]
    return sorted(packets)


def shown_by_ffmpeg(path: Path) -> list[int]:
    """Return when ffprobe's decoder shows each frame of a film."""
    said = ffprobe(path, "-select_streams", "v:0", "-show_frames", "-show_entries", "frame=pts")
    return [int(frame["pts"]) for frame in said["frames"]]


def chart(width: int = WIDTH, height: int = HEIGHT) -> Picture:
    """A test chart, (H, W, 3) in [0, 1]: ramps, and above them patches of pure and of mixed colours."""
    y, x = np.mgrid[0:height, 0:width]
    rgb = np.stack([x / (width - 1), y / (height - 1), (x + y) / (width + height - 2)], -1)
    for number, colour in enumerate(PATCHES):
        rgb[patch(number, width, height, border=0)] = colour
    return rgb


PATCHES = (
    (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (0, 1, 1), (1, 0, 1),
    (1, 1, 1), (0, 0, 0), (0.08, 0.78, 0.24), (0.5, 0.5, 0.5), (0.9, 0.6, 0.5), (0.1, 0.1, 0.1),
)  # fmt: skip


def patch(
    number: int, width: int = WIDTH, height: int = HEIGHT, border: int = 3
) -> tuple[slice, slice]:
    """Where a patch of the chart lies, without a border that its neighbours' chroma reaches."""
    each = width // len(PATCHES)
    tall = height // 2 // 2 * 2
    return (
        slice(border, tall - border),
        slice(number * each + border, (number + 1) * each - border),
    )


def film_of_chart(
    path: Path,
    filters: str,
    *arguments: object,
    picture: Picture | None = None,
    frames: int = 2,
    rate: str = "25",
) -> Path:
    """Write a film of frames that are all the chart.

    Args:
        path: Its ending says the container.
        filters: From 16 bits of R'G'B' to what is encoded.
        arguments: The encoder's.
        picture: In the place of the chart.
    """
    rgb = chart() if picture is None else picture
    height, width = rgb.shape[:2]
    data = np.rint(rgb * 65535).astype("<u2").tobytes() * frames
    ffmpeg(
        *("-f", "rawvideo", "-pix_fmt", "rgb48le", "-s", f"{width}x{height}", "-r", rate, "-i", "-"),
        *("-vf", filters, *arguments, path),
        data=data,
    )  # fmt: skip
    return path


def rgb_by_ffmpeg(path: Path, filters: str, size: tuple[int, int] = (WIDTH, HEIGHT)) -> Picture:
    """Return the first frame as ffmpeg shows it by some filters, (H, W, 3) in [0, 1]."""
    out = ffmpeg(
        "-i", path, "-frames:v", 1, "-vf", filters, "-f", "rawvideo", "-pix_fmt", "rgb48le", "-"
    )
    return np.frombuffer(out, "<u2").reshape(size[1], size[0], 3) / 65535


def raw_by_ffmpeg(path: Path, pixels: str) -> bytes:
    """Return the first frame's bytes as they are stored."""
    return ffmpeg("-i", path, "-frames:v", 1, "-f", "rawvideo", "-pix_fmt", pixels, "-")


def unit(rgb: npt.NDArray[Any]) -> Picture:
    """Return uint8 or uint16 in [0, 1]."""
    return rgb / np.iinfo(rgb.dtype).max


def moving(path: Path, *arguments: object, seconds: float = 2, rate: str = "30000/1001") -> Path:
    """Write a film in which something moves, with a tone."""
    ffmpeg(
        *("-f", "lavfi", "-i", f"testsrc2=s={WIDTH}x{HEIGHT}:r={rate}:d={seconds}"),
        *("-f", "lavfi", "-i", f"sine=d={seconds}:r=48000"),
        *("-pix_fmt", "yuv420p", *arguments, path),
    )
    return path


def damage(path: Path, number: int) -> None:
    """Damage one frame of a film file, from 1."""
    packets = sorted(ffprobe(path, "-show_packets")["packets"], key=lambda p: int(p["pts"]))
    data = bytearray(path.read_bytes())
    begin = int(packets[number - 1]["pos"]) + (8 if path.suffix == ".mkv" else 0)
    data[begin : begin + 16] = b"\xff" * 16
    path.write_bytes(data)


X264 = ("-c:v", "libx264", "-preset", "veryfast")
LOSSLESS = ("-c:v", "libx264", "-preset", "ultrafast", "-qp", "0")


def copied(
    source: Path, target: Path, start: int = 0, stop: int | None = None, **options: Any
) -> None:
    """Read a film and write it."""
    with (
        open_film(source) as film,
        film_like(film, target, start=start, stop=stop, **options) as writer,
    ):
        for frame in film.frames(start, stop):
            writer.write(frame.rgb)


def times(path: Path) -> list[tuple[int, int]]:
    return [packet[:2] for packet in packets_of(path) if "D" not in packet[2]]


def smooth(width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """A picture without edges in its chroma, in [0, 1]."""
    y, x = np.mgrid[0:height, 0:width]
    red, green = x / (width - 1), y / (height - 1)
    return np.stack([red, green, 0.5 + 0.45 * np.sin(x / 15) * np.cos(y / 12)], -1)


def write(path: Path, picture: np.ndarray, frames: int = 3, **options: Any) -> FilmWriter:
    """A film of one picture, given in as many bits as it is written with."""
    bits = options.get("bits") or (10 if options.get("codec") == "prores" else 8)
    white, kind = (255, np.uint8) if bits == 8 else (65535, np.uint16)
    values = np.rint(picture * white).astype(kind)
    height, width = values.shape[:2]
    with FilmWriter(path, (width, height), steady(Fraction(25), frames), **options) as writer:
        for _ in range(frames):
            writer.write(values)
    return writer
