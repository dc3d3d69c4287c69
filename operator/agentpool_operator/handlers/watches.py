"""Which kinds are watched, and what does an event of each set in motion?

Only ``on.event`` handlers: kopf then puts neither finalizers nor annotations on anything. A handler updates the store
and asks for passes; it never fails and never waits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import kopf

from agentpool_api.labels import GROUP, MANAGED_BY, MANAGED_BY_LABEL, VERSION
from agentpool_operator import metrics
from agentpool_operator.observe.cluster import ObjectKey, PoolKey, key_of, pool_of
from agentpool_operator.observe.store import Store

Ask = Callable[[ObjectKey], None]

MANAGED_SELECTOR = f"{MANAGED_BY_LABEL}={MANAGED_BY}"

WATCHED: tuple[tuple[str, str, str, bool], ...] = (
    (GROUP, VERSION, "agentpools", False),
    (GROUP, VERSION, "costbudgets", False),
    ("apps", "v1", "deployments", True),
    ("", "v1", "pods", True),
    ("", "v1", "services", True),
    ("", "v1", "configmaps", True),
    ("", "v1", "serviceaccounts", True),
    ("policy", "v1", "poddisruptionbudgets", True),
)
"""Group, version, plural, and whether only objects with our label are of interest."""


def register_watches(registry: kopf.OperatorRegistry, store: Store, ask: Ask, listed: Callable[[str], None]) -> None:
    """Have every event of the watched kinds update the store and ask for the passes it may matter to.

    A watch that could not be taken up where it ended begins with a list. What was deleted in between shows by its
    absence only, so ``listed`` is told the kind.
    """

    async def on_event(event: Any, **_: Any) -> None:
        body = event["object"]
        metrics.WATCH_EVENTS.labels(body["kind"]).inc()
        if event["type"] is None:
            listed(body["kind"])
        if event["type"] == "DELETED":
            store.remove(body)
        else:
            store.put(body)
        for key in touched(body, store):
            ask(key)

    for group, version, plural, _ in WATCHED:
        kopf.on.event(group, version, plural, registry=registry)(on_event)


def touched(body: Any, store: Store) -> list[ObjectKey]:
    """Pools and budgets a change of this object may matter to."""
    key = key_of(body)
    if key.kind == "AgentPool":
        return [key, *store.keys("CostBudget", key.namespace)]
    if key.kind == "CostBudget":
        return [key, *store.keys("AgentPool", key.namespace)]
    pool: PoolKey = pool_of(body)
    return [ObjectKey("AgentPool", pool.namespace, pool.name)] if pool.name else []


def configure_watches(settings: kopf.OperatorSettings) -> None:
    """Ask the API server for objects with our label only, where that is all we need."""
    for group, version, plural, labelled in WATCHED:
        if labelled:
            settings.watching.label_selectors[group, version, plural] = MANAGED_SELECTOR
