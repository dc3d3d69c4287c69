"""What does every pass have at hand?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from agentpool_api.agentpool import AgentPoolSpec
from agentpool_operator.act.api import Api
from agentpool_operator.act.apply import AppliedState
from agentpool_operator.decide.facts import Trouble
from agentpool_operator.errors import ManifestRefusedError
from agentpool_operator.observe.cluster import ObjectKey, PoolKey, Store
from agentpool_operator.observe.readings import Readings
from agentpool_operator.redis_link import RedisLink
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
    link: RedisLink
    pools: dict[PoolKey, PoolState] = field(default_factory=dict)
    budgets_written_s: dict[ObjectKey, float] = field(default_factory=dict)
    """When each budget's status was last written."""

    def pool_state(self, key: PoolKey, body: dict[str, Any]) -> PoolState:
        """What is remembered of this very pool; another of the same name begins anew.

        Raises ManifestRefusedError when the spec cannot be read.
        """
        uid, generation = str(body["metadata"]["uid"]), int(body["metadata"].get("generation", 0))
        state = self.pools.get(key)
        if state is None or state.uid != uid:
            state = self.pools[key] = PoolState(uid, generation, _spec_of(body))
        elif state.generation != generation:
            state.spec = _spec_of(body)
            state.generation = generation
        return state


def _spec_of(body: dict[str, Any]) -> AgentPoolSpec:
    """The spec, which the API server has checked: what is refused here was made by another version's definition."""
    try:
        return AgentPoolSpec.model_validate(body.get("spec") or {})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field_path = ".".join(["spec", *map(str, first["loc"])])
        message = f"{field_path}: {first['msg']}; are the resource definitions of the operator's version installed?"
        raise ManifestRefusedError("InvalidSpec", message) from None
