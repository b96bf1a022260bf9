"""What a render is given is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from stylize.pictures import inputs
from stylize.pictures.codec import encode
from stylize.pictures.inputs import read_inputs
from stylize.pictures.picture import Picture
from tests.stylize.support import noise, photo, recipe


def test_a_file_that_a_batch_shares_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content, other = photo(1, 24, 32), noise(3, 32, 32)
    path = tmp_path / "style.png"
    path.write_bytes(encode(Picture(noise(2, 40, 30))))
    sources: list[object] = []
    read = inputs.read
    monkeypatch.setattr(inputs, "read", lambda s: [sources.append(s), read(s)][1])
    found = read_inputs(
        [content] * 3,
        [str(path), path, [(path, 1.0, content), (other, 1.0, content)]],
        None,
        recipe(),
    )
    # The content is read for the pictures, and once more as a mask.
    assert len(sources) == 4
    assert found.styles[0][0].picture is found.styles[2][0].picture
    assert found.styles[2][0].mask is found.styles[2][1].mask
