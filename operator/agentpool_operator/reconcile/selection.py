"""Which pools does a budget cover?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentpool_api.agentpool import AgentPoolSpec
from agentpool_operator.decide.budget import PoolCeiling, tightest_ceiling
from agentpool_operator.observe.cluster import Store


def selects(budget: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a budget covers a pool with these labels."""
    wanted = ((budget.get("spec") or {}).get("selector") or {}).get("matchLabels") or {}
    return all(labels.get(name) == value for name, value in wanted.items())


def budget_ceiling(store: Store, pool: Mapping[str, Any], spec: AgentPoolSpec) -> PoolCeiling | None:
    """What the namespace's budgets allow the pool, by their own status, for that outlives the operator."""
    labels = pool["metadata"].get("labels") or {}
    levels = [
        (budget["metadata"]["name"], (budget.get("status") or {}).get("level", ""))
        for budget in store.of_kind("CostBudget", pool["metadata"]["namespace"])
        if selects(budget, labels)
    ]
    return tightest_ceiling(levels, spec.priority_class, spec.min_agents)
