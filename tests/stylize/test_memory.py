"""What a render takes is known before it begins, and a process that renders loads no compiler."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from stylize import Recipe
from stylize.memory import BYTES_PER_REMEMBERED_PAIR, predict_bytes
from tests.stylize.support import imported_by

RENDER = """
import resource, sys
import torch
from stylize import Recipe, stylize

size, strips = int(sys.argv[1]), sys.argv[2]
torch.manual_seed(0)
recipe = Recipe(size=size, start_size=None, steps=1, optimizer="adam", strips=strips)
stylize(torch.rand(3, 512, 512), torch.rand(3, 512, 512), recipe, device="cpu")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss has other units elsewhere")
@pytest.mark.parametrize("strips", ["on", "off"])
def test_predicted_memory_is_near_the_peak(strips: str) -> None:
    """At 512 px, on a machine that may take back idle pages; the benchmark holds it to 15% to 2048."""
    done = subprocess.run(
        [sys.executable, "-c", RENDER, "512", strips], capture_output=True, text=True, check=True
    )
    recipe = Recipe(size=512, optimizer="adam")
    predicted = predict_bytes(recipe, 512, 512, strips=strips == "on")
    assert predicted == pytest.approx(int(done.stdout), rel=0.35)


def test_strips_take_less_where_it_counts_and_never_much_more() -> None:
    for size in (256, 512, 1024, 4096):
        recipe = Recipe(size=size)
        ratio = predict_bytes(recipe, size, size, strips=True) / predict_bytes(recipe, size, size)
        assert ratio < 1
    assert ratio < 0.45


def test_every_remembered_pair_counts() -> None:
    few, many = (Recipe(optimizer="lbfgs", history=n, margin=0) for n in (10, 110))
    more = predict_bytes(many, 100, 200) - predict_bytes(few, 100, 200)
    assert more == 100 * BYTES_PER_REMEMBERED_PAIR * 100 * 200


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
def test_a_render_does_not_load_torchs_compiler(optimizer: Any) -> None:
    """Which takes longer than the first steps of a small picture."""
    code = f"""
from stylize import Recipe, stylize
from tests.stylize.support import noise, recipe, tiny_network
made = recipe(optimizer={optimizer!r}, steps=2)
stylize(noise(1, 32, 32), noise(2, 32, 32), made, network=tiny_network(), device="cpu")
"""
    assert "torch._dynamo" not in imported_by(code)
