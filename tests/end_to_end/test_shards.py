"""A manifest of pictures in tar shards on S3: a render reads its pictures, and little else of a shard."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cluster.run.options import RunOptions
from cluster.run.run_job import run_job
from jobs.jobfile.load import load_job
from jobs.spec.output import ImageOptions
from tests.support.farm import StandIn, records_of, stylefarm, write_job
from tests.support.proxy import proxy
from tests.support.rigs import S3Server, clean_aws

SHARDS, MEMBERS = 20, 50
READ, EACH = 5, 10
"""The shards that the first rows name pictures of, and how many of each."""

HEADER = 2048
"""Bytes that are read for a member of a list."""


class Looks(StandIn):
    """Renders nothing, of pictures that can be decoded."""

    def decode(
        self,
        data: bytes,
        name: str,
        image: ImageOptions | None = None,
        *,
        keep_opaque: bool = False,
    ) -> Any:
        with Image.open(io.BytesIO(data)) as picture:
            picture.load()
            return {"seconds": 0, "size": picture.size}

    def shape(self, picture: Any) -> Hashable:
        return picture["size"]


def noise(seed: int) -> bytes:
    """A picture of about 12 kB, which no compression makes smaller."""
    side = 62 + seed % 3
    buffer = io.BytesIO()
    values = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(values).save(buffer, "PNG")
    return buffer.getvalue()


def member_name(shard: int, k: int) -> str:
    return f"deep/{shard:02}-{k:03}.png"


def pack(shard: int, pictures: list[bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for k, data in enumerate(pictures):
            info = tarfile.TarInfo(member_name(shard, k))
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


@pytest.mark.slow
def test_each_render_reads_its_pictures_and_each_worker_the_lists_once(
    tmp_path: Path, juicefs: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    clean_aws(monkeypatch, juicefs.environment)
    bucket = juicefs.create_bucket()
    pictures = [noise(k) for k in range(MEMBERS)]
    tars = [pack(shard, pictures) for shard in range(SHARDS)]
    for shard, data in enumerate(tars):
        juicefs.client.put_object(Bucket=bucket, Key=f"shards/shard-{shard:04}.tar", Body=data)
    first = [(k % READ, k // READ) for k in range(READ * EACH)]
    rest = [(s, k) for s in range(SHARDS) for k in range(MEMBERS) if (s, k) not in set(first)]
    uri = f"s3://{bucket}/shards/shard-{{:04}}.tar::{{}}".format
    rows = [f"{uri(shard, member_name(shard, k))},style.png" for shard, k in [*first, *rest]]
    (tmp_path / "rows.csv").write_text("\n".join(["content,style", *rows, ""]))
    (tmp_path / "style.png").write_bytes(noise(7))
    with proxy(juicefs.endpoint) as counted:
        storage = {"endpoint_url": counted.url}
        job = write_job(tmp_path, 1, 1, pairs=[{"manifest": "rows.csv"}], storage=storage)

        # Whether the shards are there shows in one listing.
        planned = stylefarm("plan", job).stdout
        assert "1,000 rows: 1,000 used" in planned
        assert "will fail" not in planned
        assert counted.requests <= 5
        assert not any(counted.gets[f"/{bucket}/shards/shard-{s:04}.tar"] for s in range(SHARDS))

        counted.sent.clear()
        counted.gets.clear()
        looks = f"{__name__}:Looks"
        options = RunOptions(pool="inline", renderer=looks, limit=len(first))
        result = run_job(load_job(job), options, lambda event: None)

    assert (result.counts.done, result.counts.failed) == (len(first), 0)
    records = list(records_of(job).values())
    assert sorted(record.content for record in records) == sorted(
        uri(shard, member_name(shard, k)) for shard, k in first
    )
    for shard in range(SHARDS):
        path = f"/{bucket}/shards/shard-{shard:04}.tar"
        if shard >= READ:
            assert (counted.sent[path], counted.gets[path]) == (0, 0)
            continue
        members = sum(len(pictures[k]) for s, k in first if s == shard)
        listed = counted.sent[path] - members
        # Each header once, for all renders of this worker; the end of the archive, too.
        assert MEMBERS * 512 <= listed <= (MEMBERS + 2) * HEADER
        assert EACH + 2 <= counted.gets[path] <= EACH + MEMBERS + 2
        assert counted.sent[path] < len(tars[shard]) / 2
