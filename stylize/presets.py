"""The presets: named sets of values for a recipe's knobs, and nothing else.

Sources of the presets:

* ``gatys``: Gatys, Ecker, Bethge, *Image Style Transfer Using Convolutional Neural Networks*, CVPR
  2016, as in the authors' PyTorch code (github.com/leongatys/PytorchNeuralStyleTransfer).
* ``notebook``: the style transfer exercise of a widely taken PyTorch course.
* ``neural-style``: J. Johnson, github.com/jcjohnson/neural-style, and its PyTorch port.
* ``wasserstein``: K. Crowson, github.com/crowsonkb/style-transfer-pytorch.
* ``studio``: this project's own preset and the default: wasserstein's losses, minimised by L-BFGS from
  the photo. ``tests/bench/studio.md`` records the measurements behind it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

_GRAM_LOSS = {
    "style_loss": "gram",
    "style_layers": {f"conv{block}_1": 1.0 for block in range(1, 6)},
    "tv": "squares",
    "preconditioner": "none",
}

PRESETS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        # The defaults of Recipe's fields are studio's.
        "studio": {},
        "gatys": {
            **_GRAM_LOSS,
            "steps": 500,
            "start_size": 512,
            "size_factor": None,
            "refine_steps": 200,
            "content_weight": 1.0,
            "style_weight": 1e3,
            "tv_weight": 0.0,
            "gram": "positions",
            "style_norm": "channels",
            "optimizer": "lbfgs",
            "history": 100,
            "margin": 0,
        },
        "notebook": {
            **_GRAM_LOSS,
            "steps": 2000,
            "start_size": None,
            "content_weight": 1.0,
            "style_weight": 1e6,
            "style_layers": {
                "conv1_1": 1.0,
                "conv2_1": 0.75,
                "conv3_1": 0.2,
                "conv4_1": 0.2,
                "conv5_1": 0.2,
            },
            "tv_weight": 0.0,
            "gram": "none",
            "style_norm": "elements",
            "style_fit": "squash",
            "optimizer": "adam",
            "learning_rate": 0.003,
            "space": "imagenet",
            "weights": "torchvision",
            "margin": 0,
        },
        "neural-style": {
            **_GRAM_LOSS,
            "content_weight": 5.0,
            "style_weight": 100.0,
            "tv_weight": 1e-3,
            "gram": "elements",
            "style_norm": "none",
            "steps": 1000,
            "start_size": None,
            "optimizer": "lbfgs",
            "history": 100,
            "init": "noise",
            "init_noise": 0.001 / 255,
            "margin": 0,
        },
        "wasserstein": {
            "steps": 1000,
            "start_size": 128,
            "size_factor": math.sqrt(2),
            "refine_steps": 500,
            "content_weight": 0.015,
            "style_weight": 1.0,
            "style_loss": "wasserstein",
            "style_layers": {f"conv{block}_1": 4.0 ** (5 - block) / 341 for block in range(1, 6)},
            "tv_weight": 2.0,
            "tv": "nine-point",
            "optimizer": "adam",
            "learning_rate": 0.02,
            "preconditioner": "none",
            "beta2": 0.99,
            "carry_moments": True,
            "average": 0.99,
            "space": "rgb",
            "clamp": True,
            "padding": "replicate",
            "margin": 0,
        },
    }
)
"""The values of each preset, by name. Knobs that a preset does not set keep Recipe's defaults."""


USUAL_FIRST_STEPS = 80
"""The steps at the first size that ``steps`` auto stands for."""
USUAL_STEPS = 30
"""The steps at each size after the first that ``refine_steps`` auto stands for."""

AUTO: Mapping[str, Any] = MappingProxyType(
    {"precision": "float32", "steps": USUAL_FIRST_STEPS, "refine_steps": USUAL_STEPS}
)
"""Knobs that can be auto, each with the value that auto counts as in a task's identity: the default before
there was an auto, so that finished work stays finished."""


NEUTRAL: Mapping[str, Any] = MappingProxyType(
    {
        "style_loss": "gram",
        "tv": "squares",
        "padding": "zeros",
        "beta2": 0.999,
        "carry_moments": False,
        "average": None,
        "rescale_pooling": False,
        "precision": "float32",
        "preconditioner": "none",
        "segment": None,
        "colors": "style",
        "color_method": "luminance",
    }
)
"""Knobs added later, each with the value that leaves a render as it was before the knob existed. At that
value a knob is not part of a task's identity, so a new knob does not invalidate finished work."""
