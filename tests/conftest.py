"""Fixtures for all tests. Servers start once per run, and only when a test asks for them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import rigs
from tests.support.rigs import Rig, S3Server


@pytest.fixture(scope="session")
def juicefs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with rigs.juicefs_server(tmp_path_factory.mktemp("juicefs")) as server:
        yield server


@pytest.fixture(scope="session")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with rigs.moto_server(tmp_path_factory.mktemp("moto")) as server:
        yield server


@pytest.fixture(scope="session")
def juicefs_https(
    juicefs: S3Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[S3Server]:
    with rigs.over_https(juicefs, tmp_path_factory.mktemp("tls")) as server:
        yield server


@pytest.fixture
def no_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without any AWS set-up."""
    rigs.clean_aws(monkeypatch)


def _rig(name: str, request: pytest.FixtureRequest, folder: Path) -> Rig:
    if name == "endpoint":
        return rigs.make_rig(name, rigs.given_server(), folder)
    server: S3Server | None = (
        None if name == "folder" else request.getfixturevalue(name.replace("-", "_"))
    )
    rigs.clean_aws(request.getfixturevalue("monkeypatch"), server.environment if server else {})
    return rigs.make_rig(name, server, folder)


@pytest.fixture(params=rigs.RIGS)
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Rig:
    """Every kind of storage, one after the other."""
    return _rig(request.param, request, tmp_path)


@pytest.fixture(params=rigs.S3_RIGS)
def s3_rig(request: pytest.FixtureRequest, tmp_path: Path) -> Rig:
    """Every S3 server, one after the other."""
    return _rig(request.param, request, tmp_path)


@pytest.fixture
def s3(request: pytest.FixtureRequest, tmp_path: Path) -> Rig:
    """One S3 server that checks signatures, for tests that need no second opinion."""
    return _rig(rigs.S3_RIGS[0], request, tmp_path)
