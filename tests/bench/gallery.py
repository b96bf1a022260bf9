"""The gallery of many results: ``python tests/bench/gallery.py [row ...] [--tasks N] [--beside CHECKOUT]``.

    report    writing the gallery of N records in a folder: CPU seconds and peak memory of the process, beside
              that of another checkout of this project (of the same records), in turn
    page      in a browser: first card, filters, sorting, grouping, long tasks while somebody scrolls, and the
              page's memory; from a folder and from ``stylefarm serve``
    traffic   bytes of the wall of 200 pictures of 2048 px, scrolled to its end, beside the pictures

Records are made below ``--folder``: a million take two minutes and 5 GB. Browser: a Chromium that is there,
driven by Playwright (``pip install -e '.[test]'``).
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, os.environ.get("STYLEFARM_CHECKOUT", str(ROOT)))

WORDS = ("harbour", "fog", "market", "tower", "garden", "street", "lantern", "bridge", "meadow")

WRITE = """
import os, resource, sys, time
sys.path.insert(0, os.environ["STYLEFARM_CHECKOUT"])
from jobs.arrow import arrow, parquet
from jobs.report.gallery import write_gallery
from jobs.storage.open import open_storage
arrow(), parquet()
output, proofs = open_storage(sys.argv[1]), open_storage(sys.argv[1] + "/proofs")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
began = time.process_time()
write_gallery(output, proofs)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(time.process_time() - began, peak / 1024, (peak - before) / 1024)
"""


def make_records(folder: Path, tasks: int) -> None:
    """An output with so many records: a thousand contents, up to a thousand styles, three recipes."""
    import numpy as np

    from jobs.records.segments import Row, Segments, stamp
    from jobs.storage import keys
    from jobs.storage.open import open_storage
    from stylize.recipe import Recipe

    storage = open_storage(str(folder))
    ids = [f"{k:016x}" for k in np.random.default_rng(3).integers(1, 2**63, tasks).tolist()]
    for k in range(256):
        (folder / keys.RECORDS / f"{k:02x}").mkdir(parents=True)
    for task_id in ids:
        (folder / keys.record(task_id)).write_bytes(b"{}")
    stamps = {keys.record_id(stat.key): stamp(stat) for stat in storage.list(keys.RECORDS)}
    recipes = [
        json.dumps(Recipe(style_weight=w, size=1024).model_dump(mode="json"), sort_keys=True)
        for w in (0.5, 1.0, 2.0)
    ]
    rows: list[Row] = []
    for k, task_id in enumerate(ids):
        content, style = k % 1000, k // 1000 % 1000
        name = f"{WORDS[content % 9]}-{content:04}--painting-{style:04}"
        bad = k % 50 == 0
        error = f"content photos/{content}.jpg: is no picture that can be read" if bad else None
        rows.append(
            Row(
                id=task_id,
                stamp=stamps[task_id],
                status="failed" if bad else "done",
                name=name,
                error=error,
                kept=None,
                output=None if bad else keys.image(name, task_id, "png"),
                sha256=None if bad else "0" * 64,
                size=0 if bad else 1_000_000,
                width=0 if bad else 1024,
                height=0 if bad else 768,
                steps=0 if bad else 500,
                render_seconds=0.0 if bad else 10 + k % 977 / 100,
                device="NVIDIA H200",
                attempts=1,
                concessions="",
                content=f"photos/{WORDS[content % 9]}-{content:04}.jpg",
                style=f"paintings/painting-{style:04}.jpg",
                recipe=recipes[k % 3],
                loss=float("nan") if bad else 1000 / (1 + k % 7919),
                finished=1.79e9 + k / 10,
                # The pictures of these records are not there, nor are small ones.
                thumbnail=False,
                card=False,
            )
        )
        if len(rows) == 100_000 or k + 1 == tasks:
            Segments(storage).write(rows)
            rows = []
    storage.put(keys.JOB, json.dumps({"job": {"name": "many"}}).encode())


def report(folder: Path, beside: Path | None) -> None:
    """Print what writing the gallery costs."""
    checkouts = [ROOT, *([beside] if beside else [])]
    found: dict[Path, list[list[float]]] = {checkout: [] for checkout in checkouts}
    for _ in range(3):
        for checkout in checkouts:
            shutil.rmtree(folder / "gallery", ignore_errors=True)
            done = subprocess.run(
                [sys.executable, "-c", WRITE, str(folder)],
                env={**os.environ, "STYLEFARM_CHECKOUT": str(checkout)},
                cwd=folder,
                capture_output=True,
                text=True,
                check=True,
            )
            found[checkout].append([float(value) for value in done.stdout.split()])
    middle = {
        c: [statistics.median(v) for v in zip(*runs, strict=True)] for c, runs in found.items()
    }
    for checkout, (seconds, peak, grown) in middle.items():
        print(f"report   {checkout}: {seconds:.1f} s, {peak:.0f} MiB, of them {grown:.0f} for this")
    if beside:
        ratios = [a / b for a, b in zip(middle[ROOT], middle[beside], strict=True)]
        print("report   ratios of seconds, peak, growth: " + ", ".join(f"{r:.2f}" for r in ratios))


@contextmanager
def browser() -> Iterator[Any]:
    """A Chromium."""
    from playwright.sync_api import sync_playwright

    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield opened
        opened.close()


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The gallery's address from ``stylefarm serve``."""
    command = [sys.executable, "-m", "cluster.cli", "serve", str(folder), "--port", "8655"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        assert process.stdout
        yield f"{process.stdout.readline().strip()}{folder.name}/"
    finally:
        process.terminate()
        process.wait()


WATCH = """window.tasks = []; new PerformanceObserver(list => {
  for (const entry of list.getEntries()) window.tasks.push(Math.round(entry.duration));
}).observe({ entryTypes: ["longtask"] });"""

ASK = """async hash => {
  const began = performance.now();
  location.hash = hash;
  const { dataset } = document.documentElement;
  while (dataset.shownFor !== location.hash) await new Promise(requestAnimationFrame);
  return performance.now() - began;
}"""

QUESTIONS = (
    *(
        "q=painting-0042",
        "q=harbour",
        "q=a",
        "q=harbour+0042",
        "style=painting-0007",
        "kind=failed&q=fog",
    ),
    *("knob.style_weight=2", "from=2026-10-01&to=2026-10-02", "sort=-loss", "q=market&sort=loss"),
    *("group=style", "group=content"),
)


def page(folder: Path) -> None:
    """Print how a page with all the results behaves."""
    with browser() as opened, served(folder) as address:
        for name, url in (("folder", (folder / "index.html").as_uri()), ("served", address)):
            watch(name, opened, url)


def watch(name: str, opened: Any, url: str) -> None:
    sheet = opened.new_page(viewport={"width": 1440, "height": 900})
    sheet.add_init_script(WATCH)
    sheet.goto(url, wait_until="commit")
    sheet.wait_for_selector("article .name")
    first = sheet.evaluate("performance.now()")
    while sheet.evaluate("document.documentElement.dataset.complete") != "1":
        time.sleep(0.1)
    complete = sheet.evaluate("performance.now()")
    print(f"page     {name}: first card after {first:.0f} ms, all is read after {complete:.0f} ms")
    for question in QUESTIONS:
        sheet.evaluate(ASK, "#")
        print(f"page     {name}: {sheet.evaluate(ASK, '#' + question):5.0f} ms  {question}")
    sheet.evaluate(ASK, "#")
    sheet.evaluate("window.tasks.length = 0")
    sheet.mouse.move(700, 500)
    for _ in range(100):
        sheet.mouse.wheel(0, 700)
        time.sleep(0.03)
    print(f"page     {name}: tasks over 50 ms while scrolling: {sheet.evaluate('window.tasks')} ms")
    session = sheet.context.new_cdp_session(sheet)
    for _ in range(
        8
    ):  # code that has not run for some collections is dropped, and its source with it
        session.send("HeapProfiler.collectGarbage")
        time.sleep(0.2)
    usage = session.send("Runtime.getHeapUsage")
    parts = [usage[k] / 2**20 for k in ("usedSize", "backingStorageSize", "embedderHeapUsedSize")]
    print(
        f"page     {name}: {sum(parts):.0f} MiB: objects {parts[0]:.0f}, columns {parts[1]:.0f}, "
        f"elements {parts[2]:.0f}"
    )
    sheet.close()


def traffic(folder: Path) -> None:
    """Print what the wall of 200 pictures loads, beside those pictures."""
    import random

    from PIL import Image

    from jobs.records.commit import Records
    from jobs.records.record import OutputRecord, TaskRecord
    from jobs.report.gallery import write_gallery
    from jobs.storage import keys
    from jobs.storage.open import open_storage

    source = Image.open(ROOT / "jobs/examples/first-light.jpg").convert("RGB")
    grain = Image.effect_noise((2048, 1536), 12).convert("RGB")
    chance = random.Random(1)
    for ending, settings in (("png", {}), ("jpg", {"quality": 92})):
        output = folder / ending
        storage = open_storage(str(output))
        records = Records(storage)
        whole = 0
        files: list[tuple[bytes, bytes]] = []
        for _ in range(20):  # each stands for ten
            side = chance.uniform(0.5, 0.9)
            left, top = (chance.uniform(0, 1 - side) for _ in range(2))
            shares = (left, top, left + side, top + side)
            box = tuple(a * b for a, b in zip(shares, source.size * 2, strict=True))
            picture = Image.blend(source.resize((2048, 1536), box=box), grain, 0.05)
            data = encoded(picture, "JPEG" if ending == "jpg" else "PNG", **settings)
            picture.thumbnail((384, 384))
            files.append((data, encoded(picture, "WEBP", quality=75)))
        for k in range(200):
            data, small = files[k % len(files)]
            task_id = f"{k + 1:016x}"
            key, thumb = keys.image(f"p{k:03}", task_id, ending), keys.thumb(task_id)
            whole += len(data)
            storage.put(key, data)
            storage.put(thumb, small)
            stored = OutputRecord(
                key=key, sha256="0", size=len(data), width=2048, height=1536, thumbnail=thumb
            )
            record = {"id": task_id, "name": f"p{k:03}", "content": "c", "styles": [("s", 1.0)]}
            record |= {"recipe": {}, "weights_digest": "w", "finished": 1.79e9, "output": stored}
            records.commit(TaskRecord(status="done", **record))
        records.close()
        write_gallery(storage, open_storage(str(output / "proofs")))
        with browser() as opened, served(output) as address:
            loaded = scrolled(opened, address)
        print(
            f"traffic  {ending}: {loaded / 1e6:.1f} MB, page and data included, beside "
            f"{whole / 1e6:.0f} MB of pictures: 1/{whole / loaded:.0f}"
        )


def encoded(picture: Any, kind: str, **settings: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **settings)
    return file.getvalue()


def scrolled(opened: Any, address: str) -> int:
    """Bytes of all that a page loads, until its end was seen."""
    sheet = opened.new_page(viewport={"width": 1440, "height": 900})
    sizes: list[int] = []
    sheet.on("response", lambda answer: sizes.append(int(answer.headers.get("content-length", 0))))
    sheet.goto(address)
    sheet.wait_for_selector("article .name")
    last = -1
    while last != (at := sheet.evaluate("scrollY")):
        last = at
        sheet.evaluate("scrollBy(0, 500)")
        sheet.wait_for_timeout(200)
    return sum(sizes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("rows", nargs="*", choices=["report", "page", "traffic", []])
    parser.add_argument("--tasks", type=int, default=100_000)
    parser.add_argument("--beside", type=Path, help="another checkout, for report")
    parser.add_argument(
        "--folder", type=Path, help="where records are made; default: a temporary one"
    )
    given = parser.parse_args()
    rows = given.rows or ["report", "page", "traffic"]
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        folder = Path(name) / "out"
        needs: dict[str, Callable[[], None]] = {
            "report": lambda: report(folder, given.beside),
            "page": lambda: page(folder),
            "traffic": lambda: traffic(Path(name) / "traffic"),
        }
        if {"report", "page"} & set(rows):
            make_records(folder, given.tasks)
        if "page" in rows and "report" not in rows:
            report_once(folder)
        for row in rows:
            needs[row]()


def report_once(folder: Path) -> None:
    environment = {**os.environ, "STYLEFARM_CHECKOUT": str(ROOT)}
    subprocess.run(
        [sys.executable, "-c", WRITE, str(folder)], env=environment, cwd=folder, check=True
    )


if __name__ == "__main__":
    main()
