"""A worker checks that the GPUs it was given are visible and free. CUDA is played by a stand-in;
where there is a GPU, ``gpu``-marked tests ask the real thing."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

ray = pytest.importorskip("ray")

from cluster.pools import ray_actor  # noqa: E402
from cluster.worker.renderer import describe_device  # noqa: E402

GB = 10**9


@pytest.fixture
def cuda(monkeypatch):
    """Cards with (free, total) bytes each."""

    def have(*cards):
        fake = SimpleNamespace(
            is_available=lambda: bool(cards),
            device_count=lambda: len(cards),
            mem_get_info=lambda index: cards[index],
        )
        monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=fake))

    return have


@pytest.mark.parametrize(
    ("seen", "gpus", "cards", "problem"),
    [
        (["3"], 1.0, [(79 * GB, 80 * GB)], None),
        (["0"], 0.5, [(39 * GB, 80 * GB)], None),  # its half, while another has the other
        (["0", "1"], 2.0, [(79 * GB, 80 * GB)] * 2, None),
        ([], 0.0, [], None),
        # Logical GPUs, which CUDA knows nothing of.
        (["7"], 1.0, [], None),
        ([], 1.0, [(79 * GB, 80 * GB)], "must see 1 GPUs and sees []"),
        (["0", "1"], 1.0, [(79 * GB, 80 * GB)], "must see 1 GPUs and sees ['0', '1']"),
        # Ray names one and the process sees all: pinning did not take.
        (["3"], 1.0, [(79 * GB, 80 * GB)] * 8, "Ray gave it 1 GPUs and CUDA sees 8"),
        (["3"], 1.0, [(4 * GB, 80 * GB)], "GPU 3 has only 4.0 of 80.0 GB free"),
        (["4", "5"], 2.0, [(79 * GB, 80 * GB), (1 * GB, 80 * GB)], "GPU 5 has only 1.0"),
        (["0"], 0.5, [(9 * GB, 80 * GB)], "GPU 0 has only 9.0"),
    ],
)
def test_a_worker_that_cannot_work_says_why(cuda, seen, gpus, cards, problem):
    cuda(*cards)

    reported = ray_actor._find_problem(seen, gpus)

    if problem is None:
        assert reported is None
    else:
        assert reported is not None
        assert problem in reported


def test_a_cpu_is_described_by_the_machines_memory():
    import psutil
    import torch

    device = describe_device(torch.device("cpu"))

    assert (device.name, device.driver) == ("cpu", None)
    assert device.memory_bytes == psutil.virtual_memory().total


@pytest.mark.gpu
def test_a_real_gpu_is_described_and_free():
    import torch

    if not torch.cuda.is_available():
        pytest.skip("needs an NVIDIA GPU")
    device = describe_device(torch.device("cuda", 0))

    assert device.name
    assert device.driver
    assert device.memory_bytes is not None
    assert device.memory_bytes > GB
    assert (
        ray_actor._find_problem(["0"] * torch.cuda.device_count(), torch.cuda.device_count())
        is None
    )


@pytest.mark.parametrize(("given", "crowded"), [(2, False), (3, True), (0.5, False)])
def test_a_node_is_crowded_when_it_has_more_workers_than_cores(monkeypatch, given, crowded):
    nodes = [
        {"NodeID": "this", "Resources": {"CPU": given}},
        {"NodeID": "another", "Resources": {"CPU": 64}},
        {"NodeID": "bare", "Resources": {}},
    ]
    monkeypatch.setattr(ray_actor.ray, "nodes", lambda: nodes)
    monkeypatch.setattr(ray_actor.os, "cpu_count", lambda: 2)

    assert ray_actor._is_crowded("this") is crowded
    assert ray_actor._is_crowded("bare") is False
