"""What shows of a job's pictures before any is rendered: what is missing, where, and who needs it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.preflight import missing, names
from jobs.preflight.preflight import Findings, Preflight
from jobs.records.statuses import Ledger, Status
from jobs.tasks.todo import Agenda
from tests.jobs.support import read, touch
from tests.support.proxy import proxy
from tests.support.rigs import Rig

NOTHING = Ledger.of({})


def agenda(text: str, base: Path) -> Agenda:
    return Agenda(read(text, base), lambda _: "digest")


def look(
    job: Agenda, ledger: Ledger = NOTHING, *, retry_failed: bool = False, view: Agenda | None = None
) -> Findings:
    preflight = Preflight(job)
    preflight.search(600)
    return preflight.judge(view or job, lambda: ledger, retry_failed)


def said(found: Findings) -> list[str]:
    return [str(picture.problem) for picture in found.missing]


def needed(found: Findings) -> dict[str, int]:
    return {picture.uri: picture.tasks for picture in found.missing}


# -- what the job file names -------------------------------------------------------------------------


def test_nothing_is_missing(tmp_path: Path) -> None:
    touch(tmp_path, "photos/a.jpg", "photos/b.jpg", "wave.jpg", "init.png")
    text = "output: out\npairs: [{content: photos/, style: wave.jpg, init: init.png}]"
    found = look(agenda(text, tmp_path))
    assert (found.pictures, found.complete, found.all_tasks) == (4, True, True)
    assert (found.missing, found.unreachable, found.hopeless) == ((), (), False)


def test_a_misspelt_painting_is_told_once_with_its_line_and_all_who_need_it(tmp_path: Path) -> None:
    touch(tmp_path, *(f"photos/{k}.jpg" for k in range(120)), "wave.jpg", "scream.jpg")
    text = """\
        output: out
        pairs:
        - content: photos/*.jpg
          style:
          - scream.jpg
          - wavee.jpg
          sweep: {margin: [1, 2]}
        """
    found = look(agenda(text, tmp_path))
    assert said(found) == [
        "job.yaml:6: pairs[0].style[1]: There is no file wavee.jpg (looked for "
        f"{tmp_path}/wavee.jpg); is wave.jpg meant? 240 tasks need it"
    ]
    assert (found.tasks, found.doomed, found.hopeless) == (480, 240, False)


def test_contents_styles_masks_and_inits_are_looked_at(tmp_path: Path) -> None:
    touch(tmp_path, "p0.jpg", "wave.jpg", "masks/p0-sky.png")
    text = """\
        output: out
        pairs:
        - content: [p0.jpg, p1.jpg]
          style:
            blend:
              wave.jpg: {mask: "masks/{content}-sky.png"}
              glass.jpg: 1
          init: sketch.png
        """
    found = look(agenda(text, tmp_path))
    assert needed(found) == {"glass.jpg": 2, "sketch.png": 2, "p1.jpg": 1, "masks/p1-sky.png": 1}
    lines = said(found)
    assert [line.split(": There")[0] for line in lines] == [
        "job.yaml:4: pairs[0].style",
        "job.yaml:8: pairs[0].init",
        "job.yaml:3: pairs[0].content[1]",
        "job.yaml:6: pairs[0].style.blend.wave.jpg.mask",
    ]
    assert found.hopeless  # every task blends the painting that is missing
    assert found.hopelessness == (
        "nothing can be rendered: each of the 2 tasks that are not done needs a picture that cannot be used"
    )


def test_a_picture_that_cannot_be_used_is_told_as_one_that_is_missing(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "photos/x.jpg")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "photos/link.jpg").symlink_to("gone.jpg")
    text = "output: out\npairs: [{content: [photos/, empty.jpg, folder.jpg/x.jpg], style: a.jpg}]"
    lines = said(look(agenda(text, tmp_path)))
    assert sorted(line.split(": ", 2)[2].split(" (")[0].split(";")[0] for line in lines) == [
        "There is no file folder.jpg/x.jpg",
        "empty.jpg is empty",
        "photos/link.jpg is a link to gone.jpg, which is not there",
    ]


def test_only_tasks_to_do_count(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "wave.jpg")
    text = "output: out\npairs: [{content: [a.jpg, b.jpg, c.jpg], style: wave.jpg}]"
    job = agenda(text, tmp_path)
    first, second, third = job.tasks()

    def ledger(**statuses: Status) -> Ledger:
        ids = {"a": first.id, "b": second.id, "c": third.id}
        return Ledger.of({ids[name]: status for name, status in statuses.items()})

    assert needed(look(job)) == {"b.jpg": 1, "c.jpg": 1}
    assert needed(look(job, ledger(b="done"))) == {"c.jpg": 1}
    assert needed(look(job, ledger(b="done", c="failed"))) == {}
    found = look(job, ledger(b="done", c="failed"), retry_failed=True)
    assert needed(found) == {"c.jpg": 1}
    assert not found.hopeless  # a.jpg is to do
    assert look(job, ledger(a="done")).hopeless
    # With all done there is nothing to say, and nothing to refuse.
    everything = look(job, ledger(a="done", b="done", c="done"))
    assert (everything.missing, everything.hopeless) == ((), False)
    only_a = job.seen_as(lambda draft: draft if draft.content == "a.jpg" else None)
    assert needed(look(job, view=only_a)) == {}


def test_pictures_on_the_web_are_not_looked_at(tmp_path: Path) -> None:
    touch(tmp_path, "wave.jpg")
    text = "output: out\npairs: [{content: 'https://example.org/a.jpg', style: [wave.jpg, w.jpg]}]"
    found = look(agenda(text, tmp_path))
    assert (found.pictures, found.complete, needed(found)) == (2, False, {"w.jpg": 1})
    assert found.scope == ("1 of 2 pictures looked at cannot be used; others were not looked at")
    assert not found.hopeless
    none = agenda("output: out\npairs: [{content: 'https://e.org/a.jpg', style: w.jpg}]", tmp_path)
    assert look(none).hopeless


# -- manifests ---------------------------------------------------------------------------------------


def test_a_row_is_named_with_its_line(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "wave.jpg", "masks/a.png")
    (tmp_path / "pairs.csv").write_text(
        "content,style\na.jpg,wave.jpg\nb.jpg,wave.jpg\n"
        'a.jpg,"{""picture"": ""wave.jpg"", ""mask"": ""masks/c.png""}"\nb.jpg,wave.jpg\n'
    )
    found = look(agenda("output: out\npairs: [{manifest: pairs.csv}]", tmp_path))
    assert [line.split(" (")[0] for line in said(found)] == [
        "pairs.csv:3: There is no file b.jpg",
        "pairs.csv:4: There is no file masks/c.png",
    ]
    assert (found.complete, found.all_tasks, found.tasks, found.doomed) == (True, True, 3, 2)


def test_of_a_long_manifest_the_first_rows_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names, "SAMPLE_ROWS", 10)
    touch(tmp_path, "a.jpg", *(f"p/{k}.jpg" for k in range(100)))
    rows = "".join(f"p/{k}.jpg,{'wave.jpg' if k > 3 else 'a.jpg'}\n" for k in range(100))
    (tmp_path / "pairs.csv").write_text("content,style\n" + rows)
    found = look(agenda("output: out\npairs: [{manifest: pairs.csv}]", tmp_path))
    assert needed(found) == {"wave.jpg": 6}
    assert said(found)[0].endswith("at least 6 tasks need it")
    assert (found.pictures, found.complete, found.all_tasks) == (12, False, False)
    assert not found.hopeless


def test_a_job_that_is_not_seen_whole_is_never_hopeless(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pairs.csv").write_text("content,style\n" + "a.jpg,w.jpg\n" * 2 + "b.jpg,w.jpg\n")
    job = agenda("output: out\npairs: [{manifest: pairs.csv}]", tmp_path)
    assert look(job).hopeless
    monkeypatch.setattr(names, "SAMPLE_ROWS", 3)  # perhaps there is a fourth
    found = look(job)
    assert (found.tasks, found.doomed, found.hopeless) == (2, 2, False)
    monkeypatch.undo()
    monkeypatch.setattr(names, "SAMPLE_TASKS", 2)
    assert not look(job).hopeless


def test_rows_are_taken_from_files_all_over_a_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names, "SAMPLE_ROWS", 20)
    touch(tmp_path, "wave.jpg")
    for k in range(40):
        rows = "".join(f"f{k}r{row}.jpg,wave.jpg\n" for row in range(5))
        (tmp_path / f"{k:02}.csv").write_text("content,style\n" + rows)
    found = look(agenda("output: out\npairs: [{manifest: '*.csv'}]", tmp_path))
    assert list(needed(found)) == [f"f{k}r{row}.jpg" for k in range(0, 40, 4) for row in (0, 1)]
    assert not found.all_tasks


def test_rows_that_cannot_be_used_and_damaged_files_are_left_to_the_reader(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "wave.jpg")
    (tmp_path / "rows.csv").write_text("content,style\na.jpg\n,\na.jpg,wave.jpg\nb.jpg,wave.jpg\n")
    found = look(agenda("output: out\npairs: [{manifest: rows.csv}]", tmp_path))
    assert needed(found) == {"b.jpg": 1}
    (tmp_path / "cut.jsonl.gz").write_bytes(b"\x1f\x8b\x08\x00")
    found = look(agenda("output: out\npairs: [{manifest: [cut.jsonl.gz, rows.csv]}]", tmp_path))
    assert not found.all_tasks


def test_any_mix_is_told_exactly(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Against the tasks themselves, one by one."""
    pictures = [f"{letter}.jpg" for letter in "abcdef"]

    @settings(max_examples=40)
    @given(
        there=st.sets(st.sampled_from(pictures)),
        contents=st.lists(st.sampled_from(pictures), min_size=1, max_size=4),
        styles=st.lists(st.sampled_from(pictures), min_size=1, max_size=3),
        rows=st.lists(st.tuples(*[st.sampled_from(pictures)] * 2), max_size=6),
        done=st.sets(st.integers(0, 15)),
    )
    def check(
        there: set[str],
        contents: list[str],
        styles: list[str],
        rows: list[tuple[str, str]],
        done: set[int],
    ) -> None:
        base = tmp_path_factory.mktemp("mix")
        touch(base, *there)
        text = f"output: out\npairs:\n- {{content: {contents}, style: {styles}}}\n".replace("'", "")
        if rows:
            (base / "m.csv").write_text(
                "content,style\n" + "".join(f"{content},{style}\n" for content, style in rows)
            )
            text += "- {manifest: m.csv}\n"
        job = agenda(text, base)
        tasks = list(job.tasks())
        ledger = Ledger.of({task.id: "done" for k, task in enumerate(tasks) if k in done})
        left = [task for k, task in enumerate(tasks) if k not in done]
        uses = [{task.content, task.styles[0].uri} for task in left]
        expected = {uri: sum(uri in use for use in uses) for uri in pictures if uri not in there}
        found = look(job, ledger)
        assert needed(found) == {uri: count for uri, count in expected.items() if count}
        doomed = sum(not use <= there for use in uses)
        assert found.hopeless == (bool(left) and doomed == len(left))
        if found.missing:
            assert (found.tasks, found.doomed) == (len(left), doomed)

    check()


# -- S3 ----------------------------------------------------------------------------------------------


def put(rig: Rig, *keys: str) -> None:
    storage = rig.open()
    for key in keys:
        storage.put(key, b"picture")


def on_s3(rig: Rig, pairs: str) -> str:
    options = rig.options.model_dump_json(exclude_none=True)
    return f"output: out\nstorage: {options}\npairs: [{pairs}]".replace("S3", rig.url)


def test_pictures_on_s3(s3_rig: Rig, tmp_path: Path) -> None:
    put(s3_rig, "photos/a.jpg", "wave.jpg")
    text = on_s3(s3_rig, "{content: 'S3/photos/', style: ['S3/wave.jpg', 'S3/wavee.jpg']}")
    found = look(agenda(text, tmp_path))
    assert needed(found) == {f"{s3_rig.url}/wavee.jpg": 1}
    assert f"is {s3_rig.url}/wave.jpg meant? 1 task needs it" in said(found)[0]
    # What the prefix has listed is there.
    assert (found.pictures, found.complete) == (2, True)


def test_a_folder_with_many_pictures_is_listed_once(s3_rig: Rig, tmp_path: Path) -> None:
    if s3_rig.options.ca_bundle is not None:
        pytest.skip("the requests are counted by a proxy that does not speak TLS")
    put(s3_rig, "wave.jpg", *(f"p/{k}.jpg" for k in range(30)), "p/deeper/x.jpg")
    rows = "".join(f"S3/p/{k}.jpg,S3/wave.jpg\n" for k in [*range(30), "x", "y"])
    (tmp_path / "m.csv").write_text("content,style\n" + rows.replace("S3", s3_rig.url))
    with proxy(s3_rig.options.endpoint_url or "") as server:
        rig_options = s3_rig.options.model_copy(update={"endpoint_url": server.url})
        text = f"output: out\nstorage: {rig_options.model_dump_json(exclude_none=True)}\n"
        found = look(agenda(text + "pairs: [{manifest: m.csv}]", tmp_path))
    assert needed(found) == {f"{s3_rig.url}/p/x.jpg": 1, f"{s3_rig.url}/p/y.jpg": 1}
    assert "There is no object" in said(found)[0]
    assert found.pictures == 33
    # The listing, a look at the painting, and names that are near what is missing.
    assert server.requests <= 5, server.paths


def test_archives_are_looked_for_where_they_are_and_not_where_their_members_are(
    s3: Rig, tmp_path: Path
) -> None:
    put(s3, "wave.jpg", "shards/1.tar")
    rows = "".join(f"S3/shards/1.tar::deep/er/{k}.jpg,S3/wave.jpg\n" for k in range(20))
    rows += "S3/shards/2.tar::deep/er/0.jpg,S3/wave.jpg\n"
    (tmp_path / "m.csv").write_text("content,style\n" + rows.replace("S3", s3.url))
    found = look(agenda(on_s3(s3, "{manifest: m.csv}"), tmp_path))
    assert needed(found) == {f"{s3.url}/shards/2.tar::deep/er/0.jpg": 1}
    assert f"There is no object {s3.url}/shards/2.tar" in said(found)[0]


def test_a_store_that_does_not_answer_is_told_and_nothing_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = "{endpoint_url: 'http://127.0.0.1:9'}"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    text = f"output: out\nstorage: {storage}\npairs: [{{content: 's3://pics/a.jpg', style: 's3://pics/w.jpg'}}]"
    found = look(agenda(text, tmp_path))
    assert found.missing == ()
    assert len(found.unreachable) == 1
    assert not found.complete


# -- bounds ------------------------------------------------------------------------------------------


def test_looking_ends_when_its_time_is_up(tmp_path: Path) -> None:
    touch(tmp_path, "wave.jpg")
    contents = [f"{k}.jpg" for k in range(5 * missing.CHUNK)]
    text = f"output: out\npairs: [{{content: {contents}, style: wave.jpg}}]"
    preflight = Preflight(agenda(text, tmp_path))
    preflight.search(0)
    found = preflight.judge(agenda(text, tmp_path), lambda: NOTHING, False)
    assert 0 < found.pictures < len(contents)
    assert not found.complete
    assert not found.hopeless


def test_few_pictures_of_a_large_job_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names, "MOST_NAMES", 50)
    touch(tmp_path, *(f"p/{k:03}.jpg" for k in range(200)))
    found = look(agenda("output: out\npairs: [{content: p/, style: w.jpg}]", tmp_path))
    # What the job file names itself comes first.
    assert needed(found) == {"w.jpg": 200}
    assert (found.pictures, found.complete) == (50, False)


def test_the_ledger_is_read_only_when_something_is_missing(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "wave.jpg")
    read: list[str] = []

    def ledger() -> Ledger:
        read.append(content)
        return NOTHING

    for content in ("a.jpg", "b.jpg"):
        job = agenda(f"output: out\npairs: [{{content: {content}, style: wave.jpg}}]", tmp_path)
        preflight = Preflight(job)
        preflight.search(600)
        preflight.judge(job, ledger, False)
    assert read == ["b.jpg"]
