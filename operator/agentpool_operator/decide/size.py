"""How many agents should a pool have now, by the threshold policy?

In order: the number set from outside, or the threshold rule; the floor of measured demand; the agents kept warm; the
bounds; the user's pause; the budget, which has the last word and alone may go below the minimum.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from agentpool_operator.decide.load import PoolLoad, trusted
from agentpool_operator.decide.reasons import Reason
from agentpool_operator.decide.threshold import ThresholdRule, decide_threshold, needed_agents


@dataclass(frozen=True, slots=True, kw_only=True)
class SizePolicy:
    """What the user asks of a pool's size. Times are seconds."""

    min_agents: int
    max_agents: int
    warm_agents: int = 0
    idle_timeout_s: float = 1800.0
    rule: ThresholdRule = field(default_factory=ThresholdRule)
    demand_floor: bool = True
    replicas: int | None = None
    """Number set from outside; takes the place of the rule and the floors."""
    may_grow: bool = True
    may_shrink: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeMemory:
    """What is remembered from one decision to the next. Times are Unix seconds."""

    desired: int | None = None
    """Agents last asked for; None for a pool that never had any."""
    last_scaled_at_s: float | None = None
    last_active_s: float = 0.0
    """When the pool last had work; its creation before the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How many agents, and why."""

    desired: int
    reason: Reason
    message: str
    wished: int
    """What would be asked for without bounds and budget."""

    @property
    def limited(self) -> bool:
        return self.wished != self.desired


def decide_size(policy: SizePolicy, load: PoolLoad, memory: SizeMemory, *, partial: bool, now_s: float) -> Size:
    """The size a pool should have.

    ``partial``: some agents' reports are missing, so the load may be higher than it looks: the pool may grow by what is
    known, and does not shrink. With no report at all (no utilization) it holds.
    """
    load = trusted(load)
    present = load.total if memory.desired is None else memory.desired
    wish = _wish(policy, load, memory, present, now_s)
    if partial and wish.desired < present and policy.replicas is None:
        wish = _keep(wish, present, Reason.METRICS_MISSING, "some agents do not report, so none is taken away")
    return _within_budget(_unpaused(_within_bounds(wish, policy), policy, present, memory), load)


def _wish(policy: SizePolicy, load: PoolLoad, memory: SizeMemory, present: int, now_s: float) -> Size:
    if policy.replicas is not None:
        return _size(policy.replicas, Reason.EXTERNAL, f"{policy.replicas} set through the scale subresource")
    wish = _by_rule(policy, load, memory, present, now_s)
    needed = _needed(load) if policy.demand_floor else None
    if needed is not None and needed > wish.desired:
        wish = _size(needed, Reason.CURRENT_LOAD, f"arrivals and work in hand keep {needed} agents busy")
    active = memory.last_active_s + policy.idle_timeout_s > now_s or (load.in_system or 0) > 0
    if active and policy.warm_agents > wish.desired:
        return _size(policy.warm_agents, Reason.WARM, f"{policy.warm_agents} agents kept while the pool is in use")
    if not active and needed in (None, 0) and load.utilization == 0 and wish.desired > policy.min_agents:
        return _size(policy.min_agents, Reason.IDLE, f"no work for {policy.idle_timeout_s:g} s")
    return wish


def _by_rule(policy: SizePolicy, load: PoolLoad, memory: SizeMemory, present: int, now_s: float) -> Size:
    rule = policy.rule
    step = decide_threshold(
        rule,
        total=present,
        utilization=load.utilization,
        last_scaled_at_s=memory.last_scaled_at_s,
        min_agents=policy.min_agents,
        max_agents=policy.max_agents,
        now_s=now_s,
    )
    share = "unknown" if load.utilization is None else f"{load.utilization:.0%}"
    explained = {
        Reason.UTILIZATION_HIGH: f"utilisation {share} is at or over {rule.scale_up_at:.0%}",
        Reason.UTILIZATION_LOW: f"utilisation {share} is at or under {rule.scale_down_at:.0%}",
        Reason.COOLDOWN: f"resting for {rule.cooldown_s:g} s after the last change",
        Reason.METRICS_MISSING: "no agent reports, so the size stays",
        Reason.BOUNDS: f"minAgents {policy.min_agents}, maxAgents {policy.max_agents}",
    }
    return _size(step.desired, step.reason, explained.get(step.reason, f"utilisation {share}"))


def _needed(load: PoolLoad) -> int | None:
    arrivals = load.arrivals_per_s
    rate = sum(arrivals) / len(arrivals) if arrivals else None
    return needed_agents(
        arrivals_per_s=rate, service_s=load.service_s, concurrency=load.concurrency, in_system=load.in_system
    )


def _within_bounds(wish: Size, policy: SizePolicy) -> Size:
    bounded = min(max(wish.desired, policy.min_agents), policy.max_agents)
    if bounded == wish.desired:
        return wish
    return _keep(wish, bounded, Reason.BOUNDS, f"minAgents {policy.min_agents}, maxAgents {policy.max_agents}")


def _unpaused(wish: Size, policy: SizePolicy, present: int, memory: SizeMemory) -> Size:
    if memory.desired is None:
        return wish  # a pool that starts is no change of size
    if wish.desired > present and not policy.may_grow:
        return _keep(wish, present, Reason.PAUSED, "growing is paused")
    if wish.desired < present and not policy.may_shrink:
        return _keep(wish, present, Reason.PAUSED, "shrinking is paused")
    return wish


def _within_budget(wish: Size, load: PoolLoad) -> Size:
    if load.budget_ceiling is None or wish.desired <= load.budget_ceiling:
        return wish
    return _keep(wish, load.budget_ceiling, Reason.BUDGET, f"the budget allows {load.budget_ceiling}")


def _size(desired: int, reason: Reason, message: str) -> Size:
    return Size(desired=desired, reason=reason, message=message, wished=desired)


def _keep(wish: Size, desired: int, reason: Reason, message: str) -> Size:
    return replace(wish, desired=desired, reason=reason, message=message)
