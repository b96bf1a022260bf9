"""The tests of storage have every way to it, HTTPS too."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import rigs
from tests.support.rigs import Rig


@pytest.fixture(params=rigs.RIGS)
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Rig:
    """Every kind of storage, one after the other."""
    return rigs.open_rig(request.param, request, tmp_path)


@pytest.fixture(params=rigs.S3_RIGS)
def s3_rig(request: pytest.FixtureRequest, tmp_path: Path) -> Rig:
    """Every S3 server, one after the other."""
    return rigs.open_rig(request.param, request, tmp_path)
