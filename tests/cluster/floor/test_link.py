"""A run's side of the floor manager, where another version's is there already."""

from __future__ import annotations

from typing import Any

import pytest

from cluster.floor import link
from cluster.floor.asking import PROTOCOL, Ask, Share, as_values
from tests.support.farm import wait_for


class Method:
    """What passes for an actor's method: its answer is there at once."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer

    def remote(self, *_: Any) -> Any:
        return self._answer


class Manager:
    def __init__(self, protocol: int) -> None:
        self.protocol = Method(protocol)
        self.ask = Method({**as_values(Share({"node": protocol})), "of a later version": 1})
        self.leave = Method(None)


@pytest.mark.parametrize(
    ("spoken", "killed"), [(PROTOCOL - 1, 1), (PROTOCOL, 0), (PROTOCOL + 1, 0)]
)
def test_only_an_older_manager_is_replaced(
    monkeypatch: pytest.MonkeyPatch, spoken: int, killed: int
) -> None:
    there, kills = Manager(spoken), list[Manager]()
    monkeypatch.setattr(link, "find_manager", lambda: there)
    monkeypatch.setattr(link, "make_manager", lambda: Manager(PROTOCOL))
    monkeypatch.setattr(link.ray, "is_initialized", lambda: True)
    monkeypatch.setattr(link.ray, "get", lambda answer, timeout: answer)
    monkeypatch.setattr(link.ray, "kill", kills.append)
    run = link.FloorLink(Ask("run", "job", "out", "me@here", 0, 1.0), make=False)
    try:
        assert run.share is None
        run.tell(3, {}, {}, None)
        wait_for(lambda: run.share is not None, 10)
    finally:
        run.close()
    assert run.share == {"node": max(spoken, PROTOCOL)}
    assert kills == [there] * killed
