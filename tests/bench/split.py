"""One picture over several processes: ``python tests/bench/split.py [--sizes 1024 2048] [--members 2 4]``.

For each size, a render of two steps by one process and by teams on the CPU, each with two threads in all.
Shown are the peak resident size of a process (of a team: the largest member's; the pictures as they were
read count in full for each, though members share them), the seconds beside one process, and how far the
pictures are apart.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from studio import pairs

ROOT = Path(__file__).resolve().parents[2]
THREADS = 2


def peak(pid: int | str) -> int:
    """Return the peak resident bytes of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def paint(content: str, style: str, size: str, members: str, knobs: str, out: str) -> None:
    """Render twice, of which the second is timed, and print seconds and the peak of a process."""
    import numpy as np
    import torch

    from stylize import Recipe, stylize
    from stylize.network.vgg19 import load_vgg19
    from stylize.network.weights import identify
    from stylize.team.team import Team

    torch.set_num_threads(THREADS)
    made = Recipe(size=int(size), start_size=None, steps=2, strips="on", **json.loads(knobs))
    network = load_vgg19(identify(made), torch.device("cpu"))
    if int(members) == 1:
        began = time.perf_counter()
        result = stylize(content, style, made, network=network, device="cpu")
        seconds, most = time.perf_counter() - began, peak("self")
    else:
        with Team(["cpu"] * int(members), network, max(1, THREADS // int(members))) as team:
            small = made.model_copy(update={"size": 128})
            stylize(content, style, small, team=team)  # the processes start
            began = time.perf_counter()
            result = stylize(content, style, made, team=team)
            seconds, most = time.perf_counter() - began, max(map(peak, team.pids))
    np.save(out, result.picture.rgb[0].numpy())
    print(json.dumps({"seconds": seconds, "peak": most}))


def main() -> None:
    """Measure and print the rows that are asked for."""
    if len(sys.argv) > 1 and sys.argv[1] == "paint":
        paint(*sys.argv[2:])
        return
    import numpy as np

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[1024, 2048])
    parser.add_argument("--members", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--pictures", type=Path, help="a folder with photos/ and paintings/")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        content, style = pairs(asked.pictures, Path(folder))[0][:2]
        before: dict[int, tuple[int, int]] = {}
        for size in asked.sizes:
            found: dict[int, Any] = {}
            one = np.zeros(())
            for members in [1, *asked.members]:
                out = Path(folder) / f"{members}.npy"
                done = subprocess.run(
                    [
                        *(sys.executable, __file__, "paint", str(content), str(style), str(size)),
                        *(str(members), json.dumps({"precision": asked.precision}), str(out)),
                    ],
                    env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(THREADS)},
                    stdout=subprocess.PIPE,
                    text=True,
                    check=True,
                )
                found[members] = json.loads(done.stdout.splitlines()[-1])
                picture = np.load(out)
                pixels = picture.shape[1] * picture.shape[2]
                if members == 1:
                    one = picture
                apart = np.abs(picture - one) * 255
                text = f"{size} px, {members}: {found[members]['peak'] / 2**20:,.0f} MiB"
                text += f" ({found[members]['peak'] / found[1]['peak']:.2f})"
                if members in before:
                    more = found[members]["peak"] - before[members][0]
                    text += f", {more / (pixels - before[members][1]):.0f} B per further pixel"
                before[members] = found[members]["peak"], pixels
                text += f"; {found[members]['seconds']:.1f} s"
                text += f" ({found[members]['seconds'] / found[1]['seconds']:.2f})"
                print(
                    f"{text}; apart {apart.max():.2f} grey levels at most, "
                    f"{(apart <= 1).mean():.2%} within one",
                    flush=True,
                )


if __name__ == "__main__":
    main()
