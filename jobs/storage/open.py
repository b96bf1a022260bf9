"""The storage behind an address: the only file that knows both kinds."""

from __future__ import annotations

from pathlib import Path

from jobs.storage.base import Storage, StorageOptions, local_path, resolve_options


def open_storage(
    url: str, options: StorageOptions | None = None, *, base: Path | None = None
) -> Storage:
    """The storage behind an ``output`` of a job file. Touches neither disk nor network.

    ``s3://bucket/prefix`` is S3; anything else is a folder: a path or a ``file://`` URL, where
    ``~`` is the home folder and a relative path starts at ``base`` (default: the current folder).
    Raises StorageError when the URL means neither.
    """
    if url.startswith("s3://"):
        from jobs.storage.s3 import S3Storage  # here, because botocore is slow to import

        return S3Storage(url, resolve_options(options, base))
    from jobs.storage.folder import FolderStorage

    return FolderStorage(local_path(url, base))
