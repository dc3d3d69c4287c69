"""What do the resources say now? Read once a second into frozen values; everything else works on these."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from lightkube import AsyncClient, KubeConfig
from lightkube.generic_resource import create_namespaced_resource

from agentpool_api.conditions import BudgetCondition, Condition
from agentpool_api.costbudget import CostBudgetStatus
from agentpool_api.labels import GROUP, VERSION
from agentpool_api.pool_status import AgentPoolStatus

AGENT_POOL = create_namespaced_resource(GROUP, VERSION, "AgentPool", "agentpools")
COST_BUDGET = create_namespaced_resource(GROUP, VERSION, "CostBudget", "costbudgets")


@dataclass(frozen=True, slots=True)
class Window:
    """Spend of one window in US dollars."""

    name: str
    spent: Decimal
    limit: Decimal
    percent: int
    alerted_percent: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One look at the pool and its budget, with what the clients had seen by then."""

    at_s: float
    """Seconds after the replay began."""
    sent: int
    in_flight: int
    """Requests the clients wait for: the demand."""
    on_demand_desired: int
    spot_desired: int
    on_demand_ready: int
    spot_ready: int
    decision: str
    """Reason and message of the last change of size."""
    windows: tuple[Window, ...]
    pool_conditions: Mapping[str, str]
    """Status by type."""
    budget_conditions: Mapping[str, str]

    @property
    def desired(self) -> int:
        return self.on_demand_desired + self.spot_desired

    @property
    def ready(self) -> int:
        return self.on_demand_ready + self.spot_ready

    @property
    def daily(self) -> Window | None:
        return next((window for window in self.windows if window.name == "daily"), None)

    @property
    def scale_down(self) -> bool:
        """Does the budget hold the pool down?"""
        in_force = (BudgetCondition.SCALE_DOWN, BudgetCondition.EMERGENCY_SHUTDOWN)
        return any(self.budget_conditions.get(type_) == "True" for type_ in in_force)


def client(kubeconfig: Path) -> AsyncClient:
    """A client of the cluster's API."""
    return AsyncClient(config=KubeConfig.from_file(kubeconfig))


async def observe(
    api: AsyncClient, namespace: str, pool: str, budget: str, *, at_s: float, sent: int, in_flight: int
) -> Snapshot:
    """Read both resources. Raises lightkube's ApiError when one is gone."""
    pool_status = AgentPoolStatus.model_validate(_status(await api.get(AGENT_POOL, pool, namespace=namespace)))
    budget_status = CostBudgetStatus.model_validate(_status(await api.get(COST_BUDGET, budget, namespace=namespace)))
    last = pool_status.decisions[0] if pool_status.decisions else None
    return Snapshot(
        at_s=at_s,
        sent=sent,
        in_flight=in_flight,
        on_demand_desired=pool_status.on_demand.desired,
        spot_desired=pool_status.spot.desired,
        on_demand_ready=pool_status.on_demand.ready,
        spot_ready=pool_status.spot.ready,
        decision=f"{last.from_agents} → {last.to_agents}: {last.reason}. {last.message}" if last else "",
        windows=tuple(
            Window(
                window.name,
                Decimal(window.spent),
                Decimal(window.limit),
                window.percent,
                window.alerted_percent,
            )
            for window in budget_status.windows
        ),
        pool_conditions=_by_type(pool_status.conditions),
        budget_conditions=_by_type(budget_status.conditions),
    )


def _status(resource: Any) -> dict[str, Any]:
    return dict(resource.to_dict().get("status") or {})


def _by_type(conditions: list[Condition]) -> dict[str, str]:
    return {condition.type: condition.status for condition in conditions}
