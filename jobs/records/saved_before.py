"""``saved_otherwise``: whether the pictures that are there were saved in another way than a job says now.

How a picture is saved is no part of its task's id: the same work, saved as JPEG instead of PNG, is not
painted again. So a job whose ``image`` was changed seems to do nothing, unless somebody says so.
"""

from __future__ import annotations

import json

from jobs.errors import ObjectNotFoundError, StorageError
from jobs.spec.output import SHOWN, ImageOptions
from jobs.storage import keys
from jobs.storage.base import Storage


def saved_otherwise(storage: Storage, image: ImageOptions) -> tuple[str, ...]:
    """Return what differs between how the last run saved pictures and how a job says now.

    Args:
        storage: The output.
        image: What the job says now.

    Returns:
        A phrase for each key that differs, such as "format was png and is jpeg"; none if nobody has rendered
        there, or what was said then cannot be read.
    """
    try:
        before = json.loads(storage.get(keys.JOB))["job"]["image"]
        changed = [
            (key, before[key], value)
            for key, value in image.model_dump(mode="json", exclude=set(SHOWN)).items()
            # A key that the version of then did not know had no other value.
            if before.get(key, value) != value
        ]
    except (ObjectNotFoundError, ValueError, TypeError, KeyError, AttributeError, StorageError):
        return ()
    lossy = image.format in ("jpeg", "webp", "avif", "jxl")
    return tuple(
        f"{key} was {old} and is {new}" for key, old, new in changed if key != "quality" or lossy
    )
