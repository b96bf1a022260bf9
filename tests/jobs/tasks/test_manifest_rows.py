"""Rows become the tasks that the same pairs would be in a job file; what is wrong with them is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cluster.plan.plan import make_plan
from jobs.errors import JobFileError, StorageError
from jobs.records.statuses import Ledger
from jobs.tasks.manifest_rows import MOST_UNUSED
from jobs.tasks.row_account import BAD_ROWS_SHOWN, RowAccount, RowCounts
from jobs.tasks.task import Task
from jobs.tasks.todo import Agenda
from stylize.recipe import Recipe
from tests.jobs.manifests.test_manifest import write
from tests.jobs.support import read, refusal
from tests.support.rigs import Rig

NOTHING = Ledger.of({})


def agenda(base: Path, entry: str, rest: str = "") -> Agenda:
    text = f"output: out\nrecipe: {{steps: 5, start_size: ~}}\n{rest}\npairs: [{entry}]\n"
    return Agenda(read(text, base), lambda recipe: f"digest of {recipe.weights}")


def tasks(base: Path, rows: list[dict[str, Any]], entry: str = "{manifest: p.jsonl}") -> list[Task]:
    write(base / "p.jsonl", rows)
    return list(agenda(base, entry).tasks())


def bad_rows(base: Path, rows: list[dict[str, Any]], more: str = "") -> list[str]:
    write(base / "p.jsonl", rows)
    bad = RowAccount()
    for _ in agenda(base, f"{{manifest: p.jsonl, on_bad_row: skip{more}}}").drafts(NOTHING, bad):
        pass
    return [str(problem) for problem in bad.problems]


def test_a_row_is_the_task_that_the_pair_would_be(tmp_path: Path) -> None:
    pairs = [("a.jpg", "s.jpg"), ("./b.jpg", "s3://art/s.jpg"), ("https://x.org/c.jpg", "s.jpg")]
    (tmp_path / "in").mkdir()
    found = tasks(tmp_path, [{"content": c, "style": s} for c, s in pairs])
    listed = [
        task
        for content, style in pairs
        for task in agenda(
            tmp_path, f"{{content: {json.dumps(content)}, style: {json.dumps(style)}}}"
        ).tasks()
    ]
    assert found == listed


@pytest.mark.parametrize("ending", [".csv", ".tsv.gz", ".jsonl", ".parquet"])
def test_knobs_come_from_columns(ending: str, tmp_path: Path) -> None:
    rows = [
        {"content": "a.jpg", "style": "s.jpg", "recipe.size": 64, "recipe.style_weight": 2.5},
        {"content": "a.jpg", "style": "s.jpg", "recipe.size": None, "recipe.style_weight": 10.0},
    ]
    write(tmp_path / f"p{ending}", rows)
    first, second = agenda(tmp_path, f"{{manifest: p{ending}, recipe: {{seed: 3}}}}").tasks()
    base = {"steps": 5, "start_size": None, "seed": 3}
    assert first.recipe == Recipe.model_validate({**base, "size": 64, "style_weight": 2.5})
    assert second.recipe == Recipe.model_validate({**base, "style_weight": 10.0})
    assert first.id != second.id


def test_a_table_says_lists_words_and_nothing(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text(
        "content,style,recipe.preset,recipe.content_layers,recipe.clamp,recipe.start_size,recipe.steps\n"
        'a.jpg,s.jpg,gatys,"[""conv4_1""]",true,null,1e2\n'
    )
    (task,) = agenda(tmp_path, "{manifest: p.csv}").tasks()
    recipe = task.recipe
    assert (recipe.preset, recipe.clamp, recipe.start_size, recipe.steps) == (
        "gatys",
        True,
        None,
        100,
    )
    assert recipe.content_layers == {"conv4_1": 1.0}


@pytest.mark.parametrize(
    ("knob", "cell", "meant"),
    [
        *(("steps", cell, 16) for cell in ("16", "16.0", "1.6e1", "016", "+16", "0x10", " 16 ")),
        *(("style_weight", cell, 0.5) for cell in ("0.5", ".5", "+.5", "5e-1")),
        *(("clamp", cell, True) for cell in ("true", "True", "TRUE")),
        *(("start_size", cell, None) for cell in ("null", "~")),
        *(("refine_steps", cell, 16) for cell in ("16", "16.0", "016", "+16", "0x10", " 16 ")),
        ("refine_steps", "auto", "auto"),
        ("weights", "007", "007"),
    ],
)
def test_a_cell_is_read_as_a_value_of_a_job_file(
    tmp_path: Path, knob: str, cell: str, meant: object
) -> None:
    (tmp_path / "p.csv").write_text(f"content,style,recipe.{knob}\na.jpg,s.jpg,{cell}\n")
    rest = "recipe: {weights_input: caffe}" if knob == "weights" else "recipe: {}"
    (task,) = agenda(tmp_path, f"{{manifest: p.csv, {rest}}}").tasks()
    value = getattr(task.recipe, knob)
    assert (value, type(value)) == (meant, type(meant))


@pytest.mark.parametrize(
    ("cell", "instead"), [("1_000", ": write 1000"), ('"1,000"', ": write 1000"), ("12px", "")]
)
def test_a_cell_that_is_no_number_is_told_which_one_to_write(
    tmp_path: Path, cell: str, instead: str
) -> None:
    (tmp_path / "p.csv").write_text(f"content,style,recipe.steps\na.jpg,s.jpg,{cell}\n")
    with pytest.raises(JobFileError) as caught:
        list(agenda(tmp_path, "{manifest: p.csv}").tasks())
    text = cell.strip('"')
    assert f"p.csv:2: recipe.steps: '{text}' is neither a whole number nor 'auto'{instead}" in str(
        caught.value
    )


def test_a_name_is_the_pictures_and_no_part_of_the_id(tmp_path: Path) -> None:
    row = {"content": "a.jpg", "style": "s.jpg"}
    (plain,) = tasks(tmp_path, [row])
    (named,) = tasks(tmp_path, [{**row, "name": "night/harbour"}])
    assert (plain.name, named.name) == ("a--s", "night-harbour")
    assert plain.id == named.id


def test_the_same_pair_twice_is_one_task(tmp_path: Path) -> None:
    row = {"content": "a.jpg", "style": "s.jpg"}
    assert len(tasks(tmp_path, [row, {**row, "name": "again"}, {**row, "content": "./a.jpg"}])) == 1


def test_a_row_may_start_from_a_picture(tmp_path: Path) -> None:
    (task,) = tasks(tmp_path, [{"content": "a.jpg", "style": "s.jpg", "init": "i.jpg"}])
    assert (task.init, task.recipe.init) == ("i.jpg", "image")


def test_styles_can_be_blends_and_have_masks(tmp_path: Path) -> None:
    blend = {"blend": {"s.jpg": 0.7, "t.jpg": {"share": 0.3, "mask": "masks/{content}.png"}}}
    as_text = {"content": "a.jpg", "style": json.dumps(blend)}
    first = tasks(tmp_path, [{"content": "a.jpg", "style": blend}])
    assert first == tasks(tmp_path, [as_text])
    (task,) = first
    assert [tuple(part) for part in task.styles] == [
        ("s.jpg", 0.7, None),
        ("t.jpg", 0.3, "masks/a.png"),
    ]
    entry = f"{{content: a.jpg, style: {json.dumps(blend)}}}"
    assert [task.id] == [t.id for t in agenda(tmp_path, entry).tasks()]


def test_a_name_with_brackets_is_a_name(tmp_path: Path) -> None:
    (task,) = tasks(tmp_path, [{"content": "Trip [2024]/*.jpg", "style": "s.jpg"}])
    assert task.content == "Trip [2024]/*.jpg"


def test_a_sweep_multiplies_rows(tmp_path: Path) -> None:
    rows = [{"content": f"{k}.jpg", "style": "s.jpg"} for k in range(3)]
    found = tasks(
        tmp_path, rows, "{manifest: p.jsonl, recipe: {init: noise}, sweep: {seed: [1, 2]}}"
    )
    assert [(t.content, t.recipe.seed) for t in found] == [
        (f"{k}.jpg", seed) for k in range(3) for seed in (1, 2)
    ]


@pytest.mark.parametrize(
    "pattern", ["parts", "parts/", "parts/*.csv", "[parts/1.csv, parts/2.csv]"]
)
def test_a_folder_of_parts_is_one_manifest(pattern: str, tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    for part in (1, 2):
        write(tmp_path / "parts" / f"{part}.csv", [{"content": f"{part}.jpg", "style": "s.jpg"}])
    (tmp_path / "parts" / "readme.txt").write_text("not a part")
    found = list(agenda(tmp_path, f"{{manifest: {pattern}}}").tasks())
    assert [task.content for task in found] == ["1.jpg", "2.jpg"]


def test_manifests_lie_on_s3_too(s3_rig: Rig, tmp_path: Path) -> None:
    local = write(tmp_path / "p.csv.gz", [{"content": "é.jpg", "style": "s.jpg"}] * 3)
    storage = s3_rig.open("lists")
    for name in ("a b.csv.gz", "é.csv.gz"):
        storage.put(name, local.read_bytes())
    rest = f"storage: {s3_rig.options.model_dump_json(exclude_none=True)}"
    for url in ("lists/", "lists/*.gz", "lists/a b.csv.gz"):
        job = agenda(tmp_path, f"{{manifest: '{s3_rig.url}/{url}'}}", rest)
        assert [task.content for task in job.tasks()] == ["é.jpg"]
        copies = list(job._spool().iterdir())
        assert copies
        job.close()
        assert not any(copy.exists() for copy in copies)
    with pytest.raises(JobFileError, match=r"matches no manifest|There is no object"):
        agenda(tmp_path, f"{{manifest: '{s3_rig.url}/nothing.csv'}}", rest)


def test_a_large_manifest_is_copied_part_by_part(s3: Rig, tmp_path: Path) -> None:
    from jobs.storage.s3 import S3Storage

    storage = S3Storage(s3.url, s3.options, part_size=1000)
    data = bytes(range(256)) * 20
    storage.put("big", data)
    with (tmp_path / "copy").open("w+b") as file:
        storage.download("big", file)
        file.seek(0)
        assert file.read() == data
    with pytest.raises(StorageError, match="There is no object"):
        storage.download("small", (tmp_path / "x").open("wb"))


WRONG = [
    ({"style": "s.jpg"}, "content: is empty"),
    ({"content": "a.jpg", "style": ""}, "style: is empty"),
    ({"content": 3, "style": "s.jpg"}, "content: 3 is not a path or URL"),
    (
        {"content": "s3:/b/a.jpg", "style": "s.jpg"},
        "content: s3:/b/a.jpg lacks //: write s3://b/a.jpg",
    ),
    ({"content": "C:\\a.jpg", "style": "s.jpg"}, "content: C:\\a.jpg is a path of Windows"),
    ({"content": "a.jpg", "style": "https:/e.org/s.jpg"}, "style: https:/e.org/s.jpg lacks //"),
    ({"content": "a.jpg", "style": "s.jpg", "init": "file:/i.jpg"}, "init: file:/i.jpg lacks //"),
    (
        {"content": "ftp://x/a.jpg", "style": "s.jpg"},
        "content: Pictures cannot be read from ftp://",
    ),
    ({"content": "a.jpg", "style": ["s.jpg"]}, "style: ['s.jpg'] is not a style"),
    ({"content": "a.jpg", "style": "{nonsense"}, "style: begins with { but is not JSON"),
    (
        {"content": "a.jpg", "style": {"blend": {"s.jpg": -1}}},
        "style: blend.s.jpg: -1 is not a share",
    ),
    ({"content": "a.jpg", "style": "s.jpg", "recipe.size": 8}, "recipe.size: 8 is below 32"),
    (
        {"content": "a.jpg", "style": "s.jpg", "recipe.size": "big"},
        "recipe.size: 'big' is not a whole",
    ),
    (
        {"content": "a.jpg", "style": "s.jpg", "recipe.sise": 64},
        "recipe.sise: is not a knob of a recipe; did",
    ),
    (
        {"content": "a.jpg", "style": "s.jpg", "recipe.init": "image"},
        "recipe.init: image needs a picture",
    ),
    (
        {"content": "a.jpg", "style": "s.jpg", "init": "i.jpg", "recipe.init": "noise"},
        "init: is a picture, but recipe.init",
    ),
]


@pytest.mark.parametrize(("row", "message"), WRONG)
def test_what_is_wrong_with_a_row_is_told_with_its_place(
    row: dict[str, Any], message: str, tmp_path: Path
) -> None:
    good = {"content": "a.jpg", "style": "s.jpg"}
    (told,) = bad_rows(tmp_path, [good, row, good])
    assert told.startswith(f"p.jsonl:2: {message}")


def test_bad_rows_end_the_run_unless_they_are_skipped(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"content": "a.jpg", "style": "s.jpg"}, {"content": "b.jpg"}]
    with pytest.raises(JobFileError) as caught:
        tasks(tmp_path, rows)
    assert str(caught.value).splitlines() == [
        "p.jsonl:2: style: is empty",
        "manifest: correct these rows, or leave them out with on_bad_row: skip",
    ]
    left = tasks(tmp_path, rows, "{manifest: p.jsonl, on_bad_row: skip}")
    assert [task.content for task in left] == ["a.jpg"]
    census = agenda(tmp_path, "{manifest: p.jsonl, on_bad_row: skip}").census(NOTHING)
    assert (census.tasks, census.rows.bad) == (1, 1)


def test_of_very_many_bad_rows_the_first_are_shown(tmp_path: Path) -> None:
    with pytest.raises(JobFileError) as caught:
        tasks(tmp_path, [{"content": "a.jpg"}] * 500)
    lines = str(caught.value).splitlines()
    assert len(lines) == BAD_ROWS_SHOWN + 1
    assert "480 more rows cannot be used" in lines[-1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("contnet,style\n", "has no column content; is contnet meant? Then rename it"),
        ("content;stile\n", "has no column content; its cells seem to be separated by ';'"),
        ("content\n", "has no column style; it has content"),
        ("", "has no column content; it is empty"),
        (
            "content,style,recipe.sise\n",
            "column recipe.sise, which is not a knob of a recipe; did you mean",
        ),
        ("content,style,recipe.seed\n", "column recipe.seed, which is also swept; leave one out"),
    ],
)
def test_wrong_columns_are_told_before_any_row(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text(text)
    with pytest.raises(JobFileError) as caught:
        agenda(tmp_path, "{manifest: p.csv, sweep: {seed: [1]}}")
    assert message in str(caught.value)
    assert str(caught.value).startswith("job.yaml:4: pairs[0].manifest: p.csv ")


def test_columns_that_mean_nothing_are_known(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("caption,content,style,licence,size\nx,a.jpg,s.jpg,y,64\n")
    job = agenda(tmp_path, "{manifest: p.csv}")
    assert job.unused_columns == ("caption", "licence", "size (did you mean recipe.size?)")
    assert [task.content for task in job.tasks()] == ["a.jpg"]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("{manifest: none.csv}", "There is no file none.csv"),
        ("{manifest: p.xlsx}", "is not a manifest that stylefarm reads: .csv, .tsv"),
        ("{manifest: p.xlsx}", "; save the sheet as CSV in UTF-8"),
        ("{manifest: empty/}", "empty/ matches no manifest"),
        (
            "{manifest: 'https://x.org/p.csv'}",
            "https://x.org/p.csv cannot be read from the web; copy it",
        ),
    ],
)
def test_manifests_that_are_not_there(entry: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "p.xlsx").write_bytes(b"PK")
    (tmp_path / "empty").mkdir()
    with pytest.raises(JobFileError) as caught:
        agenda(tmp_path, entry)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{manifest: p.csv, content: a.jpg}", "content: cannot be combined with manifest:"),
        ("{manifest: p.csv, style: a.jpg}", "style: cannot be combined with manifest:"),
        ("{manifest: p.csv, init: a.jpg}", "init: cannot be combined with manifest:"),
        ("{manifest: p.csv, combine: zip}", "combine: cannot be combined with manifest:"),
        ("{content: a, style: b, on_bad_row: skip}", "on_bad_row: needs manifest:"),
        ("{manifest: p.csv, on_bad_row: ignore}", "on_bad_row: 'ignore' is not one of"),
        ("{}", "content: is required"),
    ],
)
def test_an_entry_names_pictures_or_a_manifest(line: str, message: str) -> None:
    assert any(
        said.startswith(f"job.yaml:2: pairs[0].{message}")
        for said in refusal(f"output: o\npairs: [{line}]\n")
    )


CELL = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6)
ANY_ROW = st.dictionaries(
    st.sampled_from(["content", "style", "name", "init", "recipe.size", "recipe.weights", "x"]),
    CELL | st.lists(CELL, max_size=2) | st.dictionaries(st.text(max_size=5), CELL, max_size=2),
)


@settings(
    max_examples=200,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(ANY_ROW, max_size=3))
def test_any_cells_are_tasks_or_bad_rows(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "p.jsonl").write_text(text, "utf-8")
    bad = RowAccount()
    job = agenda(tmp_path, "{manifest: p.jsonl, on_bad_row: skip}")
    found = [job.make(draft) for draft, _ in job.drafts(NOTHING, bad)]
    assert len(found) + bad.bad <= len(rows)
    assert all(len(task.id) == 16 for task in found)


FULL_ROW: dict[str, Any] = {
    "content": "a.jpg",
    "style": {"blend": {"s.jpg": 1, "t.jpg": {"share": 2, "mask": "m.png"}}},
    "recipe.size": 64,
    "recipe.style_layers": {"conv1_1": 1, "conv2_1": 0.5},
    "recipe.seed": 3,
}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.permutations(list(FULL_ROW.items())), st.booleans())
def test_no_order_of_keys_changes_an_id(
    tmp_path: Path, cells: list[tuple[str, Any]], turned: bool
) -> None:
    row = dict(cells)
    if turned:
        blend = dict(reversed(row["style"]["blend"].items()))
        layers = dict(reversed(row["recipe.style_layers"].items()))
        row |= {"style": {"blend": blend}, "recipe.style_layers": layers}
    (task,) = tasks(tmp_path, [row])
    (expected,) = tasks(tmp_path, [FULL_ROW])
    assert task.id == expected.id


def account_of(base: Path, rows: list[dict[str, Any]], more: str = "") -> RowCounts:
    write(base / "p.jsonl", rows)
    account = RowAccount()
    for _ in agenda(base, f"{{manifest: p.jsonl, on_bad_row: skip{more}}}").drafts(
        NOTHING, account
    ):
        pass
    return account.counts()


def test_a_pair_under_another_name_is_counted_and_the_first_is_named(tmp_path: Path) -> None:
    pair = {"content": "a.jpg", "style": "s.jpg"}
    rows = [
        {**pair, "name": "harbour"},
        {**pair, "content": "b.jpg"},
        {**pair, "name": "harbour"},
        pair,
        {**pair, "name": "port"},
        {**pair, "name": "quay"},
        {**pair, "content": "b.jpg", "name": "boat"},
    ]
    counts = account_of(tmp_path, rows)
    assert (counts.rows, counts.used, counts.repeated, counts.bad) == (7, 2, 5, 0)
    (note,) = counts.notes
    assert note.rows == 3
    assert note.first.startswith("p.jsonl:5: name: 'port': the job has this pair before")


def test_names_are_compared_over_a_long_list(tmp_path: Path) -> None:
    """Names of a hundred thousand rows are not kept; what they are compared by is, in every chunk."""
    rows = [{"content": f"{k}.jpg", "style": "s.jpg", "name": f"name{k}"} for k in range(9000)]
    again = [{**row, "name": "other"} for row in rows[::1000]]
    counts = account_of(tmp_path, [*rows, *rows[5::1000], *again])
    assert (counts.used, counts.repeated) == (9000, 18)
    (note,) = counts.notes
    assert (note.rows, note.first.split(": ")[0]) == (9, "p.jsonl:9010")


def test_rows_of_a_sweep_are_counted_as_rows(tmp_path: Path) -> None:
    rows = [{"content": f"{k}.jpg", "style": "s.jpg", "name": f"name{k}"} for k in (1, 2, 1)]
    rows[2]["name"] = "other"
    counts = account_of(tmp_path, rows, ", sweep: {seed: [1, 2, 3]}")
    assert (counts.rows, counts.used, counts.repeated) == (3, 2, 1)
    assert [note.rows for note in counts.notes] == [1]


def test_spaces_that_are_cut_are_noted_once(tmp_path: Path) -> None:
    rows = [
        {"content": "a.jpg", "style": "s.jpg"},
        {"content": " b.jpg", "style": "s.jpg"},
        {"content": "c.jpg", "style": "s.jpg "},
        {"content": "d.jpg", "style": "s.jpg "},
        {"content": "./ e.jpg", "style": "s.jpg"},
    ]
    counts = account_of(tmp_path, rows)
    (note,) = counts.notes
    assert note.rows == 3
    assert str(note) == (
        "p.jsonl:2: content: ' b.jpg' is read without the spaces around it; write './ b.jpg' where they "
        "belong to the name (in 3 rows)"
    )
    found = [task.content for task in agenda(tmp_path, "{manifest: p.jsonl}").tasks()]
    assert found == ["a.jpg", "b.jpg", "c.jpg", "d.jpg", " e.jpg"]


def test_a_name_that_no_file_can_have_is_noted(tmp_path: Path) -> None:
    row = {"content": "a.jpg", "style": "s.jpg"}
    counts = account_of(tmp_path, [{**row, "name": " night/harbour"}])
    assert [str(note) for note in counts.notes] == [
        "p.jsonl:1: name: ' night/harbour' cannot be the name of a file; it becomes 'night-harbour'"
    ]


def test_a_number_in_a_column_with_empty_cells_is_a_name_without_a_fraction(tmp_path: Path) -> None:
    rows = [
        {"content": "a.jpg", "style": "s.jpg", "name": 7.0},
        {"content": "b.jpg", "style": "s.jpg"},
    ]
    write(tmp_path / "p.parquet", rows)
    assert next(agenda(tmp_path, "{manifest: p.parquet}").tasks()).name == "7"


def test_rows_that_are_not_selected_are_counted_apart(tmp_path: Path) -> None:
    rows = [{"content": f"{k}.jpg", "style": "s.jpg"} for k in range(5)]
    write(tmp_path / "p.jsonl", [*rows, {"content": "x.jpg"}])
    job = agenda(tmp_path, "{manifest: p.jsonl, on_bad_row: skip}")
    account = RowAccount()
    seen = job.seen_as(lambda draft: draft if draft.content == "3.jpg" else None)
    assert [draft.content for draft, _ in seen.drafts(NOTHING, account)] == ["3.jpg"]
    counts = account.counts()
    assert (counts.rows, counts.used, counts.left_out, counts.bad) == (6, 1, 4, 1)


def test_pairs_of_the_job_file_that_come_twice_are_counted(tmp_path: Path) -> None:
    job = agenda(tmp_path, "{content: [a.jpg, b.jpg, a.jpg], style: s.jpg}")
    counts = job.census(NOTHING).rows
    assert (counts.rows, counts.repeated_pairs) == (0, 1)


def test_keys_of_lines_that_mean_nothing_are_known_once_they_are_read(tmp_path: Path) -> None:
    rows = [{"content": "a.jpg", "style": "s.jpg", "comment": "x", "steps": 9}]
    rows += [{"content": "b.jpg", "style": "s.jpg", f"key{k}": 1} for k in range(200)]
    write(tmp_path / "p.jsonl", rows)
    job = agenda(tmp_path, "{manifest: p.jsonl}")
    assert job.unused_columns == ()
    assert len(list(job.tasks())) == 2
    assert {"comment", "steps (did you mean recipe.steps?)", "key0"} <= set(job.unused_columns)
    assert len(job.unused_columns) == MOST_UNUSED


RECIPE_ROW = {
    "content": "a.jpg",
    "style": "s.jpg",
    "recipe": {"size": 64, "seed": 7, "steps": None},
}


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
def test_knobs_may_be_a_mapping(ending: str, tmp_path: Path) -> None:
    row = dict(RECIPE_ROW)
    if ending == ".csv":
        row["recipe"] = json.dumps(row["recipe"])
    write(tmp_path / f"p{ending}", [row])
    job = agenda(tmp_path, f"{{manifest: p{ending}}}")
    (task,) = job.tasks()
    assert (task.recipe.size, task.recipe.seed, task.recipe.steps) == (64, 7, 5)
    assert job.unused_columns == ()


def test_a_column_recipe_of_words_means_nothing(tmp_path: Path) -> None:
    write(tmp_path / "p.csv", [{"content": "a.jpg", "style": "s.jpg", "recipe": "the blue one"}])
    job = agenda(tmp_path, "{manifest: p.csv}")
    assert len(list(job.tasks())) == 1
    assert job.unused_columns == ("recipe",)


def test_a_wrong_knob_in_a_mapping_is_told(tmp_path: Path) -> None:
    row = {"content": "a.jpg", "style": "s.jpg", "recipe": {"sise": 64}}
    (told,) = bad_rows(tmp_path, [{"content": "b.jpg", "style": "s.jpg"}, row])
    assert told.startswith(
        "p.jsonl:2: recipe.sise: is not a knob of a recipe; did you mean recipe.size"
    )


def test_a_list_of_bad_rows_alone_says_what_is_wrong_with_them(tmp_path: Path) -> None:
    write(tmp_path / "p.jsonl", [{"content": "a.jpg"}] * 30)
    job = agenda(tmp_path, "{manifest: p.jsonl, on_bad_row: skip}")
    with pytest.raises(JobFileError) as caught:
        make_plan(job, None, "out")
    told = str(caught.value).splitlines()
    assert told[0] == "p.jsonl:1: style: is empty"
    assert len(told) == BAD_ROWS_SHOWN + 1
    assert told[-1].endswith(
        "there is nothing to render: no row of any manifest can be used; these are the first of 30"
    )
