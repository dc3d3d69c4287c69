"""How does a pool's spec read as the values the decisions take? The one place that knows both."""

from __future__ import annotations

from agentpool_api.agentpool import AgentPoolSpec, Pause
from agentpool_api.money import nanousd
from agentpool_api.quantity import duration_s
from agentpool_operator.decide.size import SizePolicy
from agentpool_operator.decide.split import PARTS, AgentPrices, SpotPolicy
from agentpool_operator.decide.threshold import ThresholdRule


def size_policy(spec: AgentPoolSpec) -> SizePolicy:
    """What the spec asks of the pool's size."""
    threshold = spec.scaling.threshold
    return SizePolicy(
        min_agents=spec.min_agents,
        max_agents=spec.max_agents,
        warm_agents=warm_agents(spec),
        idle_timeout_s=duration_s(spec.idle_timeout),
        rule=ThresholdRule(
            scale_up_at=threshold.scale_up_percent / 100,
            scale_up_by=threshold.scale_up_by,
            scale_down_at=threshold.scale_down_percent / 100,
            scale_down_by=threshold.scale_down_by,
            cooldown_s=duration_s(threshold.cooldown),
        ),
        demand_floor=spec.scaling.demand_floor,
        replicas=spec.replicas,
        may_grow=spec.pause not in (Pause.OUT, Pause.BOTH),
        may_shrink=spec.pause not in (Pause.IN, Pause.BOTH),
    )


def warm_agents(spec: AgentPoolSpec) -> int:
    """Warm agents as a number; a share of maxAgents is rounded up."""
    if isinstance(spec.warm_agents, int):
        return spec.warm_agents
    return -(-int(spec.warm_agents.removesuffix("%")) * spec.max_agents // 100)


def spot_policy(spec: AgentPoolSpec) -> SpotPolicy:
    """What the spec asks of the split into capacity types."""
    share = spec.spot.percent * PARTS // 100
    return SpotPolicy(enabled=spec.spot.enabled, spot_share_ppm=share, on_demand_base=spec.spot.on_demand_base)


def agent_prices(spec: AgentPoolSpec) -> AgentPrices:
    """What an hour of an agent costs."""
    return AgentPrices(
        on_demand_nanousd=nanousd(spec.cost.on_demand_per_hour), spot_nanousd=nanousd(spec.cost.spot_per_hour)
    )
