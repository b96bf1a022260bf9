"""``examine``: check that this machine can render, part by part."""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from jobs.errors import StorageError, StylefarmError
from jobs.jobfile.job import Job
from jobs.tasks.todo import Agenda
from stylize.errors import StylizeError
from stylize.recipe import Recipe, resolve

SHOWN = 20
"""Pictures that a check names."""


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check."""

    name: str
    """What was checked."""
    ok: bool
    text: str
    """What was found; where the check failed, the error, with what to do."""


def examine(job: Job | None, address: str | None) -> Iterator[Check]:
    """Check Python, torch, the weights, the pictures, the output and Ray.

    Args:
        job: The job whose weights, pictures and output to check; None: the default weights, and no output.
        address: The Ray cluster to check, as for ``ray_cluster.connect``.

    Yields:
        One result per check, as each ends. A failed check is a result, not an exception.

    Raises:
        JobFileError: The job is wrong.
    """
    yield Check("python", True, f"{platform.python_version()}, {os.cpu_count()} cores")
    yield _checked("torch", _torch)
    if job is None:
        yield _checked_weights(Recipe(), None)
    else:
        yield from _examine_job(job)
    yield _checked("ray", lambda: _ray(address))


def _examine_job(job: Job) -> Iterator[Check]:
    from cluster.open_job import open_agenda

    try:
        agenda = open_agenda(job)
    except StorageError as error:  # a store cannot be listed; what else is wrong shows below
        yield _checked_weights(resolve(job.spec.recipe), job)
        yield Check("pictures", False, str(error))
    else:
        with contextlib.closing(agenda):
            recipes = {r.weights: r for pictures in agenda.sets for r in pictures.recipes}
            for recipe in recipes.values():
                yield _checked_weights(recipe, job)
            if any(film.flow.way == "raft" for film in agenda.films):
                yield _checked("weights raft", _raft)
            yield from _pictures(agenda)
    yield _checked("output", lambda: _storage(job))


def _checked_weights(recipe: Recipe, job: Job | None) -> Check:
    return _checked(f"weights {recipe.weights}", partial(_weights, recipe, job))


def _checked(name: str, inspect: Callable[[], str]) -> Check:
    try:
        return Check(name, True, inspect())
    except (StylefarmError, StylizeError, ImportError) as error:
        return Check(name, False, str(error))


def _torch() -> str:
    import torch

    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(k) for k in range(torch.cuda.device_count())]
        return f"{torch.__version__}, {len(names)} GPU: {', '.join(names)}"
    if torch.backends.mps.is_available():
        return f"{torch.__version__}, Apple GPU"
    return f"{torch.__version__}, no GPU: renders on the CPU, which is slow but works"


def _pictures(agenda: Agenda) -> Iterator[Check]:
    from cluster.plan.look import look

    looked = look(agenda)
    rest = "" if looked.complete else "; others were not looked at"
    lines = [f"{looked.pictures:,} looked at, all can be used{rest}"]
    if looked.missing or looked.unreachable:
        lines = [looked.scope, *(str(picture.problem) for picture in looked.missing[:SHOWN])]
        lines += looked.unreachable
    yield Check("pictures", not looked.missing and not looked.unreachable, "\n".join(lines))
    if looked.masks:
        # A doubtful mask can be rendered with, and may be meant.
        doubtful = f"{len(looked.doubts):,} of {len(looked.masks):,} looked at are doubtful"
        yield Check("masks", True, "\n".join([doubtful, *looked.doubts[:SHOWN]]))


def _weights(recipe: Recipe, job: Job | None) -> str:
    from stylize.network.weights import identify, load

    weights = identify(recipe, job.base if job else None)
    load(weights)
    return f"sixteen layers, {weights.digest[:23]}"


def _raft() -> str:
    from stylize.film.sources.raft import SHA256_PREFIX, network

    network()
    return f"what finds the motion of films, sha256:{SHA256_PREFIX}"


def _storage(job: Job) -> str:
    from jobs.jobfile.job import open_output

    storage = open_output(job)
    storage.check()
    return f"{storage.url} can be written, read and listed"


def _ray(address: str | None) -> str:
    from cluster.pools import ray_cluster

    ray_cluster.connect(address)
    try:
        return ray_cluster.describe()
    finally:
        ray_cluster.disconnect()
