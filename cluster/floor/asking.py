"""What a run and the floor manager tell each other: plain values, because their code may be of two
versions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, TypeVar

PROTOCOL = 1
"""The version of what is said. A run that speaks a later one than the manager puts a new manager in its
place."""

TOKEN_VARIABLE = "STYLEFARM_FLOOR_TOKEN"
"""The environment variable with the token, where the head of the cluster is started and where runs are."""

NORMAL = 50
"""The highest priority that needs no token."""

Resource = Literal["GPU", "CPU"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Ask:
    """What a run tells the manager, twice a second."""

    run: str
    """The run's unique id."""
    job: str
    """The job's name."""
    output: str
    """The run's output, as people write it."""
    by: str
    """Who runs it, and where: ``user@host``."""
    wanted: int
    """Workers that the run could use now, >= 0."""
    each: float
    """Devices of each worker."""
    resource: Resource = "GPU"
    fewest: int = 1
    """The job's ``workers.min``."""
    priority: int = NORMAL
    weight: float = 1.0
    nodes: tuple[str, ...] | None = None
    """Ray's ids of the nodes that the run can use; None: all that have room for a worker."""
    held: Mapping[str, int] = field(default_factory=dict)
    """The run's workers by node, those included that are on their way, or are about to leave."""
    up: Mapping[str, int] = field(default_factory=dict)
    """Those of them that are up."""
    paused_by: str = ""
    """Who has paused the run; empty: nobody."""
    token: str = field(default="", repr=False)
    """What lets the run have a priority above normal, where the cluster limits that."""


@dataclass(frozen=True, slots=True)
class Share:
    """What the manager answers."""

    workers: Mapping[str, int]
    """The workers that the run may have, by node."""
    waits: str = ""
    """What the run waits for, as the end of a sentence; empty: it has all that it wants or can use."""
    again_seconds: float = 1.0
    """When the run is to ask again, in seconds: later where there are very many."""


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run, as ``stylefarm floor`` shows it."""

    run: str
    job: str
    output: str
    by: str
    resource: Resource
    priority: int
    weight: float
    each: float
    wanted: int
    held: Mapping[str, int]
    share: Mapping[str, int]
    waits_seconds: float | None
    """For how long it has had fewer workers than its fewest; None: it has them."""
    waits: str
    next: int | None
    """Its place among those that wait for their first workers, from 1; None: it does not."""


@dataclass(frozen=True, slots=True)
class NodeRow:
    """A node, as ``stylefarm floor`` shows it."""

    node: str
    host: str
    kind: str
    """What its GPUs are; empty where that is unknown or it has none."""
    devices: Mapping[str, float]
    others: Mapping[str, float]
    """Devices that are used by programs that share nothing here."""


def as_values(told: object) -> dict[str, Any]:
    """Return a told thing as plain values."""
    return asdict(told)  # type: ignore[call-overload, no-any-return]


def from_values(kind: type[T], values: Mapping[str, Any]) -> T:
    """Return a told thing from plain values; what another version says besides is left out."""
    known = {f.name for f in fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: value for name, value in values.items() if name in known})
