"""How many agents should a pool have now, on which capacity, why, and what does that change cost?

One pure function, `decide`. Order of authority, the later wins: the load (forecast policy or threshold rule), agents
kept warm or let go when idle, the HPA's ``behavior`` (or, in place of these three, the number set from outside), the
bounds of the pool and its schedules, the hourly cost target, the user's pause, the budget. Growth is never held by a
cooldown except in the threshold rule.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from agentpool_operator.decide.behavior import Wish, rate_limit, stabilize, within_tolerance
from agentpool_operator.decide.expected import wanted_agents
from agentpool_operator.decide.load import PoolLoad, trusted
from agentpool_operator.decide.policy import Pause, PolicyKind, ScalingPolicy
from agentpool_operator.decide.reasons import Reason
from agentpool_operator.decide.schedules import Bounds, scheduled_bounds
from agentpool_operator.decide.split import CapacitySplit, affordable_agents, hourly_cost_nanousd, split_capacity
from agentpool_operator.decide.state import PoolState, changed, remembered
from agentpool_operator.decide.threshold import decide_threshold


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Decision:
    """The size to ask for and its explanation. Costs are nano-USD per hour."""

    desired: int
    split: CapacitySplit
    reasons: tuple[Reason, ...]
    """The primary reason first, then what shaped the wish before it."""
    inputs: Mapping[str, float]
    wished: int
    """What the load asks for, before bounds, cost target, pause and budget."""
    cost_before_nanousd: int
    cost_after_nanousd: int
    state: PoolState

    @property
    def reason(self) -> Reason:
        """What had the last word."""
        return self.reasons[0]

    @property
    def cost_change_nanousd(self) -> int:
        """What the change adds to an hour; negative is a saving."""
        return self.cost_after_nanousd - self.cost_before_nanousd


@dataclass(frozen=True, slots=True)
class _Size:
    agents: int
    reasons: tuple[Reason, ...]

    def to(self, agents: int, reason: Reason) -> _Size:
        """The same size, or another one with the reason that changed it in front."""
        return self if agents == self.agents else _Size(agents, (reason, *self.reasons))


def decide(
    policy: ScalingPolicy, load: PoolLoad, state: PoolState, *, now_s: float, spot_limit: int | None = None
) -> Decision:
    """The next size of a pool. Same input, same output; a pass over its own outcome changes nothing.

    Unknown load keeps the size (within bounds and budget), load that is known in part never makes it smaller. Spot
    agents beyond `spot_limit` run on demand. Sizes are compared with what was asked for last, so a pool
    whose agents are slow to appear or to leave is not asked twice.
    """
    load = trusted(load)
    present = load.total if state.desired is None else state.desired
    if state.desired is None:
        # As in the HPA, the size found at first is the first wish: seconds of traffic do not shrink what someone sized.
        state = replace(state, wishes=(Wish(now_s, present),))
    state = remembered(state, load, now_s)
    bounds = scheduled_bounds(policy.min_agents, policy.max_agents, policy.schedules, now_s=now_s)
    is_new = state.desired is None and present == 0
    wish, state, inputs = _wish(policy, load, state, bounds, present, now_s)
    if load.partial and wish.agents < present and wish.reasons[0] is not Reason.EXTERNAL:
        wish = wish.to(present, Reason.METRICS_MISSING)
    size = _bounded(wish, policy, bounds, spot_limit)
    if not is_new:  # a pool that starts is no change of size
        size = _unpaused(size, policy.pause, present)
    if load.budget_ceiling is not None and size.agents > load.budget_ceiling:
        size = size.to(load.budget_ceiling, Reason.BUDGET)
    split = split_capacity(size.agents, policy.spot, spot_limit=spot_limit)
    before = split_capacity(present, policy.spot, spot_limit=spot_limit)
    return Decision(
        desired=size.agents,
        split=split,
        reasons=size.reasons,
        inputs=inputs,
        wished=wish.agents,
        cost_before_nanousd=hourly_cost_nanousd(before, policy.prices),
        cost_after_nanousd=hourly_cost_nanousd(split, policy.prices),
        state=changed(state, policy, size.agents, present, now_s),
    )


def _wish(
    policy: ScalingPolicy, load: PoolLoad, state: PoolState, bounds: Bounds, present: int, now_s: float
) -> tuple[_Size, PoolState, dict[str, float]]:
    """What the load asks for, the state with the wish remembered, and the figures it came from."""
    if policy.replicas is not None:
        return _Size(policy.replicas, (Reason.EXTERNAL,)), _set_from_outside(state, policy.replicas, now_s), {}
    if policy.policy is PolicyKind.EXTERNAL:
        agents = policy.warm_agents if state.desired is None and not present else present
        return _Size(agents, (Reason.EXTERNAL,)), _set_from_outside(state, agents, now_s), {}
    if policy.policy is PolicyKind.THRESHOLD:
        size, inputs = _threshold_wish(policy, load, state, bounds, present, now_s)
        size = _warm_or_idle(_woken(size, load, present), policy, load, state, now_s)
        return size, state, inputs | _queue_inputs(load)
    wanted = wanted_agents(policy, load, state, limit=bounds.max_agents, present=present)
    inputs = wanted.inputs | _queue_inputs(load)
    size = _warm_or_idle(_woken(_Size(wanted.agents, (wanted.reason,)), load, present), policy, load, state, now_s)
    startup_s = inputs["startup_s"]
    up_s = policy.up.stabilization_s or 0.0
    down_s = startup_s if policy.down.stabilization_s is None else policy.down.stabilization_s
    held = size.to(
        stabilize(present, size.agents, state.wishes, up_s=up_s, down_s=down_s, now_s=now_s), Reason.STABILIZED
    )
    kept = tuple(w for w in state.wishes if 0 <= now_s - w.at_s < max(up_s, down_s))
    if Reason.METRICS_MISSING not in size.reasons:
        kept = (*kept, Wish(now_s, size.agents))
    if Reason.IDLE in size.reasons:
        held = size
    if within_tolerance(present, held.agents, up=policy.up, down=policy.down):
        held = held.to(present, Reason.TOLERANCE)
    limited = rate_limit(present, held.agents, state.changes, up=policy.up, down=policy.down, now_s=now_s)
    return held.to(limited, Reason.RATE_LIMITED), replace(state, wishes=kept), inputs


def _set_from_outside(state: PoolState, agents: int, now_s: float) -> PoolState:
    """What the policy finds when it is handed the pool back: a size somebody asked for just now, to keep and to decide
    from. It is no start to be warmed for, and a pool at zero waits for its first task."""
    last_active_at_s = state.last_active_at_s if agents else None
    return replace(state, wishes=(Wish(now_s, agents),), woken_at_s=None, last_active_at_s=last_active_at_s)


def _threshold_wish(
    policy: ScalingPolicy, load: PoolLoad, state: PoolState, bounds: Bounds, present: int, now_s: float
) -> tuple[_Size, dict[str, float]]:
    step = decide_threshold(
        policy.rule,
        total=present,
        utilization=load.utilization,
        last_scaled_at_s=state.last_scaled_at_s,
        min_agents=bounds.min_agents,
        max_agents=bounds.max_agents,
        now_s=now_s,
    )
    inputs = {} if load.utilization is None else {"utilization": load.utilization}
    return _Size(step.desired, (step.reason,)), inputs


def _queue_inputs(load: PoolLoad) -> dict[str, float]:
    """What the queue holds, for a pool that has one."""
    known = {"queue_lag": load.backlog, "queue_pending": load.pending, "oldest_wait_s": load.oldest_wait_s}
    return {name: float(value) for name, value in known.items() if value is not None}


def _woken(size: _Size, load: PoolLoad, present: int) -> _Size:
    """The same size; one agent at least, and for this reason, when a pool at zero has work."""
    if present or not (load.has_work or (size.agents and Reason.FORECAST in size.reasons)):
        return size
    return _Size(max(size.agents, 1), (Reason.WOKEN,))


def _warm_or_idle(size: _Size, policy: ScalingPolicy, load: PoolLoad, state: PoolState, now_s: float) -> _Size:
    """Agents kept after waking, and none beyond the minimum after the idle timeout.

    A pool that never had work is neither warmed nor idled out: its idle clock has not started.
    """
    if state.last_active_at_s is None:
        return size
    idle_s = now_s - state.last_active_at_s
    if idle_s >= policy.idle_timeout_s and not load.in_system:
        if load.in_system is None or Reason.METRICS_MISSING in size.reasons:
            return size
        return size.to(min(size.agents, policy.min_agents), Reason.IDLE)
    waking = state.woken_at_s is not None and 0 <= now_s - state.woken_at_s < policy.idle_timeout_s
    unknown = len(state.history.minutes) * 60 < policy.idle_timeout_s
    if waking and unknown and size.agents < policy.warm_agents:
        return size.to(policy.warm_agents, Reason.WARM)
    if idle_s < policy.idle_timeout_s and size.agents < 1 <= policy.max_agents:
        return size.to(1, Reason.WARM)
    return size


def _bounded(size: _Size, policy: ScalingPolicy, bounds: Bounds, spot_limit: int | None) -> _Size:
    reason = Reason.SCHEDULE if bounds.windows else Reason.BOUNDS
    size = size.to(min(max(size.agents, bounds.min_agents), bounds.max_agents), reason)
    if policy.hourly_cost_target_nanousd is None or policy.replicas is not None:
        return size
    affordable = affordable_agents(
        policy.hourly_cost_target_nanousd,
        policy.spot,
        policy.prices,
        spot_limit=spot_limit,
        limit=bounds.max_agents,
    )
    return size.to(min(size.agents, max(affordable, bounds.min_agents)), Reason.COST_TARGET)


def _unpaused(size: _Size, pause: Pause, present: int) -> _Size:
    if (size.agents > present and pause in (Pause.OUT, Pause.BOTH)) or (
        size.agents < present and pause in (Pause.IN, Pause.BOTH)
    ):
        return size.to(present, Reason.PAUSED)
    return size
