"""Motion that other programs have written: each format, against files that another program wrote."""

from __future__ import annotations

from pathlib import Path

import cv2
import imagecodecs
import numpy as np
import OpenEXR
import pytest
import torch
from torchvision.utils import flow_to_image

from stylize.errors import PictureError
from stylize.film.flow_file import LOOKED_AT, pack_motions, read_motions
from stylize.film.sources.given import given_motions, read_flow
from stylize.film.warp import trusted

FIXTURES = Path(__file__).resolve().parents[3] / "fixtures" / "flow"
"""Blender 4.5 wrote these of frame 2 of a film in which a square goes 3 px to the right and 1 up from frame 1
to 2, and 5 to the right and 2 up from 2 to 3. ``square.py`` there made it."""

HEIGHT, WIDTH = 24, 32


def flow_of(seed: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    random = np.random.default_rng(seed)
    return random.normal(0, 3, (height, width, 2)).astype(np.float32)


def written_flo(folder: Path, flow: np.ndarray) -> bytes:
    """As OpenCV writes it."""
    path = folder / "a.flo"
    assert cv2.writeOpticalFlow(str(path), flow)
    return path.read_bytes()


def written_png(flow: np.ndarray, known: np.ndarray) -> bytes:
    """As KITTI's development kit has it."""
    picture = np.zeros((*flow.shape[:2], 3), np.uint16)
    picture[..., 2] = np.rint(flow[..., 0] * 64 + 2**15)
    picture[..., 1] = np.rint(flow[..., 1] * 64 + 2**15)
    picture[..., 0] = known
    picture[~known] = 0
    return cv2.imencode(".png", picture)[1].tobytes()


def written_exr(folder: Path, channels: dict[str, np.ndarray]) -> bytes:
    path = folder / "a.exr"
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    OpenEXR.File(header, channels).write(str(path))
    return path.read_bytes()


def test_middlebury_is_as_opencv_writes_it(tmp_path: Path):
    flow = flow_of(0)
    flow[3, 4] = 1.6e9  # Middlebury's mark
    flow[5, 6, 0] = np.inf
    found = read_flow(written_flo(tmp_path, flow), "a.FLO", "forward")
    unknown = np.isnan(found).any(-1)
    assert np.argwhere(unknown).tolist() == [[3, 4], [5, 6]]
    assert np.array_equal(found[~unknown], flow[~unknown])


def test_kitti_is_as_another_reader_has_it():
    flow = flow_of(1)
    known = np.ones(flow.shape[:2], bool)
    known[2:4, 5] = False
    data = written_png(flow, known)
    picture = imagecodecs.png_decode(data)
    expected = (picture[..., :2].astype(np.float64) - 2**15) / 64

    found = read_flow(data, "a.png", "backward")

    assert np.array_equal(~np.isnan(found).any(-1), known)
    assert np.array_equal(picture[..., 2] == 1, known)
    assert np.array_equal(found[known], expected[known])
    assert np.abs(found[known] - flow[known]).max() < 0.008


@pytest.mark.parametrize("name", ["blender-multilayer.exr", "blender-node.exr"])
def test_blenders_vectors_are_turned_to_where_they_lead(name: str):
    data = (FIXTURES / name).read_bytes()
    back, there = (read_flow(data, name, direction) for direction in ("backward", "forward"))
    # Rows are counted down; what goes up by one row comes from one further down.
    assert np.allclose(back[HEIGHT // 2, WIDTH // 2], (-3, 1), atol=1e-3)
    assert np.allclose(there[HEIGHT // 2, WIDTH // 2], (5, -2), atol=1e-3)
    assert np.array_equal(back[1, 1], (0, 0))


def test_nukes_vectors_lead_up(tmp_path: Path):
    u, v, a, b = (np.full((HEIGHT, WIDTH), value, np.float32) for value in (5, 2, -3, -1))
    channels = {"forward.u": u, "forward.v": v, "backward.u": a, "backward.v": b}
    data = written_exr(tmp_path, {**channels, "R": u, "G": u, "B": u})
    assert np.allclose(read_flow(data, "a.exr", "forward"), (5, -2))
    assert np.allclose(read_flow(data, "a.exr", "backward"), (-3, 1))


def test_a_part_of_its_own_names_its_channels(tmp_path: Path):
    ones = np.ones((HEIGHT, WIDTH), np.float32)
    kind = {"type": OpenEXR.scanlineimage}
    parts = [
        OpenEXR.Part({**kind, "name": "rgba"}, {"R": ones}),
        OpenEXR.Part({**kind, "name": "forward"}, {"u": 2 * ones, "v": 3 * ones}),
    ]
    path = tmp_path / "a.exr"
    OpenEXR.File(parts).write(str(path))
    assert np.allclose(read_flow(path.read_bytes(), "a.exr", "forward"), (2, -3))


def test_what_is_no_motion_is_told_in_one_sentence(tmp_path: Path):
    flo = written_flo(tmp_path, flow_of(2))
    ones = np.ones((HEIGHT, WIDTH), np.float32)
    grey = cv2.imencode(".png", np.zeros((4, 4), np.uint8))[1].tobytes()
    colours = written_exr(tmp_path, {"R": ones, "G": ones})
    of_two = {f"{layer}.{c}": ones for layer in "ab" for c in "XYZW"}
    for data, name, told in [
        (flo[:-8], "a.flo", "a.flo is damaged: 32 x 24 px take 6,156 bytes, and it has 6,148"),
        (b"P6 3 3", "a.flo", "a.flo is no Middlebury motion: it does not begin with PIEH"),
        (b"PIEH" + b"\xff" * 8, "a.flo", "a.flo says that it has -1 x -1 px"),
        (b"\x89PNG", "a.png", "a.png is damaged, or no PNG"),
        (
            grey,
            "a.png",
            "a.png has 1 channel of 8 bits: motion as KITTI has it is a PNG with 3 of 16",
        ),
        (flo, "a.tif", "a.tif is no motion that is read, as .flo, .png and .exr are"),
        (
            colours,
            "a.exr",
            "a.exr has no channels forward.u and forward.v, as Nuke writes them, nor one layer with X, Y, Z "
            "and W, as Blender does; it has G, R",
        ),
    ]:
        with pytest.raises(PictureError) as caught:
            read_flow(data, name, "forward")
        assert str(caught.value) == told
    with pytest.raises(PictureError, match=r"^a\.exr is damaged"):
        read_flow(colours[: len(colours) // 2], "a.exr", "forward")
    with pytest.raises(PictureError, match=r"nor one layer with X, Y, Z and W"):
        read_flow(written_exr(tmp_path, of_two), "a.exr", "forward")


def test_known_motion_is_kept_with_its_edges(tmp_path: Path):
    frame = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    flow = np.zeros((HEIGHT, WIDTH, 2), np.float32)
    flow[8:16, 10:20] = (4, -2)
    both = (("f.flo", written_flo(tmp_path, flow)), ("b.flo", written_flo(tmp_path, -flow)))

    (motion,) = read_motions(pack_motions(frame, given_motions(frame, [both])))

    assert np.array_equal(motion.there, flow)
    assert np.array_equal(motion.back, -flow)


def test_motion_of_another_size_is_scaled_with_its_lengths(tmp_path: Path):
    frame = np.zeros((2 * HEIGHT, 2 * WIDTH, 3), np.uint8)
    large = np.zeros((1536, 2048, 3), np.uint8)
    flow = np.broadcast_to(np.float32([3, 1.5]), (HEIGHT, WIDTH, 2)).copy()
    data = written_flo(tmp_path, flow)
    both = (("f.flo", data), ("b.flo", data))
    (motion,) = read_motions(pack_motions(frame, given_motions(frame, [both])))
    assert motion.there.shape == (2 * HEIGHT, 2 * WIDTH, 2)
    assert np.allclose(motion.there, (6, 3))
    (motion,) = read_motions(pack_motions(large, given_motions(large, [both])))
    assert motion.there.shape == (768, LOOKED_AT, 2)
    assert np.allclose(motion.there, (96, 48))
    small = np.zeros((HEIGHT // 2, WIDTH // 2, 3), np.uint8)
    (motion,) = read_motions(pack_motions(small, given_motions(small, [both])))
    assert np.allclose(motion.there, (1.5, 0.75), atol=1 / 64)


def test_other_proportions_are_refused(tmp_path: Path):
    data = written_flo(tmp_path, flow_of(3))
    frame = np.zeros((90, 160, 3), np.uint8)
    told = "b.flo has the motion of frames of 32 x 24 px, which have other proportions than 160 x 90 px"
    frame_alike = np.zeros((HEIGHT * 3 + 1, WIDTH * 3, 3), np.uint8)
    assert list(given_motions(frame_alike, [(("a.flo", data), ("b.flo", data))]))
    with pytest.raises(PictureError, match=told.replace("b.flo", "a.flo")):
        list(given_motions(frame, [(("a.flo", data), ("b.flo", data))]))


def test_motion_that_is_not_known_is_trusted_nowhere(tmp_path: Path):
    flow = np.zeros((HEIGHT, WIDTH, 2), np.float32)
    flow[:, 12:15] = flow[:, 20:22] = np.nan
    frame = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    (motion,) = read_motions(pack_motions(frame, [(flow, np.zeros_like(flow))]))
    trust = trusted(motion)
    assert not trust[np.isnan(flow).any(-1)].any()
    assert trust[:, :10].all()
    assert trust[:, 24:].all()


def test_the_colours_of_a_picture_of_motion_are_no_motion():
    """What ``flow_to_image`` and the like draw is a picture for people."""
    picture = flow_to_image(torch.from_numpy(flow_of(4)).permute(2, 0, 1)).permute(1, 2, 0).numpy()
    data = cv2.imencode(".png", picture)[1].tobytes()
    with pytest.raises(PictureError, match=r"a\.png has 3 channels of 8 bits"):
        read_flow(data, "a.png", "forward")
