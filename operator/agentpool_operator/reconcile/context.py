"""What does every pass have at hand?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from agentpool_api.agentpool import AgentPoolSpec
from agentpool_operator.act.api import Api
from agentpool_operator.act.apply import AppliedState
from agentpool_operator.decide.facts import Trouble
from agentpool_operator.observe.cluster import PoolKey, Store
from agentpool_operator.observe.readings import Readings
from agentpool_operator.settings import Settings


@dataclass(frozen=True, slots=True)
class Refusal:
    """The manifests with this digest were refused; they are tried again at ``retry_at_s``, sooner when they change."""

    digest: str
    trouble: Trouble
    retry_at_s: float


@dataclass(slots=True)
class PoolState:
    """What one process remembers of one pool; all of it can be found out again."""

    uid: str
    generation: int
    spec: AgentPoolSpec
    applied: AppliedState = field(default_factory=AppliedState)
    last_active_s: float = 0.0
    refused: Refusal | None = None


@dataclass(slots=True)
class Context:
    """The world as a pass sees it."""

    settings: Settings
    store: Store
    api: Api
    readings: Readings
    clock: Callable[[], float]
    """Unix seconds."""
    pools: dict[PoolKey, PoolState] = field(default_factory=dict)
