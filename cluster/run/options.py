"""``RunOptions`` and ``RunResult``: a run's options and its result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cluster.driver.driver import Counts
from cluster.run.predecessor import Predecessor
from jobs.errors import ExitStatus
from jobs.storage.base import Storage

PAINTER = "cluster.worker.renderer:Painter"
"""The real renderer, as ``WorkerSetup.renderer`` names it."""


@dataclass(frozen=True, slots=True)
class RunOptions:
    """The options of a run that come from the command line, not from the job file."""

    pool: Literal["ray", "inline"] = "ray"
    """``ray``: a process per worker; ``inline``: one worker in this process."""
    address: str | None = None
    """The Ray cluster to use; None starts Ray on this machine."""
    overwrite: bool = False
    """Whether to render everything again."""
    retry_failed: bool = False
    """Whether to render tasks again that failed in earlier runs."""
    verify: bool = False
    """Whether to read every finished picture first, and render missing or damaged ones again."""
    limit: int | None = None
    """The largest number of tasks to render, > 0; None: no limit."""
    proof: bool = False
    """Whether to render proofs instead of the pictures."""
    proof_size: int | None = None
    """The longest side of a proof, in pixels; None keeps the size of existing proofs."""
    select: str | None = None
    """The tasks to render, as ``read_selection`` reads them; None: all."""
    wait: float | None = 0.0
    """How long to wait for another run of the output to end, in seconds; None: for as long as it lasts."""
    after: Predecessor | None = None
    """The job that has to end well before the run begins; None: none."""
    hold: bool = False
    """Whether to begin paused, until somebody has the run go on."""
    renderer: str = PAINTER
    """``module:Class`` of the renderer."""
    if_changed: bool = False
    """Whether to render again where a picture differs from the one it was rendered from."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """The result of a run."""

    counts: Counts
    failed_before: int
    """Tasks that had failed before this run."""
    left: int | None
    """Tasks left in the job; None when the job was not read to its end."""
    storage: Storage
    """The output."""
    videos: int = 0
    """Videos made in this run."""
    videos_failed: int = 0
    """Videos that could not be made though all their frames are there."""

    @property
    def exit_status(self) -> ExitStatus:
        """The exit status of ``stylefarm run``."""
        if self.counts.reason in ("interrupted", "preempted"):
            return ExitStatus.INTERRUPTED
        if self.counts.reason in ("max_failures", "max_gpu_hours"):
            return ExitStatus.FAILED
        failed = self.counts.failed or self.failed_before or self.videos_failed
        return ExitStatus.FAILED if failed else ExitStatus.DONE
