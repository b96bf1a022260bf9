"""What of a job's ``workers`` and ``image`` sections reaches the renderer."""

from __future__ import annotations

import io
from typing import Any

import pytest
from PIL import Image

from cluster.worker.renderer import Painter, make_renderer
from jobs.spec.output import ImageOptions


class Asked:
    """A renderer that keeps what it was made with."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        self.arguments, self.more = arguments, more


def test_a_renderer_is_given_what_is_not_the_default() -> None:
    """One that paints on a single device need not know of others, nor of graphs."""
    path = f"{__name__}:Asked"
    plain: Any = make_renderer(path, "job", 2, 1, 1, "off")
    assert (plain.arguments, plain.more) == (("job", 2, 1), {})
    asked: Any = make_renderer(path, "job", 2, 1, 4, "auto")
    assert asked.more == {"members": 4, "cuda_graphs": "auto"}


@pytest.mark.parametrize(
    ("image", "keeps"), [({}, True), ({"alpha": "drop"}, False), ({"format": "jpeg"}, False)]
)
def test_a_content_whose_file_has_no_alpha_is_painted_on_white(
    image: dict[str, Any], keeps: bool
) -> None:
    file = io.BytesIO()
    Image.new("RGBA", (8, 6), (200, 30, 10, 0)).save(file, "png")
    picture = Painter.decode(file.getvalue(), "content a.png", ImageOptions(**image))
    assert (picture.alpha is not None) == keeps
    assert bool((picture.rgb == 1).all())
