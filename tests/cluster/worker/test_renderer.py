"""What of a job's ``workers`` section reaches the renderer."""

from __future__ import annotations

from typing import Any

from cluster.worker.renderer import make_renderer


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
