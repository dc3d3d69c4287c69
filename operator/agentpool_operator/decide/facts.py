"""What is seen of one pool in one pass? The input of its conditions and status."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from agentpool_api.wire import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Something that keeps agents from serving, with a reason for the condition and what to do about it."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueFacts:
    """A Redis Stream and its consumer group at one reading. ``None`` is unknown."""

    key: str
    lag: int | None = None
    """Tasks no consumer has read."""
    pending: int | None = None
    """Tasks a consumer holds and has not acknowledged."""
    added: int | None = None
    """Tasks ever added."""
    oldest_at_s: float | None = None
    """Unix time at which the oldest of the tasks that are not done was added."""
    held: Mapping[str, int] = field(default_factory=dict)
    """Pending tasks by consumer."""
    trouble: Trouble | None = None
    """Why the group cannot be read; what is not there holds no task."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CapacityFacts:
    """The agents of one capacity type."""

    existing: int = 0
    """Pods that are there and do not leave."""
    ready: int = 0
    current: bool = False
    """The Deployment has taken in the newest manifest and every pod is made from it."""
    waiting: Trouble | None = None
    """Why a pod's container does not start."""
    unschedulable: str = ""
    """Why no node takes a pod."""
    refused: str = ""
    """Why the API server takes no pod."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolFacts:
    """Everything a pool's conditions are made from."""

    generation: int
    on_demand: CapacityFacts
    spot: CapacityFacts
    spot_enabled: bool
    redis_up: bool
    metrics_available: bool
    silent: Sequence[str] = ()
    """Ready agents that do not report."""
    problems: Sequence[Problem] = ()
    queue_named: bool = False
    queue: QueueFacts | None = None
    """The queue the pool names; None before it was read, and while Redis is away."""
    preview: bool = False
    """Decisions are published and not carried out."""
    refused: Trouble | None = None
    """The manifests were refused: what runs is the last good state."""

    @property
    def existing(self) -> int:
        return self.on_demand.existing + self.spot.existing

    @property
    def ready(self) -> int:
        return self.on_demand.ready + self.spot.ready
