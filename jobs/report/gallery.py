"""The gallery: a page that shows all results of an output, and the data that it reads.

The page lies in the output and names everything relative to itself, so it works from a folder, a copy of it,
a bucket that is served as a web site, or ``stylefarm serve``. It loads nothing from elsewhere. Its data files
are scripts, because a page that was opened from a folder may load scripts and nothing else.
"""

from __future__ import annotations

import json
import secrets
import shlex
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from jobs.data_script import CONTENT_TYPE, data_script, parse_data_script
from jobs.errors import ObjectNotFoundError, printable
from jobs.records.commit import Records
from jobs.report.gallery_rows import READ, TEXTS, GalleryRows
from jobs.report.templates import (
    gallery_icon,
    gallery_script,
    gallery_style,
    load_template,
    vendored,
)
from jobs.storage import keys
from jobs.storage.base import Storage

CHUNK = 10_000
"""Results in a data file: about 1 MB, which a browser unpacks without a pause that anybody notices."""

TEXT_PAGE = 5_000
"""Texts in a data file."""

VERSION = 1
"""Version of the data files' format."""


class GalleryFile(NamedTuple):
    """One object of a gallery."""

    key: str
    data: bytes
    content_type: str


def write_gallery(storage: Storage, proofs: Storage, *, live: Sequence[str] = ()) -> str:
    """Write the gallery of an output, and delete the files of earlier ones.

    Whoever has an earlier one open keeps a consistent view of it until files are gone; the data of each has
    a folder of its own, and the index, which names it, is written last.

    Args:
        storage: The output.
        proofs: The output of its proofs; it may be empty.
        live: The folders in which a run begins, ``""`` or ``"proofs/"``: the page follows it, and those that
            had a run before.

    Returns:
        The key of the page.

    Raises:
        StorageError: Records cannot be read, or files not written.
    """
    # Listed first: what a run adds meanwhile is not in these files yet.
    places = ((storage, keys.GALLERY), (proofs, keys.FRESH))
    before = [(place, old.key) for place, prefix in places for old in place.list(prefix)]
    written = {keys.LIVE_SCRIPT}
    for file in gallery_files(storage, proofs, live=live):
        storage.put(file.key, file.data, content_type=file.content_type)
        written.add(file.key)
    for place, key in before:
        if place is proofs or key not in written:
            place.delete(key)
    return keys.INDEX


def begin_gallery(storage: Storage, proofs: Storage, running: Storage) -> str:
    """Write the gallery if there is none yet, and have it follow a run from its start.

    Args:
        storage: The output.
        proofs: The output of its proofs; it may be empty.
        running: The one in which a run begins.

    Returns:
        The key of the page.

    Raises:
        StorageError: As ``write_gallery``.
    """
    folder = "" if running.url == storage.url else f"{keys.PROOFS}/"
    try:
        index = parse_data_script("index", storage.get(keys.GALLERY_INDEX))
        if index["version"] != VERSION:
            raise ValueError
    except (ObjectNotFoundError, ValueError, TypeError, KeyError):
        return write_gallery(storage, proofs, live=(folder,))
    if folder not in index["live"]:
        index["live"].append(folder)
        file = _script(keys.GALLERY_INDEX, "index", index)
        storage.put(file.key, file.data, content_type=file.content_type)
    return keys.INDEX


def gallery_files(
    storage: Storage, proofs: Storage, *, live: Sequence[str] = ()
) -> Iterator[GalleryFile]:
    """Yield every file of a gallery, the index of its data last.

    Args:
        storage: The output.
        proofs: The output of its proofs; it may be empty.
        live: The folders in which a run begins, ``""`` or ``"proofs/"``: the page follows it, and those that
            had a run before.

    Raises:
        StorageError: Records cannot be read.
    """
    title = _title(storage, proofs)
    yield GalleryFile(keys.GALLERY_STYLE, gallery_style(), "text/css; charset=utf-8")
    yield GalleryFile(keys.GALLERY_SCRIPT, gallery_script(), CONTENT_TYPE)
    yield GalleryFile(keys.GALLERY_PLOT, vendored("uPlot.iife.min.js"), CONTENT_TYPE)
    yield GalleryFile(keys.GALLERY_ICON, gallery_icon(), "image/svg+xml")
    page = load_template("gallery.html.j2").render(
        title=printable(title),
        output=printable(storage.url),
        quoted=shlex.quote(printable(storage.url)),
        icon=keys.GALLERY_ICON,
        style=keys.GALLERY_STYLE,
        script=keys.GALLERY_SCRIPT,
    )
    yield GalleryFile(keys.INDEX, page.encode("utf-8", "replace"), "text/html; charset=utf-8")
    places = {"": storage, f"{keys.PROOFS}/": proofs}
    followed = [f for f, place in places.items() if f in live or place.stat(keys.LIVE) is not None]
    yield from _data_files(storage, proofs, title, followed)


def _data_files(
    storage: Storage, proofs: Storage, title: str, live: Sequence[str]
) -> Iterator[GalleryFile]:
    made = time.time()
    rows = GalleryRows()
    for place in (storage, proofs):
        for table, valid in Records(place).tables(READ):
            rows.add(table, valid, proofs=place is proofs)
    folder = f"{keys.GALLERY_DATA}{secrets.token_hex(6)}/"
    index = {
        "version": VERSION,
        "job": printable(title),
        "output": printable(storage.url),
        "made": made,
        "folder": folder,
        "rows": len(rows),
        "chunk": CHUNK,
        "counts": rows.counts(),
        "endings": list(rows.endings),
        "texts": {name: {"total": len(rows.texts[name]), "page": TEXT_PAGE} for name in TEXTS},
        "films": len(rows.films),
        "presets": _presets(),
        "live": list(live),
    }
    if len(rows):
        for number, chunk in enumerate(rows.chunks(CHUNK)):
            yield _script(f"{folder}rows-{number}.js", "rows", chunk)
    if rows.films:
        videos = [*_videos(storage), *_videos(proofs, f"{keys.PROOFS}/")]
        yield _script(f"{folder}films.js", "films", {**rows.film_rows(), "videos": videos})
    for name in TEXTS:
        for number, lines in enumerate(rows.text_pages(name, TEXT_PAGE)):
            yield _script(f"{folder}{name}-{number}.js", "texts", {"lines": lines})
    yield _script(keys.GALLERY_INDEX, "index", index)


def _videos(place: Storage, folder: str = "") -> Iterator[dict[str, Any]]:
    """Yield what the page says of the videos in an output; ``folder``: where it lies in the gallery's."""
    for stat in place.list(keys.VIDEOS):
        if not stat.key.endswith(".json"):
            continue
        try:
            video = json.loads(place.get(stat.key))
            about = {name: video[name] for name in ("first_task", "rate", "codec", "frames")}
            yield {**about, "key": folder + video["key"], "proof": bool(folder)}
        except (ObjectNotFoundError, ValueError, TypeError, KeyError):
            continue  # it is just made anew, or damaged


def _script(key: str, function: str, value: object) -> GalleryFile:
    return GalleryFile(key, data_script(function, value), CONTENT_TYPE)


def _presets() -> dict[str, Any]:
    """Return the knobs of each preset, as records have them."""
    from stylize.presets import PRESETS
    from stylize.recipe import Recipe

    return {name: Recipe(preset=name).model_dump(mode="json") for name in PRESETS}  # type: ignore[arg-type]


def _title(*storages: Storage) -> str:
    """Return the job's name, from the first of its outputs that has it."""
    for storage in storages:
        try:
            return str(json.loads(storage.get(keys.JOB))["job"]["name"])
        except (ObjectNotFoundError, ValueError, TypeError, KeyError):
            continue
    return "stylefarm"
