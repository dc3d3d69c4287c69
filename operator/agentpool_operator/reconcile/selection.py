"""Which pools does a budget cover, and what do a pool's budgets say to it?

By the budgets' own status, for that outlives the operator.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from agentpool_api.agentpool import AgentPoolSpec
from agentpool_api.wire import BudgetAction, BudgetNotice
from agentpool_operator.decide.budget import PoolCeiling, tightest_ceiling
from agentpool_operator.observe.store import Store

KNOWN_ACTIONS = {str(action): action for action in BudgetAction}


def selects(budget: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a budget covers a pool with these labels."""
    wanted = ((budget.get("spec") or {}).get("selector") or {}).get("matchLabels") or {}
    return all(labels.get(name) == value for name, value in wanted.items())


def budget_ceiling(store: Store, pool: Mapping[str, Any], spec: AgentPoolSpec) -> PoolCeiling | None:
    """What the namespace's budgets allow the pool with this metadata."""
    levels = [
        (budget["metadata"]["name"], (budget.get("status") or {}).get("level", ""))
        for budget in _budgets_of(store, pool)
    ]
    return tightest_ceiling(levels, spec.priority_class, spec.min_agents)


def actions_of(conditions: Iterable[Mapping[str, Any]]) -> frozenset[BudgetAction]:
    """Actions that conditions of a budget, as the API server has them, say to be in force."""
    return frozenset(
        KNOWN_ACTIONS[condition["type"]]
        for condition in conditions
        if condition.get("type") in KNOWN_ACTIONS and condition.get("status") == "True"
    )


def budget_notice(store: Store, pool: Mapping[str, Any]) -> BudgetNotice:
    """What the agents of the pool with this metadata are to know: the least that is left, and every action in force.

    Reads the statuses as they are: this is asked for every pool in every period.
    """
    statuses = [budget.get("status") or {} for budget in _budgets_of(store, pool)]
    spent = [status["percent"] for status in statuses if isinstance(status.get("percent"), int)]
    actions = {str(action) for status in statuses for action in actions_of(status.get("conditions") or [])}
    return BudgetNotice(left_percent=max(100 - max(spent), 0) if spent else None, actions=sorted(actions))


def _budgets_of(store: Store, pool: Mapping[str, Any]) -> list[dict[str, Any]]:
    labels = pool.get("labels") or {}
    return [budget for budget in store.of_kind("CostBudget", pool["namespace"]) if selects(budget, labels)]
