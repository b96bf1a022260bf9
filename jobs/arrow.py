"""The door to PyArrow, which takes a third of a second to import."""

from __future__ import annotations

import os
from typing import Any


def arrow() -> Any:
    """Return the package ``pyarrow``."""
    # PyArrow's own allocator keeps what a thread once used, and its threads change, so that a run's memory
    # would grow by a kilobyte per task. The variable is read when PyArrow is first imported.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    import pyarrow

    return pyarrow


def parquet() -> Any:
    """Return the module ``pyarrow.parquet``."""
    arrow()
    import pyarrow.parquet

    return pyarrow.parquet
