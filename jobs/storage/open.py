"""The public entry point ``open_storage``, the only one that knows both kinds of storage."""

from __future__ import annotations

from pathlib import Path

from jobs.storage.addresses import check_address
from jobs.storage.base import Storage, StorageOptions, local_path, resolve_options


def open_storage(
    url: str, options: StorageOptions | None = None, *, base: Path | None = None
) -> Storage:
    """Return the storage behind an address. Touches neither disk nor network.

    Args:
        url: ``s3://bucket/prefix``, or a folder: a path, in which a leading ``~`` is the home folder, or a
            ``file://`` URL.
        options: How to reach S3; folders ignore it.
        base: The folder that relative paths start at, also that of ``ca_bundle``; None: the current folder.

    Returns:
        A storage whose existence is not checked; ``Storage.check`` does that.

    Raises:
        AddressError: The address means neither.
    """
    check_address(url, base)
    if url.startswith("s3://"):
        from jobs.storage.s3 import S3Storage  # here, because botocore is slow to import

        return S3Storage(url, resolve_options(options, base))
    from jobs.storage.folder import FolderStorage

    return FolderStorage(local_path(url, base))
