"""What is really there? Lists fill the store at start, and find deletions a cut-off watch has missed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import httpx2
from lightkube import AsyncClient

from agentpool_api.labels import MANAGED_BY, MANAGED_BY_LABEL
from agentpool_operator.errors import ClusterUnavailableError
from agentpool_operator.kinds import AGENT_POOL, COST_BUDGET, MANAGED, POD
from agentpool_operator.observe.cluster import ObjectKey, PoolKey, Store

CHUNK = 500
"""Objects per page of a list."""

SWEPT: tuple[tuple[str, Any, bool], ...] = (
    ("AgentPool", AGENT_POOL, False),
    ("CostBudget", COST_BUDGET, False),
    ("Pod", POD, True),
    *((kind, resource, True) for kind, resource in MANAGED.items()),
)
"""Kind, resource, and whether only objects with our label are of interest."""


async def sweep(client: AsyncClient, store: Store, namespaces: Sequence[str]) -> list[ObjectKey | PoolKey]:
    """Bring the store up to date with lists of everything. Returns what was forgotten.

    Objects the store knows are left as they are: the watch is newer than a list. Raises ClusterUnavailableError, which
    says when a kind is not installed or may not be listed.
    """
    forgotten: list[ObjectKey | PoolKey] = []
    for kind, resource, labelled in SWEPT:
        known = set(store.uids(kind))
        present: set[str] = set()
        for namespace in namespaces or ("*",):
            labels: Any = {MANAGED_BY_LABEL: MANAGED_BY} if labelled else None
            try:
                async for body in client.list(resource, namespace=namespace, chunk_size=CHUNK, labels=labels):
                    uid = str(body["metadata"]["uid"])
                    present.add(uid)
                    if uid not in known:
                        store.put({**body, "kind": kind, "apiVersion": resource_version(resource)})
            except httpx2.HTTPError as error:
                where = "anywhere" if namespace == "*" else f"in namespace {namespace}"
                raise ClusterUnavailableError(f"{kind} cannot be listed {where}: {error}") from error
        forgotten += store.keep_only(kind, present, known)
    return forgotten


def resource_version(resource: Any) -> str:
    """``apiVersion`` of a resource: objects in a list do not carry it."""
    return str(resource._api_info.resource.api_version)
