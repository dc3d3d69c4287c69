"""What does the user ask of a pool's size?"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from agentpool_operator.decide.behavior import DirectionRules
from agentpool_operator.decide.schedules import ScheduleWindow
from agentpool_operator.decide.split import AgentPrices, SpotPolicy
from agentpool_operator.decide.threshold import ThresholdRule


class Pause(StrEnum):
    """Directions the user holds."""

    NONE = "None"
    IN = "In"
    OUT = "Out"
    BOTH = "Both"


class PolicyKind(StrEnum):
    """What reads the load."""

    FORECAST = "Forecast"
    THRESHOLD = "Threshold"
    EXTERNAL = "External"
    """Nothing: the size stays until a number is set from outside."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingPolicy:
    """What the user asks of a pool's size. Times are seconds."""

    min_agents: int = 2
    max_agents: int = 20
    warm_agents: int = 3
    """Agents a pool wakes with, and keeps until half an hour of its own arrivals is known."""
    idle_timeout_s: float = 1800.0
    policy: PolicyKind = PolicyKind.FORECAST
    target_wait_s: float = 2.0
    target_utilization: float = 0.95
    """Busy share of the slots that the expected load may reach at most."""
    rule: ThresholdRule = field(default_factory=ThresholdRule)
    up: DirectionRules = field(default_factory=DirectionRules)
    down: DirectionRules = field(default_factory=DirectionRules)
    schedules: tuple[ScheduleWindow, ...] = ()
    replicas: int | None = None
    """Number set from outside: takes the place of everything that reads the load, and goes before the cost target."""
    pause: Pause = Pause.NONE
    spot: SpotPolicy = field(default_factory=SpotPolicy)
    prices: AgentPrices = field(default_factory=AgentPrices)
    hourly_cost_target_nanousd: int | None = None
