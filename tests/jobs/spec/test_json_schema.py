"""The JSON Schema that editors complete and check job files with agrees with the loader."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import jsonschema
import pytest
import yaml

from jobs.errors import JobFileError
from jobs.jobfile.yaml_source import read_yaml
from jobs.spec.job import SECTIONS
from jobs.spec.json_schema import json_schema
from stylize.recipe import Recipe
from tests.jobs.support import FILE, FULL_RECIPE, MINIMAL, read

SCHEMA = json_schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)

EVERYTHING: dict[str, Any] = {
    "version": 1,
    "name": "everything",
    "output": "s3://renders/harbour",
    "storage": {
        "endpoint_url": "http://minio:9000",
        "region": "eu-south-1",
        "profile": "studio",
        "addressing": "path",
        "ca_bundle": "ca.pem",
    },
    "recipe": FULL_RECIPE,
    "pairs": [
        {
            "content": ["photos/*.jpg", "s3://b/photos/", "https://example.org/a.jpg"],
            "style": [
                {"picture": "wave.jpg", "mask": "masks/{content}.png"},
                "wave.jpg",
                {"blend": {"wave.jpg": 0.7, "scream.jpg": {"share": 1, "mask": "ground.png"}}},
            ],
            "combine": "zip",
            "init": "draft.png",
            "recipe": FULL_RECIPE,
            "sweep": {knob: [value] for knob, value in FULL_RECIPE.items()},
        },
        {"content": "a.jpg", "style": {"blend": {"b.jpg": 1}}, "init": "draft.png"},
        {"manifest": ["lists/*.parquet", "s3://b/lists/"], "on_bad_row": "skip"},
        {
            "film": "shots/a.####.png",
            "frames": "1001-1100x2",
            "cuts": [1040],
            "loop": False,
            "video": {
                "container": "mkv",
                "codec": "h265",
                "quality": 80,
                "bits": 10,
                "sound": False,
                "rate": "30000/1001",
            },
            "style": {"picture": "wave.jpg", "mask": "masks/a.####.png"},
            "recipe": {"init": "noise"},
        },
    ],
    "workers": {
        "max": 4,
        "min": 2,
        "device": "gpu",
        "gpus": 0.5,
        "split": "tasks",
        "cuda_graphs": "auto",
        "threads": "auto",
        "batch": 4,
        "labels": {"ray.io/accelerator-type": "in(A100, H100)", "zone": "!a"},
        "stall_timeout": "5m",
        "grace": 20,
    },
    "priority": "high",
    "weight": 2.5,
    "image": {
        "format": "webp",
        "quality": 80,
        "bit_depth": 8,
        "profile": "display-p3",
        "metadata": "none",
        "alpha": "drop",
        "name": "{content}-{seed}",
        "thumbnails": False,
        "previews": "every 30 s",
    },
    "losses": {"every": 5, "tensorboard": True},
    "inputs": {"allow_private": True},
    "retries": {"attempts": 2, "storage_patience": "1.5h"},
    "stop": {"max_failures": 20, "max_gpu_hours": 40},
    "notify": {"url": "https://hooks.example/T0/B0", "on": ["failed", "stopped"]},
    "schedule": {
        "cron": "0 2 * * mon-fri",
        "time_zone": "Europe/Rome",
        "concurrency_policy": "replace",
        "starting_deadline": "1h",
        "if_changed": False,
    },
}


def values(text: str) -> Any:
    return read_yaml(text.encode(), FILE).values


def accepts(text: str) -> bool:
    return bool(VALIDATOR.is_valid(values(text)))


def test_it_is_a_json_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_the_example_has_every_key() -> None:
    """Or the tests below would not see a key that is new."""
    for section, model in SECTIONS.items():
        at: Any = EVERYTHING
        for part in section.split(".") if section else ():
            at = at[part.removesuffix("[]")]
            at = at[3 if section == "pairs[].video" else 0] if part.endswith("[]") else at
        if section == "pairs[]":  # no entry can have them all
            at = {*at, *EVERYTHING["pairs"][2], *EVERYTHING["pairs"][3]}
        if section == "schedule":  # it is cron or every
            at = {*at, "every"}
        assert set(at) == set(model.model_fields), section
    assert set(FULL_RECIPE) == set(Recipe.model_fields)


def test_a_job_with_every_key_is_right_for_both() -> None:
    text = yaml.safe_dump(EVERYTHING)
    assert list(VALIDATOR.iter_errors(values(text))) == []
    assert read(text).spec.name == "everything"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(
            files("jobs.examples").joinpath("starter.yaml").read_text("utf-8"), id="starter"
        ),
        MINIMAL,
        MINIMAL + "recipe: {start_size: ~, style_layers: [conv1_1], content_layers: {conv4_2: 2}}",
        MINIMAL + "workers: {max: auto, threads: 8}",
        MINIMAL + "workers: {gpus: 2, batch: auto, stall_timeout: 90, grace: 0s}",
        MINIMAL + "workers: {gpus: 4, split: picture}",
        MINIMAL + "workers: {gpus: 0.3, stall_timeout: 90 s, labels: {}}",
        MINIMAL + "stop: {max_gpu_hours: 0.5}",
        MINIMAL + "notify: {url: $WEBHOOK}",
        MINIMAL + "schedule: {cron: '@daily', starting_deadline: ~}",
        MINIMAL + "schedule: {every: 90s, concurrency_policy: replace}",
        MINIMAL.replace(": out", ": 'out/{date}/{time}'") + "schedule: {cron: '*/5 * * * ?'}",
        MINIMAL + "schedule: ~",
        MINIMAL + "storage: {endpoint_url: ~}",
        MINIMAL + "image: {bit_depth: 16}",
        MINIMAL + "image: {bit_depth: 16, format: tiff}",
        MINIMAL + "stop: {max_failures: ~}",
        "output: out\npairs: [{content: a.jpg, style: {picture: b.jpg, mask: ~}}]",
        MINIMAL + "notify: {url: '${WEBHOOK}'}",
        *(
            MINIMAL.replace(" out", f" '{output}'", 1)
            for output in (
                "$HOME/o",
                "${HOME}/{date}",
                "file:///o",
                "s3://renders/o",
                "./s3:/o",
                "a:b",
            )
        ),
        "output: out\npairs: [{content: a.jpg, style: {blend: {b.jpg: {}, c.jpg: {mask: m.png}}}}]",
        "output: out\npairs: [{content: a.jpg, style: {blend: {b.jpg: {share: ~}}}}]",
        "output: out\npairs: [{content: a.jpg, style: b.jpg, manifest: ~, on_bad_row: ~}]",
        "output: out\npairs: [{manifest: p.csv, content: ~, style: ~, combine: ~, init: ~}]",
        MINIMAL + "recipe: {steps: 1e1, size: 512.0}",
        MINIMAL + "image: {bit_depth: ~, format: jpeg}",
        MINIMAL + "image: {profile: ~, format: jxl}",
        MINIMAL + "image: {thumbnails: true, previews: off}",
        MINIMAL + "image: {previews: ~}",
        MINIMAL + "image: {previews: 30}",
        MINIMAL + "image: {previews: 1m}",
        MINIMAL + "image: {profile: display-p3, format: avif}",
        MINIMAL + "schedule: {cron: '@daily', every: ~}",
        MINIMAL + "workers: {max: 2.0, batch: 1e1}",
    ],
)
def test_right_for_both(text: str) -> None:
    assert accepts(text)
    assert read(text)


def test_a_key_with_nothing_after_it_is_not_given_for_both() -> None:
    """Each key that may be left out, one after the other, with null beside what its section needs."""
    needs = {"notify": "url: $HOOK", "schedule": "cron: '@daily'", "pairs[]": None}
    for section, model in SECTIONS.items():
        for key, field in model.model_fields.items():
            if section.endswith("style[]"):
                continue
            if section == "pairs[].video":
                text = f"output: out\npairs: [{{film: a/, style: b.jpg, video: {{{key}: ~}}}}]"
            elif section.startswith("pairs[]"):
                pair = f"{key}: ~" if section == "pairs[]" else f"recipe: {{{key}: ~}}"
                text = f"output: out\npairs: [{{content: a.jpg, style: b.jpg, {pair}}}]"
                if key in ("content", "style"):
                    text = f"output: out\npairs: [{{manifest: p.csv, {key}: ~}}]"
            elif section:
                beside = needs.get(section)
                if field.is_required() or (beside or "").startswith(f"{key}:"):
                    continue
                text = f"{MINIMAL}{section}: {{{key}: ~{f', {beside}' if beside else ''}}}"
            elif field.is_required():
                continue
            else:
                text = f"{MINIMAL}{key}: ~"
            assert accepts(text), text
            assert read(text), text


@pytest.mark.parametrize(
    "line",
    [
        "nmae: x",
        "nmae: ~",
        "version: 2",
        "name: 3",
        'name: ""',
        "storage: {secret_key: x}",
        "storage: {endpoint_url: minio:9000}",
        "storage: {addressing: x}",
        "recipe: x",
        "recipe: {sise: 64}",
        "recipe: {size: 8}",
        "recipe: {size: '64'}",
        "recipe: {preset: x}",
        "recipe: {learning_rate: 0}",
        "recipe: {size_factor: 1}",
        "recipe: {style_layers: []}",
        "recipe: {style_layers: {}}",
        "recipe: {style_layers: {conv9_1: 1}}",
        "recipe: {style_layers: [conv9_1]}",
        "recipe: {style_layers: {conv1_1: -1}}",
        "recipe: {weights_input: x}",
        "workers: {max: 0}",
        "workers: {max: x}",
        "workers: {gpus: 0}",
        "workers: {min: 0}",
        "workers: {gpus: 1.5}",
        "workers: {gpus: 65}",
        "workers: {device: tpu}",
        "workers: {gpus: 2, split: rows}",
        "workers: {batch: 0}",
        "workers: {labels: {zone: 'in()'}}",
        "workers: {labels: {'-x': a}}",
        "workers: {labels: {zone: 3}}",
        "workers: {stall_timeout: 0}",
        "workers: {stall_timeout: 5 minutes}",
        "workers: {grace: -1}",
        "retries: {storage_patience: soon}",
        "stop: {max_gpu_hours: 0}",
        "notify: {}",
        "notify: {url: hooks.example}",
        "notify: {url: $}",
        "notify: {url: https://a.b, on: []}",
        "notify: {url: https://a.b, on: [begun]}",
        "image: {format: bmp}",
        "image: {quality: 101}",
        "image: {bit_depth: 12}",
        "image: {bit_depth: 16, format: jpeg}",
        "image: {bit_depth: 16, format: webp}",
        "image: {profile: display-p3, format: jxl}",
        "image: {thumbnails: small}",
        "image: {previews: true}",
        "image: {previews: 4}",
        "image: {previews: every}",
        "image: {previews: each 30 s}",
        "schedule: {}",
        "schedule: {cron: daily}",
        "schedule: {cron: '@dayly'}",
        "schedule: {cron: '0 2 * *'}",
        "schedule: {cron: 5}",
        "schedule: {cron: '@daily', every: 1d}",
        "schedule: {every: 0.5}",
        "schedule: {every: soon}",
        "schedule: {every: 1d, time_zone: 1}",
        "schedule: {every: 1d, concurrency_policy: wait}",
        "schedule: {every: 1d, starting_deadline: 0}",
        "schedule: {every: 1d, starting_deadlines: 1h}",
        "losses: {every: 0}",
        "retries: {attempts: 0}",
        "stop: {max_failures: 0}",
    ],
)
def test_wrong_for_both(line: str) -> None:
    with pytest.raises(JobFileError):
        read(MINIMAL + line)
    assert not accepts(MINIMAL + line)


@pytest.mark.parametrize(
    "output",
    [
        *("s3:/renders/o", "s3:renders", "S3://renders", "file:/o", "gs://renders/o", "az:/o"),
        *("https:/e.org", "https://e.org/o", "C:/renders", "{day}/o", "${HOME/o", "~"),
    ],
)
def test_outputs_wrong_for_both(output: str) -> None:
    text = MINIMAL.replace(" out", f" '{output}'" if output != "~" else " ~", 1)
    with pytest.raises(JobFileError):
        read(text)
    assert not accepts(text)


@pytest.mark.parametrize(
    "pairs",
    [
        "",
        "pairs: []",
        "pairs: {}",
        "pairs: [{content: a.jpg}]",
        "pairs: [{content: [], style: b.jpg}]",
        "pairs: [{content: 3, style: b.jpg}]",
        "pairs: [{content: '', style: b.jpg}]",
        "pairs: [{content: a.jpg, style: {blend: {}}}]",
        "pairs: [{content: a.jpg, style: {blend: {b.jpg: 0}}}]",
        "pairs: [{content: a.jpg, style: {bland: {b.jpg: 1}}}]",
        "pairs: [{content: a.jpg, style: {blend: {b.jpg: 1}, mask: m.png}}]",
        "pairs: [{content: a.jpg, style: {blend: {b.jpg: {share: 0}}}}]",
        "pairs: [{content: a.jpg, style: {blend: {b.jpg: 2e9}}}]",
        "pairs: [{content: a.jpg, style: {blend: {b.jpg: {maks: m.png}}}}]",
        "pairs: [{content: a.jpg, style: {blend: {b.jpg: {mask: '{style}.png'}}}}]",
        "pairs: [{content: a.jpg, style: {picture: b.jpg, mask: '{}.png'}}]",
        "pairs: [{content: a.jpg, style: {picture: b.jpg, mask: ''}}]",
        "pairs: [{content: a.jpg, style: {picture: b.jpg, mask: 3}}]",
        "pairs: [{content: a.jpg, style: {picture: b.jpg, share: 1}}]",
        "pairs: [{content: a.jpg, style: {mask: m.png}}]",
        "pairs: [{content: a.jpg, style: b.jpg, stile: 1}]",
        "pairs: [{content: a.jpg, style: b.jpg, combine: both}]",
        "pairs: [{content: a.jpg, style: b.jpg, manifest: p.csv}]",
        "pairs: [{content: a.jpg, style: b.jpg, on_bad_row: skip}]",
        "pairs: [{manifest: p.csv, init: a.jpg}]",
        "pairs: [{manifest: []}]",
        "pairs: [{manifest: p.csv, on_bad_row: ignore}]",
        "pairs: [{content: a.jpg, style: b.jpg, init: ''}]",
        "pairs: [{content: a.jpg, style: b.jpg, recipe: {sise: 64}}]",
        "pairs: [{content: a.jpg, style: b.jpg, sweep: {size: 64}}]",
        "pairs: [{content: a.jpg, style: b.jpg, sweep: {size: []}}]",
        "pairs: [{content: a.jpg, style: b.jpg, sweep: {size: [8]}}]",
        "pairs: [{content: a.jpg, style: b.jpg, sweep: {sise: [64]}}]",
    ],
)
def test_pairs_wrong_for_both(pairs: str) -> None:
    text = f"output: out\n{pairs}\n"
    with pytest.raises(JobFileError):
        read(text)
    assert not accepts(text)


def test_every_key_is_described() -> None:
    def keys(schema: Any, path: str) -> Iterator[tuple[str, Any]]:
        if isinstance(schema, list):
            for item in schema:
                yield from keys(item, path)
        elif isinstance(schema, dict):
            for name, value in schema.get("properties", {}).items():
                if value != {
                    "not": {"type": "null"}
                }:  # a condition on a key, which is described elsewhere
                    yield f"{path}.{name}", value
            for name, value in schema.items():
                yield from keys(value, f"{path}.{name}")

    found = dict(keys(SCHEMA, ""))
    assert len(found) > 60
    for path, schema in found.items():
        if path.endswith(".blend") or ".sweep." in path or ".if." in path or ".then." in path:
            continue  # described by the key above, or where the key itself is
        while "description" not in schema and "$ref" in schema:
            schema = SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]]
        assert schema.get("description", "").strip(), path


def test_descriptions_are_for_users() -> None:
    """A reader of YAML in an editor knows neither Python nor reStructuredText."""
    for name, section in {"job": SCHEMA, **SCHEMA["$defs"]}.items():
        for text in ("``", "__", "pydantic", "Immutable"):
            assert text not in section["description"], name
