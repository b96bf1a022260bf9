"""A dashboard that is not reached as it is asked for: what is in the way is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.submit.jobs_api import Head
from jobs.errors import ClusterError
from tests.support.rigs import make_authority, web_server


def complaint(address: str) -> str:
    with pytest.raises(ClusterError) as caught:
        Head(address).submissions()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_an_own_authority_is_named_in_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority, server = make_authority(tmp_path / "ca.pem", tmp_path / "server.pem")
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    with web_server(lambda *_: (404, {}, b""), server) as dashboard:
        assert "name its certificate authority in REQUESTS_CA_BUNDLE" in complaint(dashboard.url)
        assert dashboard.seen == []
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority))
        assert "404" in complaint(dashboard.url)
        assert len(dashboard.seen) == 1
