"""Pictures of all kinds into a video, in little memory; and what is wanted, and what is told."""

from __future__ import annotations

import dataclasses
import hashlib
import io
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image

from jobs.errors import InputError
from jobs.inputs.reader import Inputs
from jobs.jobfile.parse import parse_job
from jobs.records.record import OutputRecord, TaskRecord
from jobs.records.segments import Entry, entry_of
from jobs.storage.folder import FolderStorage
from jobs.tasks.todo import Agenda
from jobs.videos.finished import FinishedFrames, FramePicture, Unmade
from jobs.videos.making import make_video
from jobs.videos.record import made_from
from jobs.videos.wanted import WantedVideo, wanted_videos
from stylize.video.film import open_film
from tests.jobs.support import a_record

SIZE = (32, 24)


def a_job(folder: Path, frames: int, video: str = "mkv", more: str = "") -> Agenda:
    (folder / "shots").mkdir(exist_ok=True)
    for number in range(1001, 1001 + frames):
        (folder / f"shots/a.{number}.png").touch()
    entry = f"{{film: 'shots/a.####.png', style: w.jpg, cuts: none, video: {video}{more}}}"
    text = f"output: out\npairs:\n- {entry}\n"
    return Agenda(parse_job(text.encode(), "job.yaml", folder), lambda recipe: "digest")


def stored(output: FolderStorage, name: str, data: bytes) -> FramePicture:
    output.put(f"images/{name}", data)
    return FramePicture(f"images/{name}", hashlib.sha256(data).hexdigest(), *SIZE)


def made(
    folder: Path, video: WantedVideo, pictures: list[FramePicture], name: str = "v.mkv"
) -> tuple[Path, Any]:
    inputs, output, path = Inputs(folder), FolderStorage(folder / "out"), folder / name
    sources = made_from(video, pictures, inputs)
    first = TaskRecord.model_validate(a_record(1).model_dump())
    record = make_video(video, pictures, first, output, inputs, sources, path, lambda n: None)
    return path, record


def encoded(values: np.ndarray, image_format: str, depth: int = 8, gamut: str = "srgb") -> bytes:
    import torch

    from stylize.pictures.codec import encode
    from stylize.pictures.picture import Picture

    rgb = torch.from_numpy(values.astype(np.float32)).permute(2, 0, 1)[None]
    kind: Any = image_format
    return encode(Picture(rgb), kind, 100, depth, gamut=gamut)  # type: ignore[arg-type]


def ramp() -> np.ndarray:
    y, x = np.mgrid[0 : SIZE[1], 0 : SIZE[0]]
    return np.stack([x / 40 + 0.1, y / 40 + 0.2, (x + y) / 120 + 0.3], -1)


@pytest.mark.parametrize(
    ("image_format", "depth", "bits", "loss"),
    [
        ("png", 8, 8, 0.51),
        ("png", 16, 16, 0.01),
        ("tiff", 8, 8, 0.51),
        ("tiff", 16, 16, 0.01),
        ("jpeg", 8, 8, 6),
        ("webp", 8, 8, 6),
        ("avif", 8, 8, 6),
    ],
)
def test_pictures_of_every_format_keep_their_values_and_bits(
    tmp_path: Path, image_format: str, depth: int, bits: int, loss: float
) -> None:
    (video,) = wanted_videos(a_job(tmp_path, 2, "{codec: ffv1}"))
    data = encoded(ramp(), image_format, depth)
    picture = stored(FolderStorage(tmp_path / "out"), f"a.{image_format}", data)
    path, record = made(tmp_path, video, [picture, picture])
    assert (record.bits, record.size, record.codec) == (bits, path.stat().st_size, "ffv1")
    with open_film(path) as film:
        rgb = film.frame(1).rgb
    assert 255 * np.abs(rgb / np.iinfo(rgb.dtype).max - ramp()).max() <= loss


def test_pictures_of_display_p3_become_srgb(tmp_path: Path) -> None:
    from stylize.pictures.reading.colours import to_rgb
    from stylize.pictures.reading.open import open_raster

    (video,) = wanted_videos(a_job(tmp_path, 1, "{codec: ffv1}"))
    data = encoded(ramp(), "png", 8, "display-p3")
    wanted = to_rgb(open_raster(data)).clip(0, 1)
    assert 255 * np.abs(wanted - ramp()).max() > 10
    path, _ = made(tmp_path, video, [stored(FolderStorage(tmp_path / "out"), "a.png", data)])
    with open_film(path) as film:
        assert 255 * np.abs(film.frame(0).rgb / 255 - wanted).max() <= 0.51


def see_through(output: FolderStorage, name: str, opacity: int) -> FramePicture:
    """A red picture whose upper half is so opaque."""
    file = io.BytesIO()
    image = Image.new("RGBA", SIZE, (200, 0, 0, 255))
    image.paste((0, 0, 200, opacity), (0, 0, SIZE[0], SIZE[1] // 2))
    image.save(file, "png")
    return stored(output, name, file.getvalue())


def test_what_is_transparent_is_white_where_the_codec_has_no_alpha(tmp_path: Path) -> None:
    (video,) = wanted_videos(a_job(tmp_path, 1, "{codec: prores}"))
    picture = see_through(FolderStorage(tmp_path / "out"), "a.png", 0)
    path, record = made(tmp_path, video, [picture])
    assert not record.has_alpha
    with open_film(path) as film:
        assert not film.facts.has_alpha
        rgb = film.frame(0).rgb // 257
    assert np.abs(rgb[4, 4].astype(int) - 255).max() < 4
    assert np.abs(rgb[20, 4].astype(int) - [200, 0, 0]).max() < 4


@pytest.mark.parametrize("transparent", [0, 1, 2])
def test_alpha_is_kept_whichever_frame_has_it(tmp_path: Path, transparent: int) -> None:
    """A picture that is opaque has no alpha, so that the first alone does not tell."""
    (video,) = wanted_videos(a_job(tmp_path, 3, "{codec: ffv1}"))
    output = FolderStorage(tmp_path / "out")
    opacity = [60 if at == transparent else 255 for at in range(3)]
    pictures = [see_through(output, f"{at}.png", how) for at, how in enumerate(opacity)]
    pictures[transparent - 1] = stored(output, "rgb.png", encoded(ramp(), "png"))
    path, record = made(tmp_path, video, pictures)
    assert record.has_alpha
    with open_film(path) as film:
        shown = [film.frame(at).values for at in range(3)]
    assert shown[transparent][4, 4].tolist() == [0, 0, 200, 60]
    assert shown[transparent][20, 4].tolist() == [200, 0, 0, 255]
    assert (shown[transparent - 1][..., 3] == 255).all()
    assert np.abs(shown[transparent - 1][..., :3] / 255 - ramp()).max() < 0.003


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ("gone", "images/a.png is gone; run again with --verify."),
        ("other", "images/a.png is not as it was recorded; run again with --verify."),
        ("none", "images/a.png is "),
    ],
)
def test_a_picture_that_cannot_be_used_is_named(tmp_path: Path, damage: str, told: str) -> None:
    (video,) = wanted_videos(a_job(tmp_path, 1))
    output = FolderStorage(tmp_path / "out")
    picture = stored(output, "a.png", b"no picture")
    if damage == "gone":
        output.delete(picture.key)
    elif damage == "other":
        output.put(picture.key, b"other")
    with pytest.raises(InputError) as raised:
        made(tmp_path, video, [picture])
    assert str(raised.value).startswith(told)


def test_memory_does_not_grow_with_the_film(tmp_path: Path) -> None:
    """2,000 small frames: as much at the end as after a tenth of them, within 20 MB."""
    (video,) = wanted_videos(a_job(tmp_path, 2000, "mp4"))
    assert len(video.tasks) == 2000
    output, process = FolderStorage(tmp_path / "out"), psutil.Process()
    picture = stored(output, "a.png", encoded(ramp(), "png"))
    seen: list[int] = []

    def on_frame(count: int) -> None:
        if count % 100 == 0:
            seen.append(process.memory_info().rss)

    inputs, pictures = Inputs(tmp_path), [picture] * 2000
    sources = made_from(video, pictures, inputs)
    make_video(video, pictures, a_record(1), output, inputs, sources, tmp_path / "v.mp4", on_frame)
    assert len(seen) == 20
    assert max(seen[2:]) - seen[1] < 20e6
    with open_film(tmp_path / "v.mp4") as film:
        assert (len(film), film.rate) == (2000, Fraction(24))


# --- what is wanted, and what is told ---------------------------------------------------------------


def entries(video: WantedVideo, **how: Any) -> list[Entry]:
    found = []
    for at, task in enumerate(video.tasks.tolist()):
        output = OutputRecord(key=f"images/{at}.png", sha256="00" * 32, size=1, width=4, height=3)
        record = a_record(at, id=f"{task:016x}", output=output)
        found.append(dataclasses.replace(entry_of(record, 0), **how))
    return found


def test_a_reason_names_the_frame_that_was_tried(tmp_path: Path) -> None:
    (video,) = wanted_videos(a_job(tmp_path, 20))
    known = entries(video)
    failed = {"status": "failed", "output": None}
    known[3] = dataclasses.replace(known[3], **failed, attempts=0, error="frame 1008 has failed")
    known[7] = dataclasses.replace(known[7], **failed, attempts=2, error="the loss became nan")
    assert FinishedFrames([video], known).of(video) == Unmade(
        "frame 1008 has failed (and 1 more): the loss became nan", has_failed=True
    )
    assert FinishedFrames([video], known[:3]).of(video) == Unmade(
        "17 frames are not painted yet: 1004-1020", has_failed=False
    )
    assert FinishedFrames([video], known[:3] + known[4:7] + known[8:]).of(video) == Unmade(
        "2 frames are not painted yet: 1004,1008", has_failed=False
    )


def test_a_longer_film_is_another_video_and_other_words_are_not(tmp_path: Path) -> None:
    agenda = a_job(tmp_path, 4, "mp4")
    (video,) = wanted_videos(agenda)
    (same,) = wanted_videos(a_job(tmp_path, 4, "{container: mp4, quality: 75, rate: 24.0}"))
    assert same.key == video.key
    others = [
        *wanted_videos(a_job(tmp_path, 5, "mp4")),
        *wanted_videos(a_job(tmp_path, 4, "mov", ", frames: 1001-1004")),
        *wanted_videos(a_job(tmp_path, 4, "{rate: 25}", ", frames: 1001-1004")),
        *wanted_videos(a_job(tmp_path, 4, "{bits: 10}", ", frames: 1001-1004")),
        *wanted_videos(a_job(tmp_path, 4, "mp4", ", frames: 1001-1003x2")),
    ]
    assert len({video.id, *(one.id for one in others)}) == 6
    assert agenda.films[0].frames.file is None
    assert list(wanted_videos(a_job(tmp_path, 4, "~"))) == []


def test_each_variation_is_a_video(tmp_path: Path) -> None:
    agenda = a_job(
        tmp_path, 1000, "mp4", ", sweep: {style_weight: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]}"
    )
    videos = list(wanted_videos(agenda))
    assert len({video.key for video in videos}) == 10
