"""What becomes of odd pictures: ``python tests/bench/odd.py FOLDER...``.

Every file in the folders that ends like a picture, or begins like one, is decoded as a worker does it, in a
process that is replaced when it dies or takes too long. What is printed: how many are read, refused in one
sentence, refused in more than one, killed, or took too long; the largest memory; and each file that is not
read, with the sentence. The sources of Pillow, libtiff, OpenEXR and others have folders of test pictures.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import resource
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
MOST_SECONDS = 60.0
MOST_BYTES = 2 * 2**30


def child() -> None:
    """Decode the files whose names come in, one a line, and print a line about each."""
    sys.path.insert(0, str(ROOT))
    warnings.simplefilter("ignore")
    from stylize.errors import PictureError
    from stylize.pictures.codec import decode
    from stylize.pictures.reading.pages import further_pages

    # Libraries print to the standard output, too.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    for line in sys.stdin:
        path = Path(json.loads(line))
        began, said = time.perf_counter(), ""
        try:
            data = path.read_bytes()
            further_pages(data)
            picture = decode(data, path.name)
            kind, said = "read", "x".join(map(str, picture.rgb.shape[:1:-1]))
        except PictureError as error:
            kind, said = "refused", str(error)
            if "\n" in said or len(said) > 400:
                kind = "badly refused"
        except Exception as error:
            kind, said = "traceback", repr(error)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps([kind, said, peak, time.perf_counter() - began]), file=answers, flush=True)


class Child:
    """The process that decodes."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def decode(self, path: Path) -> tuple[str, str, int, float]:
        """Return the kind of end, what was said, the peak memory of the process, and the seconds."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(str(path)) + "\n")
        self.process.stdin.flush()
        signal.signal(signal.SIGALRM, lambda *_: self.process.kill())
        signal.setitimer(signal.ITIMER_REAL, MOST_SECONDS)
        line = self.process.stdout.readline()
        signal.setitimer(signal.ITIMER_REAL, 0)
        if line:
            kind, said, peak, seconds = json.loads(line)
            return kind, said, peak, seconds
        code = self.process.wait()
        return ("too long" if code == -signal.SIGKILL else "killed"), f"status {code}", 0, 0.0


def pictures(folders: list[Path]) -> list[Path]:
    """Return the files that end or begin like a picture."""
    from stylize.pictures.reading.formats import HEAD_BYTES, KNOWN_ELSEWHERE, READ, recognise

    found = []
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if not path.is_file() or path.is_symlink():
                continue
            with path.open("rb") as file:
                head = file.read(HEAD_BYTES)
            if path.suffix.lower() in {*READ, *KNOWN_ELSEWHERE} or recognise(head) is not None:
                found.append(path)
    return found


def main() -> None:
    """Decode all, and print what became of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        child()
        return
    sys.path.insert(0, str(ROOT))
    kinds: collections.Counter[str] = collections.Counter()
    largest: tuple[int, Any] = (0, None)
    slowest: tuple[float, Any] = (0.0, None)
    process, before = Child(), 0
    for path in pictures(asked.folders):
        kind, said, peak, seconds = process.decode(path)
        kinds[kind] += 1
        if kind != "read":
            print(f"{kind}: {path}: {said}")
        largest, slowest = max(largest, (peak, path)), max(slowest, (seconds, path))
        if peak > MOST_BYTES > before:
            print(f"MEMORY: {path}: {peak / 2**30:.2f} GiB")
        before = peak
        # A process that has grown says nothing about the next file.
        if kind in ("killed", "too long") or peak > MOST_BYTES // 2:
            process.process.kill()
            process, before = Child(), 0
    print(dict(kinds))
    print(f"largest {largest[0] / 2**20:.0f} MiB: {largest[1]}")
    print(f"slowest {slowest[0]:.1f} s: {slowest[1]}")


if __name__ == "__main__":
    main()
