"""``workers``, ``retries`` and ``stop``: who renders, how often, and for how long."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    Field,
    ValidationInfo,
)
from pydantic_core import PydanticCustomError

from jobs.spec.values import Duration, Section, duration_schema, shown


def _whole_or_share(gpus: float) -> float:
    if gpus > 1 and gpus != int(gpus):
        raise PydanticCustomError(
            "gpus",
            "{given} is neither a share of a GPU, up to 1, nor a whole number of them",
            {"given": shown(gpus)},
        )
    return gpus


def _of_several_gpus(split: str, others: ValidationInfo) -> str:
    gpus = others.data.get("gpus")
    if split == "picture" and isinstance(gpus, float) and gpus < 2:
        raise PydanticCustomError(
            "split",
            "a picture is split among the GPUs of a worker: set workers.gpus to 2 or more",
        )
    return split


def _not_of_a_split(graphs: str, others: ValidationInfo) -> str:
    if graphs == "auto" and others.data.get("split") == "picture":
        raise PydanticCustomError(
            "cuda_graphs",
            "the steps of a picture that is split among GPUs are not recorded: leave it off, or leave out "
            "workers.split",
        )
    return graphs


def _at_most_max(fewest: int, others: ValidationInfo) -> int:
    most = others.data.get("max", "auto")
    if isinstance(most, int) and fewest > most:
        raise PydanticCustomError(
            "min", "{fewest} is above workers.max, {most}", {"fewest": fewest, "most": most}
        )
    return fewest


_LABEL = r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?"


_LABEL_KEY = rf"^([A-Za-z0-9.-]+/)?{_LABEL}$"


_LABEL_VALUE = rf"^!?({_LABEL}|in\({_LABEL}(, ?{_LABEL})*\))$"


def _ray_labels(labels: dict[str, str]) -> dict[str, str]:
    for key, value in labels.items():
        if not re.match(_LABEL_KEY, key) or not re.match(_LABEL_VALUE, value):
            raise PydanticCustomError(
                "labels",
                "{given} is not a condition on a Ray label: give name: value, !value, in(a, b) or !in(a, b)",
                {"given": shown({key: value})},
            )
    return labels


class Workers(Section):
    """How many workers, and what each holds."""

    max: Literal["auto"] | Annotated[int, Field(ge=1, le=100_000)] = Field(
        "auto",
        description="Most workers at once; auto: what the cluster has room for, also when nodes join. A "
        "number above that makes an autoscaler add nodes.",
    )
    min: Annotated[int, AfterValidator(_at_most_max)] = Field(
        1, ge=1, le=100_000, description="Fewest workers to keep when little is left to do."
    )
    device: Literal["auto", "gpu", "cpu"] = Field(
        "auto", description="What workers render on; auto: GPUs where the cluster has any."
    )
    gpus: Annotated[float, AfterValidator(_whole_or_share)] = Field(
        1.0,
        gt=0,
        le=64,
        description="GPUs of each worker: 1, a share such as 0.5, or several, on each of which it then "
        "paints, or on all together (split). Without any GPU, workers use CPUs.",
        json_schema_extra={"anyOf": [{"maximum": 1}, {"type": "integer"}]},
    )
    split: Annotated[Literal["tasks", "picture"], AfterValidator(_of_several_gpus)] = Field(
        "tasks",
        description="What the GPUs of a worker share; tasks: each paints pictures of its own; picture: all "
        "paint one, some of its rows each, which divides its memory and its time. Needs gpus of 2 or more.",
    )
    cuda_graphs: Annotated[Literal["off", "auto"], AfterValidator(_not_of_a_split)] = Field(
        "off",
        description="Whether NVIDIA GPUs replay the steps of a picture as CUDA graphs, without Python amid "
        "kernels; auto: where they can be recorded; else steps are made as usual, and the record says so.",
    )
    threads: Literal["auto"] | Annotated[int, Field(ge=1, le=1024)] = Field(
        "auto",
        description="CPU threads of each worker; auto: the cores, divided among the workers.",
    )
    batch: Literal["auto"] | Annotated[int, Field(ge=1, le=256)] = Field(
        "auto",
        description="Pictures of one shape painted together; auto: on a GPU as many as fit and make it "
        "faster, else 1.",
    )
    labels: Annotated[dict[str, str], AfterValidator(_ray_labels)] = Field(
        default={},
        json_schema_extra={
            "propertyNames": {"pattern": _LABEL_KEY},
            "additionalProperties": {"type": "string", "pattern": _LABEL_VALUE},
        },
        description="Ray labels of the nodes to use, such as {ray.io/accelerator-type: in(A100, H100)}.",
    )
    stall_timeout: Duration = Field(
        300.0,
        gt=0,
        description="A worker that makes no step for this long is killed, and its task retried.",
        json_schema_extra=duration_schema,
    )
    grace: Duration = Field(
        20.0,
        ge=0,
        description="How long a worker whose machine is preempted paints on to its next checkpoint.",
        json_schema_extra=duration_schema,
    )

    @property
    def members(self) -> int:
        """The number of devices that paint each picture together."""
        return int(self.gpus) if self.split == "picture" else 1


class Retries(Section):
    """What happens when a machine fails."""

    attempts: int = Field(
        3, ge=1, le=100, description="Most attempts at a task. A bad picture is never retried."
    )
    storage_patience: Duration = Field(
        3600.0,
        ge=0,
        description="How long to wait for a failing storage, with no new task started, before giving up.",
        json_schema_extra=duration_schema,
    )


class Stop(Section):
    """When to stop before everything is done."""

    max_failures: int | None = Field(
        None, ge=1, description="Stop when this many tasks have failed in this run."
    )
    max_gpu_hours: float | None = Field(
        None,
        gt=0,
        description="Stop when the run's workers have held their GPUs for this many hours in total.",
    )
