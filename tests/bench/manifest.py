"""A million tasks: ``python tests/bench/manifest.py [rows]``.

How long it takes to plan a manifest, until its first task is there to dispatch, and to resume a job that is
done, and how much memory that takes: for 10 thousand, 100 thousand and a million tasks side by side. Times
are of whole commands, the start of Python included. Needs ``pip install -e '.[test]'`` for the S3 server.

    plan      stylefarm plan of a Parquet manifest: seconds and peak memory
    first     from the beginning of reading to the first task
    folder    stylefarm run of a job whose every task has a record in a folder; packed, and not
    s3        the same in JuiceFS's gateway

Making a million records takes some minutes and 4 GB of disk, below ``--folder``.
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


ROWS: dict[str, Callable[[Path, int], Iterator[Figure]]] = {
    "plan": plan,
    "first": first,
    "folder": folder,
    "s3": s3,
}


def main() -> None:
    """Run the rows that were asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rows", nargs="*", choices=[*ROWS, []], help="default: all")
    parser.add_argument("--most", type=int, default=SIZES[-1], help="the largest job to try")
    parser.add_argument("--folder", type=Path, help="where to work; default: a temporary folder")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    options = parser.parse_args()
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(dir=options.folder) as work:
        for row in options.rows or ROWS:
            for tasks in (size for size in SIZES if size <= options.most):
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
