"""PSD that has no picture to be read, or colours that are not: a sentence, and no wrong picture."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from stylize import PictureError
from stylize.pictures.codec import decode
from tests.stylize.pictures.reading.table import writers

PIXELS = np.full((8, 12, 3), 90, np.uint8)


def with_version_info(data: bytes, has_picture: bool) -> bytes:
    """A document whose image resources say whether it has a flattened picture, as Photoshop writes them."""
    info = struct.pack(">IB", 1, has_picture) + struct.pack(">II", 0, 0) + struct.pack(">I", 1)
    resource = b"8BIM" + struct.pack(">HHI", 1057, 0, len(info)) + info + bytes(len(info) % 2)
    return data[:30] + struct.pack(">I", len(resource)) + resource + data[34:]


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_layers_without_a_flattened_picture_are_refused(kind: type) -> None:
    """Photoshop fills it with white where it is not to be compatible."""
    data = writers.psd(PIXELS.astype(kind), 3)
    assert decode(with_version_info(data, True)).rgb.shape == (1, 3, 8, 12)
    with pytest.raises(PictureError, match=r"^a\.psd has layers alone .*: save it with 'Maximize"):
        decode(with_version_info(data, False), "a.psd")


@pytest.mark.parametrize(("depth", "mode"), [(16, 9), (32, 3), (16, 2), (8, 7)])
def test_other_depths_and_colours_are_refused_with_what_to_do(depth: int, mode: int) -> None:
    data = bytearray(writers.psd(PIXELS.astype(np.uint16), mode))
    data[22:24] = struct.pack(">H", depth)
    with pytest.raises(
        PictureError, match=rf"^a\.psd is a PSD of {depth} bits .* mode {mode}, .*: save it"
    ):
        decode(bytes(data), "a.psd")


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(("mode", "count"), [(1, 1), (3, 3), (4, 4)])
@pytest.mark.parametrize("further", [0, 1, 2, 5])
def test_further_channels_change_nothing(
    kind: type, packed: bool, mode: int, count: int, further: int
) -> None:
    """They are selections that were saved, or spot colours."""
    white = np.iinfo(kind).max
    pixels = np.random.default_rng(1).integers(0, white, (20, 30, count + 5), kind)
    alone = decode(writers.psd(pixels[..., :count], mode))
    found = decode(writers.psd(pixels[..., : count + further], mode, packed=packed))
    assert found.alpha is None
    assert np.array_equal(found.rgb, alone.rgb)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kept", [20, 30, 40, 60, 200, 400])
def test_a_document_cut_short_is_refused(packed: bool, kept: int) -> None:
    pixels = np.random.default_rng(1).integers(0, 65536, (8, 12, 3), np.uint16)
    data = writers.psd(pixels, 3, packed=packed)
    assert len(data) > 400
    with pytest.raises(PictureError, match=r"^a\.psd "):
        decode(data[:kept], "a.psd")
