"""What is seen of one pool in one pass? The input of its conditions and status."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agentpool_api.wire import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Something that keeps agents from serving, with a reason for the condition and what to do about it."""

    reason: str
    message: str


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
