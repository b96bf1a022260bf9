"""Every storage key of an output. No other module makes one.

::

    job.json                         the job as it was read, versions, weights digests
    images/<name>-<id>.<ext>         the pictures
    kept/<name>-<id>.<ext>           the last good pictures of renders that failed
    losses/<id[:2]>/<id>.csv         one loss log per task
    tensorboard/<name>-<id>/...      the loss log as an event file, with losses.tensorboard
    tasks/<id[:2]>/<id>.json         the record: the commit marker, written last
    segments/<time>-<nonce>.parquet  the contents of many records, packed; may be deleted at any time
    checkpoints/<id>.safetensors     the state of a long render, while its task runs
    previews/<id>.webp               a picture as it is so far, while its task runs
    thumbs/<id[:2]>/<id>.webp        the pictures, small
    thumbs/<id[:2]>/<id>-held.webp   how firmly the pixels of a film's frame are held, small
    inputs/<sha[:2]>/<sha[:32]>.webp what they were made from, small, named by the digests of the files
    cards/<id[:2]>/<id>.js           what the gallery shows about one picture
    films/<film>/frames.js           which frames a film has, for the gallery
    films/<film>/cuts.json           where the shots of a film begin, as was looked for
    films/<film>/flow/<a>-<b>-<stamp>.npz  the motion between its frames of these indices
    videos/<film>--<style>-<id>.<ext>  the finished frames of a film as a video
    videos/<film>--<style>-<id>.json   what that was made from; written last
    lease.json                       the driver that works on this output
    live.json                        the progress of its run, every few seconds
    cancel.json                      a request to end the run
    wishes.json                      what is asked of the run: to pause, fewer workers, another priority
    summary.json                     totals over all records
    skipped.csv                      the rows of manifests that the last run could not use
    index.html, gallery/...          the gallery
    gallery/live.js                  live.json as a script, in a folder: pages of files can fetch no JSON
    gallery/data/new-<run>-<k>.js    rows of what a run has committed, until its end
    proofs/...                       an output of its own, with every picture small
"""

from __future__ import annotations

import re
import unicodedata

JOB = "job.json"
SUMMARY = "summary.json"
SKIPPED = "skipped.csv"
IMAGES = "images/"
KEPT = "kept/"
LOSSES = "losses/"
EVENT_FILES = "tensorboard/"
RECORDS = "tasks/"
SEGMENTS = "segments/"
CHECKPOINTS = "checkpoints/"
PREVIEWS = "previews/"
THUMBS = "thumbs/"
INPUTS = "inputs/"
CARDS = "cards/"
FILMS = "films/"
VIDEOS = "videos/"
LEASE = "lease.json"
LIVE = "live.json"
CANCEL = "cancel.json"
WISHES = "wishes.json"
INDEX = "index.html"
GALLERY = "gallery/"
GALLERY_STYLE = "gallery/gallery.css"
GALLERY_SCRIPT = "gallery/gallery.js"
GALLERY_ICON = "gallery/icon.svg"
GALLERY_PLOT = "gallery/uplot.js"
GALLERY_DATA = "gallery/data/"
GALLERY_INDEX = "gallery/data/index.js"
LIVE_SCRIPT = "gallery/live.js"
FRESH = "gallery/data/new-"
"""Prefix of the keys of rows that runs have committed since the gallery was written."""
PROOFS = "proofs"
PROBE = ".stylefarm-check-"
"""Prefix of the keys of small, short-lived objects that test the storage."""

ID_LENGTH = 16
"""Hex digits."""

NAME_BYTES = 150
"""Longest name in bytes of UTF-8: with id and extension it stays below the 255 of common file systems."""

_KEPT = frozenset("_.,+=@ ()-")
_DEVICES = frozenset(
    ("con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10)))
)

_RECORD = re.compile(rf"tasks/[0-9a-f]{{2}}/([0-9a-f]{{{ID_LENGTH}}})\.json")
_NAMED = re.compile(rf"(?:^|[-/])([0-9a-f]{{{ID_LENGTH}}})(?:\.[A-Za-z]{{1,11}})?$")
_CHECKPOINT = re.compile(rf"checkpoints/([0-9a-f]{{{ID_LENGTH}}})\.safetensors")


def image(name: str, task_id: str, extension: str) -> str:
    """Return the key of a task's picture.

    Args:
        name: The picture's name, from ``safe_name``.
        task_id: The task's id, ``ID_LENGTH`` hex digits.
        extension: The file's ending, without a dot.
    """
    return f"{IMAGES}{name}-{task_id}.{extension}"


def kept(name: str, task_id: str, extension: str) -> str:
    """Return the key of the last good picture of a failed render, apart from the finished ones.

    Args:
        name: As in ``image``.
        task_id: As in ``image``.
        extension: As in ``image``.
    """
    return f"{KEPT}{name}-{task_id}.{extension}"


def losses(task_id: str) -> str:
    """Return the key of a task's loss log."""
    return f"{LOSSES}{task_id[:2]}/{task_id}.csv"


def event_file(name: str, task_id: str) -> str:
    """Return the key of a task's event file: TensorBoard shows each folder as a run, by the folder's name.

    Args:
        name: As in ``image``.
        task_id: As in ``image``.
    """
    # A name with the time in it, as is usual, would leave the file of a task that is rendered again.
    return f"{EVENT_FILES}{name}-{task_id}/events.out.tfevents.0000000000.stylefarm"


def record(task_id: str) -> str:
    """Return the key of a task's record."""
    return f"{RECORDS}{task_id[:2]}/{task_id}.json"


def segment(name: str) -> str:
    """Return the key of a segment of packed records. Segments are read in the order of their names."""
    return f"{SEGMENTS}{name}.parquet"


def fresh(run: str, number: int) -> str:
    """Return the key of rows that a run has committed; ``number`` counts from 0."""
    return f"{FRESH}{run}-{number}.js"


def named_id(text: str) -> str | None:
    """Return the task id in an id, or in a picture's name, path or address; None when there is none."""
    match = _NAMED.search(text)
    return match.group(1) if match else None


def checkpoint(task_id: str) -> str:
    """Return the key of a task's checkpoint."""
    return f"{CHECKPOINTS}{task_id}.safetensors"


def checkpoint_id(key: str) -> str | None:
    """Return the task id in a checkpoint's key; None for other keys."""
    match = _CHECKPOINT.fullmatch(key)
    return match.group(1) if match else None


def preview(task_id: str) -> str:
    """Return the key of a task's picture as it is so far."""
    return f"{PREVIEWS}{task_id}.webp"


def thumb(task_id: str) -> str:
    """Return the key of a task's picture, small: the finished one, or the last good one of a failure."""
    return f"{THUMBS}{task_id[:2]}/{task_id}.webp"


def confidence(task_id: str) -> str:
    """Return the key of how firmly the pixels of a film's frame are held, as a small grey picture."""
    return f"{THUMBS}{task_id[:2]}/{task_id}-held.webp"


def input_copy(sha256: str, *, mask: bool = False) -> str:
    """Return the key of a small copy of a content, style, mask or first picture.

    Args:
        sha256: Hex digest of the input's file.
        mask: Whether it is copied as a mask: the same file may be a picture elsewhere.
    """
    return f"{INPUTS}{sha256[:2]}/{sha256[:32]}{'-mask' if mask else ''}.webp"


def card(task_id: str) -> str:
    """Return the key of what the gallery shows about one picture."""
    return f"{CARDS}{task_id[:2]}/{task_id}.js"


def film_frames(film: str) -> str:
    """Return the key of which frames a film has.

    Args:
        film: The film's id, 16 hex digits.
    """
    return f"{FILMS}{film}/frames.js"


def film_cuts(film: str) -> str:
    """Return the key of what was found out about where a film's shots begin.

    Args:
        film: The film's id, 16 hex digits.
    """
    return f"{FILMS}{film}/cuts.json"


def film_flow(film: str, first: int, last: int, stamp: str) -> str:
    """Return the key of the motion between each two neighbours among some frames of a film.

    Args:
        film: The film's id, 16 hex digits.
        first: The index of the first of the frames.
        last: The index of the last of them.
        stamp: What is other when one of the frames is another.
    """
    return f"{FILMS}{film}/flow/{first:06d}-{last:06d}-{stamp}.npz"


def film_flows(film: str) -> str:
    """Return the prefix of the keys of the motion between a film's frames."""
    return f"{FILMS}{film}/flow/"


def flow_ends(key: str) -> tuple[int, int]:
    """Return the indices of the first and the last of the frames of ``film_flow``'s key."""
    first, last, _ = key.rpartition("/")[2].split("-")
    return int(first), int(last)


def video(name: str, video_id: str, extension: str) -> str:
    """Return the key of a video, or with ``json`` of what it was made from.

    Args:
        name: The video's name, from ``safe_name``.
        video_id: 16 hex digits.
        extension: The file's ending, without a dot.
    """
    return f"{VIDEOS}{name}-{video_id}.{extension}"


def record_id(key: str) -> str | None:
    """Return the task id in a record's key; None for other keys."""
    match = _RECORD.fullmatch(key)
    return match.group(1) if match else None


def safe_name(text: str) -> str:
    """Return ``text`` as part of a file name on any system: no separators, controls or reserved names.

    Letters and digits of every script stay, with their marks, and so do ``_.,+=@ ()-``. Any other character
    becomes a dash; longer runs of dashes become two. The result is not empty, and is cut to ``NAME_BYTES``.
    """
    text = unicodedata.normalize("NFC", text[: 4 * NAME_BYTES])
    kept = "".join(c if c in _KEPT or unicodedata.category(c)[0] in "LMN" else "-" for c in text)
    kept = re.sub(r"-{2,}", "--", kept).strip(" .-")
    name = _cut(kept).rstrip(" .-") or "picture"
    # Windows takes nul.jpg, and nul.anything.jpg, for a device.
    return _cut(f"_{name}").rstrip(" .-") if name.split(".")[0].lower() in _DEVICES else name


def _cut(name: str) -> str:
    """Return as many characters of a name as fit into ``NAME_BYTES``."""
    return name.encode()[:NAME_BYTES].decode(errors="ignore")
