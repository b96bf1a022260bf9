"""Programs that read pictures, to hold against: each gives what it sees, laid over white, as sRGB."""

from __future__ import annotations

import shutil
import subprocess
from functools import lru_cache
from pathlib import Path

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray

from tests.stylize.pictures.reading.table.colours import SRGB, srgb_of

Array = NDArray[np.float64]


@lru_cache
def _found(program: str, sign: str = "", *version: str) -> str | None:
    """The path of a program, if what it says about itself has a sign."""
    path = shutil.which(program)
    if path is None or not sign:
        return path
    said = subprocess.run([path, *version], capture_output=True, text=True, check=False)
    return path if sign in said.stdout + said.stderr else None


def _magick() -> str | None:
    sign = "Version: ImageMagick"
    return _found("magick", sign, "-version") or _found("convert", sign, "-version")


PROGRAMS = {
    "ImageMagick": _magick,
    "libvips": lambda: _found("vips"),
    "djxl": lambda: _found("djxl"),
    "avifdec": lambda: _found("avifdec"),
    "opj_decompress": lambda: _found("opj_decompress"),
    "heif-convert": lambda: _found("heif-convert"),
    "dwebp": lambda: _found("dwebp"),
}


class UnableError(Exception):
    """A program cannot read a file at all, as it was built."""


def is_here(reader: str) -> bool:
    return PROGRAMS[reader]() is not None


def see(reader: str, data: bytes, ending: str, profiled: bool, folder: Path) -> Array:
    """(H, W, 3) in [0, 1], as a reader sees a file. ``profiled``: the file has a profile to be obeyed."""
    program = PROGRAMS[reader]()
    assert program is not None
    file, out = folder / f"in.{ending}", folder / "out"
    file.write_bytes(data)
    srgb = folder / "srgb.icc"
    srgb.write_bytes(SRGB.profile())
    match reader:
        case "ImageMagick":
            to_srgb = ["-profile", str(srgb)] if profiled else ["-colorspace", "sRGB"]
            kind = ["-depth", "16", "-type", "TrueColorAlpha", f"pam:{out}"]
            _call(program, f"{file}[0]", "-auto-orient", *to_srgb, *kind)
            return _over_white(_pam(out.read_bytes()))
        case "libvips":
            out = out.with_suffix(".tif")
            turns = "[autorotate]" if ending in ("jpg", "tif") else ""
            if profiled:
                # Of 8 bits only: see ``rows.py``. With --depth 16 it leaves the alpha of 8 bits as it is.
                how = ["--embedded", "--intent", "relative", "--depth", "8"]
                _call(program, "icc_transform", f"{file}{turns}", str(out), str(srgb), *how)
            else:
                _call(program, "copy", f"{file}{turns}", str(out))
            values = _unit(tifffile.imread(out))
            return srgb_of(values[..., :3]) if ending == "exr" else _over_white(values)
        case "djxl":
            _call(program, str(file), str(out.with_suffix(".png")))
        case "avifdec":
            _call(program, "-d", "16", str(file), str(out.with_suffix(".png")))
        case "opj_decompress":
            _call(program, "-i", str(file), "-o", str(out.with_suffix(".png")))
        case "heif-convert":
            _call(program, str(file), str(out.with_suffix(".png")))
        case "dwebp":
            _call(program, str(file), "-o", str(out.with_suffix(".png")))
    found = sorted(folder.glob("out*.png"))
    return _over_white(_unit(imagecodecs.png_decode(found[0].read_bytes())))


def _call(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode:
        raise UnableError(done.stderr.strip().splitlines()[-1:])


def _unit(values: NDArray[np.generic]) -> Array:
    values = values if values.ndim == 3 else values[..., None]
    white = np.iinfo(values.dtype).max if values.dtype.kind == "u" else 1
    return values.astype(float) / white


def _over_white(values: Array) -> Array:
    """(H, W, 3) of grey or RGB, with or without alpha."""
    channels = values.shape[2]
    alpha = values[..., -1:] if channels in (2, 4) else np.ones_like(values[..., :1])
    colours = values[..., : 1 if channels < 3 else 3]
    return colours.repeat(3 // colours.shape[2], 2) * alpha + 1 - alpha


def _pam(data: bytes) -> Array:
    head, _, body = data.partition(b"ENDHDR\n")
    said = dict(line.split(maxsplit=1) for line in head.decode().splitlines()[1:] if " " in line)
    shape = (int(said["HEIGHT"]), int(said["WIDTH"]), int(said["DEPTH"]))
    kind = ">u2" if int(said["MAXVAL"]) > 255 else "u1"
    return np.frombuffer(body, kind).reshape(shape) / int(said["MAXVAL"])
