"""What do the metrics say of a budget?"""

from __future__ import annotations

from collections.abc import Sequence

from agentpool_api.costbudget import CostBudgetStatus
from agentpool_api.money import NANO_PER_USD
from agentpool_operator import metrics
from agentpool_operator.decide.budget import WindowSpend
from agentpool_operator.observe.cluster import ObjectKey


def show(budget: ObjectKey, status: CostBudgetStatus, windows: Sequence[WindowSpend]) -> None:
    """Set the budget's series; floats are exact enough for a graph."""
    name = (budget.namespace, budget.name)
    for window in windows:
        metrics.BUDGET_SPENT.labels(*name, window.name).set(window.spent_nanousd / NANO_PER_USD)
        metrics.BUDGET_LIMIT.labels(*name, window.name).set(window.limit_nanousd / NANO_PER_USD)
        metrics.BUDGET_BURN.labels(*name).set(window.burn_nanousd_per_h / NANO_PER_USD)
    for condition in status.conditions:
        metrics.BUDGET_CONDITION.labels(*name, condition.type).set(condition.status == "True")
