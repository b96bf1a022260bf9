"""``OwnPictures``: whether a picture is one that the job itself has made, and so never its input.

A pattern such as ``photos/**/*.jpg`` also matches the pictures of an output ``photos/painted``. Were they
inputs, each run would paint what the last one had painted, and a nightly job would double every night.
"""

from __future__ import annotations

import os
import re
from functools import lru_cache
from pathlib import Path

from jobs.errors import StorageError
from jobs.jobfile.dated_output import pattern_of
from jobs.jobfile.job import Job
from jobs.storage import keys
from jobs.storage.base import local_path

_FOLDERS = "|".join(
    re.escape(folder.rstrip("/"))
    for folder in (keys.IMAGES, keys.KEPT, keys.VIDEOS, keys.PROOFS, keys.GALLERY)
)


class OwnPictures:
    """The pictures in a job's output: finished ones, kept ones, videos, proofs and the gallery's, of
    every date.

    Other files beside them are not meant, so that an output may be the folder that holds the photos.

    Args:
        job: The job.
    """

    def __init__(self, job: Job) -> None:
        self._base = job.base
        output = job.output_template.rstrip("/")
        self._is_s3 = output.startswith("s3://")
        if not self._is_s3:
            try:
                output = _resolved(local_path(output, job.base))
            except StorageError:
                output = ""  # no address of a folder, as opening it will report
        self._pattern = re.compile(f"{pattern_of(output).pattern}/(?:{_FOLDERS})/")
        # A folder's many pictures cost one look at the disk.
        self._folder = lru_cache(maxsize=4096)(self._find_folder)

    def __contains__(self, uri: object) -> bool:
        """Return whether an address, as ``Inputs.expand`` spells it, is a picture of the job's own."""
        if not isinstance(uri, str):
            return False
        if uri.startswith(("s3://", "http://", "https://")) != self._is_s3:
            return False
        if not self._is_s3:
            folder, slash, name = uri.rpartition("/")
            uri = f"{self._folder(folder + slash)}/{name}"
        return self._pattern.match(uri) is not None

    def _find_folder(self, written: str) -> str:
        try:
            return _resolved(local_path(written or ".", self._base, users=False))
        except (StorageError, ValueError):  # no folder's name, as reading the picture will report
            return ""


def _resolved(path: Path) -> str:
    """Return a folder's path without symbolic links, which would give one folder two names."""
    return os.path.realpath(path).rstrip("/")
