"""What a run is asked for, and what it came to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cluster.driver.driver import Counts
from jobs.errors import ExitStatus
from jobs.storage.base import Storage

PAINTER = "cluster.worker.renderer:Painter"


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What the command line says beside the job file."""

    pool: Literal["ray", "inline"] = "ray"
    address: str | None = None
    overwrite: bool = False
    """Render everything again."""
    retry_failed: bool = False
    verify: bool = False
    """Read every finished picture, and render again what is missing or damaged."""
    limit: int | None = None
    """Render at most so many tasks."""
    proof: bool = False
    """Render proofs instead of the pictures,"""
    proof_size: int | None = None
    """of so many pixels; None: as they are."""
    select: str | None = None
    """Render these tasks alone, as ``read_selection`` reads them."""
    renderer: str = PAINTER
    if_changed: bool = False
    """Render again where a picture is no longer what it was rendered from."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a run came to."""

    counts: Counts
    failed_before: int
    left: int | None
    """None when the job had not been read to its end."""
    storage: Storage

    @property
    def exit_status(self) -> ExitStatus:
        """0 all done (or as much as --limit asked for), 1 some tasks failed or a limit of the job's ended
        the run, 130 interrupted."""
        if self.counts.reason in ("interrupted", "preempted"):
            return ExitStatus.INTERRUPTED
        if self.counts.reason in ("max_failures", "max_gpu_hours"):
            return ExitStatus.FAILED
        return ExitStatus.FAILED if self.counts.failed or self.failed_before else ExitStatus.DONE
