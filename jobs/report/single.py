"""``single_page``: a small job's gallery as one file, to send by mail."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator

from jobs.data_script import CONTENT_TYPE, data_script, data_text, parse_data_script
from jobs.errors import ObjectNotFoundError, UsageError
from jobs.records.commit import Records
from jobs.records.record import TaskRecord
from jobs.report.gallery import gallery_files
from jobs.storage import keys
from jobs.storage.base import Storage

MOST = 300
"""Results in one file; it has about 100 kB of each."""

LONGEST = 1024
"""The longest side of a picture in it, in pixels."""

QUALITY = 82
"""The quality of its WebP files."""


Shrink = Callable[[bytes, str, int, int], bytes | None]
"""Makes a small WebP from a picture's file, its name, the longest side in pixels and the quality; None for
what is no picture."""


def single_page(storage: Storage, proofs: Storage, shrink: Shrink) -> bytes:
    """Return a gallery that needs no other file: pictures are in it as WebP of at most ``LONGEST`` pixels.

    Args:
        storage: The output.
        proofs: The output of its proofs; it may be empty.
        shrink: Makes pictures small.

    Returns:
        The page, HTML in UTF-8.

    Raises:
        UsageError: There are more than ``MOST`` results.
        StorageError: Something cannot be read.
    """
    places = {"": storage, f"{keys.PROOFS}/": proofs}
    total = sum(1 for place in places.values() for _ in Records(place).ids())
    if total > MOST:
        raise UsageError(
            f"--html-single is for at most {MOST} results, and there are {total:,}: send a copy of the "
            "output, or serve it"
        )
    files = {file.key: file for file in gallery_files(storage, proofs)}
    held: dict[str, str] = {}
    for key, file in files.items():
        if key == keys.GALLERY_INDEX:
            index = parse_data_script("index", file.data)
            index["live"] = []  # it shows what was
            held[key] = _uri(data_script("index", index), CONTENT_TYPE)
        elif key.startswith(keys.GALLERY_DATA) or key == keys.GALLERY_PLOT:
            held[key] = _uri(file.data, file.content_type)
    for folder, place in places.items():
        for record in Records(place).all():
            for key, data, kind in _shown(place, record, shrink):
                held[folder + key] = _uri(data, kind)
    page = files[keys.INDEX].data.decode()
    style, script = (files[key].data.decode() for key in (keys.GALLERY_STYLE, keys.GALLERY_SCRIPT))
    icon = _uri(files[keys.GALLERY_ICON].data, "image/svg+xml")
    parts = {
        f'<link rel="icon" href="{keys.GALLERY_ICON}">': f'<link rel="icon" href="{icon}">',
        f'<link rel="stylesheet" href="{keys.GALLERY_STYLE}">': f"<style>{style}</style>",
        f'<script src="{keys.GALLERY_SCRIPT}"></script>': (
            f"<script>window.stylefarmFiles = {data_text(held)};</script>\n<script>{script}</script>"
        ),
    }
    for reference, text in parts.items():
        if reference not in page:
            raise AssertionError(f"the template has no {reference}")
        page = page.replace(reference, text)
    return page.encode()


def _shown(place: Storage, record: TaskRecord, shrink: Shrink) -> Iterator[tuple[str, bytes, str]]:
    """Yield (key, file, content type) of what the page shows of a task."""
    picture = record.output or record.kept
    if picture is not None:
        for key, data, _ in _file(place, picture.key, ""):
            small = shrink(data, key, LONGEST, QUALITY)
            if small is not None:
                yield key, small, "image/webp"
        if picture.thumbnail is not None:
            yield from _file(place, picture.thumbnail, "image/webp")
    if record.film is not None:
        yield from _file(place, keys.film_frames(record.film.film), CONTENT_TYPE)
        if record.film.confidence is not None:
            yield from _file(place, record.film.confidence, "image/webp")
    if record.card is not None:
        for key, data, kind in _file(place, record.card, CONTENT_TYPE):
            yield key, data, kind
            for copy in _copies(data):
                yield from _file(place, copy, "image/webp")


def _copies(card: bytes) -> set[str]:
    """Return the keys of the small inputs that a card names; none if it is damaged, which the page says."""
    try:
        found = parse_data_script("card", card)
        styles = [style[name] for style in found["styles"] for name in ("copy", "mask_copy")]
        return {found["content_copy"], found["init_copy"], *styles} - {None}
    except (ValueError, TypeError, KeyError):
        return set()


def _file(place: Storage, key: str, kind: str) -> Iterator[tuple[str, bytes, str]]:
    try:
        yield key, place.get(key), kind
    except ObjectNotFoundError:
        return  # the page says that it is not there


def _uri(data: bytes, content_type: str) -> str:
    return f"data:{content_type.replace(' ', '')};base64,{base64.b64encode(data).decode()}"
