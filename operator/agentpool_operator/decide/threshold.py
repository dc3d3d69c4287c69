"""Which size does the plain threshold rule want, and how many agents does the measured work need?

Two independent answers. `decide_threshold` is the rule users know from their own scripts: a step up when busy, a step
down when idle, then a pause for both directions. `needed_agents` is the floor that measured arrivals and service time
set: the rule alone would need hours to follow a jump two agents at a time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from agentpool_operator.decide.reasons import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class ThresholdRule:
    """The rule's figures. Utilization is a share of the serving slots in [0, 1]."""

    scale_up_at: float = 0.8
    scale_up_by: int = 2
    scale_down_at: float = 0.3
    scale_down_by: int = 1
    cooldown_s: float = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ThresholdStep:
    """The size the rule asks for and why. `stepped` tells whether the cooldown starts anew."""

    desired: int
    reason: Reason
    stepped: bool


def decide_threshold(
    rule: ThresholdRule,
    *,
    total: int,
    utilization: float | None,
    last_scaled_at_s: float | None,
    min_agents: int,
    max_agents: int,
    now_s: float,
) -> ThresholdStep:
    """Next size of a pool by the threshold rule, always within `min_agents` and `max_agents`.

    At or over `scale_up_at` the pool grows by `scale_up_by`, at or under `scale_down_at` it shrinks by
    `scale_down_by`. Nothing steps within `cooldown_s` of the last change, in either direction. An unknown utilization
    keeps the size. Bounds that moved act at once: they are the user's word, not a reaction to load. A clock that went
    back (a last change in the future) counts as a change of just now.
    """
    bounded = min(max(total, min_agents), max_agents)
    if bounded != total:
        return ThresholdStep(desired=bounded, reason=Reason.BOUNDS, stepped=True)
    if utilization is None or not math.isfinite(utilization) or utilization < 0:
        return ThresholdStep(desired=total, reason=Reason.METRICS_MISSING, stepped=False)
    if last_scaled_at_s is not None and now_s - last_scaled_at_s < rule.cooldown_s:
        return ThresholdStep(desired=total, reason=Reason.COOLDOWN, stepped=False)
    if utilization >= rule.scale_up_at:
        wanted, reason = total + rule.scale_up_by, Reason.UTILIZATION_HIGH
    elif utilization <= rule.scale_down_at:
        wanted, reason = total - rule.scale_down_by, Reason.UTILIZATION_LOW
    else:
        return ThresholdStep(desired=total, reason=Reason.STEADY, stepped=False)
    desired = min(max(wanted, min_agents), max_agents)
    if desired == total:
        return ThresholdStep(desired=total, reason=Reason.BOUNDS, stepped=False)
    return ThresholdStep(desired=desired, reason=reason, stepped=True)


def needed_agents(
    *,
    arrivals_per_s: float | None,
    service_s: float | None,
    concurrency: int,
    target_utilization: float = 0.8,
    in_system: int | None = None,
) -> int | None:
    """Agents that the measured work keeps busy at the target utilization, rounded up; ``None`` when unknown.

    Little's law: arrivals per second × service time is the mean number of tasks in service; divided by the tasks per
    agent and the share of them that may be busy. Tasks already in the system (`in_system`) need a slot each, whatever
    the arrivals say, so a backlog raises the answer and a gap in the arrivals never hides it.
    """
    slots = max(concurrency, 1)
    offered: float | None = None
    if arrivals_per_s is not None and service_s is not None:
        offered = arrivals_per_s * service_s
        if not math.isfinite(offered) or offered < 0:
            offered = None
    present = None if in_system is None else math.ceil(max(in_system, 0) / slots)
    if offered is None:
        return present
    # The tolerance keeps 8 tasks / (1 slot × 0.8) at 10 agents instead of 10.000000000000002 → 11.
    steady = math.ceil(offered / (slots * target_utilization) - 1e-9)
    return max(steady, present or 0)
