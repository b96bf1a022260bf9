"""``find_ahead``: find the motion of a stretch in a process that paints nothing."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any

from cluster.messages import WorkerSetup
from cluster.worker.films.motion import MotionFiles
from jobs.inputs.addresses import display
from jobs.inputs.reader import Inputs
from jobs.storage.open import open_storage
from jobs.tasks.films.stretch import Stretch

NICENESS = 10
"""How far such a process stands back behind those that paint and encode."""


def find_ahead(setup: WorkerSetup, stretch: Stretch) -> bool:
    """Find the motion between the frames of a stretch, as a worker does that needs it, and keep it.

    Args:
        setup: The settings of the job's workers.
        stretch: The frames.

    Returns:
        Whether it was not there yet.

    Raises:
        PictureError: The frames have several sizes.
        StorageError: A store does not answer.
    """
    global _last
    if _last is None:
        os.nice(NICENESS)
    if _last is None or _last[0] != setup:
        _last = setup, _motion_files(setup)
    return _last[1].ensure(stretch)


_last: tuple[WorkerSetup, MotionFiles] | None = None
"""The files of the last call: a film in one file is looked through once."""


def _motion_files(setup: WorkerSetup) -> MotionFiles:
    base = Path(setup.base).absolute()
    storage = open_storage(setup.output, setup.storage, base=base)
    inputs = Inputs(base, setup.storage, allow_private=setup.inputs.allow_private)
    module, _, name = setup.renderer.partition(":")
    renderer: Any = getattr(
        importlib.import_module(module), name
    )  # no device is needed, so none made

    def decode(uri: str) -> Any:
        return renderer.decode(inputs.read(uri).data, f"frame {display(uri)}", setup.image)

    return MotionFiles(storage, inputs, decode, renderer)
