"""Every storage key of an output, and nothing else knows one.

::

    job.json                         the resolved job, versions, weights digests
    images/<name>-<id>.<ext>         the pictures
    kept/<name>-<id>.<ext>           the last good pictures of renders that failed
    losses/<id[:2]>/<id>.csv         one loss log per task
    tasks/<id[:2]>/<id>.json         the record: the commit marker, written last
    segments/<time>-<nonce>.parquet  what many records say, packed; may go at any time
    checkpoints/<id>.safetensors     where a long render stands, while its task runs
    lease.json                       the driver that works on this output
    live.json                        how its run stands, every few seconds
    cancel.json                      that somebody wants it to end
    summary.json                     what all the records come to
    index.html, gallery/...          all the pictures, to look at
    proofs/...                       an output of its own, with every picture small
"""

from __future__ import annotations

import re
import unicodedata

JOB = "job.json"
SUMMARY = "summary.json"
IMAGES = "images/"
KEPT = "kept/"
LOSSES = "losses/"
RECORDS = "tasks/"
SEGMENTS = "segments/"
CHECKPOINTS = "checkpoints/"
LEASE = "lease.json"
LIVE = "live.json"
CANCEL = "cancel.json"
INDEX = "index.html"
GALLERY = "gallery/"
PROOFS = "proofs"
PROBE = ".stylefarm-check-"
"""Begins the keys of small objects that are there for a moment, to see what the storage does."""

ID_LENGTH = 16
NAME_BYTES = 150
"""Longest name in bytes: with id and extension it stays below the 255 of common file systems."""

_KEPT = frozenset("_.,+=@ ()-")
_DEVICES = frozenset(
    ("con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10)))
)

_RECORD = re.compile(rf"tasks/[0-9a-f]{{2}}/([0-9a-f]{{{ID_LENGTH}}})\.json")
_NAMED = re.compile(rf"(?:^|[-/])([0-9a-f]{{{ID_LENGTH}}})(?:\.[A-Za-z]{{1,11}})?$")
_CHECKPOINT = re.compile(rf"checkpoints/([0-9a-f]{{{ID_LENGTH}}})\.safetensors")


def image(name: str, task_id: str, extension: str) -> str:
    """Where a task's picture goes."""
    return f"{IMAGES}{name}-{task_id}.{extension}"


def kept(name: str, task_id: str, extension: str) -> str:
    """Where the last good picture of a failed render goes: not among those that are finished."""
    return f"{KEPT}{name}-{task_id}.{extension}"


def losses(task_id: str) -> str:
    """Where a task's loss log goes."""
    return f"{LOSSES}{task_id[:2]}/{task_id}.csv"


def record(task_id: str) -> str:
    """Where a task's record goes."""
    return f"{RECORDS}{task_id[:2]}/{task_id}.json"


def segment(name: str) -> str:
    """Where a segment of packed records goes; in the order of their names they are read."""
    return f"{SEGMENTS}{name}.parquet"


def page(kind: str, number: int) -> str:
    """Where a page of the gallery goes, from 1."""
    return f"{GALLERY}{kind}-{number}.html"


def named_id(text: str) -> str | None:
    """The task id in an id, a picture's name, path or address; None when there is none."""
    match = _NAMED.search(text)
    return match.group(1) if match else None


def checkpoint(task_id: str) -> str:
    """Where a task's render stands."""
    return f"{CHECKPOINTS}{task_id}.safetensors"


def checkpoint_id(key: str) -> str | None:
    """The task id of a checkpoint's key, or None when it is no checkpoint's."""
    match = _CHECKPOINT.fullmatch(key)
    return match.group(1) if match else None


def record_id(key: str) -> str | None:
    """The task id of a record's key, or None when it is no record's."""
    match = _RECORD.fullmatch(key)
    return match.group(1) if match else None


def safe_name(text: str) -> str:
    """``text`` as part of a file name on any system: no separators, controls or reserved names.

    Letters of every script stay, with their marks; runs of everything else become one dash.
    """
    text = unicodedata.normalize("NFC", text[: 4 * NAME_BYTES])
    kept = "".join(c if c in _KEPT or unicodedata.category(c)[0] in "LMN" else "-" for c in text)
    kept = re.sub(r"-{2,}", "--", kept).strip(" .-")
    name = kept.encode()[:NAME_BYTES].decode(errors="ignore").rstrip(" .-") or "picture"
    # Windows takes nul.jpg, and nul.anything.jpg, for a device.
    return f"_{name}"[:NAME_BYTES] if name.split(".")[0].lower() in _DEVICES else name
