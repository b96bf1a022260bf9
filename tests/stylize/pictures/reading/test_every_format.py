"""Every format, depth, arrangement, alpha, colour space and orientation is seen as it is meant.

The table is in ``table/``: files made by hand and by other libraries, and what they show by their standards.
Where ImageMagick, libvips and the formats' own programs are installed, they are asked too.
"""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from stylize import Recipe, stylize
from stylize.pictures.codec import decode
from stylize.pictures.pixel_spaces import IMAGENET
from tests.stylize.pictures.reading.table import readers, writers
from tests.stylize.pictures.reading.table.colours import SRGB_CURVE
from tests.stylize.pictures.reading.table.every import TABLE
from tests.stylize.pictures.reading.table.rows import DEEP, Row, stored
from tests.stylize.support import noise, tiny_network


def skip_without(row: Row) -> None:
    for package in row.needs:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"needs {package}")
    for program in row.needs_programs:
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}")


def difference(found: NDArray[np.float64], expected: NDArray[np.float64]) -> float:
    assert found.shape == expected.shape
    return float(np.abs(found - expected).max())


def seen(data: bytes) -> NDArray[np.float64]:
    """(H, W, 3) in [0, 1]."""
    return decode(data).rgb[0].permute(1, 2, 0).double().numpy()


@pytest.mark.parametrize("name", TABLE)
def test_a_file_is_seen_as_its_standard_says(name: str) -> None:
    row = TABLE[name]
    skip_without(row)
    picture = decode(row.make())
    assert (
        difference(picture.rgb[0].permute(1, 2, 0).double().numpy(), row.over_white()) <= row.lost
    )
    if row.alpha is None:
        assert picture.alpha is None
    else:
        assert picture.alpha is not None
        assert difference(picture.alpha[0, 0].double().numpy(), row.alpha) <= row.lost


@pytest.mark.parametrize(
    ("reader", "name"), [(reader, name) for name, row in TABLE.items() for reader in row.readers]
)
def test_another_program_sees_the_same(reader: str, name: str, tmp_path: Path) -> None:
    row = TABLE[name]
    skip_without(row)
    if not readers.is_here(reader):
        pytest.skip(f"needs {reader}")
    data = row.make()
    try:
        other = readers.see(reader, data, row.ending, row.profiled, tmp_path)
    except readers.UnableError as error:
        pytest.skip(f"{reader} does not read it: {error}")
    assert difference(seen(data), other) <= row.apart


# -- depth, from a file through a render to a file ---------------------------------------------------------

LEVELS = np.linspace(0, 1, 4096).reshape(64, 64, 1).repeat(3, 2)
RAMPS = {
    "PNG of 16 bits": lambda: writers.png(stored(LEVELS, 16), 16, "rgb"),
    "TIFF of 16 bits": lambda: writers.tiff(stored(LEVELS, 16)),
    "OpenEXR": lambda: writers.exr(
        dict.fromkeys("RGB", SRGB_CURVE.light(LEVELS[..., 0]).astype(np.float32))
    ),
}


@pytest.mark.parametrize("ending", ["png", "tif"])
@pytest.mark.parametrize("source", RAMPS)
def test_a_ramp_of_4096_levels_keeps_them_through_a_render(
    source: str, ending: str, tmp_path: Path
) -> None:
    if source == "OpenEXR":
        pytest.importorskip("OpenEXR")
    # One step of next to nothing: the picture that comes out is the one that went in.
    recipe = Recipe(size=64, start_size=None, steps=1, learning_rate=1e-9)
    result = stylize(
        RAMPS[source](), noise(2, 40, 30), recipe, network=tiny_network(IMAGENET), device="cpu"
    )
    path = tmp_path / f"out.{ending}"
    result.save(path, bit_depth=16)
    written = (
        tifffile.imread(path) if ending == "tif" else imagecodecs.png_decode(path.read_bytes())
    )
    assert written.dtype == np.uint16
    assert np.abs(written / 65535 - LEVELS).max() <= DEEP / 4
    for channel in np.moveaxis(written, 2, 0):
        assert len(np.unique(channel)) >= 4000
