"""How does a pool's spec read as the values the decisions take? The one place that knows both."""

from __future__ import annotations

from datetime import time
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from agentpool_api import scaling as api
from agentpool_api.agentpool import AgentPoolSpec
from agentpool_api.money import nanousd
from agentpool_api.quantity import duration_s
from agentpool_operator.decide.behavior import DirectionRules, PolicyKind, RatePolicy, SelectPolicy
from agentpool_operator.decide.policy import Pause, ScalingPolicy
from agentpool_operator.decide.policy import PolicyKind as LoadPolicy
from agentpool_operator.decide.schedules import EVERY_DAY, ScheduleWindow
from agentpool_operator.decide.split import PARTS, AgentPrices, SpotPolicy
from agentpool_operator.decide.threshold import ThresholdRule
from agentpool_operator.errors import ManifestRefusedError


def scaling_policy(spec: AgentPoolSpec) -> ScalingPolicy:
    """What the spec asks of the pool's size. Raises ManifestRefusedError for what only the operator can know."""
    scaling = spec.scaling
    return ScalingPolicy(
        min_agents=spec.min_agents,
        max_agents=spec.max_agents,
        warm_agents=warm_agents(spec),
        idle_timeout_s=duration_s(spec.idle_timeout),
        policy=LoadPolicy(scaling.policy),
        target_wait_s=duration_s(scaling.target_wait),
        target_utilization=scaling.target_utilization_percent / 100,
        rule=_threshold_rule(scaling.threshold),
        up=_direction(scaling.behavior.scale_up),
        down=_direction(scaling.behavior.scale_down),
        schedules=tuple(_window(index, schedule) for index, schedule in enumerate(scaling.schedules)),
        replicas=spec.replicas,
        pause=Pause(spec.pause),
        spot=_spot_policy(spec),
        prices=agent_prices(spec),
        hourly_cost_target_nanousd=nanousd(spec.cost.target_per_hour),
    )


def warm_agents(spec: AgentPoolSpec) -> int:
    """Warm agents as a number; a share of maxAgents is rounded up."""
    if isinstance(spec.warm_agents, int):
        return spec.warm_agents
    return -(-int(spec.warm_agents.removesuffix("%")) * spec.max_agents // 100)


def agent_prices(spec: AgentPoolSpec) -> AgentPrices:
    """What an hour of an agent costs."""
    return AgentPrices(
        on_demand_nanousd=nanousd(spec.cost.on_demand_per_hour), spot_nanousd=nanousd(spec.cost.spot_per_hour)
    )


def _spot_policy(spec: AgentPoolSpec) -> SpotPolicy:
    share = spec.spot.percent * PARTS // 100
    return SpotPolicy(enabled=spec.spot.enabled, spot_share_ppm=share, on_demand_base=spec.spot.on_demand_base)


def _threshold_rule(threshold: api.Threshold) -> ThresholdRule:
    return ThresholdRule(
        scale_up_at=threshold.scale_up_percent / 100,
        scale_up_by=threshold.scale_up_by,
        scale_down_at=threshold.scale_down_percent / 100,
        scale_down_by=threshold.scale_down_by,
        cooldown_s=duration_s(threshold.cooldown),
    )


def _direction(rules: api.DirectionRules) -> DirectionRules:
    window_s = rules.stabilization_window_seconds
    return DirectionRules(
        stabilization_s=None if window_s is None else float(window_s),
        tolerance=rules.tolerance_percent / 100,
        select=SelectPolicy(rules.select_policy),
        policies=tuple(
            RatePolicy(kind=PolicyKind(each.type), value=each.value, period_s=float(each.period_seconds))
            for each in rules.policies
        ),
    )


def _window(index: int, schedule: api.Schedule) -> ScheduleWindow:
    try:
        zone = ZoneInfo(schedule.time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        field = f"spec.scaling.schedules[{index}].timeZone"
        message = f"{field}: {schedule.time_zone} is not known here: use an IANA name such as Europe/Berlin"
        raise ManifestRefusedError("InvalidSpec", message) from None
    order = list(api.Weekday)
    return ScheduleWindow(
        name=schedule.name,
        start=time.fromisoformat(schedule.start),
        end=time.fromisoformat(schedule.end),
        zone=zone,
        days=frozenset(map(order.index, schedule.days)) if schedule.days else EVERY_DAY,
        min_agents=schedule.min_agents,
        max_agents=schedule.max_agents,
    )
