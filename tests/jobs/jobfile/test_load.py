"""A job file is read whole, or every problem in it is told at once with its line and field."""

from __future__ import annotations

import json
import re
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.errors import JobFileError
from jobs.jobfile.load import load_job
from jobs.jobfile.parse import parse_job
from jobs.spec.job import SECTIONS
from jobs.spec.styles import StylePart, StylePattern
from stylize.recipe import Recipe
from tests.jobs.support import FILE, MINIMAL, read, refusal
from tests.support.rigs import no_root

# What is read


def test_the_least_job() -> None:
    spec = read(MINIMAL).spec
    assert (spec.output, spec.pairs[0].content) == ("out", ["a.jpg"])
    assert spec.pairs[0].style == [StylePattern((StylePart("b.jpg", 1.0),), blended=False)]


def test_the_file_names_the_job_and_its_folder_is_the_base(tmp_path: Path) -> None:
    file = tmp_path / "harbour.yaml"
    file.write_text(MINIMAL)
    job = load_job(file)
    assert (job.spec.name, job.base, job.file) == ("harbour", tmp_path, str(file))


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\xef\xbb\xbf" + MINIMAL.encode(), id="BOM"),
        pytest.param(MINIMAL.replace("\n", "\r\n").encode(), id="CRLF"),
    ],
)
def test_what_windows_editors_write(data: bytes) -> None:
    assert parse_job(data, FILE, Path()).spec.output == "out"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("no", "no"),
        ("on", "on"),
        ("2024-01-01", "2024-01-01"),
        ("12:30:45", "12:30:45"),
        ("1_000", "1_000"),
        ('"true"', "true"),
    ],
)
def test_words_of_yaml_1_1_are_text(written: str, meant: str) -> None:
    assert read(f"{MINIMAL}name: {written}").spec.name == meant


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("seed: 010", 10),
        ("seed: 0o17", 15),
        ("seed: 0x1F", 31),
        ("style_weight: 1e6", 1e6),
        ("style_weight: 1E+2", 100.0),
        ("style_weight: .5", 0.5),
        ("start_size: ~", None),
        ("clamp: True", True),
    ],
)
def test_scalars_are_those_of_yaml_1_2(written: str, meant: object) -> None:
    knob = written.partition(":")[0]
    value = read(f"{MINIMAL}recipe: {{{written}}}").spec.recipe[knob]
    assert (value, type(value)) == (meant, type(meant))


def test_what_has_nothing_in_it_is_not_given_wherever_it_is() -> None:
    empty = read(
        """\
        output: out
        name:
        recipe:
          size:
          start_size:
        storage:
          addressing:
        workers:
          max:
          labels:
        image:
          name:
        pairs:
        - content: a.jpg
          style: {blend: {b.jpg: {share: }}}
          combine:
          recipe:
            steps:
          sweep:
        """
    ).spec
    full = read("output: out\npairs: [{content: a.jpg, style: {blend: {b.jpg: 1}}}]").spec
    assert empty == full.model_copy(
        update={"recipe": {"start_size": None}}
    )  # null is one of its values
    assert refusal("output:\npairs:\n-\n- content:\n  style: b.jpg\n") == [
        "job.yaml:1: output: is required",
        "job.yaml:3: pairs[0].content: is required",
        "job.yaml:3: pairs[0].style: is required",
        "job.yaml:4: pairs[1].content: is required",
    ]


@pytest.mark.parametrize(("written", "meant"), [("1e1", 10), ("10.0", 10), ("1E+3", 1000)])
def test_whole_numbers_may_be_written_as_floats(written: str, meant: int) -> None:
    spec = read(
        f"""\
        version: 1.0
        output: out
        recipe: {{steps: {written}, style_weight: {written}}}
        workers: {{max: {written}}}
        image: {{bit_depth: 8.0}}
        pairs:
        - content: a.jpg
          style: b.jpg
          recipe: {{steps: {written}}}
          sweep: {{seed: [0, {written}]}}
        """
    ).spec
    pair = spec.pairs[0]
    wholes = [spec.recipe["steps"], spec.workers.max, pair.recipe["steps"], pair.sweep["seed"][1]]
    assert [(number, type(number)) for number in wholes] == [(meant, int)] * 4
    assert type(spec.recipe["style_weight"]) is float
    assert refusal(MINIMAL + "recipe: {steps: 1.5}") == [
        "job.yaml:3: recipe.steps: 1.5 is neither a whole number nor 'auto'"
    ]
    assert len(refusal(MINIMAL + "recipe: {steps: 1e300}")) == 1


@pytest.mark.parametrize(
    "text",
    [
        *("name: 007", "name: 1.10", "name: true", "name: 0x1F", "image: {name: 1e3}"),
        *("workers: {labels: {zone: 007}}", "schedule: {cron: 010}", "notify: {url: 5}"),
    ],
)
def test_a_text_that_looks_like_a_number_belongs_into_quotes(text: str) -> None:
    value = text.split(": ")[-1].rstrip("}")
    (problem,) = refusal(MINIMAL + text)
    assert problem.endswith(f": {value} is not text: write it in quotes, '{value}'")


@pytest.mark.parametrize(
    "pair",
    [
        *(
            "content: 2024, style: b.jpg",
            "content: [2024], style: b.jpg",
            "content: a, style: 2024",
        ),
        *("content: a, style: {picture: 2024}", "content: a, style: {picture: b, mask: 2024}"),
        *("content: a, style: b, init: 2024", "manifest: 2024"),
    ],
)
def test_a_picture_that_looks_like_a_number_belongs_into_quotes(pair: str) -> None:
    (problem,) = refusal(f"output: out\npairs: [{{{pair}}}]")
    assert problem.endswith(": 2024 is not text: write it in quotes, '2024'")


def test_a_name_in_braces_belongs_into_quotes() -> None:
    """{content} alone is a mapping in YAML."""
    for line in ("image: {name: {content}}", "image:\n  name: {content}"):
        (problem,) = refusal(MINIMAL + line)
        assert problem.endswith(
            "image.name: {content} is not text: write it in quotes, '{content}'"
        )


@pytest.mark.parametrize(
    ("blend", "instead"),
    [
        ("[b.jpg, c.jpg]", "{b.jpg: 1, c.jpg: 1}"),
        ("[{b.jpg: 0.7}, {c.jpg: 0.3}]", "{b.jpg: 0.7, c.jpg: 0.3}"),
        ("b.jpg", "{b.jpg: 1}"),
        ("3", "{wave.jpg: 1, scream.jpg: 1}"),
    ],
)
def test_a_blend_without_shares_is_told_how_to_write_them(blend: str, instead: str) -> None:
    assert refusal(f"output: out\npairs: [{{content: a, style: {{blend: {blend}}}}}]") == [
        f"job.yaml:2: pairs[0].style.blend: takes each picture with its share: write {instead}"
    ]


def test_merge_keys_lie_under_what_is_written_beside_them() -> None:
    job = read(
        """\
        output: out
        pairs:
        - &first
          content: a.jpg
          style: b.jpg
          recipe: &small {size: 64, steps: 5}
        - <<: *first
          combine: zip
          recipe: {<<: [{seed: 1}, {seed: 2, history: 3}, *small], steps: 6}
        """
    )
    second = job.spec.pairs[1]
    assert (second.content, second.combine) == (["a.jpg"], "zip")
    assert second.recipe == {"size": 64, "steps": 6, "seed": 1, "history": 3}


# Where results go


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("$RENDERS/o", "/mnt/renders/o"),
        ("${RENDERS}/o", "/mnt/renders/o"),
        ("s3://$BUCKET/${BUCKET}2/{date}", "s3://films/films2/{date}"),
        ("$DATED/o", "{date}/o"),
        ("out$", "out$"),
        ("a$$RENDERS", "a$RENDERS"),
        ("$5", "$5"),
    ],
)
def test_an_output_may_have_environment_variables(
    written: str, meant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"RENDERS": "/mnt/renders", "BUCKET": "films", "DATED": "{date}"}.items():
        monkeypatch.setenv(name, value)
    text = MINIMAL.replace(" out", f" {json.dumps(written)}", 1)
    job = read(text)
    assert job.spec.output == meant
    handed_on = job.environment
    for name in ("RENDERS", "BUCKET", "DATED"):
        monkeypatch.delenv(name)
    for name, value in handed_on.items():
        monkeypatch.setenv(name, value)
    assert read(text).spec.output == meant  # as on a cluster, which has them under another name
    assert set(handed_on) <= {"STYLEFARM_VARIABLES"}


def test_variables_that_are_handed_on_go_before_those_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """HOME is another folder on the cluster, and means something else to the run there."""
    monkeypatch.setenv("HOME", "/home/artist")
    handed_on = read("output: $HOME/o\npairs: [{content: a, style: b}]").environment
    monkeypatch.setenv("HOME", "/home/ray")
    monkeypatch.setenv("STYLEFARM_VARIABLES", handed_on["STYLEFARM_VARIABLES"])
    assert read("output: $HOME/o\npairs: [{content: a, style: b}]").spec.output == "/home/artist/o"
    assert "STYLEFARM_VARIABLES" not in read(MINIMAL).environment
    monkeypatch.setenv("STYLEFARM_VARIABLES", "no JSON")
    assert read("output: $HOME/o\npairs: [{content: a, style: b}]").spec.output == "/home/ray/o"


@pytest.mark.parametrize("value", [None, ""])
def test_a_variable_that_is_not_set_is_told_with_its_line(
    value: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if value is None:
        monkeypatch.delenv("RENDERS", raising=False)
    else:
        monkeypatch.setenv("RENDERS", value)
    assert refusal("name: x\noutput: ${RENDERS}/o\npairs: [{content: a.jpg, style: b.jpg}]\n") == [
        "job.yaml:2: output: ${RENDERS}/o: the environment variable RENDERS is not set; set it, or write the "
        "path itself, in which $$ is a dollar sign"
    ]


@pytest.mark.parametrize(
    ("output", "problem"),
    [
        ("s3:/renders/o", "s3:/renders/o lacks //: write s3://renders/o"),
        ("file:/o", "file:/o lacks //: write file:///o"),
        (
            "file://nas/o",
            "file://nas/o names another machine; write file:///path (three slashes) for a local path",
        ),
        ("gs://renders/o", "gs:// cannot be written to; give a folder or s3://"),
        ("az://renders/o", "az:// cannot be written to; give a folder or s3://"),
        ("https://e.org/o", "https:// cannot be written to; give a folder or s3://"),
        (
            "C:\\renders\\o",
            "C:\\renders\\o is a path of Windows: write one of this machine, such as /mnt/pictures, or s3://",
        ),
        ("renders\\o", "renders\\o has a backslash: write / between folders"),
        ("“out”", "“out” begins with a typographic quote: write straight quotes, or none"),
        (
            "~nobody-at-all/o",
            "~nobody-at-all/o: there is no user nobody-at-all, whose home folder ~nobody-at-all would be; "
            "write the path in full, or ./~nobody-at-all for a folder of that name",
        ),
        ("  ", "is empty"),
        *(
            (
                f"s3://{bucket}",
                "must read s3://bucket/prefix, where the bucket has at least three letters, digits, '.', "
                "'_' or '-'; credentials do not belong in it",
            )
            for bucket in ("", "ab", "/o", "-a-/o", "búcket/o", "key:secret@renders/o", "{date}/o")
        ),
    ],
)
def test_an_output_that_leads_nowhere_is_told_with_its_line(output: str, problem: str) -> None:
    pairs = "pairs: [{content: a.jpg, style: b.jpg}]\n"
    assert refusal(f"name: x\noutput: {json.dumps(output, ensure_ascii=False)}\n{pairs}") == [
        f"job.yaml:2: output: {problem}"
    ]


def test_a_ca_bundle_that_leads_nowhere_is_told_with_its_line() -> None:
    assert refusal(MINIMAL + "storage: {ca_bundle: 's3://keys/ca.pem'}") == [
        "job.yaml:3: storage.ca_bundle: s3:// is not a storage that stylefarm supports; use a folder or "
        "s3://bucket/prefix"
    ]


@pytest.mark.parametrize(
    "pair",
    [
        *(
            "content: {}, style: b.jpg",
            "content: [a.jpg, {}], style: b.jpg",
            "content: a, style: {}",
        ),
        *("content: a, style: {{picture: {}}}", "content: a, style: {{picture: b, mask: {}}}"),
        *(
            "content: a, style: {{blend: {{{}: 1}}}}",
            "content: a, style: b, init: {}",
            "manifest: {}",
        ),
    ],
)
def test_a_picture_that_leads_nowhere_is_told_with_its_line(pair: str) -> None:
    (problem,) = refusal("output: out\npairs:\n- {" + pair.format("'s3:/art/b.jpg'") + "}\n")
    assert re.match(
        r"job\.yaml:3: pairs\[0\]\.\S+: s3:/art/b\.jpg lacks //: write s3://art", problem
    )


# One problem, in a line added to a job that is right


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("nmae: x", "nmae: is not a key; did you mean name?"),
        ("recipe: {sise: 64}", "recipe.sise: is not a key; did you mean size?"),
        ("workers: {thread: 2}", "workers.thread: is not a key; did you mean threads?"),
        ("losses: {x: 1}", "losses.x: is not a key; known here: every, tensorboard"),
    ],
)
def test_unknown_keys_come_with_a_suggestion(line: str, problem: str) -> None:
    assert refusal(MINIMAL + line) == [f"job.yaml:3: {problem}"]


@pytest.mark.parametrize("key", ["int", "str", "float", "a[b]", "constrained", "list[int]"])
@pytest.mark.parametrize("section", ["{}: 1", "recipe: {{{}: 1}}"])
def test_unknown_keys_may_look_like_types(key: str, section: str) -> None:
    assert [line.partition(";")[0] for line in refusal(MINIMAL + section.format(f'"{key}"'))] == [
        f"job.yaml:3: {'recipe.' if 'recipe' in section else ''}{key}: is not a key"
    ]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("name: 3", "name: 3 is not text: write it in quotes, '3'"),
        ('name: ""', "name: is empty"),
        ("version: 2", "version: 2 is not known; this stylefarm reads version 1"),
        ("version: true", "version: true is not a whole number"),
        ("storage: x", "storage: 'x' is not a mapping such as {endpoint_url: ...}"),
        (
            "storage: {endpoint_url: minio:9000}",
            "storage.endpoint_url: 'minio:9000' does not begin with http:// or https://",
        ),
        (
            "storage: {addressing: x}",
            "storage.addressing: 'x' is not one of 'auto', 'path', 'virtual'",
        ),
        ("recipe: 3", "recipe: 3 is not a mapping such as {size: 1024}"),
        ("recipe: {size: 8}", "recipe.size: 8 is below 32"),
        ("recipe: {size: 20000}", "recipe.size: 20000 is above 16384"),
        ("recipe: {size: 1.5}", "recipe.size: 1.5 is not a whole number"),
        (
            "recipe: {size: '64'}",
            "recipe.size: '64' is not a whole number: write 64, without quotes",
        ),
        ("recipe: {size: 1_024}", "recipe.size: '1_024' is not a whole number: write 1024"),
        ("recipe: {size: '1,024'}", "recipe.size: '1,024' is not a whole number: write 1024"),
        ("recipe: {size: 512px}", "recipe.size: '512px' is not a whole number"),
        ("recipe: {style_weight: '0,5'}", "recipe.style_weight: '0,5' is not a number: write 0.5"),
        (
            "workers: {max: '4'}",
            "workers.max: '4' is neither a whole number nor 'auto': write 4, without quotes",
        ),
        ("recipe: {size: true}", "recipe.size: true is not a whole number"),
        ("recipe: {style_weight: x}", "recipe.style_weight: 'x' is not a number"),
        ("recipe: {style_weight: .inf}", "recipe.style_weight: inf is not a finite number"),
        ("recipe: {learning_rate: 0}", "recipe.learning_rate: 0 is not above 0"),
        ("recipe: {clamp: yes}", "recipe.clamp: 'yes' is not true or false"),
        ("recipe: {gram: x}", "recipe.gram: 'x' is not one of 'positions', 'elements', 'none'"),
        ("recipe: {style_layers: {conv1_1: -1}}", "recipe.style_layers.conv1_1: -1 is below 0"),
        (
            "recipe: {style_layers: [conf4_2]}",
            "recipe.style_layers: conf4_2 is not a layer of VGG19 (did you mean conv4_2?); "
            "the layers are conv1_1 to conv5_4",
        ),
        (
            "recipe: {style_layers: []}",
            "recipe.style_layers: names no layer; give at least one, e.g. conv4_2",
        ),
        ("workers: {max: 0}", "workers.max: 0 is below 1"),
        ("workers: {gpus: 65}", "workers.gpus: 65 is above 64"),
        (
            "workers: {gpus: 1.5}",
            "workers.gpus: 1.5 is neither a share of a GPU, up to 1, nor a whole number of them",
        ),
        (
            "workers: {split: picture}",
            "workers.split: a picture is split among the GPUs of a worker: set workers.gpus to 2 or more",
        ),
        (
            "workers: {gpus: 2, split: picture, cuda_graphs: auto}",
            "workers.cuda_graphs: the steps of a picture that is split among GPUs are not recorded: leave "
            "it off, or leave out workers.split",
        ),
        ("workers: {max: 2, min: 3}", "workers.min: 3 is above workers.max, 2"),
        (
            "workers: {labels: {zone: a b}}",
            "workers.labels: {'zone': 'a b'} is not a condition on a Ray label: give name: value, !value, "
            "in(a, b) or !in(a, b)",
        ),
        (
            "workers: {stall_timeout: soon}",
            "workers.stall_timeout: 'soon' is not a duration: give seconds, or a number with s, m, h or "
            "d, such as 5m",
        ),
        ("workers: {gpus: 0}", "workers.gpus: 0 is not above 0"),
        ("image: {quality: 101}", "image.quality: 101 is above 100"),
        ("image: {bit_depth: 12}", "image.bit_depth: 12 is not one of 8, 16"),
        (
            "image: {bit_depth: 16, format: jpeg}",
            "image.bit_depth: 16 is for png and tiff; jpeg has 8 bits per channel",
        ),
        (
            "image: {format: jxl, profile: display-p3}",
            "image.profile: display-p3 is for png, jpeg, webp, tiff and avif; jxl is written in srgb",
        ),
        (
            "image: {profile: adobe-rgb}",
            "image.profile: 'adobe-rgb' is not one of 'srgb', 'display-p3'",
        ),
        ("image: {metadata: all}", "image.metadata: 'all' is not one of 'recipe', 'none'"),
        (
            "image: {format: webp, bit_depth: 16}",
            "image.bit_depth: 16 is for png and tiff; webp has 8 bits per channel",
        ),
        (
            "image: {format: bmp, bit_depth: 16}",
            "image.format: 'bmp' is not one of 'png', 'jpeg', 'webp', 'tiff', 'avif', 'jxl'",
        ),
        (
            'image: {name: "{place}"}',
            "image.name: has no field {place}; it takes {content}, {style} and any knob of the recipe, and "
            "for films {film} and {number}",
        ),
        ("losses: {every: 0}", "losses.every: 0 is below 1"),
        ("retries: [3]", "retries: is a list, not a mapping such as {attempts: ...}"),
        ("notify: https://h.example/secret", "notify: is not a mapping such as {url: $WEBHOOK}"),
        (
            "notify: {url: '${HOOK}', on: failed}",
            "notify.on: 'failed' is not a list: write [failed]",
        ),
        (
            "\u00a0losses: {every: 1}",
            " losses: is not a key: it has the character U+00A0, which only looks like a space",
        ),
        ("retries: {attempts: 0}", "retries.attempts: 0 is below 1"),
        ("stop: {max_failures: x}", "stop.max_failures: 'x' is not a whole number"),
        (
            "recipe: {style_fit: squash, style_scale: 2}",
            "recipe: style_scale has no meaning with style_fit squash; leave one out",
        ),
        (
            "recipe: {weights: vgg.pth}",
            "recipe: weights is a file, so weights_input must say caffe or torchvision",
        ),
        ("name: !!python/name:os.system x", None),
        ("name: !secret x", None),
    ],
)
def test_a_wrong_value_is_one_problem(line: str, problem: str | None) -> None:
    found = refusal(MINIMAL + line)
    if problem is None:
        assert len(found) == 1
        assert re.match(r"job\.yaml:3: name: the tag .* is not used in job files", found[0])
    else:
        assert found == [f"job.yaml:3: {problem}"]


@pytest.mark.parametrize("section", ["workers: {max: x}", "workers: {threads: x}"])
def test_auto_or_a_number_is_one_problem_that_says_both(section: str) -> None:
    (problem,) = refusal(MINIMAL + section)
    assert "'x'" in problem
    assert "auto" in problem
    assert "number" in problem


@pytest.mark.parametrize("name", ["{size:04}", "{size!r}", "{}", "{0}", "{content.x}", "{"])
def test_picture_names_take_plain_fields_only(name: str) -> None:
    (problem,) = refusal(f'{MINIMAL}image: {{name: "{name}"}}')
    assert problem.startswith("job.yaml:3: image.name: ")


def test_every_value_of_the_wrong_type_is_told_at_its_line() -> None:
    """A list fits no knob and no option, so that every key of every section can be tried with it."""
    for section in ("", "storage", "recipe", "workers", "image", "losses", "retries", "stop"):
        for key in SECTIONS[section].model_fields:
            if key in ("output", "pairs"):
                continue
            text = f"{section}:\n  {key}: [[]]" if section else f"\n{key}: [[]]"
            field = f"{section}.{key}" if section else key
            found = refusal(MINIMAL + text)
            assert found, field
            assert {line.split(": ")[0] for line in found} == {"job.yaml:4"}, field
            assert {line.split(": ")[1] for line in found} == {field}


# What is required, and lists that are empty


@pytest.mark.parametrize("text", ["", "\n \n", "# only a comment\n"])
def test_nothing_in_it(text: str) -> None:
    assert refusal(text) == ["job.yaml: is empty; `stylefarm init DIR` writes one to start from"]


@pytest.mark.parametrize("text", ["word\n", "~\n", "3\n"])
def test_a_job_file_is_a_mapping(text: str) -> None:
    assert refusal(text) == ["job.yaml:1: a job file is a mapping: name:, output:, pairs: ..."]


def test_a_list_alone_is_no_job_file() -> None:
    assert refusal("- {content: a.jpg, style: b.jpg}\n") == [
        "job.yaml:1: a job file is a mapping: begin it with output:, and put this list below pairs:"
    ]


def test_what_is_missing_is_all_told() -> None:
    assert refusal("name: x\n") == [
        "job.yaml:1: output: is required",
        "job.yaml:1: pairs: is required",
    ]
    assert refusal("output: out\n\npairs:\n- combine: zip\n") == [
        "job.yaml:4: pairs[0].content: is required",
        "job.yaml:4: pairs[0].style: is required",
    ]


@pytest.mark.parametrize(
    ("pairs", "problem"),
    [
        ("[]", "pairs: is empty; name at least one content and style"),
        ("x", "pairs: is not a list: begin each of its entries with '- '"),
        ("{content: a.jpg}", "pairs: is not a list: begin each of its entries with '- '"),
        ("[3]", "pairs[0]: 3 is not a mapping such as {content: photos/, style: wave.jpg}"),
        ("[{content: [], style: b.jpg}]", "pairs[0].content: is empty; give at least one picture"),
        ("[{content: a.jpg, style: []}]", "pairs[0].style: is empty; give at least one picture"),
        ("[{content: a.jpg, style: b.jpg, init: ''}]", "pairs[0].init: is empty"),
        (
            "[{content: a.jpg, style: b.jpg, recipe: 3}]",
            "pairs[0].recipe: 3 is not a mapping such as {size: 1024}",
        ),
        (
            "[{content: a.jpg, style: b.jpg, sweep: 3}]",
            "pairs[0].sweep: 3 is not a mapping such as {seed: [0, 1]}",
        ),
        (
            "[{content: a.jpg, style: b.jpg, combine: x}]",
            "pairs[0].combine: 'x' is not one of 'product', 'zip'",
        ),
        (
            "[{content: a.jpg, style: {blend: {b.jpg: 0}}}]",
            "pairs[0].style.blend.b.jpg: 0 is not a share: give a number above 0, at most 1,000,000,000",
        ),
        (
            "[{content: a.jpg, style: b.jpg, stile: 1}]",
            "pairs[0].stile: is not a key; did you mean style?",
        ),
    ],
)
def test_pairs_that_are_wrong(pairs: str, problem: str) -> None:
    assert refusal(f"output: out\npairs: {pairs}\n") == [f"job.yaml:2: {problem}"]


@pytest.mark.parametrize(
    "style",
    [
        *("{}", "3", "''", "[[b]]", "{blend: {}}", "{blend: b.jpg}", "{bland: {b.jpg: 1}}"),
        *("{blend: {b: -1}}", "{blend: {b: true}}", "{blend: {b: x}}", "{blend: {b: .inf}}"),
        *("{blend: {b: .nan}}", "{blend: {b: }}", "{blend: {b: 1}, c: 2}"),
    ],
)
def test_what_is_no_style(style: str) -> None:
    (problem,) = refusal(f"output: out\npairs:\n- content: a.jpg\n  style: {style}\n")
    assert problem.startswith("job.yaml:4: pairs[0].style")


def test_each_bad_picture_of_a_list_has_its_own_line() -> None:
    found = refusal(
        """\
        output: out
        pairs:
        - content:
          - a.jpg
          - 3
          style:
          - blend: {b.jpg: 0}
          - b.jpg
          - {bland: {b.jpg: 1}}
        """
    )
    assert [line.split(": ")[:2] for line in found] == [
        ["job.yaml:5", "pairs[0].content[1]"],
        ["job.yaml:7", "pairs[0].style[0].blend.b.jpg"],
        ["job.yaml:9", "pairs[0].style[2]"],
    ]


@pytest.mark.parametrize(
    ("style", "parts", "blended"),
    [
        ("{picture: b.jpg, mask: m.png}", [("b.jpg", 1.0, "m.png")], False),
        ("{picture: b/, mask: 'm/{content}-{content}.png'}", None, False),
        ("{picture: b.jpg}", [("b.jpg", 1.0, None)], False),
        (
            "{blend: {b.jpg: {share: 0.7, mask: m.png}, c.jpg: {mask: n.png}, d.jpg: 2}}",
            [("b.jpg", 0.7, "m.png"), ("c.jpg", 1.0, "n.png"), ("d.jpg", 2.0, None)],
            True,
        ),
        (
            "{blend: {b.jpg: {share: 3}, c.jpg: {}}}",
            [("b.jpg", 3.0, None), ("c.jpg", 1, None)],
            True,
        ),
    ],
)
def test_masks(
    style: str, parts: list[tuple[str, float, str | None]] | None, blended: bool
) -> None:
    parts = parts or [("b/", 1.0, "m/{content}-{content}.png")]
    text = f"output: out\npairs:\n- content: a.jpg\n  style: {style}\n"
    assert read(text).spec.pairs[0].style == [
        StylePattern(tuple(StylePart(*part) for part in parts), blended)
    ]


def test_a_style_is_shown_as_it_was_written() -> None:
    styles = [
        "b.jpg",
        {"picture": "b.jpg", "mask": "{content}.png"},
        {"blend": {"b.jpg": 2.0, "c.jpg": {"share": 1.0, "mask": "m.png"}}},
    ]
    text = f"output: out\npairs: [{{content: a.jpg, style: {json.dumps(styles)}}}]"
    assert read(text).spec.model_dump(mode="json")["pairs"][0]["style"] == styles


def test_everything_wrong_with_masks_is_told_at_once() -> None:
    assert refusal(
        """\
        output: out
        pairs:
        - content: a.jpg
          style:
          - {picture: b.jpg, mask: "masks/{style}.png"}
          - picture: ""
            mask: 3
          - {mask: m.png}
          - {picture: b.jpg, maks: m.png}
          - blend:
              "[bc].jpg": {share: 0, mask: "}{content}"}
              "[de].jpg":
                maks: m.png
              f.jpg: x
          - blend: {b.jpg: 1}
            mask: m.png
        """
    ) == [
        "job.yaml:5: pairs[0].style[0].mask: 'masks/{style}.png' has other braces than {content}, "
        "which stands for the content's name",
        "job.yaml:6: pairs[0].style[1].picture: '' is not a path, glob, folder or URL",
        "job.yaml:7: pairs[0].style[1].mask: 3 is not text: write it in quotes, '3'",
        "job.yaml:8: pairs[0].style[2].picture: is required",
        "job.yaml:9: pairs[0].style[3].maks: is not a key; did you mean mask?",
        "job.yaml:11: pairs[0].style[4].blend.[bc].jpg.mask: '}{content}' has other braces than "
        "{content}, which stands for the content's name",
        "job.yaml:11: pairs[0].style[4].blend.[bc].jpg.share: 0 is not a share: give a number above "
        "0, at most 1,000,000,000",
        "job.yaml:13: pairs[0].style[4].blend.[de].jpg.maks: is not a key; did you mean mask?",
        "job.yaml:14: pairs[0].style[4].blend.f.jpg: 'x' is not a share: give a number above 0, at "
        "most 1,000,000,000",
        "job.yaml:15: pairs[0].style[5]: blend: takes no other key beside it, such as mask:; a mask: "
        "belongs to its picture",
    ]


# Recipes of job, pair and sweep over one another


def test_sweep_problems_have_a_line_each() -> None:
    assert refusal(
        """\
        output: out
        pairs:
        - content: a.jpg
          style: b.jpg
          sweep:
            size:
            - 64
            - 8
            - x
            seeed: [1]
            steps: 5
            seed: []
            gram: [none, foo]
        """
    ) == [
        "job.yaml:8: pairs[0].sweep.size[1]: 8 is below 32",
        "job.yaml:9: pairs[0].sweep.size[2]: 'x' is not a whole number",
        "job.yaml:10: pairs[0].sweep.seeed: is not a key; did you mean seed?",
        "job.yaml:11: pairs[0].sweep.steps: takes a list of values, e.g. [1, 10]",
        "job.yaml:12: pairs[0].sweep.seed: takes a list of values, e.g. [1, 10]",
        "job.yaml:13: pairs[0].sweep.gram[1]: 'foo' is not one of 'positions', 'elements', 'none'",
    ]


def test_a_sweep_has_a_limit() -> None:
    thousand = ", ".join(map(str, range(1, 1001)))
    text = f"{{content: a, style: b, sweep: {{seed: [{thousand}], steps: [{thousand}]}}}}"
    (problem,) = refusal(f"output: out\npairs: [{text}]\n")
    assert problem == "job.yaml:2: pairs[0].sweep: has 1,000,000 combinations; at most 100,000"


def test_knobs_that_disagree_in_one_combination_of_a_sweep() -> None:
    (problem,) = refusal(
        """\
        output: out
        pairs:
        - content: a.jpg
          style: b.jpg
          sweep: {style_fit: [keep, squash], style_scale: [1, 2]}
        """
    )
    assert problem.startswith("job.yaml:5: pairs[0].sweep: with ")
    assert "squash" in problem
    assert "2" in problem
    assert problem.endswith("style_scale has no meaning with style_fit squash; leave one out")


def test_knobs_that_disagree_between_job_and_pair() -> None:
    text = """\
        output: out
        recipe: {style_fit: squash}
        pairs:
        - {content: a.jpg, style: b.jpg}
        - content: a.jpg
          style: b.jpg
          recipe: {style_scale: 2}
        """
    assert refusal(text) == [
        "job.yaml:7: pairs[1].recipe: style_scale has no meaning with style_fit squash; "
        "leave one out"
    ]


def test_a_problem_of_the_job_is_not_told_again_for_every_pair() -> None:
    pairs = "- {content: a.jpg, style: b.jpg}\n" * 3
    for recipe in ("{style_fit: squash, style_scale: 2}", "{size: 8}"):
        assert len(refusal(f"output: out\nrecipe: {recipe}\npairs:\n{pairs}")) == 1


@pytest.mark.parametrize(
    "rest", ["recipe: {weights_input: caffe}", "sweep: {weights_input: [caffe]}"]
)
def test_only_whole_recipes_are_judged(rest: str) -> None:
    """What the job leaves open, its pairs may fill in."""
    pair = f"{{content: a.jpg, style: b.jpg, {rest}}}"
    assert read(f"output: out\nrecipe: {{weights: vgg.pth}}\npairs: [{pair}]\n")


def test_a_start_from_a_picture_needs_the_picture() -> None:
    pair = "- content: a.jpg\n  style: b.jpg\n  recipe:\n    init: image\n"
    assert refusal(f"output: out\npairs:\n{pair}") == [
        "job.yaml:6: pairs[0].recipe.init: image needs init: PICTURE beside content and style"
    ]
    assert read(f"output: out\npairs:\n{pair}  init: c.jpg\n")
    (problem,) = refusal("output: out\nrecipe: {init: image}\npairs: [{content: a, style: b}]")
    assert problem.endswith("image needs init: PICTURE beside content and style")


def test_a_picture_to_start_from_allows_no_other_start() -> None:
    for recipe in ("recipe: {init: noise}", "sweep: {init: [image, content]}"):
        pair = f"- content: a.jpg\n  style: b.jpg\n  init: c.jpg\n  {recipe}\n"
        assert refusal(f"output: out\npairs:\n{pair}") == [
            "job.yaml:5: pairs[0].init: is a picture, but recipe.init asks for another start"
        ]


def test_a_picture_to_start_from_counts_before_the_start_of_the_whole_job() -> None:
    pairs = "pairs: [{content: a.jpg, style: b.jpg, init: c.jpg}, {content: a.jpg, style: b.jpg}]"
    assert read(f"output: out\nrecipe: {{init: noise}}\n{pairs}\n")


# All at once


def test_everything_wrong_is_told_at_once_in_the_order_of_the_file() -> None:
    assert refusal(
        """\
        version: 2
        output: ''
        # a comment
        recipe:
          size: 8
          sice: 9
        pairs:
        - content: a.jpg
          style: b.jpg
          recipe:
            gram: x

        - content: []
          style: b.jpg
          combine: both
        workers:
          gpus: 99
          gpus: 1
        """
    ) == [
        "job.yaml:1: version: 2 is not known; this stylefarm reads version 1",
        "job.yaml:2: output: is empty",
        "job.yaml:5: recipe.size: 8 is below 32",
        "job.yaml:6: recipe.sice: is not a key; did you mean size?",
        "job.yaml:11: pairs[0].recipe.gram: 'x' is not one of 'positions', 'elements', 'none'",
        "job.yaml:13: pairs[1].content: is empty; give at least one picture",
        "job.yaml:15: pairs[1].combine: 'both' is not one of 'product', 'zip'",
        "job.yaml:17: workers.gpus: 99 is above 64",
        "job.yaml:18: workers.gpus: is given twice; the first is on line 17",
    ]


def test_one_wrong_section_hides_no_problem_of_another() -> None:
    pair = "- content: a.jpg\n  style: b.jpg\n  recipe: {size: 8}\n"
    assert refusal(f"output: out\nrecipe: x\npairs:\n{pair}") == [
        "job.yaml:2: recipe: 'x' is not a mapping such as {size: 1024}",
        "job.yaml:6: pairs[0].recipe.size: 8 is below 32",
    ]


def test_a_problem_stands_where_its_key_stands() -> None:
    assert refusal(MINIMAL + "recipe:\n  size:\n\n    8\n") == [
        "job.yaml:4: recipe.size: 8 is below 32"
    ]


def test_duplicate_keys_wherever_they_are() -> None:
    assert refusal(
        """\
        output: out
        output: elsewhere
        pairs:
        - content: a.jpg
          style:
            blend:
              b.jpg: 1
              b.jpg: 2
          content: c.jpg
        """
    ) == [
        "job.yaml:2: output: is given twice; the first is on line 1",
        "job.yaml:8: pairs[0].style.blend.b.jpg: is given twice; the first is on line 7",
        "job.yaml:9: pairs[0].content: is given twice; the first is on line 4",
    ]


def test_a_problem_in_what_was_merged_is_told_too() -> None:
    found = refusal(
        """\
        output: out
        pairs:
        - &first {content: a.jpg, style: b.jpg, recipe: {size: 8}}
        - {<<: *first, combine: zip}
        """
    )
    assert found == [
        "job.yaml:3: pairs[0].recipe.size: 8 is below 32",
        "job.yaml:4: pairs[1].recipe.size: 8 is below 32",
    ]


# Files that are no job files at all


ONE_VALUE = (
    "has a value that begins with {}, which means something else in YAML: write it in quotes, {}"
)
TAB = "has a tab, and YAML is indented by spaces alone: write spaces instead"
INDENT = "is indented below a line that has a value already: begin keys that belong together in one column"
COLUMN = "begins in a column in which no line above it begins: indent it like the lines that it belongs to"
ESCAPE = "has a backslash in double quotes, where it begins an escape: write / instead, or use single quotes"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("output: out\n\tpairs: []\n", f"2: {TAB}"),
        ("output: out\npairs:\n\t- content: a.jpg\n", f"3: {TAB}"),
        ("output: out\npairs:\n-\tcontent: a.jpg\n\tstyle: b.jpg\n", f"3: {TAB}"),
        ("output: out\npairs:\n- content: a.jpg\n \tstyle: b.jpg\n", f"4: {TAB}"),
        (
            MINIMAL + "---\noutput: out\n",
            "3: begins a second document with ---, and a job file is one: leave the line out, or put what "
            "follows into a file of its own",
        ),
        (
            '{"output": "a"}\n{"output": "b"}\n',
            "2: has more after the end of the job's mapping: a job file is one mapping",
        ),
        ("output: out\npairs:\n- content: *.jpg\n", "3: " + ONE_VALUE.format("*", "'*.jpg'")),
        (
            "output: out\npairs: [{content: **/*.jpg, style: b}]\n",
            "2: " + ONE_VALUE.format("*", "'**/*.jpg'"),
        ),
        (
            MINIMAL + "schedule:\n  cron: */5 * * * * # often\n",
            "4: " + ONE_VALUE.format("*", "'*/5 * * * *'"),
        ),
        (MINIMAL + "schedule: {cron: @daily}\n", "3: " + ONE_VALUE.format("@", "'@daily'")),
        (MINIMAL + "name: %x\n", "3: " + ONE_VALUE.format("%", "'%x'")),
        (MINIMAL + "name: &x.y\n", "3: " + ONE_VALUE.format("&", "'&x.y'")),
        (MINIMAL + "name: |x\n", "3: " + ONE_VALUE.format("|", "'|x'")),
        ("output: {date}/out\n", "1: " + ONE_VALUE.format("{", "'{date}/out'")),
        (
            MINIMAL + "image:\n  name: {content}--{style}\n",
            "4: " + ONE_VALUE.format("{", "'{content}--{style}'"),
        ),
        (
            "output: out\npairs:\n- style: {picture: b.jpg, mask: {content}.png}\n",
            "3: " + ONE_VALUE.format("{", "'{content}.png'"),
        ),
        (
            "output: out\npairs:\n- content: [2024] Trip/*.jpg\n",
            "3: " + ONE_VALUE.format("[", "'[2024] Trip/*.jpg'"),
        ),
        (
            "output: out\npairs: *nowhere\n",
            "2: has *nowhere, which stands for what &nowhere names above, and there is no such name: a "
            "pattern that begins with * must be in quotes",
        ),
        (MINIMAL + "name: a: b\n", "3: has a second colon: write the value in quotes, 'a: b'"),
        (
            MINIMAL + "name: it's: b\n",
            "3: has a second colon: write the value in quotes, 'it''s: b'",
        ),
        (
            "name: x\noutput:./out\npairs: []\n",
            "2: lacks a space after the colon: write output: ./out",
        ),
        ("output:./out\npairs: []\n", "1: lacks a space after the colon: write output: ./out"),
        (
            "output: out\nhello\npairs: []\n",
            "2: has 'hello', which is neither a key with a colon, as in name: harbour, nor an item of a "
            "list, as in - wave.jpg",
        ),
        ("output: out\n pairs: []\n", f"2: {INDENT}"),
        ("output: out\npairs:\n- content: a.jpg\n style: b.jpg\n", f"4: {COLUMN}"),
        ("output: out\npairs:\n  - content: a\n - content: b\n", f"4: {COLUMN}"),
        ("output: - out\n", "1: begins a list on the line of its key: begin it on the next line"),
        ('output: "C:\\pics"\n', f"1: {ESCAPE}"),
        ('output: "C:\\users"\n', f"1: {ESCAPE}"),
        ('output: out\nname: "\\ud800"\n', f"2: {ESCAPE}"),
        ("output: out\nname: 'x\n\n", "2: has a quote, ', that is not closed"),
        (
            "output: out\nname: 'it's'\n",
            "2: has s' after the end of a text in quotes: put all of it into quotes, of the other kind where "
            "it has one of them",
        ),
        (
            "output: out\npairs:\n- content: [a.jpg, b.jpg\n  style: b.jpg\n",
            "4: does not continue the list or mapping that begins with [ on line 3: close it, or write the "
            "comma that is missing",
        ),
        (
            "output: out\npairs: ]\n",
            "2: has ] where a value is due: a text that begins so must be in quotes",
        ),
        (
            "output: out\npairs: [{content: a.jpg,\n",
            "2: ends before a list or mapping that was opened by [ or { is closed",
        ),
        ("output: out\n- a\n", "2: is not valid YAML: did not find expected key"),
        (
            "output: caf\u00e9\nname: \7\n",
            "2: has the character U+0007, which no text has: remove it, and save the file as UTF-8",
        ),
    ],
)
def test_what_is_no_yaml_is_told_with_its_line_and_what_to_write(text: str, problem: str) -> None:
    assert refusal(text) == [f"job.yaml:{problem}"]


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (
            b"# one\noutput: caf\xe9\n",
            "job.yaml:2: is not UTF-8 text: save the file as UTF-8, not in a code page such as Latin-1",
        ),
        (MINIMAL.encode("utf-16"), "job.yaml: is UTF-16 text: save it as UTF-8"),
        (MINIMAL.encode("utf-32"), "job.yaml: is UTF-32 text: save it as UTF-8"),
        (
            MINIMAL.encode("utf-16-le"),
            "job.yaml: is not text: a job file is YAML, saved as UTF-8",
        ),
        (
            b"\xff\xd8\xff\xe0\0\x10JFIF\0",
            "job.yaml: is not text: a job file is YAML, saved as UTF-8",
        ),
        (
            b"#" * 10_000_001,
            "job.yaml: is larger than 10 MB; name pictures by glob or folder instead of one by one",
        ),
        (b"output: \0\n", "job.yaml: is not text: a job file is YAML, saved as UTF-8"),
    ],
    ids=["latin-1", "utf-16", "utf-32", "utf-16 unmarked", "picture", "large", "nul"],
)
def test_bytes_that_are_no_yaml(data: bytes, problem: str) -> None:
    assert refusal(data) == [problem]


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        (
            "pairs.csv",
            "content,style\na.jpg,b.jpg\n",
            "is a manifest, which a job file names: pairs: [{manifest: pairs.csv}]",
        ),
        (
            "pairs.jsonl",
            '{"content": "a.jpg", "style": "b.jpg"}\n',
            "is a manifest, which a job file names: pairs: [{manifest: pairs.jsonl}]",
        ),
        (
            "a.JPG",
            "\xff\xd8",
            "is a picture, which a job file names: pairs: [{content: a.JPG, style: ...}]",
        ),
    ],
)
def test_a_file_of_another_kind_is_told_what_it_is(
    tmp_path: Path, name: str, content: str, problem: str
) -> None:
    (tmp_path / name).write_text(content, "latin-1")
    with pytest.raises(JobFileError) as caught:
        load_job(tmp_path / name)
    assert str(caught.value) == f"{tmp_path / name}: {problem}"


def test_a_job_file_may_be_json_and_have_any_name(tmp_path: Path) -> None:
    (tmp_path / "job.csv").write_text(
        '{\n\t"output": "out",\n\t"pairs": [{"content": "a.jpg", "style": "b.jpg"}]\n}\n'
    )
    assert load_job(tmp_path / "job.csv").spec.output == "out"


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret.yaml"
    secret.write_text(MINIMAL)
    secret.chmod(0)
    large = tmp_path / "large.yaml"
    large.write_bytes(b"#" * 10_000_001)
    for path, reason in {
        tmp_path / "none.yaml": "cannot be read (No such file or directory)",
        tmp_path: f"is a folder: name the job file in it, such as {tmp_path / 'job.yaml'}",
        Path(
            "s3://bucket/job.yaml"
        ): "is not a path: a job file is read from a disk, so copy it here first",
        secret: "cannot be read (Permission denied)",
        large: "is larger than 10 MB; ",
    }.items():
        with no_root() if path == secret else nullcontext(), pytest.raises(JobFileError) as caught:
            load_job(path)
        assert str(caught.value).startswith(f"{path}: {reason}")
        assert caught.value.exit_status == 2


def nested(levels: int) -> str:
    return "[" * levels + "]" * levels


def aliases(levels: int, each: int) -> str:
    """Lists of ``each`` references to the list before."""
    lines = ["x0: &x0 [1]"]
    for level in range(1, levels):
        lines.append(f"x{level}: &x{level} [{', '.join([f'*x{level - 1}'] * each)}]")
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(aliases(20, 10), id="bomb"),
        pytest.param(aliases(1100, 2), id="deep bomb"),
        pytest.param("x: &x [*x]\n", id="holds itself"),
        pytest.param("x: &x {y: {<<: *x}}\n", id="merges itself"),
        pytest.param(aliases(1100, 2) + "y: &y [*y, *x1099]\n", id="bomb that holds itself"),
        pytest.param(aliases(600, 1), id="chain"),
        pytest.param("x: " + nested(60) + "\n", id="deep"),
        pytest.param("x: " + nested(200_000) + "\n", id="very deep"),
        pytest.param("? " * 100_000 + "\n", id="deep keys"),
    ],
)
def test_bombs_are_refused_at_once(text: str) -> None:
    start = time.process_time()
    assert refusal(MINIMAL + text)
    assert time.process_time() - start < 2


@pytest.mark.parametrize(
    "line",
    [
        "name: !!python/object/apply:os.mkdir [{}]",
        "recipe: !!python/object/apply:os.mkdir [{}]",
        "recipe: !!python/object/new:os.mkdir {{args: [{}]}}",
        "recipe: !!python/object:jobs.jobfile.job.Job {{size: 64}}",
        "recipe: {{style_layers: !!python/tuple [conv1_1]}}",
        "recipe: !!set {{}}",
    ],
)
def test_tags_are_refused_and_nothing_is_executed(line: str, tmp_path: Path) -> None:
    made = tmp_path / "made"
    found = refusal(MINIMAL + line.format(made))
    assert not made.exists()
    assert any("tag" in problem and problem.startswith("job.yaml:3: ") for problem in found)


# Anything at all


def lines_in(data: bytes) -> int:
    return len(re.split("\r\n|[\n\r\x85\u2028\u2029]", data.decode("utf-8", "replace")))


def check_anything(data: bytes) -> None:
    """A job, or problems at lines that the file has."""
    try:
        job = parse_job(data, FILE, Path())
    except JobFileError as error:
        problems = error.problems
    else:
        assert job.spec.pairs
        return
    assert problems
    for problem in problems:
        assert problem.message
        assert problem.line is None or 1 <= problem.line <= lines_in(data)
        str(problem).encode()


fuzzing = settings(max_examples=150, database=None)


@fuzzing
@given(st.binary())
def test_any_bytes(data: bytes) -> None:
    check_anything(data)
    check_anything(MINIMAL.encode() + data)


@fuzzing
@given(st.text(alphabet=" \n\t-:?,[]{}#&*!|>'\"%@`<~.0x1eaéoutp\r\x85\0", max_size=60))
def test_any_punctuation(text: str) -> None:
    check_anything(text.encode())
    check_anything(f"{MINIMAL}recipe: {text}".encode())


KEYS = sorted(
    {key for model in SECTIONS.values() for key in model.model_fields}
    | {"blend", "<<", "int", "conv1_1", "x"}
)
WORDS = ["a.jpg", "b/*.jpg", "image", "squash", "gatys", "auto", "zip", "{content}", "", "conv1_1"]
SCALARS: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([8, 64, 2**63, 10**400]),
    st.floats(),
    st.sampled_from(WORDS),
    st.text(max_size=5),
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=3), inner, max_size=4),
    ),
    max_leaves=12,
)


def mapping_of(keys: Any, **known: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Each key with anything, or with something that may be right."""
    return st.fixed_dictionaries(
        {}, optional={**dict.fromkeys(keys, VALUES), **{k: v | VALUES for k, v in known.items()}}
    )


RECIPES = mapping_of(Recipe.model_fields)
JOBS = mapping_of(
    SECTIONS[""].model_fields,
    output=st.just("out"),
    recipe=RECIPES,
    pairs=st.lists(
        mapping_of(
            SECTIONS["pairs[]"].model_fields,
            content=st.just("a.jpg"),
            style=st.just("b.jpg"),
            recipe=RECIPES,
            sweep=st.dictionaries(st.sampled_from(KEYS), st.lists(VALUES, max_size=3), max_size=3),
        ),
        max_size=2,
    ),
)


@fuzzing
@given(VALUES | JOBS)
def test_any_structure(value: object) -> None:
    check_anything(yaml.safe_dump(value, allow_unicode=True).encode())


@pytest.mark.parametrize(
    "number", ["1" + "0" * 400, "1" + "0" * 5000, "0x" + "f" * 4000, "1e999", "-1e999"]
)
def test_numbers_of_any_length(number: str) -> None:
    for line in (
        f"zzz: {number}",
        f"recipe: {{size: {number}}}",
        f"recipe: {{style_weight: {number}}}",
        f"recipe: {{style_layers: {{conv1_1: {number}}}}}",
        f"workers: {{gpus: {number}}}",
    ):
        assert {problem.split(": ")[0] for problem in refusal(MINIMAL + line)} == {"job.yaml:3"}
    check_anything(
        f"output: o\npairs: [{{content: a, style: {{blend: {{b: {number}}}}}}}]".encode()
    )
