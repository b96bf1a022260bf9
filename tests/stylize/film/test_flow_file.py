"""The motion of a film, as a file."""

from __future__ import annotations

import numpy as np
import pytest

from stylize.errors import PictureError
from stylize.film.flow import shrunk
from stylize.film.flow_file import LOOKED_AT, find_motions, read_motions
from stylize.film.motions import motion_between
from stylize.film.warp import trusted
from tests.stylize.film.clips import ball, pan


def test_motions_come_back_almost_as_they_were():
    clip = ball(4, 97, 141)
    data = find_motions(iter(clip.frames))
    found = read_motions(data)
    assert len(found) == 3
    for k, motion in enumerate(found):
        expected = motion_between(clip.frames[k], clip.frames[k + 1])
        for flow, other in zip(motion, expected, strict=True):
            assert flow.shape == other.shape == (97, 141, 2)
            assert np.percentile(np.abs(flow - other), 90) < 0.1
        assert abs(trusted(motion).mean() - trusted(expected).mean()) < 0.05
    raw = 3 * 2 * 97 * 141 * 2 * 4
    assert len(data) < raw / 8


def test_large_frames_are_looked_at_smaller():
    frame = pan(1, 1200, 1800).frames[0]
    assert max(shrunk(frame, LOOKED_AT).shape) == LOOKED_AT


def test_a_damaged_file_and_frames_of_several_sizes_are_one_sentence():
    data = find_motions(pan(2, 40, 60).frames)
    for broken in (data[: len(data) // 2], b"", b"no file", data.replace(b"flows", b"flowz")):
        with pytest.raises(PictureError, match="the file of a film's motion is damaged"):
            read_motions(broken)
    with pytest.raises(PictureError, match="frame 1 is 62 x 40 px, and the one before 60 x 40 px"):
        find_motions([pan(1, 40, 60).frames[0], pan(1, 40, 62).frames[0]])
