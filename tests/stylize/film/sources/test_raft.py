"""RAFT: its weights come from where the hub keeps them, and frames of any size go through it.

What it finds is not judged here: the weights are random.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.models.optical_flow import Raft_Large_Weights, raft_large

from stylize.errors import WeightsError
from stylize.film.flow_file import find_motions, read_motions
from stylize.film.sources import raft
from stylize.network import weights

NAME = raft.URL.rsplit("/", 1)[1]


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return dict(raft_large(weights=None).state_dict())


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder where the hub keeps weights; there is no network."""

    def no_network(*_: object, **__: object) -> None:
        raise OSError("Network is unreachable")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
    monkeypatch.setattr(raft, "UPDATES", 2)
    raft._network.cache_clear()
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    yield folder
    raft._network.cache_clear()


@pytest.fixture
def with_weights(
    hub: Path, state: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> Path:
    torch.save(state, hub / NAME)
    digest = hashlib.sha256((hub / NAME).read_bytes()).hexdigest()
    monkeypatch.setattr(raft, "SHA256_PREFIX", digest[:8])
    return hub / NAME


def frame(seed: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_the_published_weights_are_those_of_torchvision() -> None:
    published = Raft_Large_Weights.C_T_SKHT_V2
    assert published.url == raft.URL
    assert NAME.endswith(f"-{raft.SHA256_PREFIX}.pth")


def test_frames_go_in_as_torchvision_prepares_them(
    with_weights: Path, state: dict[str, torch.Tensor]
) -> None:
    one, other = frame(0, 136, 160), frame(1, 136, 160)
    network = raft_large(weights=None).eval()
    network.load_state_dict(state)
    prepare = Raft_Large_Weights.C_T_SKHT_V2.transforms()
    pair = [torch.from_numpy(one).permute(2, 0, 1)[None] for one in (one, other)]
    with torch.inference_mode():
        expected = network(*prepare(*pair), num_flow_updates=2)[-1][0].permute(1, 2, 0).numpy()

    motion = raft.motion_between(one, other)

    assert motion.there.shape == (136, 160, 2)
    assert np.allclose(motion.there, expected, atol=1e-4)
    assert np.abs(motion.back - motion.there).max() > 1e-3


@pytest.mark.parametrize(("height", "width"), [(90, 130), (17, 200), (129, 131)])
def test_frames_of_any_size_keep_it(with_weights: Path, height: int, width: int) -> None:
    one, other = frame(0, height, width), frame(1, height, width)
    motion = raft.motion_between(one, other)
    assert motion.there.shape == motion.back.shape == (height, width, 2)
    # The same as of frames whose border is repeated, without it.
    above, left = ((raft._padded(side) - side) // 2 for side in (height, width))
    below = raft._padded(height) - height - above
    right = raft._padded(width) - width - left
    wide = [np.pad(f, ((above, below), (left, right), (0, 0)), mode="edge") for f in (one, other)]
    whole = raft.motion_between(wide[0], wide[1]).there
    assert np.array_equal(motion.there, whole[above : above + height, left : left + width])


def test_it_is_kept_at_the_size_at_which_it_was_found(with_weights: Path) -> None:
    frames = [frame(k, 128, 160) for k in range(2)]
    found = raft.motion_between(*frames)
    (motion,) = read_motions(find_motions(frames, "raft"))
    assert np.allclose(motion.there, found.there, atol=1 / 128 + 1e-6)
    assert np.array_equal(read_motions(find_motions(frames))[0].there.shape, motion.there.shape)


def test_without_weights_it_says_where_they_go(hub: Path) -> None:
    with pytest.raises(WeightsError) as caught:
        find_motions([frame(0, 40, 60), frame(1, 40, 60)], "raft")
    assert str(caught.value) == (
        f"cannot download RAFT's weights from {raft.URL} (Network is unreachable); put {NAME} into {hub} by "
        "hand, set TORCH_HOME to another folder, or use flow: dis, which needs no download"
    )


def test_another_file_is_refused(
    hub: Path, with_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save({"a": torch.zeros(1)}, hub / NAME)
    weights._sha256.cache_clear()
    with pytest.raises(WeightsError, match="is damaged or not what it should be"):
        raft.network()
    digest = hashlib.sha256((hub / NAME).read_bytes()).hexdigest()
    monkeypatch.setattr(raft, "SHA256_PREFIX", digest[:8])
    with pytest.raises(WeightsError, match="has not the weights of RAFT; delete it"):
        raft.network()
