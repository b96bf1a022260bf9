"""What is sent along with a submission."""

from __future__ import annotations

import shutil
import zipfile
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import cluster

ROOMS = ("cluster", "jobs", "stylize")


JOB_FOLDER = "job"


@dataclass
class Parcel:
    """Files by their names in the folder that Ray unpacks."""

    job_file: str
    """What ``stylefarm run`` is given: a path in that folder, or one that the cluster sees, too."""
    files: dict[str, Path | bytes] = field(default_factory=dict)
    has_package: bool = False

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(
            len(c) if isinstance(c, bytes) else c.stat().st_size for c in self.files.values()
        )

    def write(self, archive: Path) -> None:
        """Write it as a ZIP file, byte for byte the same for the same content: Ray sends no archive twice."""
        with zipfile.ZipFile(archive, "w") as packed:
            for name, content in sorted(self.files.items()):
                entry = zipfile.ZipInfo(name)  # of 1980, whenever it is
                entry.external_attr = 0o644 << 16
                with packed.open(entry, "w", force_zip64=True) as target:
                    if isinstance(content, bytes):
                        target.write(content)
                    else:
                        with content.open("rb") as source:
                            shutil.copyfileobj(source, target, 1 << 20)


def package_files() -> dict[str, Path | bytes]:
    """This package as it can be put on Python's path, with what tells its version."""
    root = Path(cluster.__file__).resolve().parents[1]
    files: dict[str, Path | bytes] = {
        path.relative_to(root).as_posix(): path
        for room in ROOMS
        for path in (root / room).rglob("*")
        if path.suffix in (".py", ".yaml", ".j2", ".typed") and "deploy" not in path.parts
    }
    try:
        known = version("stylefarm")
    except PackageNotFoundError:  # a checkout that was never installed
        known = "0"
    metadata = f"Metadata-Version: 2.1\nName: stylefarm\nVersion: {known}\n"
    files[f"stylefarm-{known}.dist-info/METADATA"] = metadata.encode()
    return files
