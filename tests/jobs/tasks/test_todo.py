"""What is left of a job; and the starter job, which is whole and overwrites nothing."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest
from PIL import Image

from jobs.errors import JobFileError, UsageError
from jobs.examples import starter
from jobs.examples.paintings import NAMES
from jobs.examples.starter import write_starter
from jobs.jobfile.load import load_job
from jobs.records.statuses import Ledger, Status
from jobs.tasks.census import Census
from jobs.tasks.todo import Agenda
from stylize.presets import PRESETS
from stylize.recipe import Recipe
from tests.jobs.support import read, touch
from tests.support.rigs import missing


def agenda(text: str, base: Path | str = ".") -> Agenda:
    return Agenda(read(text, base), lambda _: "digest")


FOUR = """\
    output: out
    recipe: {steps: 5, start_size: ~}
    pairs: [{content: [1.jpg, 2.jpg], style: [a.jpg, b.jpg]}]
    """


NOTHING = Ledger.of({})


def ended(job: Agenda, *ends: Status) -> Ledger:
    """The first tasks ended so."""
    return Ledger.of({task.id: end for task, end in zip(job.tasks(), ends, strict=False)})


# What is left


def test_nothing_is_done_at_first() -> None:
    job = agenda(FOUR)
    assert job.census(NOTHING) == Census(tasks=4, done=0, failed=0, work_left=20 * 512**2)
    assert list(job.left(NOTHING)) == list(job.tasks())
    assert job.census(NOTHING).left == 4


def test_failed_tasks_are_left_alone_unless_asked_for() -> None:
    job = agenda(FOUR)
    so_far = ended(job, "done", "failed", "failed")
    first, second, third, fourth = job.tasks()
    assert job.census(so_far) == Census(tasks=4, done=1, failed=2, work_left=5 * 512**2)
    assert job.census(so_far).left == 1
    assert list(job.left(so_far)) == [fourth]
    again = job.census(so_far, retry_failed=True)
    assert again == Census(tasks=4, done=1, failed=0, work_left=15 * 512**2)
    assert list(job.left(so_far, retry_failed=True)) == [second, third, fourth]
    assert first.id not in {task.id for task in job.left(so_far, retry_failed=True)}


def test_a_finished_job_has_nothing_left() -> None:
    job = agenda(FOUR)
    done = ended(job, *["done"] * 4)
    assert job.census(done) == Census(tasks=4, done=4, failed=0, work_left=0 * 512**2)
    assert list(job.left(done, retry_failed=True)) == []


def test_records_of_other_tasks_do_not_count() -> None:
    assert agenda(FOUR).census(Ledger.of({"0" * 16: "done"})).done == 0


def test_the_same_work_twice_counts_once() -> None:
    job = agenda(
        """\
        output: out
        pairs:
        - {content: [1.jpg, ./1.jpg, 1.jpg], style: {blend: {a.jpg: 1, b.jpg: 1}}}
        - {content: 1.jpg, style: {blend: {b.jpg: 2, a.jpg: 2}}, recipe: {preset: studio}}
        - {content: 1.jpg, style: a.jpg, sweep: {margin: [8, 8, 9]}}
        """
    )
    assert job.census(NOTHING).tasks == 3
    assert len({task.id for task in job.left(NOTHING)}) == len(list(job.left(NOTHING))) == 3


def test_weights_are_identified_once_for_each_kind() -> None:
    asked: list[Recipe] = []

    def digest_of(recipe: Recipe) -> str:
        asked.append(recipe)
        return f"digest of {recipe.weights}"

    text = """\
        output: out
        pairs: [{content: a.jpg, style: b.jpg, sweep: {weights: [caffe, torchvision], margin: [0, 1]}}]
        """
    job = Agenda(read(text), digest_of)
    digests = [task.weights_digest for task in job.tasks()]
    assert digests == ["digest of caffe"] * 2 + ["digest of torchvision"] * 2
    assert {recipe.weights for recipe in asked} == {"caffe", "torchvision"}


def test_patterns_that_match_nothing_are_found_before_anything_is_rendered(tmp_path: Path) -> None:
    with pytest.raises(JobFileError) as caught:
        agenda("output: out\npairs: [{content: none/*.jpg, style: b.jpg}]", tmp_path)
    assert str(caught.value) == (
        "job.yaml:2: pairs[0].content: none/*.jpg matches no picture: there is no folder "
        f"{tmp_path}/none"
    )


# The starter job


def photo(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (64, 48), "teal").save(path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a starter goes, with paintings already in it: they take seconds to paint."""
    folder = tmp_path / "starter"
    for name in NAMES:
        photo(folder / "paintings" / f"{name}.png")
    return folder


def test_a_starter_from_ones_own_photos(tmp_path: Path, folder: Path) -> None:
    photos = [photo(tmp_path / "mine" / name) for name in ("cat.jpg", "tower.png")]
    job = load_job(write_starter(folder, photos))
    tasks = list(Agenda(job, lambda _: "digest").tasks())
    assert [task.name for task in tasks] == [
        *("cat--flow", "tower--flow", "cat--woodblock", "tower--woodblock")
    ]
    for task in tasks:
        for uri in (task.content, *(part.uri for part in task.styles)):
            Image.open(job.base / uri).verify()
    assert (folder / "photos/cat.jpg").read_bytes() == photos[0].read_bytes()


def test_a_starter_paints_its_paintings(tmp_path: Path) -> None:
    job_file = write_starter(tmp_path / "starter", [photo(tmp_path / "cat.jpg")])
    paintings = job_file.parent / "paintings"
    assert {path.stem for path in paintings.iterdir()} == set(NAMES)
    for path in paintings.iterdir():
        with Image.open(path) as painting:
            assert painting.width == 768


def test_a_starter_from_sample_photos(folder: Path) -> None:
    if importlib.util.find_spec("skimage") is None:
        missing("scikit-image is not installed")
    job = load_job(write_starter(folder))
    tasks = list(Agenda(job, lambda _: "digest").tasks())
    assert {task.content for task in tasks} == {"photos/astronaut.png", "photos/coffee.png"}
    for task in tasks:
        Image.open(job.base / task.content).verify()


def test_without_sample_photos_it_says_what_to_install(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UsageError, match=r"pip install 'stylefarm\[demo\]'.*--photo"):
        write_starter(folder)
    assert not (folder / "job.yaml").exists()
    assert write_starter(folder, [photo(tmp_path / "cat.jpg")]).exists()


def test_a_starter_names_every_preset(folder: Path, tmp_path: Path) -> None:
    text = write_starter(folder, [photo(tmp_path / "cat.jpg")]).read_text()

    (line,) = (line for line in text.splitlines() if "preset:" in line)
    assert set(re.findall(r"[a-z-]+", line.partition("preset:")[2])) == {*PRESETS, "or"}


def test_a_starter_says_that_it_draws_only_where_it_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(starter, "draw", lambda *_: Image.new("RGB", (4, 4)))
    said: list[str] = []
    with pytest.raises(UsageError):
        write_starter(tmp_path / "new", [tmp_path / "none.jpg"], said.append)
    assert said == []

    job_file = write_starter(tmp_path / "new", [photo(tmp_path / "cat.jpg")], said.append)
    assert said == ["drawing paintings ..."]

    job_file.unlink()
    write_starter(tmp_path / "new", [photo(tmp_path / "dog.jpg")], said.append)
    assert said == ["drawing paintings ..."]


def test_a_starter_overwrites_no_job(tmp_path: Path, folder: Path) -> None:
    (folder / "job.yaml").write_text("mine")
    said: list[str] = []
    with pytest.raises(UsageError, match="already exists"):
        write_starter(folder, [photo(tmp_path / "cat.jpg")], said.append)
    assert said == []
    assert (folder / "job.yaml").read_text() == "mine"
    assert not (folder / "photos").exists()


def test_a_starter_overwrites_no_picture(tmp_path: Path, folder: Path) -> None:
    touch(folder, "photos/cat.jpg", "paintings/flow.png")
    with pytest.raises(UsageError, match=r"cat\.jpg already exists"):
        write_starter(folder, [photo(tmp_path / "cat.jpg")])
    write_starter(folder, [photo(tmp_path / "dog.jpg")])

    assert (folder / "photos/cat.jpg").read_bytes() == b"picture"
    assert (folder / "paintings/flow.png").read_bytes() == b"picture"


def test_two_photos_of_one_name_are_both_there_or_refused(tmp_path: Path, folder: Path) -> None:
    photos = [photo(tmp_path / place / "cat.jpg") for place in ("monday", "tuesday")]
    try:
        write_starter(folder, photos)
    except UsageError:
        return
    assert len(list((folder / "photos").iterdir())) == 2


def test_photos_may_lie_in_place_already(folder: Path) -> None:
    inside = photo(folder / "photos/cat.jpg")
    assert write_starter(folder, [inside]).exists()


def test_a_photo_that_is_not_there_is_named(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere\.jpg"):
        write_starter(folder, [tmp_path / "nowhere.jpg"])
    assert not (folder / "job.yaml").exists()


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    cat = photo(tmp_path / "cat.jpg")
    with pytest.raises(UsageError, match=r"cannot write to .*cat\.jpg"):
        write_starter(cat, [cat])
