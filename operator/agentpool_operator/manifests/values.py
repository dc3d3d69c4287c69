"""What goes into a pool's objects, and how are they named and labelled?"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from agentpool_api.agentpool import AgentPoolSpec
from agentpool_api.labels import API_VERSION, CAPACITY_TYPE_LABEL, MANAGED_BY, MANAGED_BY_LABEL, POOL_LABEL
from agentpool_operator.settings import RedisAccess, RuntimeImage

Manifest = dict[str, Any]

ON_DEMAND = "on-demand"
SPOT = "spot"
CAPACITY_TYPES = (ON_DEMAND, SPOT)

KEY_OF_POOL_SECRET = "api-key"  # noqa: S105 - the name of a key, not a key


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolValues:
    """One pool and the settings its objects depend on."""

    namespace: str
    name: str
    uid: str
    spec: AgentPoolSpec
    runtime: RuntimeImage
    redis: RedisAccess

    @property
    def config_name(self) -> str:
        return f"{self.name}-runtime"

    @property
    def key_secret_name(self) -> str:
        """Secret with the pool's key, made by the operator."""
        return f"{self.name}-key"

    @property
    def redis_secret_name(self) -> str:
        """Named after its content: a Secret that is never read cannot be compared, only replaced by another."""
        return f"{self.name}-redis-{self.redis.digest}"

    @property
    def auth_secret_name(self) -> str:
        """Secret whose values are the valid keys."""
        return self.spec.runtime.auth.secret_name or self.key_secret_name

    @property
    def service_account_name(self) -> str | None:
        agent = self.spec.agent
        return agent.service_account_name or (self.name if agent.create_service_account else None)

    def deployment_name(self, capacity_type: str) -> str:
        return f"{self.name}-{capacity_type}"


def pool_labels(pool: str) -> dict[str, str]:
    """Labels of every object made for a pool."""
    return {POOL_LABEL: pool, MANAGED_BY_LABEL: MANAGED_BY}


def pod_selector(pool: str, capacity_type: str | None = None) -> dict[str, str]:
    """Labels that find the pool's pods, of one capacity type or both."""
    return {POOL_LABEL: pool} | ({CAPACITY_TYPE_LABEL: capacity_type} if capacity_type else {})


def make_object(values: PoolValues, api_version: str, kind: str, name: str, **content: Any) -> Manifest:
    """An object owned by the pool: it goes when the pool goes."""
    owner = {"apiVersion": API_VERSION, "kind": "AgentPool", "name": values.name, "uid": values.uid, "controller": True}
    metadata = {
        "name": name,
        "namespace": values.namespace,
        "labels": pool_labels(values.name),
        "ownerReferences": [owner],
    }
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **content}


def digest(value: Any) -> str:
    """Sixteen hex digits that stand for a JSON value."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
