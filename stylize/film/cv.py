"""The door to OpenCV, which only films need."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from stylize.errors import StylizeError


@lru_cache(maxsize=1)
def opencv() -> Any:
    """Return the module ``cv2``.

    Raises:
        StylizeError: It is not installed.
    """
    try:
        import cv2
    except ImportError as error:
        raise StylizeError(
            "films need OpenCV, which is not installed: pip install 'stylefarm[film]'"
        ) from error
    return cv2
