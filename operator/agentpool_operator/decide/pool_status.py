"""What is written into a pool's status?

Only facts: nothing in it moves while nothing changes, or the operator would wake itself for ever.
"""

from __future__ import annotations

import math
from datetime import datetime

from agentpool_api.conditions import Condition, rfc3339
from agentpool_api.money import usd
from agentpool_api.pool_status import AgentPoolStatus, CapacityStatus, DecisionRecord, ForecastStatus, QueueStatus
from agentpool_operator.decide.explain import explain, told_inputs
from agentpool_operator.decide.facts import CapacityFacts, PoolFacts
from agentpool_operator.decide.forecast import Forecast
from agentpool_operator.decide.policy import PolicyKind, ScalingPolicy
from agentpool_operator.decide.scaling import Decision
from agentpool_operator.decide.split import CapacitySplit, hourly_cost_nanousd

KEPT_DECISIONS = 10
QUEUE_TOLD_S = 60.0
FORECAST_MODEL = "daily profile × level, yesterday + difference, no change; weighted by error"
FORECAST_HORIZON = "24h"


def decide_pool_status(
    before: AgentPoolStatus,
    facts: PoolFacts,
    policy: ScalingPolicy,
    decision: Decision,
    conditions: list[Condition],
    *,
    selector: str,
    now: datetime,
) -> AgentPoolStatus:
    """The status after a pass. What a change costs is counted from what was asked for before, by capacity type."""
    split, cost = decision.split, decision.cost_after_nanousd
    split_before = CapacitySplit(on_demand=before.on_demand.desired, spot=before.spot.desired)
    forecast = decision.state.forecast if policy.policy is PolicyKind.FORECAST else None
    status = before.model_copy(
        update={
            "observed_generation": facts.generation,
            "replicas": facts.existing,
            "selector": selector,
            "desired_agents": decision.desired,
            "ready_agents": facts.ready,
            "on_demand": _capacity(split.on_demand, facts.on_demand),
            "spot": _capacity(split.spot, facts.spot),
            "hourly_cost_usd": usd(cost),
            "queue": told_queue(before.queue, facts, now),
            "forecast": told_forecast(before.forecast, forecast),
            "conditions": conditions,
        }
    )
    if decision.desired == before.desired_agents:
        return status
    record = DecisionRecord(
        at=rfc3339(now),
        from_agents=before.desired_agents or 0,
        to_agents=decision.desired,
        reason=decision.reason,
        message=explain(decision, policy),
        inputs=told_inputs(decision.inputs),
        hourly_cost_usd=usd(cost),
        hourly_cost_change_usd=usd(cost - hourly_cost_nanousd(split_before, policy.prices)),
    )
    return status.model_copy(
        update={
            "reason": str(decision.reason),
            "last_scale_time": record.at,
            "decisions": [record, *before.decisions][:KEPT_DECISIONS],
        }
    )


def told_forecast(told: ForecastStatus | None, forecast: Forecast | None) -> ForecastStatus | None:
    """The forecast's quality in whole per cent. A figure told before stays until it is off by a whole point."""
    if forecast is None:
        return None
    return ForecastStatus(
        model=FORECAST_MODEL,
        horizon=FORECAST_HORIZON,
        wape_percent=_settled(told.wape_percent if told else None, forecast.wape),
        coverage_percent=_settled(told.coverage_percent if told else None, forecast.coverage),
        ready=forecast.ready,
    )


def told_queue(told: QueueStatus | None, facts: PoolFacts, now: datetime) -> QueueStatus | None:
    """The queue's figures. They move with every task, so what was told stays for a minute."""
    if not facts.queue_named:
        return None
    queue = facts.queue
    if queue is None or queue.lag is None or queue.pending is None:
        return told
    if told is not None and (told.key, told.lag, told.pending) == (queue.key, queue.lag, queue.pending):
        return told
    if told is not None and told.key == queue.key and 0 <= _age_s(told.as_of, now) < QUEUE_TOLD_S:
        return told
    return QueueStatus(key=queue.key, lag=queue.lag, pending=queue.pending, as_of=rfc3339(now))


def _age_s(moment: str, now: datetime) -> float:
    """Seconds since a time in the status; for ever where somebody wrote something else there."""
    try:
        return (now - datetime.fromisoformat(moment.replace("Z", "+00:00"))).total_seconds()
    except (TypeError, ValueError):
        return math.inf


def _settled(told: int | None, share: float) -> int:
    percent = min(share * 100, 1000.0)
    return round(percent) if told is None or abs(percent - told) >= 1.0 else told


def _capacity(desired: int, facts: CapacityFacts) -> CapacityStatus:
    return CapacityStatus(desired=desired, ready=facts.ready)
