"""A million tasks: ``python tests/bench/manifest.py [rows]``.

How long it takes to plan a manifest, until its first task is there to dispatch, and to resume a job that is
done, and how much memory that takes: for 10 thousand, 100 thousand and a million tasks side by side. Times
are of whole commands, the start of Python included. Needs ``pip install -e '.[test]'`` for the S3 server.

    plan      stylefarm plan of a Parquet manifest: seconds and peak memory
    first     from the beginning of reading to the first task
    folder    stylefarm run of a job whose every task has a record in a folder; packed, and not
    s3        the same in JuiceFS's gateway
    shards    pictures in tar shards of a thousand in JuiceFS's gateway: stylefarm plan beside that of a plain
              manifest, in turn, and what each of 200 renders reads, counted by a proxy

Making a million records takes some minutes and 4 GB of disk, below ``--folder``; a thousand shards take 4 GB.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

SIZES = (10_000, 100_000, 1_000_000)
STYLES = 50


@dataclass
class Figure:
    """One measured number and what it should be at the largest size."""

    row: str
    tasks: int
    what: str
    value: float
    unit: str
    target: float | None

    @property
    def met(self) -> bool:
        return self.target is None or self.value <= self.target


def write_manifest(path: Path, rows: int) -> None:
    """Pairs of a photo and one of fifty paintings."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([("content", pa.string()), ("style", pa.string())])
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, rows, 100_000):
            part = range(start, min(start + 100_000, rows))
            columns = {
                "content": [f"photos/{k % 1000:03}/picture-{k:07}.jpg" for k in part],
                "style": [f"paintings/{k % STYLES:02}.jpg" for k in part],
            }
            writer.write_table(pa.table(columns, schema=schema))


def write_job(folder: Path, rows: int, **changes: Any) -> Path:
    """A job of so many tasks."""
    import yaml

    folder.mkdir(parents=True, exist_ok=True)
    write_manifest(folder / "pairs.parquet", rows)
    spec = {"output": "out", "pairs": [{"manifest": "pairs.parquet"}], **changes}
    (folder / "job.yaml").write_text(yaml.safe_dump(spec))
    return folder / "job.yaml"


def measured(*arguments: str | Path) -> tuple[float, float, str]:
    """Seconds, peak MB and standard error of a command of ours."""
    words = [sys.executable, "-m", "cluster.cli", *map(str, arguments)]
    with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as complained:
        began = time.perf_counter()
        process = subprocess.Popen(words, stdout=said, stderr=complained, cwd=ROOT)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        complained.seek(0)
        text = complained.read()
    if os.waitstatus_to_exitcode(status):
        raise SystemExit(f"{words} failed:\n{text[-2000:]}")
    return seconds, usage.ru_maxrss / 1024, text


def plan(folder: Path, tasks: int) -> Iterator[Figure]:
    """The whole command."""
    seconds, peak, _ = measured("plan", write_job(folder, tasks))
    yield Figure("plan", tasks, "plan", seconds, "s", 60)
    yield Figure("plan", tasks, "plan, peak memory", peak, "MB", 400)


def first(folder: Path, tasks: int) -> Iterator[Figure]:
    """As the driver takes it, while the rest of the manifest is read."""
    from cluster.open_job import open_agenda
    from jobs.jobfile.load import load_job
    from jobs.records.statuses import Ledger
    from jobs.tasks.background_reader import Reader

    job = load_job(write_job(folder, tasks))
    began = time.perf_counter()
    reader = Reader(open_agenda(job), Ledger.of({})).start()
    next(task for task in reader if task is not None)
    yield Figure("first", tasks, "first task", time.perf_counter() - began, "s", 3)
    reader.close()


def drafts(job: Path) -> Iterator[str]:
    """The ids of a job."""
    from cluster.open_job import open_agenda
    from jobs.jobfile.load import load_job
    from jobs.records.statuses import Ledger
    from jobs.tasks.row_account import RowAccount

    agenda = open_agenda(load_job(job))
    for draft, _ in agenda.drafts(Ledger.of({}), RowAccount()):
        yield draft.id


def a_record() -> str:
    """As a worker writes it, with @ for the id."""
    from jobs.records.record import AttemptRecord, InputRecord, OutputRecord, TaskRecord
    from stylize.recipe import Recipe

    layers = {f"style_conv{k}_1": 1234.5678 for k in range(1, 5)}
    record = TaskRecord(
        id="@",
        name="picture--painting",
        status="done",
        content="photos/000/picture.jpg",
        styles=[("paintings/00.jpg", 1.0)],
        inputs=[
            InputRecord(uri="photos/000/picture.jpg", sha256="0" * 64, size=123456, modified=1.5),
            InputRecord(uri="paintings/00.jpg", sha256="1" * 64, size=234567, modified=1.5),
        ],
        output=OutputRecord(
            key="images/picture-@.png", sha256="2" * 64, size=456789, width=512, height=384
        ),
        losses={"total": 12345.678, "content": 123.4, "style": 1234.5, **layers, "tv": 1.0},
        losses_key="losses/00/@.csv",
        recipe=Recipe().model_dump(mode="json"),
        weights_digest="3" * 64,
        steps=140,
        seconds={"fetch": 0.1, "wait": 1.0, "render": 12.3, "store": 0.2},
        versions={"stylefarm": "0.1.0", "torch": "2.9", "python": "3.12"},
        attempts=[
            AttemptRecord(id="1-aa", worker="w", node="n", device="cuda", started=1.0, seconds=13.0)
        ],
        finished=1.5,
    )
    return record.model_dump_json(indent=1)


def folder(folder: Path, tasks: int) -> Iterator[Figure]:
    """Records written straight to the disk: making them durable one by one is not what is measured."""
    from jobs.storage import keys

    job = write_job(folder, tasks)
    text = a_record()
    # Not pathlib, which keeps every part of every path it has seen: a command's peak is not below that of the
    # process that started it.
    output = os.path.join(folder, "out")  # noqa: PTH118
    for task_id in drafts(job):
        path = f"{output}/{keys.record(task_id)}"
        os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120
        with open(path, "w") as file:  # noqa: PTH123
            file.write(text.replace("@", task_id))
    yield from resumed("folder", job, tasks, packed_target=30)


def s3(folder: Path, tasks: int) -> Iterator[Figure]:
    """Up to 100 thousand: the gateway takes so many in some minutes."""
    from jobs.storage import keys
    from jobs.storage.open import open_storage
    from tests.support.rigs import juicefs_server

    if tasks > 100_000:
        return
    (folder / "server").mkdir(parents=True, exist_ok=True)
    with juicefs_server(folder / "server") as server:
        os.environ |= server.environment
        output = f"s3://{server.create_bucket()}/out"
        job = write_job(folder, tasks, output=output, storage={"endpoint_url": server.endpoint})
        storage = open_storage(output, server.options)
        text = a_record()

        def put(task_id: str) -> None:
            storage.put(keys.record(task_id), text.replace("@", task_id).encode())

        with ThreadPoolExecutor(16) as pool:
            for _ in pool.map(put, drafts(job)):
                pass
        yield from resumed("s3", job, tasks, packed_target=30)


def resumed(row: str, job: Path, tasks: int, packed_target: float) -> Iterator[Figure]:
    """First without segments, which also packs; then with them."""
    for how, target in (("not packed", None), ("packed", packed_target)):
        seconds, peak, said = measured("run", job, "--pool", "inline")
        if "already done" not in said:
            raise SystemExit(f"something was left to render:\n{said}")
        yield Figure(row, tasks, f"resume, {how}", seconds, "s", target)
        yield Figure(row, tasks, f"resume, {how}, peak memory", peak, "MB", None)


MEMBERS = 1000
"""Pictures of a shard."""

RENDERED = 200
"""Renders whose reads are counted."""

TURNS = 2
"""Plans of either manifest, one after the other."""


def shards(folder: Path, tasks: int) -> Iterator[Figure]:
    """Every shard holds the same pictures, of about a kilobyte."""
    from tests.support.proxy import proxy
    from tests.support.rigs import juicefs_server

    (folder / "server").mkdir(parents=True, exist_ok=True)
    with juicefs_server(folder / "server") as server, proxy(server.endpoint) as counted:
        os.environ |= server.environment
        bucket = server.create_bucket()
        pictures = tiny_jpegs()
        shard = a_shard(pictures)

        def put(k: int) -> None:
            server.client.put_object(Bucket=bucket, Key=f"shards/shard-{k:04}.tar", Body=shard)

        with ThreadPoolExecutor(8) as pool:
            for _ in pool.map(put, range(-(-tasks // MEMBERS))):
                pass
        # The pictures of the first rows, which are looked at before a run.
        for k, data in enumerate(pictures):
            server.client.put_object(Bucket=bucket, Key=f"plain/0000/{k:03}.jpg", Body=data)
        endpoint = {"endpoint_url": counted.url}
        jobs = {
            "plain": job_of_rows(
                folder / "plain", tasks, f"s3://{bucket}/plain/{{:04}}/{{:03}}.jpg"
            ),
            "shards": job_of_rows(
                folder / "shards", tasks, f"s3://{bucket}/shards/shard-{{:04}}.tar::{{:03}}.jpg"
            ),
        }
        for job in jobs.values():
            set_storage(job, endpoint)
        seconds = dict.fromkeys(jobs, 0.0)
        for _ in range(TURNS):
            for name, job in jobs.items():
                took, _, _ = measured("plan", job)
                seconds[name] += took / TURNS
                yield Figure("shards", tasks, f"plan, {name}", took, "s", None)
        ratio = seconds["shards"] / seconds["plain"]
        yield Figure("shards", tasks, "plan, shards to plain", ratio, "times", 1.3)

        member = sum(map(len, pictures)) / len(pictures)
        for shards_read in (1, 20):
            url = f"s3://{bucket}/shards/shard-{{:04}}.tar::{{:03}}.jpg"
            rendered = jobs["shards"]
            if shards_read > 1:
                if tasks < shards_read * MEMBERS:
                    continue
                rendered = job_of_rows(folder / "spread", RENDERED, url, RENDERED // shards_read)
                set_storage(rendered, endpoint)
            counted.sent.clear()
            counted.gets.clear()
            took, _, said = measured("run", rendered, "--pool", "inline", "--limit", str(RENDERED))
            if f"{RENDERED} done" not in said:
                raise SystemExit(f"not all were rendered:\n{said[-2000:]}")
            keys = [key for key in counted.gets if key.endswith(".tar") and counted.gets[key]]
            if len(keys) != shards_read:
                raise SystemExit(f"other shards were read: {keys}")
            read = sum(counted.sent[key] for key in keys) / RENDERED
            # Two kilobytes before each member, and the members.
            most = member + shards_read * (MEMBERS + 2) * 2048 / RENDERED
            of = f"{RENDERED} renders of {shards_read} shards"
            yield Figure("shards", tasks, f"{of}, bytes of a picture", member, "B", None)
            yield Figure("shards", tasks, f"{of}, bytes read for each", read, "B", most)
            asked = sum(counted.gets[key] for key in keys) / RENDERED
            yield Figure("shards", tasks, f"{of}, requests for each", asked, "", None)
            yield Figure("shards", tasks, f"{of}, time", took, "s", None)


def tiny_jpegs() -> list[bytes]:
    """Pictures of a shard, each another, of about a kilobyte."""
    import io

    from tests.support.farm import picture

    found = []
    for seed in range(MEMBERS):
        buffer = io.BytesIO()
        picture(seed).save(buffer, "JPEG", quality=80)
        found.append(buffer.getvalue())
    return found


def a_shard(pictures: list[bytes]) -> bytes:
    """A tar of pictures that are named by their numbers."""
    import io
    import tarfile

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for k, data in enumerate(pictures):
            info = tarfile.TarInfo(f"{k:03}.jpg")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def job_of_rows(folder: Path, rows: int, address: str, of_each: int = MEMBERS) -> Path:
    """A job that is painted in a blink, whose pictures have a number of thousands and one below.

    Args:
        folder: Where it is written.
        rows: Its tasks.
        address: A picture's, to be formatted with both numbers.
        of_each: Rows of each first number.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq
    import yaml

    from tests.support.farm import TINY_RECIPE, picture, write_weights

    folder.mkdir(parents=True)
    schema = pa.schema([("content", pa.string()), ("style", pa.string())])
    with pq.ParquetWriter(folder / "pairs.parquet", schema) as writer:
        for start in range(0, rows, 100_000):
            part = range(start, min(start + 100_000, rows))
            columns = {
                "content": [address.format(k // of_each, k % of_each) for k in part],
                "style": [f"paintings/{k % STYLES:02}.png" for k in part],
            }
            writer.write_table(pa.table(columns, schema=schema))
    (folder / "paintings").mkdir()
    for k in range(STYLES):
        picture(5000 + k).save(folder / "paintings" / f"{k:02}.png")
    write_weights(folder / "tiny.safetensors")
    recipe = {**TINY_RECIPE, "steps": 1, "weights": "tiny.safetensors"}
    spec = {"output": "out", "recipe": recipe, "pairs": [{"manifest": "pairs.parquet"}]}
    (folder / "job.yaml").write_text(yaml.safe_dump(spec))
    return folder / "job.yaml"


def set_storage(job: Path, options: dict[str, str]) -> None:
    """Say where a job's S3 is."""
    import yaml

    job.write_text(yaml.safe_dump({**yaml.safe_load(job.read_text()), "storage": options}))


ROWS: dict[str, Callable[[Path, int], Iterator[Figure]]] = {
    "plan": plan,
    "first": first,
    "folder": folder,
    "s3": s3,
    "shards": shards,
}


def main() -> None:
    """Run the rows that were asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rows", nargs="*", choices=[*ROWS, []], help="default: all")
    parser.add_argument("--most", type=int, default=SIZES[-1], help="the largest job to try")
    parser.add_argument("--least", type=int, default=SIZES[0], help="the smallest")
    parser.add_argument("--folder", type=Path, help="where to work; default: a temporary folder")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    options = parser.parse_args()
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(dir=options.folder) as work:
        for row in options.rows or ROWS:
            for tasks in (size for size in SIZES if options.least <= size <= options.most):
                for figure in ROWS[row](Path(work) / f"{row}-{tasks}", tasks):
                    figures.append(figure)
                    target = f" (target {figure.target:g})" if figure.target else ""
                    mark = "met   " if figure.met else "MISSED"
                    print(
                        f"{mark if figure.target else '      '} {tasks:9,} {figure.what}: "
                        f"{figure.value:.2f} {figure.unit}{target}",
                        flush=True,
                    )
    if options.json:
        options.json.write_text(json.dumps([asdict(f) for f in figures], indent=1))


if __name__ == "__main__":
    main()
