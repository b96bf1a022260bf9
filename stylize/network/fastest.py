"""In which precision a device computes convolutions faster: measured, because no name of a device tells.

A measurement takes a fraction of a second, once per process and device.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

from stylize.network import winograd
from stylize.network.layers import Kernel, channels_last, conv, conv_backward

Precision = Literal["float32", "bfloat16"]

CLEARLY = 0.8
"""The share of the time from which a way counts as faster, so that noise decides nothing."""

SHALLOW, DEEP = 64, 256
"""The channels of the convolutions that are measured: those of blocks 1 and 3, which take most of a step. In
float32 only the deeper can run by Winograd's algorithm, so that one alone would not tell."""

SIDES = {"cpu": 32}
"""The sides of the deeper map that is measured, by kind of device, in pixels; 128 on any other. The shallower
has four times the side, as in the network."""

ROUNDS = 3
"""The number of times that each way is measured. The fastest counts."""


MISSING = (RuntimeError, TypeError)
"""What torch raises where a device has no bfloat16: old GPUs, and old systems of Apple's."""


def fastest(device: torch.device) -> Precision:
    """Return the faster precision on a device. Waits for the device the first time.

    Args:
        device: The device that renders.
    """
    return _measured(str(device))


@lru_cache
def _measured(device: str) -> Precision:
    side = SIDES.get(torch.device(device).type, 128)
    shallow = _seconds(SHALLOW, 4 * side, torch.device(device))
    deep = _seconds(DEEP, side, torch.device(device))
    seconds = {name: shallow[name] + deep[name] for name in shallow}
    return "bfloat16" if seconds["bfloat16"] < CLEARLY * seconds["float32"] else "float32"


def _seconds(channels: int, side: int, device: torch.device) -> dict[Precision, float]:
    """Return the seconds that a convolution and its gradient take in each precision; infinite for one that
    the device has not."""
    x = channels_last(torch.rand(1, channels, side, side, device=device))
    weight = channels_last(torch.rand(channels, channels, 3, 3, device=device) / channels)
    kernel = Kernel(weight, x.new_zeros(channels))
    ways: dict[Precision, Callable[[], Tensor]] = {
        "float32": _both_ways(x, kernel.with_winograd() if winograd.suits(weight) else kernel)
    }
    with suppress(*MISSING):
        low = Kernel(channels_last(weight.bfloat16()), kernel.bias.bfloat16())
        ways["bfloat16"] = _both_ways(x.bfloat16(), low)
    absent: dict[Precision, float] = {"bfloat16": float("inf")}
    return absent | _times(ways, device)


def _both_ways(x: Tensor, kernel: Kernel) -> Callable[[], Tensor]:
    """Return a convolution and its gradient."""

    def run() -> Tensor:
        y = channels_last(conv(x, kernel, "zeros"))
        return conv_backward(y, x.shape, kernel, "zeros")

    return run


def _times(
    ways: dict[Precision, Callable[[], Tensor]], device: torch.device
) -> dict[Precision, float]:
    """Return the seconds that each way takes; infinite for one that the device has not."""
    seconds = dict.fromkeys(ways, float("inf"))
    # What else a busy CPU does must not decide. One thread's own time has no part in it; of several, that in
    # which they wait for one another would count.
    clock = time.thread_time if device.type == "cpu" else time.perf_counter
    with torch.no_grad(), _one_thread_of(device):
        for number in range(ROUNDS + 1):
            for name, run in ways.items():
                _wait_for(device)
                began = clock()
                try:
                    run()
                    _wait_for(device)
                except MISSING:
                    continue
                if number > 0:  # the first time is that of compiling and of caches
                    seconds[name] = min(seconds[name], clock() - began)
    return seconds


@contextmanager
def _one_thread_of(device: torch.device) -> Iterator[None]:
    """While entered, a CPU computes what this thread asks for in this thread."""
    threads = torch.get_num_threads()
    if device.type == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _wait_for(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
