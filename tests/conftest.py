"""Fixtures for all tests. Servers start once per run, and only when a test asks for them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from tests.support import rigs
from tests.support.rigs import Rig, S3Server

# Pictures this small, and tests side by side: several threads would wait for one another. Every process that
# a test starts has this from here.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# How long an example takes, or is made, says something of the machine alone.
hypothesis.settings.register_profile(
    "patient", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("patient")


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


@pytest.fixture(params=[name for name in rigs.RIGS if name not in rigs.OTHER_WAYS])
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Rig:
    """Every kind of storage, one after the other; the tests of storage have every way to it."""
    return rigs.open_rig(request.param, request, tmp_path)


@pytest.fixture(params=[name for name in rigs.S3_RIGS if name not in rigs.OTHER_WAYS])
def s3_rig(request: pytest.FixtureRequest, tmp_path: Path) -> Rig:
    """Every S3 server, one after the other; the tests of storage have every way to it."""
    return rigs.open_rig(request.param, request, tmp_path)


@pytest.fixture
def s3(request: pytest.FixtureRequest, tmp_path: Path) -> Rig:
    """One S3 server that checks signatures, for tests that need no second opinion."""
    return rigs.open_rig(rigs.S3_RIGS[0], request, tmp_path)
