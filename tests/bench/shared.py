"""Runs that share a floor: ``python tests/bench/shared.py [row ...]``.

Four Ray nodes of four logical GPUs each on this machine, real runs in processes of their own, and a renderer
that sleeps a hundredth of a second a step and offers a checkpoint every ten. Nothing here is a figure of a
GPU.

    equal    two equal runs: seconds until each has half, and until the one that is left has everything
    weights  weights 3 and 1: the workers of each
    urgent   eight urgent pictures amid a low run: seconds until the first and until all are painting, and the
             steps that the low run makes twice
    pause    seconds until a run that is paused holds no GPU, and until it paints again
    manager  the manager is killed ten times amid two runs: what is lost
    many     twenty runs of 5 to 100 tasks that come at random times: when all are done, beside the time of
             16 workers that never pause; how long a GPU is idle while somebody waits; the longest wait
    chaos    five minutes in which the manager, runs and nodes are killed, nodes come, and runs are paused,
             resumed and set at random: what is lost, and whether anything stays
"""

from __future__ import annotations

import argparse
import heapq
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.support.cluster import Cluster, Run, chain_of, title, write_tasks
from tests.support.farm import stylefarm, wait_for

STEPS = 400


def workers(run: Run) -> int:
    """As last heard; 0 when it has ended."""
    beats = run.said("progress")
    return beats[-1]["workers"] if beats and run.process.poll() is None else 0


def seconds_until(condition: Callable[[], object], limit: float = 90.0) -> float:
    """How long it takes."""
    began = time.monotonic()
    wait_for(condition, limit)
    return time.monotonic() - began


def started(
    folder: Path, cluster: Cluster, name: str, tasks: int, steps: int = STEPS, **job: object
) -> Run:
    """A run of so many tasks."""
    write_tasks(folder / name, tasks, steps, name=name, **job)
    return Run(folder / name / "job.yaml", cluster.address)


def painted_twice(run: Run) -> int:
    """The most steps behind where a picture had been, over all pictures."""
    before: dict[str, int] = {}
    most = 0
    for beat in run.said("progress"):
        for picture in beat["running"]:
            most = max(most, before.get(picture["task_id"], 0) - picture["step"])
            before[picture["task_id"]] = picture["step"]
    return most


def end(*runs: Run) -> None:
    """Kill what is left."""
    for run in runs:
        run.process.kill()
        run.process.wait()


def equal(cluster: Cluster, folder: Path) -> None:
    """Two equal runs."""
    first = started(folder, cluster, "first", 400)
    wait_for(lambda: workers(first) == 16, 120)
    second = started(folder, cluster, "second", 400)
    wait_for(lambda: second.said("started"), 60)
    halves = seconds_until(lambda: abs(workers(first) - 8) <= 1 and abs(workers(second) - 8) <= 1)
    print(f"equal: each has half {halves:.1f} s after the second has started (target 10)")
    end(second)
    whole = seconds_until(lambda: workers(first) == 16)
    print(f"equal: killed, the other has everything {whole:.1f} s later (target 15)")
    third = started(folder, cluster, "third", 8, 200)
    third.wait(120)
    whole = seconds_until(lambda: workers(first) == 16)
    print(f"equal: ended, the other has everything {whole:.1f} s later (target 10)")
    end(first)


def weights(cluster: Cluster, folder: Path) -> None:
    """Weights 3 and 1."""
    heavy = started(folder, cluster, "heavy", 400, weight=3)
    light = started(folder, cluster, "light", 400)
    took = seconds_until(lambda: (workers(heavy), workers(light)) == (12, 4), 120)
    print(f"weights: 12 and 4 after {took:.1f} s")
    end(heavy, light)


def urgent(cluster: Cluster, folder: Path) -> None:
    """Eight urgent pictures."""
    low = started(folder, cluster, "low", 500, priority="low")
    wait_for(lambda: len(low.painting()) == 16, 120)
    run = started(folder, cluster, "urgent", 8, 1500, priority="urgent")
    wait_for(lambda: run.said("started"), 60)
    first = seconds_until(lambda: run.painting())
    rest = seconds_until(lambda: len(run.painting()) == 8)
    print(
        f"urgent: the first paints after {first:.1f} s, all eight {rest:.1f} s later (target grace 20 + 5)"
    )
    assert run.wait(180) == 0, run.log.read_text()
    whole = seconds_until(lambda: workers(low) == 16)
    print(f"urgent: the low run has 16 again {whole:.1f} s after it has ended (target 10)")
    print(
        f"urgent: the low run makes at most {painted_twice(low)} steps twice (a checkpoint every 10)"
    )
    end(low)


def pause(cluster: Cluster, folder: Path) -> None:
    """Pause and resume."""
    run = started(folder, cluster, "paused", 40, 800)
    wait_for(lambda: len(run.painting()) == 16, 120)
    file = folder / "paused" / "job.yaml"
    assert stylefarm("pause", file).returncode == 0
    gone = seconds_until(lambda: not cluster.workers())
    assert stylefarm("resume", file).returncode == 0
    again = seconds_until(lambda: len(run.painting()) == 16)
    print(f"pause: no worker is left after {gone:.1f} s (target grace 20 + 5)")
    print(f"pause: all paint again {again:.1f} s after resume")
    assert run.wait(300) == 0, run.log.read_text()
    print(f"pause: {_right(folder / 'paused', 40, 800)} of 40 pictures are as if nothing had been")


def manager(cluster: Cluster, folder: Path) -> None:
    """Kill the manager ten times."""
    import ray

    from cluster.floor.ray_manager import find_manager

    runs = [started(folder, cluster, name, 60) for name in ("one", "two")]
    wait_for(lambda: all(workers(run) == 8 for run in runs), 120)
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    for _ in range(10):
        found = find_manager()
        if found is not None:
            ray.kill(found, no_restart=False)
        time.sleep(2.0)
    assert [run.wait(300) for run in runs] == [0, 0], runs[0].log.read_text()
    ray.shutdown()
    right = sum(_right(folder / name, 60, STEPS) for name in ("one", "two"))
    print(f"manager: {right} of 120 pictures are right, each committed once")


def many(cluster: Cluster, folder: Path) -> None:
    """Twenty runs."""
    rng = random.Random(4)
    # Long enough that what two cores take to start 16 processes is not all that is measured.
    seconds = 6.0
    comes = sorted(rng.uniform(0, 240) for _ in range(20))
    sizes = [rng.randint(5, 100) for _ in comes]
    for number, size in enumerate(sizes):
        write_tasks(folder / str(number), size, int(100 * seconds), name=f"job-{number}")
    began, runs = time.monotonic(), []
    idle: list[float] = []
    lost, last = 0.0, began
    idle_since: float | None = None
    while len(runs) < len(comes) or any(run.process.poll() is None for run in runs):
        now = time.monotonic()
        while len(runs) < len(comes) and now - began >= comes[len(runs)]:
            runs.append(Run(folder / str(len(runs)) / "job.yaml", cluster.address))
        alive = [run for run in runs if run.process.poll() is None]
        beats = [beat[-1] for run in alive if (beat := run.said("progress"))]
        held = sum(beat["workers"] for beat in beats)
        waits = any(beat["pending"] for beat in beats)
        if held < 16 and waits:
            lost += (16 - held) * (now - last)
            idle_since = idle_since or now
        elif idle_since is not None:
            idle.append(now - idle_since)
            idle_since = None
        last = now
        time.sleep(0.1)
    took = time.monotonic() - began
    ideal = _makespan(comes, sizes, seconds)
    waited = [
        run.said("done")[0]["at"] - seconds - (began + at)
        for run, at in zip(runs, comes, strict=True)
    ]
    print(
        f"many: {sum(sizes)} tasks in {took:.1f} s, ideal {ideal:.1f}: {took / ideal:.3f} (target 1.1)"
    )
    print(
        f"many: a GPU is idle while somebody waits for at most {max(idle, default=0):.1f} s (target 3)"
    )
    print(f"many: {lost / 16 / took:.1%} of all GPU time was idle while somebody waited")
    started = sum(len({w["name"] for b in r.said("progress") for w in b["fleet"]}) for r in runs)
    given_back = sum(run.said("progress")[-1]["given_back"] for run in runs)
    print(f"many: {started} workers were started, and {given_back} given back")
    print(f"many: the longest wait for a first picture is {max(waited):.1f} s")


def _makespan(comes: list[float], sizes: list[int], seconds: float) -> float:
    """When 16 workers that begin at once and never pause have done everything, in the order of coming."""
    free = [0.0] * 16
    for at, size in zip(comes, sizes, strict=True):
        for _ in range(size):
            heapq.heappush(free, max(at, heapq.heappop(free)) + seconds)
    return max(free)


def chaos(cluster: Cluster, folder: Path, minutes: float = 5.0) -> None:
    """Five minutes of trouble."""
    rng = random.Random(7)
    tasks = 60
    names = ("low", "normal", "high")
    files = {name: folder / name / "job.yaml" for name in names}
    for name in names:
        write_tasks(folder / name, tasks, 600, name=name, priority=name)
    runs = {name: Run(files[name], cluster.address) for name in names}
    nodes = list(cluster.others)
    acts: Counter[str] = Counter()

    def kill_manager() -> None:
        for process in cluster.processes():
            if title(process).startswith("ray::ManagerActor"):
                process.kill()

    def kill_run() -> None:
        runs[rng.choice(names)].process.kill()

    def kill_node() -> None:
        if nodes:
            cluster.kill_raylet(nodes.pop(rng.randrange(len(nodes))))

    def remove_node() -> None:
        if nodes:
            cluster.remove(nodes.pop(rng.randrange(len(nodes))), graceful=True)

    def add_node() -> None:
        if len(nodes) < 4:
            nodes.append(cluster.add(num_gpus=4))

    def pause() -> None:
        stylefarm("pause", files[rng.choice(names)])

    def resume() -> None:
        stylefarm("resume", files[rng.choice(names)])

    def change() -> None:
        priority, most = rng.choice(("low", "normal", "high")), rng.choice((1, 4, 16))
        stylefarm("set", files[rng.choice(names)], "--priority", priority, "--workers", most)

    every = [
        kill_manager,
        kill_run,
        kill_node,
        remove_node,
        add_node,
        add_node,
        pause,
        resume,
        resume,
        change,
    ]
    until = time.monotonic() + 60 * minutes
    while time.monotonic() < until:
        act = rng.choice(every)
        acts[act.__name__] += 1
        act()
        time.sleep(rng.uniform(2, 6))
        for name in names:
            status = runs[name].process.poll()
            if status is not None and _right(folder / name, tasks, 600) < tasks:
                runs[name] = Run(files[name], cluster.address)
    while len(nodes) < 3:
        nodes.append(cluster.add(num_gpus=4))
    began = time.monotonic()
    for _ in range(5):
        for name in names:
            if runs[name].process.poll() is None:
                stylefarm("resume", files[name])
                stylefarm("set", files[name], "--workers", "16")
            elif _right(folder / name, tasks, 600) < tasks:
                runs[name] = Run(files[name], cluster.address)
        if _all_end(list(runs.values()), 90):
            break
    right = {name: _right(folder / name, tasks, 600) for name in names}
    stuck = [name for name, run in runs.items() if run.process.poll() is None]
    time.sleep(15)
    floor = json.loads(stylefarm("floor", "--address", cluster.address, "--json").stdout or "{}")
    print(f"chaos: {dict(acts)}, then {time.monotonic() - began:.0f} s to the end")
    print(f"chaos: right pictures of {tasks} each: {right}; stuck: {stuck or 'none'}")
    print(
        f"chaos: runs that the manager still knows: {floor.get('runs')}; workers: {len(cluster.workers())}"
    )
    end(*runs.values())


def _all_end(runs: list[Run], limit: float) -> bool:
    until = time.monotonic() + limit
    while time.monotonic() < until:
        if all(run.process.poll() is not None for run in runs):
            return all(run.process.returncode == 0 for run in runs)
        time.sleep(0.5)
    return False


def _right(folder: Path, tasks: int, steps: int) -> int:
    from jobs.records.commit import Records
    from jobs.storage.folder import FolderStorage

    storage = FolderStorage(folder / "out")
    pictures = [json.loads(storage.get(r.output.key)) for r in Records(storage).all() if r.output]
    return sum(picture["chain"] == chain_of(picture["n"], steps) for picture in pictures)


ROWS: dict[str, Callable[[Cluster, Path], None]] = {
    "equal": equal,
    "weights": weights,
    "urgent": urgent,
    "pause": pause,
    "manager": manager,
    "many": many,
    "chaos": chaos,
}


def main() -> None:
    """Run the rows that were asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rows", nargs="*", choices=[*ROWS, []], help="default: all")
    cluster = Cluster({"num_gpus": 4}, {"num_gpus": 4}, {"num_gpus": 4}, {"num_gpus": 4})
    try:
        for row in parser.parse_args().rows or ROWS:
            with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
                ROWS[row](cluster, Path(folder))
    finally:
        cluster.close()


if __name__ == "__main__":
    main()
