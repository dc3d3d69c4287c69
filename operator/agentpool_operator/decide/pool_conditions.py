"""Which conditions does a pool have?

| condition        | True                                   | False                                          |
|------------------|----------------------------------------|------------------------------------------------|
| Ready            | enough agents serve, nothing is wrong  | too few serve, or something needs the user     |
| Progressing      | agents start, leave or are replaced    | all are as asked                               |
| ScalingActive    | the policy moves the size              | paused, set from outside, or nothing is known  |
| ScalingLimited   | bounds or the cost target hold it      | the size is what the policy wants              |
| BudgetLimited    | a budget holds the size down           | no budget acts on the pool                     |
| MetricsAvailable | the agents report                      | some do not, or Redis does not answer          |
| ForecastReady    | the daily forecast acts                | it has yet to prove itself, or is not asked    |
| SpotAvailable    | spot nodes take the pool's agents      | too few do: the others run on demand           |
| QueueAvailable   | the queue's work is counted            | it or its group is not there, or is no stream  |

"Enough" is the smaller of what is asked for and minAgents, but one at least: a pool that serves stays Ready while it
grows.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from agentpool_api.conditions import Condition, PoolCondition, rfc3339, set_condition
from agentpool_operator.decide.budget import PoolCeiling
from agentpool_operator.decide.explain import explain
from agentpool_operator.decide.facts import CapacityFacts, PoolFacts, QueueFacts, Trouble
from agentpool_operator.decide.forecast import COVERAGE, Forecast
from agentpool_operator.decide.policy import Pause, PolicyKind, ScalingPolicy
from agentpool_operator.decide.reasons import Reason
from agentpool_operator.decide.scaling import Decision
from agentpool_operator.decide.spot import SpotState

Verdict = tuple[bool | None, str, str]
"""Status (None: Unknown), reason, message."""


def decide_pool_conditions(
    before: Iterable[Condition],
    facts: PoolFacts,
    policy: ScalingPolicy,
    decision: Decision,
    ceiling: PoolCeiling | None,
    spot: SpotState,
    *,
    now: datetime,
) -> list[Condition]:
    """All conditions, in a fixed order, with the transition times of those that did not change."""
    verdicts: dict[str, Verdict] = {
        PoolCondition.READY: _ready(facts, policy, decision),
        PoolCondition.PROGRESSING: _progressing(facts, decision.desired),
        PoolCondition.SCALING_ACTIVE: _scaling_active(facts, policy),
        PoolCondition.SCALING_LIMITED: _scaling_limited(decision, policy),
        PoolCondition.BUDGET_LIMITED: _budget_limited(ceiling),
        PoolCondition.METRICS_AVAILABLE: _metrics_available(facts),
        PoolCondition.FORECAST_READY: _forecast_ready(decision.state.forecast, policy),
    }
    if facts.spot_enabled:
        verdicts[PoolCondition.SPOT_AVAILABLE] = _spot_available(facts.spot, spot)
    if facts.queue_named:
        verdicts[PoolCondition.QUEUE_AVAILABLE] = _queue_available(facts.queue)
    order = list(verdicts)
    conditions = [condition for condition in before if condition.type in verdicts]
    if decision.reason is Reason.METRICS_MISSING and PoolCondition.SCALING_LIMITED in {
        each.type for each in conditions
    }:
        # What is wanted is not known, so neither is whether bounds hold it: what was said stands, also over a restart.
        del verdicts[PoolCondition.SCALING_LIMITED]
    for type_, (status, reason, message) in verdicts.items():
        conditions = set_condition(
            conditions, type_, status, reason, message, observed_generation=facts.generation, now=now
        )
    return sorted(conditions, key=lambda condition: order.index(condition.type))


def _ready(facts: PoolFacts, policy: ScalingPolicy, decision: Decision) -> Verdict:
    if facts.refused is not None:
        return False, facts.refused.reason, facts.refused.message
    trouble = _trouble(facts)
    if trouble is not None:
        return False, trouble.reason, trouble.message
    if facts.preview and not facts.existing:
        return False, "Preview", "mode Preview starts no agent: set spec.mode to Enforce"
    if decision.desired == 0 and not facts.preview:
        return True, "ScaledToZero", f"no agent is wanted: {explain(decision, policy)}"
    enough = max(1, min(facts.existing if facts.preview else decision.desired, policy.min_agents))
    if facts.ready >= enough:
        return True, "AgentsReady", "enough agents serve"
    if facts.on_demand.unschedulable or facts.spot.unschedulable:
        message = facts.on_demand.unschedulable or facts.spot.unschedulable
        hint = "add nodes, or lower the requests in spec.agent.resources and runtimeResources"
        return False, "Unschedulable", f"no node takes an agent ({message}): {hint}"
    refused = facts.on_demand.refused or facts.spot.refused
    if refused:
        hint = "raise the quota, or change spec.agent to what the namespace allows"
        return False, "PodsRefused", f"the API server takes no agent's pod ({refused}): {hint}"
    return False, "AgentsStarting", f"waiting until {enough} agents serve"


def _trouble(facts: PoolFacts) -> Trouble | None:
    """What needs the user: the agents' own word first, for it is the most exact."""
    if facts.problems:
        first = facts.problems[0]
        return Trouble(reason=first.reason, message=f"{first.field}: {first.message}")
    return facts.on_demand.waiting or facts.spot.waiting


def _progressing(facts: PoolFacts, desired: int) -> Verdict:
    if facts.preview:
        return False, "Preview", "spec.mode is Preview: no workload is written"
    if not (facts.on_demand.current and facts.spot.current):
        return True, "RollingOut", "agents are made from the newest configuration"
    if facts.existing < desired:
        return True, "ScalingOut", "agents are added"
    if facts.existing > desired:
        return True, "ScalingIn", "agents finish their work and leave"
    if facts.ready < desired:
        return True, "AgentsStarting", "agents start"
    return False, "Stable", "all agents serve"


def _scaling_active(facts: PoolFacts, policy: ScalingPolicy) -> Verdict:
    if facts.preview:
        return False, "Preview", "decisions are published and not carried out: set spec.mode to Enforce"
    if policy.policy is PolicyKind.EXTERNAL:
        return False, "ReplicasSet", "spec.scaling.policy is External: the size is what the scale subresource is told"
    if policy.replicas is not None:
        return False, "ReplicasSet", "spec.replicas holds the size: remove it to hand scaling back to the policy"
    if policy.pause is Pause.BOTH:
        return False, "Paused", "spec.pause holds the size"
    if not facts.metrics_available and facts.ready > 0:
        return False, "MetricsMissing", "the load is not known, so the size stays"
    if policy.pause is not Pause.NONE:
        return True, "PartlyPaused", "spec.pause holds one direction"
    return True, "PolicyActive", "the size follows the work"


def _scaling_limited(decision: Decision, policy: ScalingPolicy) -> Verdict:
    if decision.reason is Reason.COST_TARGET:
        return True, "CostTarget", "more agents are wanted than cost.targetPerHour pays for: raise it for more"
    if decision.reason is Reason.SCHEDULE:
        return True, "Schedule", "the bounds of an open schedule hold the size"
    if decision.wished > policy.max_agents and decision.desired >= policy.max_agents:
        return True, "TooManyAgents", f"more agents are wanted than maxAgents ({policy.max_agents}) allows"
    if decision.wished < policy.min_agents and decision.desired == policy.min_agents:
        return True, "TooFewAgents", f"fewer agents are wanted than minAgents ({policy.min_agents}) demands"
    return False, "WithinBounds", "the size is what the work needs"


def _budget_limited(ceiling: PoolCeiling | None) -> Verdict:
    if ceiling is None:
        return False, "NoBudget", "no CostBudget selects the pool"
    if ceiling.agents is None:
        return False, "WithinBudget", "no budget acts on the pool"
    return True, ceiling.level, f"CostBudget {ceiling.budget} allows {ceiling.agents} agents"


def _metrics_available(facts: PoolFacts) -> Verdict:
    if not facts.redis_up:
        return False, "RedisUnavailable", "Redis does not answer: sizes hold until it does"
    if facts.silent:
        return False, "HeartbeatsMissing", f"ready agents do not report: {', '.join(facts.silent[:3])}"
    if facts.metrics_available:
        return True, "HeartbeatsFresh", "every ready agent reports"
    if facts.ready > 0:
        return None, "HeartbeatsAwaited", "agents have begun to serve and are yet to report"
    return True, "NoAgents", "no agent serves, so none reports"


def _forecast_ready(forecast: Forecast | None, policy: ScalingPolicy) -> Verdict:
    if policy.policy is not PolicyKind.FORECAST:
        return False, "NotUsed", f"the {policy.policy} policy reads no forecast"
    if forecast is None:
        return False, "HistoryTooShort", "two and a half days of arrivals are needed: the size follows the load alone"
    if forecast.ready:
        return True, "Proven", "better than yesterday's values and than no change: it may raise the size"
    if forecast.wape >= min(forecast.naive_wape, forecast.last_wape):
        return False, "NotBetterThanNaive", "yesterday's values or no change would do as well: it does not act"
    return False, "CoverageOff", f"its upper bound does not hold the {COVERAGE:.0%} it states: it does not act"


def _spot_available(facts: CapacityFacts, spot: SpotState) -> Verdict:
    if spot.has_fallen_back:
        retry = rfc3339(datetime.fromtimestamp(spot.retry_at_s, UTC))
        return False, "FellBack", f"too few spot nodes: other agents run on demand, spot is tried again at {retry}"
    if spot.limit is not None:
        return False, "Retrying", f"spot nodes are tried again with {spot.step} agents, the others run on demand"
    if facts.unschedulable:
        return False, "Unschedulable", f"no spot node takes an agent: {facts.unschedulable}"
    return True, "SpotAvailable", "spot agents find nodes"


def _queue_available(queue: QueueFacts | None) -> Verdict:
    if queue is None:
        return None, "QueueAwaited", "the queue was not read yet, or Redis does not answer"
    if queue.trouble is not None:
        return False, queue.trouble.reason, queue.trouble.message
    return True, "QueueRead", f"unread and pending tasks of {queue.key} count as work"
