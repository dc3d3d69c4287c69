"""What does every pass have at hand?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakValueDictionary

from pydantic import ValidationError

from agentpool_api.agentpool import AgentPoolSpec
from agentpool_api.pool_status import AgentPoolStatus
from agentpool_api.schema import ApiModel
from agentpool_operator.act.api import Api
from agentpool_operator.act.apply import AppliedState
from agentpool_operator.act.notices import Told
from agentpool_operator.decide.facts import Trouble
from agentpool_operator.decide.policy import ScalingPolicy
from agentpool_operator.decide.scaling import Decision
from agentpool_operator.decide.spot import SpotState
from agentpool_operator.decide.state import PoolState as ScalingState
from agentpool_operator.errors import ManifestRefusedError
from agentpool_operator.observe.cluster import ObjectKey, PoolKey
from agentpool_operator.observe.readings import Readings
from agentpool_operator.observe.store import Store
from agentpool_operator.reconcile.memory import Facts, Saved
from agentpool_operator.reconcile.policies import scaling_policy
from agentpool_operator.redis_link import RedisLink
from agentpool_operator.settings import Settings


@dataclass(frozen=True, slots=True)
class Refusal:
    """The manifests with this digest were refused; they are tried again ``retry_s`` later, sooner when they change."""

    digest: str
    trouble: Trouble
    at_s: float
    retry_s: float

    def is_due(self, now_s: float) -> bool:
        """Whether to try again; a clock that went back is no reason to wait."""
        return not 0 <= now_s - self.at_s < self.retry_s


Grounds = tuple[int, int, int | None, int | None]
"""Number of the reading of Redis, generation of the spec, agents the budgets allow, limit of spot agents."""


@dataclass(frozen=True, slots=True)
class Settled:
    """What a pass left behind: from what the objects were made, and each of them as it was then."""

    digest: str
    versions: Mapping[ObjectKey, str]

    def holds(self, digest: str, store: Store) -> bool:
        """Whether the same is wanted and nobody touched anything since: there is nothing to compare."""
        return digest == self.digest and all(store.version(key) == version for key, version in self.versions.items())


@dataclass(frozen=True, slots=True)
class Shown:
    """The status a version of the pool has."""

    version: str
    status: AgentPoolStatus
    is_exact: bool
    """The API server has exactly what this status would be written as."""


@dataclass(slots=True)
class PoolState:
    """What one process remembers of one pool. What cannot be found out again is kept in Redis (see memory)."""

    uid: str
    generation: int
    spec: AgentPoolSpec
    policy: ScalingPolicy
    applied: AppliedState = field(default_factory=AppliedState)
    refused: Refusal | None = None
    settled: Settled | None = None
    shown: Shown | None = None
    scaling: ScalingState | None = None
    """None before the first decision of this process."""
    decided: tuple[Grounds, Decision] | None = None
    """The last decision and what it was made on: the same grounds are not decided on twice."""
    changed_by: Decision | None = None
    """The decision that last changed the size, until the status tells it."""
    spot: SpotState = field(default_factory=SpotState)
    startups: dict[str, float] = field(default_factory=dict)
    startup_s: float | None = None
    service_s: float | None = None
    recalled: bool = False
    """Redis was asked what it remembers of the pool."""
    saved: Saved = field(default_factory=Saved)
    told: Told = field(default_factory=Told)
    published: int | None = None
    """Generation for which the size was written into the pool's scale; the watch shows the next one in a moment."""

    def facts(self, scaling: ScalingState) -> Facts:
        """What is to be kept, but for the arrivals."""
        return Facts(
            uid=self.uid,
            desired=scaling.desired,
            last_scaled_at_s=scaling.last_scaled_at_s,
            last_active_at_s=scaling.last_active_at_s,
            woken_at_s=scaling.woken_at_s,
            service_s=self.service_s,
            startup_s=self.startup_s,
            spot=self.spot,
        )


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

    def pool_state(self, key: PoolKey, metadata: dict[str, Any]) -> PoolState:
        """What is remembered of this very pool; another of the same name begins anew.

        Raises ManifestRefusedError when the spec cannot be read.
        """
        uid, generation = str(metadata["uid"]), int(metadata.get("generation", 0))
        state = self.pools.get(key)
        if state is None or state.uid != uid:
            spec = _spec_of(self.store.get("AgentPool", *key) or {})
            state = self.pools[key] = PoolState(uid, generation, spec, scaling_policy(spec))
        elif state.generation != generation:
            spec = _spec_of(self.store.get("AgentPool", *key) or {})
            state.spec, state.policy, state.generation = spec, scaling_policy(spec), generation
        return state


_shared: WeakValueDictionary[tuple[str, str], ApiModel] = WeakValueDictionary()
"""Parts of specs by their field and content. Pools are much alike: a thousand times the same settings would be kept."""


def _spec_of(body: dict[str, Any]) -> AgentPoolSpec:
    """The spec, which the API server has checked: what is refused here was made by another version's definition."""
    try:
        spec = AgentPoolSpec.model_validate(body.get("spec") or {})
        parts = {name: part for name, part in spec if isinstance(part, ApiModel)}
        return spec.model_copy(
            update={name: _shared.setdefault((name, part.model_dump_json()), part) for name, part in parts.items()}
        )
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field_path = ".".join(["spec", *map(str, first["loc"])])
        message = f"{field_path}: {first['msg']}; are the resource definitions of the operator's version installed?"
        raise ManifestRefusedError("InvalidSpec", message) from None
