"""What the order book's tests share: job files as text, their tasks, and records."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from jobs.errors import JobFileError
from jobs.inputs.reader import Inputs
from jobs.jobfile.job import Job
from jobs.jobfile.parse import parse_job
from jobs.records.record import TaskRecord
from jobs.tasks.pairs import expand, look_up
from jobs.tasks.task import Task
from stylize.recipe import Recipe

FILE = "job.yaml"

MINIMAL = """\
output: out
pairs: [{content: a.jpg, style: b.jpg}]
"""
"""The least that is a job. What a test adds to it stands on line 3."""

FULL_RECIPE: dict[str, Any] = {
    "preset": "gatys",
    "size": 640,
    "steps": 500,
    "start_size": 512,
    "size_factor": 2.0,
    "refine_steps": 200,
    "optimizer": "lbfgs",
    "learning_rate": 1.0,
    "history": 100,
    "history_precision": "float32",
    "init": "image",
    "init_noise": 0.5,
    "seed": 7,
    "content_weight": 1.0,
    "content_layers": {"conv4_2": 1.0},
    "style_weight": 1000.0,
    "style_layers": {"conv1_1": 1.0, "conv2_1": 0.5},
    "gram": "positions",
    "style_norm": "channels",
    "style_fit": "keep",
    "style_scale": 1.5,
    "tv_weight": 0.0,
    "space": "caffe",
    "clamp": False,
    "margin": 4,
    "pooling": "max",
    "weights": "vgg.pth",
    "weights_input": "caffe",
    # At these values the knobs that came later are no part of an id.
    "style_loss": "gram",
    "tv": "squares",
    "padding": "zeros",
    "beta2": 0.999,
    "carry_moments": False,
    "average": None,
    "rescale_pooling": False,
    "colors": "style",
    "color_method": "luminance",
    "precision": "float32",
    "preconditioner": "none",
    "segment": None,
    "strips": "auto",
}
"""Every knob, so that a test which needs to know them all depends on no default."""


def read(text: str, base: Path | str = ".") -> Job:
    return parse_job(dedent(text).encode(), FILE, Path(base))


def refusal(text: str | bytes, base: Path | str = ".") -> list[str]:
    """What a wrong job file is told, one problem in each line."""
    data = text if isinstance(text, bytes) else dedent(text).encode()
    with pytest.raises(JobFileError) as caught:
        parse_job(data, FILE, Path(base))
    return str(caught.value).splitlines()


def tasks_of(
    text: str, base: Path | str = ".", digest_of: Callable[[Recipe], str] = lambda _: "digest"
) -> list[Task]:
    job = read(text, base)
    return list(expand(look_up(job, Inputs(job.base)), job.spec.image.name, digest_of))


def touch(base: Path, *names: str) -> None:
    for name in names:
        path = base / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"picture")


def a_record(number: int = 0, **fields: Any) -> TaskRecord:
    """A record with an id of its own for each number."""
    return TaskRecord.model_validate(
        {
            "id": f"{number:016x}",
            "name": f"picture {number}",
            "status": "done",
            "content": "a.jpg",
            "styles": [("b.jpg", 1.0)],
            "recipe": {"size": 64},
            "weights_digest": "digest",
            "finished": 1.5,
            **fields,
        }
    )
