"""What is written into a pool's status?

Only facts: nothing in it moves while nothing changes, or the operator would wake itself for ever.
"""

from __future__ import annotations

from datetime import datetime

from agentpool_api.agentpool import AgentPoolStatus, CapacityStatus, DecisionRecord
from agentpool_api.conditions import Condition, rfc3339
from agentpool_api.money import usd
from agentpool_operator.decide.facts import CapacityFacts, PoolFacts
from agentpool_operator.decide.size import Size
from agentpool_operator.decide.split import AgentPrices, CapacitySplit, hourly_cost_nanousd

KEPT_DECISIONS = 10


def decide_pool_status(
    before: AgentPoolStatus,
    facts: PoolFacts,
    size: Size,
    split: CapacitySplit,
    split_before: CapacitySplit,
    prices: AgentPrices,
    conditions: list[Condition],
    *,
    selector: str,
    now: datetime,
) -> AgentPoolStatus:
    """The status after a pass; ``split_before`` is what was asked for before it."""
    cost = hourly_cost_nanousd(split, prices)
    status = before.model_copy(
        update={
            "observed_generation": facts.generation,
            "replicas": facts.existing,
            "selector": selector,
            "desired_agents": size.desired,
            "ready_agents": facts.ready,
            "on_demand": _capacity(split.on_demand, facts.on_demand),
            "spot": _capacity(split.spot, facts.spot),
            "hourly_cost_usd": usd(cost),
            "conditions": conditions,
        }
    )
    if size.desired == (before.desired_agents or 0) and before.desired_agents is not None:
        return status
    record = DecisionRecord(
        at=rfc3339(now),
        from_agents=before.desired_agents or 0,
        to_agents=size.desired,
        reason=size.reason,
        message=size.message,
        hourly_cost_usd=usd(cost),
        hourly_cost_change_usd=usd(cost - hourly_cost_nanousd(split_before, prices)),
    )
    return status.model_copy(
        update={
            "reason": str(size.reason),
            "last_scale_time": record.at,
            "decisions": [record, *before.decisions][:KEPT_DECISIONS],
        }
    )


def _capacity(desired: int, facts: CapacityFacts) -> CapacityStatus:
    return CapacityStatus(desired=desired, ready=facts.ready)
