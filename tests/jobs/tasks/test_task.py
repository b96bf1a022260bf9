"""Jobs become tasks: all of them, in order, lazily, with ids that are the same everywhere."""

from __future__ import annotations

import hashlib
import json
import time
import tracemalloc
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jobs.errors import JobFileError
from jobs.inputs.reader import Inputs
from jobs.spec.styles import StylePart
from jobs.storage import keys
from jobs.tasks.identity import Draft, Kind
from jobs.tasks.pairs import PictureSet, expand, look_up
from jobs.tasks.task import Task, stem_of
from stylize.presets import NEUTRAL, PRESETS
from stylize.recipe import resolve
from tests.jobs.support import FULL_RECIPE, read, tasks_of, touch


def pair(**fields: Any) -> str:
    """A job with one pair."""
    entry = {"content": "a.jpg", "style": "b.jpg", **fields}
    return yaml.safe_dump({"output": "out", "pairs": [entry]}, sort_keys=False)


def shown(tasks: Iterable[Task]) -> list[str]:
    return [f"{task.content} {'+'.join(part.uri for part in task.styles)}" for task in tasks]


def the_id(text: str, digest: str = "digest") -> str:
    (task,) = tasks_of(text, digest_of=lambda _: digest)
    return task.id


def refused(text: str, base: Path) -> list[str]:
    job = read(text, base)
    with pytest.raises(JobFileError) as caught:
        look_up(job, Inputs(base))
    return str(caught.value).splitlines()


# How pairs combine


def test_product_paints_all_contents_of_a_style_together() -> None:
    tasks = tasks_of(pair(content=["1.jpg", "2.jpg", "3.jpg"], style=["a.jpg", "b.jpg"]))
    assert shown(tasks) == [f"{c}.jpg {s}.jpg" for s in "ab" for c in "123"]


def test_zip_takes_first_with_first() -> None:
    tasks = tasks_of(pair(content=["1.jpg", "2.jpg"], style=["a.jpg", "b.jpg"], combine="zip"))
    assert shown(tasks) == ["1.jpg a.jpg", "2.jpg b.jpg"]


def test_a_sweep_is_every_combination_of_every_pair() -> None:
    tasks = tasks_of(
        pair(
            content=["1.jpg", "2.jpg"],
            recipe={"size": 64, "seed": 9, "init": "noise"},
            sweep={"style_weight": [1, 10], "seed": [0, 1, 2]},
        )
    )
    assert [task.content for task in tasks] == ["1.jpg"] * 6 + ["2.jpg"] * 6
    assert [(task.recipe.style_weight, task.recipe.seed) for task in tasks[:6]] == [
        *((1, 0), (1, 1), (1, 2), (10, 0), (10, 1), (10, 2))
    ]
    assert {task.recipe.size for task in tasks} == {64}
    assert len({task.id for task in tasks}) == 12


def test_a_pair_is_laid_over_the_job_and_a_sweep_over_the_pair() -> None:
    (task,) = tasks_of(
        """\
        output: out
        recipe: {preset: gatys, size: 64, steps: 5, seed: 5}
        pairs:
        - {content: a.jpg, style: b.jpg, recipe: {steps: 6, seed: 6}, sweep: {seed: [7]}}
        """
    )
    recipe = task.recipe
    assert (recipe.size, recipe.steps, recipe.seed, recipe.refine_steps) == (64, 6, 7, 200)


def test_a_picture_to_start_from_sets_the_recipe() -> None:
    (task,) = tasks_of(pair(init="c.jpg"))
    assert (task.init, task.recipe.init) == ("c.jpg", "image")


def test_a_blend_is_one_style() -> None:
    (task,) = tasks_of(pair(style=[{"blend": {"b.jpg": 3, "c.jpg": 1}}]))
    assert task.styles == (StylePart("b.jpg", 3.0), StylePart("c.jpg", 1.0))


def test_folders_and_globs_are_looked_up(tmp_path: Path) -> None:
    touch(tmp_path, "photos/2.jpg", "photos/1.jpg", "photos/notes.txt", "styles/x.png", "y.png")
    tasks = tasks_of(pair(content="photos/", style=["styles/*.png", "y.png"]), tmp_path)
    assert shown(tasks) == [
        f"photos/{c}.jpg {s}" for s in ("styles/x.png", "y.png") for c in (1, 2)
    ]


def test_pictures_of_a_glob_in_a_blend_divide_its_share(tmp_path: Path) -> None:
    touch(tmp_path, "s/1.jpg", "s/2.jpg")
    (task,) = tasks_of(pair(style={"blend": {"s/*.jpg": 0.6, "b.jpg": 0.4}}), tmp_path)
    assert task.styles == (
        StylePart("s/1.jpg", 0.3),
        StylePart("s/2.jpg", 0.3),
        StylePart("b.jpg", 0.4),
    )


def test_a_blend_of_one_glob_is_a_blend(tmp_path: Path) -> None:
    touch(tmp_path, "s/1.jpg", "s/2.jpg")
    (task,) = tasks_of(pair(style={"blend": {"s/*.jpg": 1}}), tmp_path)
    assert task.styles == (StylePart("s/1.jpg", 0.5), StylePart("s/2.jpg", 0.5))


def test_the_length_of_a_set_is_its_number_of_tasks() -> None:
    for combine in ("product", "zip"):
        text = pair(
            content=["1.jpg", "2.jpg"],
            style=["a.jpg", "b.jpg"],
            combine=combine,
            sweep={"seed": [0, 1, 2]},
        )
        job = read(text)
        (pictures,) = look_up(job, Inputs(job.base))
        assert len(pictures) == len(tasks_of(text))


# Masks


def masks_of(text: str, base: Path | str = ".") -> list[list[str | None]]:
    return [[part.mask for part in task.styles] for task in tasks_of(text, base)]


def test_one_entry_serves_a_folder_of_photos(tmp_path: Path) -> None:
    touch(tmp_path, "photos/1.jpg", "photos/my cat.v2.jpg")
    style = {"picture": "b.jpg", "mask": "masks/{content}/{content}-sky.png"}
    tasks = tasks_of(pair(content="photos/", style=[style, "b.jpg"]), tmp_path)
    assert [task.styles for task in tasks] == [
        (StylePart("b.jpg", 1.0, "masks/1/1-sky.png"),),
        (StylePart("b.jpg", 1.0, "masks/my cat.v2/my cat.v2-sky.png"),),
        (StylePart("b.jpg", 1.0),),
        (StylePart("b.jpg", 1.0),),
    ]
    assert [task.name for task in tasks[::2]] == ["1--b", "1--b"]
    assert len({task.id for task in tasks}) == 4


def test_each_painting_of_a_glob_has_the_mask(tmp_path: Path) -> None:
    touch(tmp_path, "s/1.jpg", "s/2.jpg", "m.png")
    one = pair(style={"picture": "s/*.jpg", "mask": "m.png"})
    assert masks_of(one, tmp_path) == [["m.png"], ["m.png"]]
    blend = pair(style={"blend": {"s/*.jpg": {"share": 3, "mask": "m.png"}, "b.jpg": 1}})
    (task,) = tasks_of(blend, tmp_path)
    assert task.styles == (
        StylePart("s/1.jpg", 1.5, "m.png"),
        StylePart("s/2.jpg", 1.5, "m.png"),
        StylePart("b.jpg", 1.0),
    )


def test_a_zip_takes_the_mask_of_its_content() -> None:
    styles = [{"picture": f"{s}.jpg", "mask": "{content}.png"} for s in "ab"]
    text = pair(content=["1.jpg", "2.jpg"], style=styles, combine="zip")
    assert masks_of(text) == [["1.png"], ["2.png"]]


def test_in_a_web_address_the_name_is_quoted() -> None:
    content = ["my 50% cat.jpg", "https://host/the%20dog.jpg?key=1"]
    for address, cat in (("https://host/", "my%2050%25%20cat"), ("s3://bucket/", "my 50% cat")):
        style = {"picture": "b.jpg", "mask": address + "{content}.png"}
        assert masks_of(pair(content=content[:1], style=style)) == [[f"{address}{cat}.png"]]
    style = {"picture": "b.jpg", "mask": "https://host/{content}.png"}
    assert masks_of(pair(content=content[1:], style=style)) == [["https://host/the%20dog.png"]]


def test_masks_that_cannot_be_are_told_with_their_place(tmp_path: Path) -> None:
    touch(tmp_path, "m/1.png", "m/2.png", "empty/notes.txt")
    assert refused(
        """\
        output: out
        pairs:
        - content: a.jpg
          style:
          - picture: b.jpg
            mask: m/*.png
          - blend:
              b.jpg: 1
              c.jpg:
                mask: empty/
          - {picture: b.jpg, mask: "ftp://host/{content}.png"}
        """,
        tmp_path,
    ) == [
        "job.yaml:6: pairs[0].style[0].mask: m/*.png matches 2 pictures, but a mask is one",
        "job.yaml:10: pairs[0].style[1].blend.c.jpg.mask: empty/ matches no picture",
        "job.yaml:11: pairs[0].style[2].mask: Pictures cannot be read from ftp://; use a path, "
        "s3://bucket/key or https://.",
    ]


def test_the_masks_of_a_set_have_the_field_that_names_them() -> None:
    blend = {"blend": {"b.jpg": 1, "c.jpg": {"mask": "./{content}.png"}}}
    text = pair(content=["1.jpg", "2.jpg"], style=[{"picture": "b.jpg", "mask": "m.png"}, blend])
    job = read(text)
    (pictures,) = look_up(job, Inputs(job.base))
    one = ("pairs", 0, "style", 0, "mask")
    other = ("pairs", 0, "style", 1, "blend", "c.jpg", "mask")
    assert list(pictures.masks()) == [
        *((one, "m.png"), (one, "m.png"), (other, "1.png"), (other, "2.png"))
    ]


# What is not there


def test_uneven_zips_and_empty_globs_are_all_told(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "empty/notes.txt")
    assert refused(
        """\
        output: out
        pairs:
        - content: [a.jpg, b.jpg, c.jpg]
          style: [d.jpg, e.jpg]
          combine: zip
        - content:
          - a.jpg
          - none/*.jpg
          style:
          - b.jpg
          - empty/
          - blend:
              b.jpg: 1
              "*.tif": 2
        """,
        tmp_path,
    ) == [
        "job.yaml:5: pairs[0].combine: zip needs as many contents as styles, but there are 3 "
        "contents and 2 styles",
        "job.yaml:8: pairs[1].content[1]: none/*.jpg matches no picture: there is no folder "
        f"{tmp_path}/none",
        "job.yaml:11: pairs[1].style[1]: empty/ matches no picture",
        "job.yaml:12: pairs[1].style[2]: *.tif matches no picture",
    ]


def test_a_zip_with_nothing_found_is_one_problem(tmp_path: Path) -> None:
    assert refused(pair(content="none/*.jpg", combine="zip"), tmp_path) == [
        f"job.yaml:3: pairs[0].content: none/*.jpg matches no picture: there is no folder {tmp_path}/none"
    ]


def test_an_address_that_is_none_is_told_too(tmp_path: Path) -> None:
    (problem,) = refused(pair(content="ftp://host/a.jpg"), tmp_path)
    assert problem.startswith("job.yaml:3: pairs[0].content: ")


def test_an_address_that_is_no_url_is_refused_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(JobFileError, match=r"pairs\[0\]\.content\[0\]: .* is not a web address"):
        tasks_of(pair(content=["https://[x/a.jpg", "b.jpg"]), tmp_path)
    assert stem_of("https://[x/a.jpg") == "a"


def test_the_name_of_a_picture_has_no_query() -> None:
    for scheme in ("https", "HTTPS", "Http"):
        assert stem_of(f"{scheme}://e.org/b/a%20b.jpg?sig=s3cret#part") == "a b"


# Many


def test_tasks_are_made_one_by_one() -> None:
    contents = [f"photos/{k}.jpg" for k in range(100_000)]
    styles = [(StylePart(f"styles/{k}.jpg", 1.0),) for k in range(100)]
    pictures = PictureSet(contents, styles, "product", None, [resolve({})])
    assert len(pictures) == 10_000_000
    start = time.process_time()
    tasks = expand([pictures], "{content}--{style}", lambda _: "digest")
    next(tasks)
    assert time.process_time() - start < 0.5
    tracemalloc.start()
    try:
        for _ in islice(tasks, 10_000):
            pass
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2_500_000  # pathlib's own 2 MB; ten thousand tasks kept are 8


def test_a_blend_of_a_whole_archive_takes_no_time() -> None:
    blend = tuple(StylePart(f"archive/painting-{k:05}.jpg", 1.0) for k in range(10_000))
    pictures = PictureSet(["a.jpg"], [blend], "product", None, [resolve({})])
    start = time.process_time()
    (task,) = expand([pictures], "{content}--{style}", lambda _: "digest")
    assert time.process_time() - start < 1
    assert len(task.name) <= 150


# Ids


def documented_id(**identity: Any) -> str:
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def identity_of(recipe: dict[str, Any]) -> dict[str, Any]:
    left_out = ("preset", "weights", "strips", "history_precision", *NEUTRAL)
    return {k: v for k, v in recipe.items() if k not in left_out}


def test_an_id_is_the_hash_of_what_is_rendered() -> None:
    """Written out in full. An id that changes makes every finished output start again."""
    recipe = identity_of(FULL_RECIPE)
    text = pair(content="Bär.jpg", style={"blend": {"c.jpg": 1, "b.jpg": 3}}, init="d.jpg")
    found = the_id(text + f"recipe: {json.dumps(FULL_RECIPE)}\n", "sha256:0123")
    assert found == documented_id(
        content="Bär.jpg",
        styles=[["b.jpg", 0.75], ["c.jpg", 0.25]],
        recipe=recipe,
        weights="sha256:0123",
        init="d.jpg",
    )
    assert found == "d67d52b813065444"


def test_the_id_of_a_masked_style_is_documented_too() -> None:
    recipe = identity_of(FULL_RECIPE)
    style = {"blend": {"c.jpg": {"share": 1, "mask": "{content}.png"}, "b.jpg": 3}}
    found = the_id(pair(style=style, init="d.jpg") + f"recipe: {json.dumps(FULL_RECIPE)}\n")
    assert found == documented_id(
        content="a.jpg",
        styles=[["b.jpg", 1.0], ["c.jpg", 1.0, "a.png"]],
        recipe=recipe,
        weights="digest",
        init="d.jpg",
    )


def test_an_id_stays_when_the_folder_moves(tmp_path: Path) -> None:
    ids, masked = [], []
    for folder in ("here", "there/deeper"):
        base = tmp_path / folder
        touch(base, "photos/1.jpg", "styles/2.jpg")
        texts = (
            pair(content="photos/", style="styles/*.jpg"),
            pair(content="./photos/1.jpg", style=str(base / "styles/2.jpg")),
        )
        masks = (
            "m/{content}.png",
            "./m/1.png",
            str(base / "m/{content}.png"),
            str(base / "m/1.png"),
        )
        for mask in masks:
            text = pair(content="photos/", style={"picture": "styles/*.jpg", "mask": mask})
            masked += [task.id for task in tasks_of(text, base)]
        ids += [task.id for text in texts for task in tasks_of(text, base)]
    assert len(ids) == 4
    assert len(set(ids)) == 1
    assert (len(masked), len(set(masked))) == (8, 1)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(
            {"style": {"blend": {"a": 1, "b": 1}}},
            {"style": {"blend": {"b": 0.5, "a": 0.5}}},
            id="shares are relative and have no order",
        ),
        pytest.param({"style": "b"}, {"style": {"blend": {"b": 7}}}, id="a blend of one"),
        pytest.param(
            {"recipe": {"size": 64, "seed": 1}}, {"recipe": {"seed": 1, "size": 64}}, id="key order"
        ),
        pytest.param(
            {"recipe": {"style_layers": {"conv2_1": 1, "conv1_1": 1}}},
            {"recipe": {"style_layers": ["conv1_1", "conv2_1"]}},
            id="layers",
        ),
        pytest.param(
            {"recipe": {"style_weight": 10}}, {"recipe": {"style_weight": 10.0}}, id="10 is 10.0"
        ),
        pytest.param({"recipe": {}}, {"recipe": {"preset": "studio"}}, id="the default preset"),
        pytest.param(
            {"style": "b.jpg"}, {"style": {"picture": "b.jpg"}}, id="a picture without a mask"
        ),
        pytest.param(
            {"style": {"picture": "b.jpg", "mask": "m/{content}.png"}},
            {"style": {"blend": {"b.jpg": {"share": 7, "mask": "./m/a.png"}}}},
            id="a mask by name or by content, however it is spelled",
        ),
        pytest.param(
            {"style": {"blend": {"a": {"mask": "m.png"}, "b": 3, "c": 1, "d": {"mask": "m.png"}}}},
            {
                "style": {
                    "blend": {
                        **{k: {"share": 0.5, "mask": "m.png"} for k in "da"},
                        **{"c": 2, "b": {"share": 6}},
                    }
                }
            },
            id="shares are relative among those with the same mask",
        ),
        pytest.param({"recipe": {"seed": 3}}, {"sweep": {"seed": [3]}}, id="a sweep of one"),
        pytest.param(
            {"recipe": {"weights": "x.pth", "weights_input": "caffe"}},
            {"recipe": {"weights": "y.pth", "weights_input": "caffe"}},
            id="where the weights lie",
        ),
        pytest.param({"content": "./a.jpg"}, {"content": "a.jpg"}, id="spelling of a path"),
    ],
)
def test_the_same_work_has_the_same_id(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert the_id(pair(**one)) == the_id(pair(**other))


def test_an_id_is_not_about_the_file() -> None:
    """So a job whose pictures are to be written otherwise is done already."""
    options = ("{}", "{bit_depth: 16}", "{format: jpeg, quality: 50}", "{alpha: drop}")
    assert len({the_id(f"{pair()}\nimage: {image}") for image in options}) == 1


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_a_preset_is_its_values(preset: str) -> None:
    spelled_out = pair(recipe=json.loads(json.dumps(dict(PRESETS[preset]))))
    assert the_id(pair(recipe={"preset": preset})) == the_id(spelled_out)


def test_different_work_has_different_ids() -> None:
    different: list[dict[str, Any]] = [
        {},
        {"content": "c.jpg"},
        {"content": "s3://archive/a.jpg"},
        {"style": "c.jpg"},
        {"content": "b.jpg", "style": "a.jpg"},
        {"style": {"blend": {"b.jpg": 1, "c.jpg": 1}}},
        {"style": {"blend": {"b.jpg": 1, "c.jpg": 2}}},
        {"style": {"blend": {"b.jpg": 2, "c.jpg": 1}}},
        {"style": {"picture": "b.jpg", "mask": "m.png"}},
        {"style": {"picture": "b.jpg", "mask": "n.png"}},
        {"style": {"blend": {"b.jpg": 1, "c.jpg": {"mask": "m.png"}}}},
        {"style": {"blend": {"b.jpg": {"mask": "m.png"}, "c.jpg": 1}}},
        {"style": {"blend": {"b.jpg": {"mask": "m.png"}, "c.jpg": {"mask": "m.png"}}}},
        {"style": {"blend": {"b.jpg": {"mask": "m.png"}, "c.jpg": {"mask": "n.png"}}}},
        {"init": "c.jpg"},
        {"init": "d.jpg"},
        *({"recipe": {"preset": preset}} for preset in PRESETS if preset != "studio"),
        *({"recipe": recipe} for recipe in ({"size": 64}, {"margin": 1}, {"style_weight": 2.0})),
        {"recipe": {"style_layers": ["conv1_1"]}},
    ]
    ids = [the_id(pair(**fields)) for fields in different]
    assert len(set(ids)) == len(ids)
    assert the_id(pair(), "digest") != the_id(pair(), "another")


@settings(max_examples=50)
@given(
    st.lists(
        st.tuples(st.text(max_size=4), st.text(max_size=4), st.integers(0, 3)),
        unique=True,
        min_size=2,
    )
)
@example([('a","b', "c", 0), ("a", '"b","c', 0), ("ab", "c", 0), ("a", "bc", 0)])
def test_no_two_pieces_of_work_share_an_id(work: list[tuple[str, str, int]]) -> None:
    ids = {
        Draft(
            content,
            (StylePart(style, 1.0),),
            None,
            Kind(resolve({"init": "noise", "seed": seed}), "digest"),
        ).id
        for content, style, seed in work
    }
    assert len(ids) == len(work)
    assert all(len(found) == 16 and set(found) <= set("0123456789abcdef") for found in ids)


# Names


def test_a_name_tells_the_pictures_and_the_key_ends_in_the_id() -> None:
    (task,) = tasks_of(pair(content="photos/My cat.v2.jpg", style="s3://archive/art/wave.png"))
    assert task.name == "My cat.v2--wave"
    assert keys.image(task.name, task.id, "png") == f"images/My cat.v2--wave-{task.id}.png"


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("{style}_{content}", "b+c_a"),
        ("{preset}-{size}-{seed}-{style_weight}", "gatys-64-7-1000.0"),
        ("{{{seed}}}", "7"),
        ("night/{content}", "night-a"),
        ("fixed", "fixed"),
    ],
)
def test_names_take_any_knob(template: str, name: str) -> None:
    text = pair(
        style={"blend": {"b.jpg": 1, "c.jpg": 1}},
        recipe={"preset": "gatys", "size": 64, "seed": 7},
    )
    (task,) = tasks_of(text + f"image: {{name: {json.dumps(template)}}}\n")
    assert task.name == name


def test_a_name_keeps_the_number_that_auto_stands_for() -> None:
    """An output that exists has it in its names."""
    name = "{content}-{steps}-{refine_steps}-{precision}"
    (task,) = tasks_of(pair() + f"image: {{name: '{name}'}}\n")
    assert (task.recipe.refine_steps, task.name) == ("auto", "a-80-30-float32")


def test_what_a_picture_is_called_is_no_template_and_no_secret() -> None:
    text = pair(content="{seed}.jpg", style="https://user:pw@h/b%20c.jpg?sig=secret")
    (task,) = tasks_of(text)
    assert task.name == "seed--b c"


@pytest.mark.parametrize("name", ["Ünïcode", "日本語", "картина", "العربية", "हिन्दी", "ภาพที่"])
def test_letters_of_every_script_stay(name: str) -> None:
    assert keys.safe_name(name) == name


@settings(max_examples=300)
@given(st.text() | st.text(alphabet='aé/\\:*?"<>|. -\0\n\x7f\u202e\ud800', max_size=400))
@example("é" * 400)
@example("e\u0301" * 400)
@example("..")
@example("nul." + "é" * 400)
@example("\u202egnp.exe")
def test_a_name_is_safe_on_any_system(text: str) -> None:
    name = keys.safe_name(text)
    assert 0 < len(name.encode()) <= 150
    assert not set(name) & set('/\\:*?"<>|\x7f\u202e')
    assert name.isprintable()
    assert name == name.strip(" .")
    assert keys.safe_name(name) == name


RESERVED = {"CON", "PRN", "AUX", "NUL", *(f"{p}{k}" for p in ("COM", "LPT") for k in range(1, 10))}


@pytest.mark.parametrize("text", ["CON", "aux", "nul.old", "com1.v2", "LPT9. "])
def test_no_name_is_a_device_on_windows(text: str) -> None:
    """Which goes by what stands before the first dot."""
    file = keys.image(keys.safe_name(text), "0" * 16, "png").rpartition("/")[2]
    assert file.partition(".")[0].strip().upper() not in RESERVED
