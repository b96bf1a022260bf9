"""How much memory a render takes, before it is begun. Imports no torch."""

from __future__ import annotations

from stylize.recipe import Recipe

PROCESS_BYTES = 850 * 2**20
"""Python, torch and the network's weights, measured as peak resident size on the CPU."""

BYTES_PER_PIXEL = 2800
"""Activations and their gradients up to conv5_1 in float32: the slope of the peak resident size from
512 to 1024 px on the CPU."""

BYTES_PER_REMEMBERED_PAIR = 24
"""L-BFGS keeps two float32 pictures of three channels for every pair in its history."""


def predict_bytes(recipe: Recipe, height: int, width: int) -> int:
    """Peak memory of one picture of ``height`` x ``width`` px, the process included, in bytes."""
    pixels = height * width
    pairs = recipe.history if recipe.optimizer == "lbfgs" else 1  # Adam's two moments
    return PROCESS_BYTES + pixels * (BYTES_PER_PIXEL + pairs * BYTES_PER_REMEMBERED_PAIR)
