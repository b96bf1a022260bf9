"""``Parcel``: the files that are sent to the cluster with a submission."""

from __future__ import annotations

import shutil
import zipfile
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import BinaryIO

import cluster
from jobs.errors import StorageError

ROOMS = ("cluster", "jobs", "stylize")
"""The top-level folders of this package."""

JOB_FOLDER = "job"
"""The parcel's folder for the job file and its inputs."""


@dataclass
class Parcel:
    """The files of a submission, by their paths in the folder that Ray unpacks."""

    job_file: str
    """The path that ``stylefarm run`` gets: in that folder, or absolute where the cluster sees the file."""
    files: dict[str, Path | bytes] = field(default_factory=dict)
    """The files' contents, or where they lie on this machine."""
    has_package: bool = False
    """Whether this package is among the files."""

    @property
    def size(self) -> int:
        """The total size of the files, in bytes."""
        return sum(
            len(c) if isinstance(c, bytes) else c.stat().st_size for c in self.files.values()
        )

    def write(self, archive: Path) -> None:
        """Write the files as a ZIP archive.

        The same files give the same bytes: Ray does not upload an archive that the cluster has.

        Raises:
            StorageError: A file cannot be read.
            OSError: The archive cannot be written.
        """
        with zipfile.ZipFile(archive, "w") as packed:
            for name, content in sorted(self.files.items()):
                entry = zipfile.ZipInfo(name)  # dated 1980 by default, whenever it is written
                entry.external_attr = 0o644 << 16
                with packed.open(entry, "w", force_zip64=True) as target:
                    if isinstance(content, bytes):
                        target.write(content)
                    else:
                        with _open(content) as source:
                            shutil.copyfileobj(source, target, 1 << 20)


def _open(file: Path) -> BinaryIO:
    try:
        return file.open("rb")
    except OSError as error:
        raise StorageError(f"Cannot read {file} to send it: {error.strerror or error}.") from error


SENT = frozenset((".py", ".yaml", ".j2", ".css", ".js", ".svg", ".LICENSE", ".typed"))
"""The endings of the package's files that a run needs."""


def package_files() -> dict[str, Path | bytes]:
    """Return this package's files as they lie on Python's path, with the metadata that gives its version."""
    root = Path(cluster.__file__).resolve().parents[1]
    files: dict[str, Path | bytes] = {
        path.relative_to(root).as_posix(): path
        for room in ROOMS
        for path in (root / room).rglob("*")
        if path.suffix in SENT and "deploy" not in path.parts
    }
    try:
        known = version("stylefarm")
    except PackageNotFoundError:  # a checkout that was never installed
        known = "0"
    metadata = f"Metadata-Version: 2.1\nName: stylefarm\nVersion: {known}\n"
    files[f"stylefarm-{known}.dist-info/METADATA"] = metadata.encode()
    return files
