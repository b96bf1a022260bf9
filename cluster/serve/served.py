"""``Served``: an output that is served, and which of its objects may be read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.data_script import parse_data_script
from jobs.errors import ObjectNotFoundError, StorageError
from jobs.storage import keys
from jobs.storage.base import ObjectStat, Storage, check_key
from jobs.storage.folder import FolderStorage

PICTURES = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "webp": "image/webp",
    "avif": "image/avif",
    "jxl": "image/jxl",
    "tif": "image/tiff",
}
"""Content types of pictures, by extension."""

VIDEOS = {
    "mp4": "video/mp4",
    "webm": "video/webm",
    "mov": "video/quicktime",
    "mkv": "video/x-matroska",
}
"""Content types of videos, by extension."""

TYPES = {
    **PICTURES,
    **VIDEOS,
    "svg": "image/svg+xml",
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "json": "application/json",
    "csv": "text/csv; charset=utf-8",
}

_PAGES = (
    rf"{re.escape(keys.INDEX)}|{re.escape(keys.GALLERY_STYLE)}|{re.escape(keys.GALLERY_ICON)}|{keys.GALLERY}[a-z]+\.js"
    rf"|{keys.GALLERY_DATA}(?:[0-9a-f]+/)?[\w-]+\.js"
)
_DATA = "|".join(map(re.escape, (keys.LIVE, keys.SUMMARY, keys.JOB, keys.SKIPPED)))
_OF_TASKS = (
    rf"{keys.RECORDS}[0-9a-f]{{2}}/\w+\.json|{keys.LOSSES}[0-9a-f]{{2}}/\w+\.csv"
    rf"|{keys.CARDS}[0-9a-f]{{2}}/\w+\.js|{keys.FILMS}[0-9a-f]{{16}}/frames\.js"
)
_OF_PICTURES = (
    rf"(?:{keys.IMAGES}|{keys.KEPT})[^/]+\.(?:{'|'.join(PICTURES)})"
    rf"|(?:{keys.THUMBS}|{keys.INPUTS})[0-9a-f]{{2}}/[\w-]+\.webp|{keys.PREVIEWS}\w+\.webp"
    rf"|{keys.VIDEOS}[^/]+\.(?:{'|'.join(VIDEOS)})"
)
_READABLE = re.compile(rf"(?:{keys.PROOFS}/)?(?:{_PAGES}|{_DATA}|{_OF_TASKS}|{_OF_PICTURES})")
"""The keys that may be read: what the gallery shows and links to. Leases, requests to a run, checkpoints and
whatever else lies there are nobody's business."""


@dataclass(frozen=True, slots=True)
class Served:
    """An output under a name of its own.

    Args:
        name: The part of the address that means it.
        storage: The output.
    """

    name: str
    storage: Storage

    def find(self, key: str) -> ObjectStat | None:
        """Return an object that may be read; None: there is none, or it may not.

        Args:
            key: Any text.

        Raises:
            StorageError: The storage does not say.
        """
        if not _READABLE.fullmatch(key):
            return None
        try:
            check_key(key)
        except StorageError:  # nothing can be stored under it
            return None
        if isinstance(self.storage, FolderStorage) and (self.storage.root / key).is_symlink():
            return None  # it may lead anywhere; links to whole folders are the studio's own
        return self.storage.stat(key)

    def about(self) -> dict[str, Any]:
        """Return what the front page says of it: the job's name, its address, and how far it is."""
        live, summary = self._read(keys.LIVE), self._read(keys.SUMMARY)
        counts = self._counts()
        job = self._read(keys.JOB).get("job")
        named = job.get("name") if isinstance(job, dict) else None
        ended = "ended" if summary or any(counts.values()) else "not begun"
        return {
            "name": self.name,
            "title": str(live.get("job") or named or self.name),
            "url": self.storage.url,
            "state": str(live.get("state") or ended),
            "done": _count(live.get("done"), summary.get("done"), counts.get("pictures")),
            "failed": _count(live.get("failed"), summary.get("failed"), counts.get("failed")),
            "left": _count(live.get("left")),
            "has_gallery": self.find(keys.INDEX) is not None,
            "error": "",
        }

    def _counts(self) -> dict[str, int]:
        """Return the gallery's counts; none where it has none."""
        try:
            counts = parse_data_script("index", self.storage.get(keys.GALLERY_INDEX))["counts"]
            return {str(kind): int(count) for kind, count in counts.items()}
        except (ObjectNotFoundError, ValueError, TypeError, KeyError, AttributeError):
            return {}

    def _read(self, key: str) -> dict[str, Any]:
        try:
            values = json.loads(self.storage.get(key))
        except (ObjectNotFoundError, ValueError, RecursionError):
            return {}
        return values if isinstance(values, dict) else {}


def _count(*found: object) -> int | None:
    return next((value for value in found if isinstance(value, int)), None)


def content_type(key: str) -> str:
    """Return the content type of an object that may be read."""
    return TYPES[key.rpartition(".")[2]]


def name_all(storages: Iterable[Storage]) -> list[Served]:
    """Return the outputs under names that are made of the ends of their addresses, each once."""
    served: list[Served] = []
    for storage in storages:
        base = keys.safe_name(Path(storage.url.rstrip("/")).name)
        name, number = base, 1
        while any(name == other.name for other in served):
            number += 1
            name = f"{base}-{number}"
        served.append(Served(name, storage))
    return served
