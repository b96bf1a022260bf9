"""From an entry with a film to its frames: which are found, their ids, their order and what they hold to."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from jobs.errors import JobFileError
from jobs.records.statuses import Ledger
from jobs.tasks.films.film_set import FilmSet, useful_workers
from jobs.tasks.task import Task
from jobs.tasks.todo import Agenda
from stylize.film.structure import place_of
from tests.jobs.support import read, touch
from tests.support.rigs import S3_RIGS, Rig


@pytest.fixture
def shots(tmp_path: Path) -> Path:
    touch(tmp_path, "w.jpg", "v.jpg", *(f"shots/a.{n:04d}.png" for n in range(1001, 1041)))
    return tmp_path


def agenda(base: Path, pair: str, more: str = "") -> Agenda:
    return Agenda(read(f"output: out\npairs: [{{{pair}}}]\n{more}", base), lambda recipe: "digest")


def tasks(base: Path, pair: str, more: str = "") -> list[Task]:
    return list(agenda(base, pair, more).tasks())


def numbers(found: list[Task]) -> list[int]:
    return sorted(task.part.number for task in found if task.part is not None)


def told(base: Path, pair: str) -> list[str]:
    with pytest.raises(JobFileError) as caught:
        agenda(base, pair)
    return [str(problem).removeprefix("job.yaml:2: pairs[0].") for problem in caught.value.problems]


def by_number(found: list[Task]) -> dict[int, Task]:
    return {task.part.number: task for task in found if task.part is not None}


@pytest.mark.parametrize("film", ["shots/a.####.png", "shots/a.%04d.png", "shots", "./shots/"])
def test_the_same_frames_are_the_same_tasks_however_they_are_named(shots: Path, film: str) -> None:
    one = tasks(shots, f"film: '{film}', style: w.jpg, cuts: none")
    absolute = tasks(shots, f"film: '{shots}/shots/a.####.png', style: w.jpg, cuts: none")

    assert numbers(one) == list(range(1001, 1041))
    assert one == absolute


@pytest.mark.parametrize(
    ("film", "sentence"),
    [
        (
            "harbor.mp4",
            "There is no file harbor.mp4 (looked for {base}/harbor.mp4); is harbour.mp4 meant?",
        ),
        (
            "harbour.mp",
            "There is no file harbour.mp (looked for {base}/harbour.mp); is harbour.mp4 meant?",
        ),
        ("shotz", "shotz/ matches no picture: there is no folder {base}/shotz; is shots/ meant?"),
        ("films", "films has films and no frames: name one, such as films/pier.mp4"),
        ("'*.mp4'", "*.mp4 has wildcards: write an entry of pairs for each film"),
    ],
)
def test_a_film_that_is_not_there_is_told_with_the_one_that_is_meant(
    shots: Path, film: str, sentence: str
) -> None:
    touch(shots, "harbour.mp4", "films/pier.mp4")
    assert told(shots, f"film: {film}, style: w.jpg") == [f"film: {sentence.format(base=shots)}"]


def test_a_film_is_no_picture(shots: Path) -> None:
    touch(shots, "harbour.mp4")
    where = "name it under film:, or one of its frames, as harbour.mp4::000001"
    assert told(shots, "film: shots, style: [w.jpg, harbour.mp4]") == [
        f"style[1]: harbour.mp4 is a film: {where}"
    ]
    assert told(shots, "content: harbour.mp4, style: w.jpg") == [
        f"content: harbour.mp4 is a film: {where}"
    ]
    # Films beside photos are left out, as ever.
    assert len(tasks(shots, "content: ./, style: w.jpg")) == 2


def test_each_frame_comes_after_those_that_it_holds_to(shots: Path) -> None:
    found = tasks(
        shots,
        "film: shots/a.####.png, style: [w.jpg, v.jpg], cuts: [1017], sweep: {size: [64, 128]}",
    )

    assert len(found) == 40 * 2 * 2
    seen: dict[str, Task] = {}
    for task in found:
        assert task.part is not None
        place = place_of(task.part.index, [(0, 16), (16, 40)])
        assert tuple(index for index, _ in task.part.needs) == place.needs
        for index, need in task.part.needs:
            held = seen[need]
            assert held.part is not None
            assert held.part.index == index
            assert (held.recipe, held.styles) == (task.recipe, task.styles)
        seen[task.id] = task
    assert len(seen) == len(found)


def test_a_frame_knows_the_frames_between_which_it_lies(shots: Path) -> None:
    for loop in (False, True):
        found = tasks(shots, f"film: shots/, style: w.jpg, cuts: none, loop: {str(loop).lower()}")
        for task in found:
            part = task.part
            assert part is not None
            assert part.around[part.index - part.first] == task.content
            for index, _ in part.needs:
                number = 1001 + index
                where = index - part.first
                if loop and index == 0 and part.first > 0:
                    where = 40 - part.first  # the root again, after the last
                assert part.around[where] == f"shots/a.{number}.png"


def test_pictures_are_named_by_film_style_and_number(shots: Path) -> None:
    def names(film: str, more: str = "") -> list[str]:
        return sorted(t.name for t in tasks(shots, f"film: {film}, style: w.jpg, cuts: none", more))

    touch(shots, "frames/1.png", "frames/2.png", "odd/b10.png", "odd/b9x.png", "odd/c.png")

    assert names("shots/a.####.png")[:2] == ["a--w.001001", "a--w.001002"]
    assert names("frames/#.png") == ["frames--w.000001", "frames--w.000002"]
    assert names("odd/") == ["odd--w.000001", "odd--w.000002", "odd--w.000003"]
    assert names("frames/", "image: {name: '{film}_{number}_{content}_{seed}'}") == [
        "frames_000001_1_0",
        "frames_000002_2_0",
    ]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("a.1", "a.2", "b.1", "b.2"), "frames of a.#.png and of b.#.png"),
        (("a.1", "a.2", "a.3", "cover"), "frames of a.#.png and also cover.png"),
        (("a.1", "a.2", "a.3", "b.1", "c"), "frames of a.#.png and of b.#.png and 1 more"),
    ],
)
def test_a_sequence_among_others_is_an_error(
    tmp_path: Path, names: tuple[str, ...], said: str
) -> None:
    touch(tmp_path, "w.jpg", *(f"odd/{name}.png" for name in names))
    assert told(tmp_path, "film: odd, style: w.jpg") == [
        f"film: odd has {said}: name the frames as in a.####.png"
    ]


def test_a_folder_without_a_sequence_is_in_the_order_in_which_people_count(tmp_path: Path) -> None:
    touch(tmp_path, "w.jpg", *(f"odd/{name}.png" for name in ("b10", "b9", "a", "c1x")))

    found = by_number(tasks(tmp_path, "film: odd, style: w.jpg, cuts: none"))

    assert [found[n].content for n in (1, 2, 3, 4)] == [
        "odd/a.png",
        "odd/b9.png",
        "odd/b10.png",
        "odd/c1x.png",
    ]
    some = by_number(tasks(tmp_path, "film: odd, style: w.jpg, cuts: none, frames: 2-3"))
    assert {n: task.content for n, task in some.items()} == {2: "odd/b9.png", 3: "odd/b10.png"}
    assert told(tmp_path, "film: odd, style: w.jpg, frames: 2-5") == [
        "frames: odd has the frames 1-4, by their order"
    ]


def test_a_sequence_of_every_second_frame_has_no_holes(tmp_path: Path) -> None:
    touch(tmp_path, "w.jpg", *(f"s/{n}.png" for n in (8, 10, 12)))

    assert numbers(tasks(tmp_path, "film: s/, style: w.jpg, cuts: none")) == [8, 10, 12]


def test_missing_frames_are_named(shots: Path) -> None:
    for number in (1005, 1007, 1008, 1009):
        (shots / f"shots/a.{number}.png").unlink()

    assert told(shots, "film: shots/a.####.png, style: w.jpg") == [
        "film: shots/a.####.png lacks 4 frames: 1005,1007-1009; to do without, write frames: "
        "1001-1004,1006,1010-1040"
    ]
    assert told(shots, "film: shots/a.####.png, style: w.jpg, frames: 1004-1006") == [
        "frames: shots/a.####.png lacks the frame 1005"
    ]
    assert told(shots, "film: shots/a.####.png, style: w.jpg, frames: 1-9") == [
        "frames: shots/a.####.png has none of these frames: it has 1001-1004,1006,1010-1040"
    ]
    rest = tasks(shots, "film: shots/, style: w.jpg, cuts: none, frames: '1001-1004,1006'")
    assert numbers(rest) == [1001, 1002, 1003, 1004, 1006]


@pytest.mark.parametrize(
    ("film", "reason"),
    [
        ("shots/b.####.png", "film: shots/b.####.png matches no picture"),
        ("w.jpg", "film: w.jpg is one picture: name the frames as in a.####.png"),
        (
            "shots/*.png",
            "film: shots/*.png has wildcards: write #### or %04d for the number, or name the folder",
        ),
        (
            "shots/a#.##.png",
            "film: shots/a#.##.png has no single place for the number: write it once, as #### or %04d",
        ),
        (
            "clip.avi",
            "film: clip.avi is a film of a kind that is not read, as MP4, MOV, MKV and WebM are: ffmpeg -i "
            "FILM -c:v ffv1 -c:a flac FILM.mkv makes one of it",
        ),
        (
            "w.txt",
            "film: w.txt is no film of a kind that is read: name the frames as in a.####.png",
        ),
        ("shots/a.$F4.png", "film: shots/a.$F4.png has no number: write #### or %04d for it"),
        ("shots/a.@@@@.png", "film: shots/a.@@@@.png has no number: write #### or %04d for it"),
        (
            "shots/a.######.png",
            "film: shots/a.######.png matches no frame: shots/a.1001.png is none; is shots/a.#.png meant?",
        ),
        (
            "padded/a.####.png",
            "film: padded/a.####.png matches no frame: padded/a.00001.png is none; is padded/a.#####.png "
            "meant?",
        ),
        (
            "gs://b/a.##.png",
            "film: Pictures cannot be read from gs://; use a path, s3://bucket/key or https://.",
        ),
    ],
)
def test_what_is_no_film_is_told(shots: Path, film: str, reason: str) -> None:
    touch(shots, "w.txt", "padded/a.00001.png", "padded/a.00002.png")
    assert told(shots, f"film: '{film}', style: w.jpg") == [reason]


def test_numbers_below_zero_are_neither_left_out_nor_taken_for_others(tmp_path: Path) -> None:
    touch(tmp_path, "w.jpg", *(f"s/a.{n}.png" for n in ("-0002", "-0001", "0000", "0001")))
    touch(tmp_path, *(f"below/{n}.png" for n in (-3, -2, -1)), *(f"b/shot-{n}.png" for n in (1, 2)))

    assert told(tmp_path, "film: s/a.####.png, style: w.jpg") == [
        "film: s/a.####.png has numbers below 0, such as s/a.-0001.png: number its frames from 0 on; to do "
        "without, write frames: 0-1"
    ]
    said = "has numbers below 0, such as below/-1.png: number its frames from 0 on"
    told_apart = "; if the hyphen is no sign, write frames: 1-3"
    for film, rest in (("below", told_apart), ("below/#.png", ""), ("below/-#.png", told_apart)):
        assert told(tmp_path, f"film: '{film}', style: w.jpg") == [f"film: {film} {said}{rest}"]
    hyphen = tasks(tmp_path, "film: 'below/-#.png', style: w.jpg, cuts: none, frames: 1-3")
    assert numbers(hyphen) == [1, 2, 3]
    touch(tmp_path, "d/depth_-1.png", "d/0001.png", "d/0002.png", "j/a.-0001.jp2", "j/a.0000.jp2")
    assert numbers(tasks(tmp_path, "film: d/####.png, style: w.jpg, cuts: none")) == [1, 2]
    (jpeg2000,) = told(tmp_path, "film: j/a.####.jp2, style: w.jpg")
    assert "such as j/a.-0001.jp2" in jpeg2000
    some = tasks(tmp_path, "film: s/a.####.png, style: w.jpg, cuts: none, frames: 0-1")
    assert numbers(some) == [0, 1]
    assert numbers(tasks(tmp_path, "film: b, style: w.jpg, cuts: none")) == [1, 2]


@pytest.mark.parametrize("folder", ["Trip [2024]", "shots@2x", "$F4"])
def test_a_folder_may_have_marks_of_patterns_in_its_name(tmp_path: Path, folder: str) -> None:
    touch(tmp_path, "w.jpg", *(f"{folder}/a.{n}.png" for n in (1, 2)))
    assert numbers(tasks(tmp_path, f"film: '{folder}', style: w.jpg, cuts: none")) == [1, 2]


@pytest.mark.parametrize("film", ["$SHOTS/a*.png", "gs://b/a*.png"])
def test_wildcards_are_told_wherever_they_are(tmp_path: Path, film: str) -> None:
    touch(tmp_path, "w.jpg")
    assert told(tmp_path, f"film: '{film}', style: w.jpg") == [
        f"film: {film} has wildcards: write #### or %04d for the number, or name the folder"
    ]


def test_a_pattern_that_leaves_frames_out_is_told_with_the_one_that_is_meant(
    tmp_path: Path,
) -> None:
    touch(tmp_path, "w.jpg", "s/a.small.png", *(f"s/a.{n:04}.png" for n in range(998, 1003)))
    for film in ("s/a.#.png", "s/a.###.png"):
        assert told(tmp_path, f"film: '{film}', style: w.jpg") == [
            f"film: {film} matches 3 of 5 frames; is s/a.####.png meant?"
        ]
    # More than four digits are no fault.
    touch(tmp_path, *(f"t/a.{n:04}.png" for n in range(9998, 10003)))
    assert len(tasks(tmp_path, "film: 't/a.####.png', style: w.jpg, cuts: none")) == 5


def test_frames_have_masks_of_their_number_or_name(shots: Path) -> None:
    touch(shots, *(f"masks/m_{n}.png" for n in range(1001, 1041)))
    pair = "film: shots/, cuts: none, style: {picture: w.jpg, mask: '%s'}"

    for mask in ("masks/m_####.png", "masks/m_%d.png"):
        found = by_number(tasks(shots, pair % mask))
        assert found[1013].styles[0].mask == "masks/m_1013.png"
    found = by_number(tasks(shots, pair % "masks/{content}.png"))
    assert found[1013].styles[0].mask == "masks/a.1013.png"
    assert by_number(tasks(shots, pair % "w.jpg"))[1013].styles[0].mask == "w.jpg"

    (shots / "masks/m_1007.png").unlink()
    assert told(shots, pair % "masks/m_####.png") == [
        "style.mask: masks/m_####.png lacks the frame 1007"
    ]
    assert told(shots, pair % "masks/n_####.png") == [
        "style.mask: masks/n_####.png matches no picture"
    ]


def test_cuts_are_where_they_are_written(shots: Path) -> None:
    def found(pair: str) -> FilmSet:
        (film,) = agenda(shots, f"film: shots/a.####.png, style: w.jpg, {pair}").films
        return film

    assert found("cuts: [1040, 1017, 1001]").shots == [(0, 16), (16, 39), (39, 40)]
    # The first frame that is there.
    assert found("cuts: [1010], frames: 1001-1039x2").shots == [(0, 5), (5, 20)]
    assert found("loop: true").shots == [(0, 40)]
    assert told(shots, "film: shots/a.####.png, style: w.jpg, cuts: [1000, 1020, 1041]") == [
        "cuts[0]: 1000 is not among the frames 1001-1040",
        "cuts[2]: 1041 is not among the frames 1001-1040",
    ]


def test_ids_of_what_does_not_change_stay(shots: Path) -> None:
    def ids(pair: str) -> dict[int, str]:
        found = tasks(shots, f"film: shots/a.####.png, style: w.jpg, {pair}")
        return {number: task.id for number, task in by_number(found).items()}

    whole = ids("cuts: none")
    shorter = ids("cuts: none, frames: 1001-1035")
    # Up to the last key that both have; between the next two all hold to another key.
    assert {n for n, made in shorter.items() if whole[n] == made} == set(range(1001, 1034))
    cut = ids("cuts: [1020]")
    later = ids("cuts: [1020], frames: 1004-1040")
    assert {n for n, made in later.items() if cut[n] == made} == set(range(1020, 1041))
    # A frame that lies between frames that differ is another, though it holds to the same two.
    holed = set(ids("cuts: none, frames: '1001-1016,1018-1040'").values())
    assert not holed & {made for n, made in whole.items() if n > 1017}
    looped = ids("loop: true")
    assert looped[1001] == whole[1001]
    assert looped[1040] != whole[1040]


def test_an_id_is_the_digest_of_what_it_says(shots: Path) -> None:
    """Golden: computed once by hand, from the JSON that ``identity.py`` describes."""
    found = by_number(tasks(shots, "film: shots/, style: w.jpg, cuts: none, frames: 1001-1003"))

    def digest(value: object) -> str:
        return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:32]

    uris = [f"shots/a.{n}.png" for n in (1001, 1002, 1003)]
    chain = [b""]
    for uri in uris:
        chain.append(hashlib.sha256(chain[-1] + uri.encode()).digest())
    root = digest([chain[1].hex(), 0])
    last = digest([chain[3].hex(), 2, 0, root])
    middle = digest([chain[3].hex(), 1, 0, 2, root, last])
    recipe = found[1001].recipe.identity()
    for uri, held, number in zip(uris, (root, middle, last), (1001, 1002, 1003), strict=True):
        text = json.dumps(
            {
                "content": uri,
                "film": held,
                "recipe": recipe,
                "styles": [["w.jpg", 1.0]],
                "weights": "digest",
            },
            sort_keys=True,
            separators=(",", ":"),
        )
        assert found[number].id == hashlib.sha256(text.encode()).hexdigest()[:16]


def test_a_sweep_without_effect_is_one_film(shots: Path) -> None:
    pair = "film: shots/, style: w.jpg, cuts: none, sweep: {seed: [1, 2]}"

    found = tasks(shots, pair)

    assert len(found) == 40
    ids = {task.id for task in found}
    assert all(need in ids for task in found if task.part for _, need in task.part.needs)
    assert agenda(shots, pair).without_effect


@pytest.mark.parametrize("s3_rig", S3_RIGS[:1], indirect=True)
def test_a_film_may_be_in_a_bucket(s3_rig: Rig, tmp_path: Path) -> None:
    for number in (1, 2, 3, 5):
        s3_rig.open().put(f"shots/a.{number:02d}.png", b"picture")
    storage = f"storage: {json.dumps(s3_rig.options.model_dump(exclude_none=True))}"
    pair = f"style: w.jpg, cuts: none, film: '{s3_rig.url}/shots"

    for film in (f"{pair}/a.##.png'", f"{pair}/'"):
        found = tasks(tmp_path, f"{film}, frames: 1-3", storage)
        assert numbers(found) == [1, 2, 3]
        assert by_number(found)[2].content == f"{s3_rig.url}/shots/a.02.png"
    with pytest.raises(JobFileError, match="lacks the frame 4; to do without"):
        tasks(tmp_path, f"{pair}/a.##.png'", storage)
    with pytest.raises(JobFileError, match="if a folder is meant, end it with '/'"):
        tasks(tmp_path, f"{pair}'", storage)


def test_a_census_counts_every_frame(shots: Path) -> None:
    film = agenda(shots, "film: shots/, style: [w.jpg, v.jpg], cuts: none")

    assert film.census(Ledger.of({})).tasks == 80 == sum(map(len, film.sets))
    done = next(film.tasks()).id
    assert film.census(Ledger.of({done: "done"})).left == 79


def test_a_film_says_how_many_workers_it_can_keep_busy(shots: Path) -> None:
    pair = "film: shots/a.####.png, style: [w.jpg, v.jpg], cuts: [1017, 1020]"
    twice = "film: shots, style: w.jpg, cuts: [1017, 1020], recipe: {size: 64}, video: mp4"
    found = agenda(shots, f"{pair}, sweep: {{size: [64, 128]}}}}, {{{twice}")
    film, _ = found.films
    assert useful_workers(found.films) is None  # the shots were not asked for yet

    # By hand: 16 frames hold in turn 1, 1, 1, 2, 4 and 7; 3 frames 1, 1, 1; and of 21 frames four are keys.
    assert film.shots == [(0, 16), (16, 19), (19, 40)]
    assert list(film.widths)[:2] == [7, 1]
    assert useful_workers([film]) == sum(film.widths) * 2 * 2
    # What another entry paints, too, is painted once.
    assert found.films[1].shots == film.shots
    assert useful_workers(found.films) == sum(film.widths) * 2 * 2
    other = agenda(shots, f"{twice}}}, {{{twice.replace('size: 64', 'size: 96')}").films
    assert [one.shots for one in other] == [film.shots] * 2
    assert useful_workers(other) == sum(film.widths) * 2
