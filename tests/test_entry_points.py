"""The entry points of each room say what they take, give and raise: every argument by its name."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator

import pytest

import cluster
import jobs
import stylize
from cluster.cli.app import app

ENTRY_POINTS = [
    "stylize.api:stylize",
    "stylize.api:Result.save",
    "stylize.losses.objective:Objective",
    "stylize.memory:predict_bytes",
    "stylize.network.vgg19:load_vgg19",
    "stylize.network.weights:identify",
    "stylize.optimise.optimiser:make_optimiser",
    "stylize.pictures.codec:decode",
    "stylize.pictures.codec:encode",
    "stylize.render.render:Render",
    "stylize.video.film:open_film",
    "stylize.video.film:Film.frame",
    "stylize.video.film:Film.frames",
    "stylize.video.writer:FilmWriter",
    "stylize.video.writer:FilmWriter.write",
    "stylize.video.writer:film_like",
    "stylize.render.checkpoint:Checkpoint.from_bytes",
    "jobs.jobfile.load:load_job",
    "jobs.jobfile.parse:parse_job",
    "jobs.inputs.reader:Inputs",
    "jobs.inputs.reader:Inputs.read",
    "jobs.proofs.selection:read_selection",
    "jobs.records.commit:Records",
    "jobs.records.commit:Records.commit",
    "jobs.records.verify:find_damaged",
    "jobs.report.gallery:write_gallery",
    "jobs.report.summary:summarise",
    "jobs.storage.base:Storage.get",
    "jobs.storage.base:Storage.put",
    "jobs.storage.lease:Lease",
    "jobs.storage.open:open_storage",
    "jobs.tasks.pairs:expand",
    "jobs.tasks.task:Task.record",
    "jobs.tasks.todo:Agenda",
    "cluster.driver.backlog:Backlog",
    "cluster.driver.backlog:Backlog.take",
    "cluster.driver.driver:Driver",
    "cluster.driver.driver:Driver.run",
    "cluster.events.live:LiveBoard",
    "cluster.open_job:open_agenda",
    "cluster.pools.base:Pool.submit",
    "cluster.pools.base:Pool.wait",
    "cluster.pools.inline_pool:InlinePool",
    "cluster.pools.ray_cluster:connect",
    "cluster.pools.ray_pool:RayPool",
    "cluster.plan.plan:make_plan",
    "cluster.run.run_job:run_job",
    "cluster.submit.hand_over:hand_over",
    "cluster.worker.worker:Worker",
    "cluster.worker.worker:Worker.run",
    "cluster.worker.renderer:make_renderer",
]


def entry(name: str) -> object:
    module, _, path = name.partition(":")
    thing: object = importlib.import_module(module)
    for part in path.split("."):
        thing = getattr(thing, part)
    return thing


def parameters(thing: object) -> Iterator[str]:
    made = thing.__init__ if inspect.isclass(thing) else thing  # type: ignore[misc]
    for name, parameter in inspect.signature(made).parameters.items():
        if name not in ("self", "cls"):
            yield f"**{name}" if parameter.kind is parameter.VAR_KEYWORD else name


def public_functions() -> Iterator[str]:
    """Every public function of a module that has three parameters or more.

    Left out: a command's functions, whose parameters have help texts; how a starter's paintings are drawn.
    """
    for room in (stylize, jobs, cluster):
        for module in pkgutil.walk_packages(room.__path__, f"{room.__name__}."):
            if module.name.startswith("jobs.examples._") or module.name.endswith("__main__"):
                continue
            for name, thing in vars(importlib.import_module(module.name)).items():
                if (
                    inspect.isfunction(thing)
                    and thing.__module__ == module.name
                    and not name.startswith("_")
                    and len(list(parameters(thing))) >= 3
                    and not is_command(thing)
                ):
                    yield f"{module.name}:{name}"


def is_command(thing: object) -> bool:
    return any(command.callback is thing for command in app.registered_commands)


@pytest.mark.parametrize("name", sorted({*ENTRY_POINTS, *public_functions()}))
def test_every_argument_is_described(name):
    thing = entry(name)
    text = inspect.getdoc(thing) or ""
    if inspect.isclass(thing):
        text += "\n\n" + (inspect.getdoc(thing.__init__) or "")
    described = set(re.findall(r"^ {4}(\*{0,2}\w+)(?: \([^)]*\))?: \S", text, re.MULTILINE))
    wanted = set(parameters(thing))
    assert text
    if len(wanted) > 1:
        assert re.search(r"^Args:$", text, re.MULTILINE), f"{name} has no Args block"
        assert wanted <= described, f"{name} does not describe {sorted(wanted - described)}"
