"""How does the number of agents follow the work?"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints

from agentpool_api.fields import Agents, Percent, TimeZone
from agentpool_api.quantity import Duration
from agentpool_api.schema import ApiModel
from agentpool_api.upstreams import DnsName

TimeOfDay = Annotated[str, StringConstraints(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]


class ScalingPolicyName(StrEnum):
    """What reads the load."""

    FORECAST = "Forecast"
    THRESHOLD = "Threshold"
    EXTERNAL = "External"


class SelectPolicy(StrEnum):
    """Which of several rate policies binds: the one that allows most change, least change, or no change at all."""

    MAX = "Max"
    MIN = "Min"
    DISABLED = "Disabled"


class RatePolicyType(StrEnum):
    """Unit of a rate policy."""

    PODS = "Pods"
    PERCENT = "Percent"


class Weekday(StrEnum):
    """A day of the week."""

    MON = "Mon"
    TUE = "Tue"
    WED = "Wed"
    THU = "Thu"
    FRI = "Fri"
    SAT = "Sat"
    SUN = "Sun"


class Threshold(ApiModel):
    """The threshold policy: a fixed step when utilisation leaves a band, then a rest."""

    cel_rules: ClassVar[tuple[tuple[str, str], ...]] = (
        (
            "self.scaleDownPercent < self.scaleUpPercent",
            "scaleDownPercent must be below scaleUpPercent: lower the one or raise the other",
        ),
    )

    scale_up_percent: Annotated[int, Field(ge=1, le=100)] = 80
    """Add agents at this utilisation or above."""
    scale_up_by: Annotated[int, Field(ge=1, le=1000)] = 2
    """Agents added in one step."""
    scale_down_percent: Annotated[int, Field(ge=0, le=99)] = 30
    """Remove agents at this utilisation or below."""
    scale_down_by: Annotated[int, Field(ge=1, le=1000)] = 1
    """Agents removed in one step."""
    cooldown: Duration = "5m"
    """No change of either direction for so long after a change."""


class RatePolicy(ApiModel):
    """How much the size may change within a period."""

    type: RatePolicyType
    """Unit of `value`: agents (`Pods`), or per cent of the size at the period's start."""
    value: Annotated[int, Field(ge=1, le=10_000)]
    """Most agents, or per cent, of change within the period."""
    period_seconds: Annotated[int, Field(ge=1, le=1800)]
    """Length of the period."""


class DirectionRules(ApiModel):
    """Limits of one direction, as in a HorizontalPodAutoscaler (autoscaling/v2)."""

    stabilization_window_seconds: Annotated[int, Field(ge=0, le=3600)] | None = None
    """An earlier wish holds for so long: shrinking goes no lower than the highest, growing no higher than the lowest
    wish of the window. Absent: 0 for growing, the pool's measured start-up time for shrinking."""
    tolerance_percent: Percent = 0
    """Changes of a smaller share of the size are not made."""
    select_policy: SelectPolicy = SelectPolicy.MAX
    """Which of the policies binds; `Disabled` forbids the direction."""
    policies: Annotated[list[RatePolicy], Field(max_length=16)] = []
    """How fast the size may change; without one, at once."""


class Behavior(ApiModel):
    """How fast the Forecast policy may change the size. Bounds, budgets and `replicas` act at once."""

    scale_up: DirectionRules = DirectionRules()
    """Limits of growing."""
    scale_down: DirectionRules = DirectionRules()
    """Limits of shrinking."""


class Schedule(ApiModel):
    """Bounds for a recurring window of local time. An end at or before the start lies on the next day."""

    cel_rules: ClassVar[tuple[tuple[str, str], ...]] = (
        (
            "has(self.minAgents) || has(self.maxAgents)",
            "the schedule changes nothing: set its minAgents, its maxAgents or both",
        ),
        (
            "!has(self.minAgents) || !has(self.maxAgents) || self.minAgents <= self.maxAgents",
            "minAgents of the schedule is above its maxAgents: lower the one or raise the other",
        ),
        (
            "!has(self.days) || self.days.all(day, self.days.exists_one(other, other == day))",
            "days of the schedule names a day twice: name each once",
        ),
    )

    name: DnsName
    """Name, unique in the pool; decisions mention it."""
    time_zone: TimeZone = "UTC"
    """IANA time zone of the window, for example `Europe/Berlin`."""
    days: Annotated[list[Weekday], Field(min_length=1, max_length=7)] | None = None
    """Days on which the window begins; every day when absent."""
    start: TimeOfDay
    """Local time at which the window begins, for example `"08:00"`."""
    end: TimeOfDay
    """Local time at which it ends; equal to `start` it lasts a whole day."""
    min_agents: Agents | None = None
    """Fewest agents while the window is open."""
    max_agents: Agents | None = None
    """Most agents while the window is open."""


class Queue(ApiModel):
    """A Redis Stream in the operator's Redis that holds tasks for the pool's agents."""

    stream: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=128)]
    """Name of the stream. Its key in Redis is `agentpool:{NAMESPACE}:queue:STREAM`, braces included: a pool reads only
    what belongs to its namespace."""
    group: Annotated[str, StringConstraints(pattern=r"^[^\s]+$", max_length=128)]
    """Consumer group of the agents. What it has not yet read (lag) or not acknowledged (pending) is work to do."""


class Scaling(ApiModel):
    """How the number of agents follows the work."""

    cel_rules: ClassVar[tuple[tuple[str, str], ...]] = (
        (
            "duration(self.targetWait) > duration('0s')",
            "targetWait is no time: set at least 100ms, for no number of agents makes every wait zero",
        ),
    )

    policy: ScalingPolicyName = ScalingPolicyName.FORECAST
    """`Forecast`: as many agents as the arrivals expected one start-up ahead need for `targetWait`, helped by a
    forecast of the next 24 hours while that has proven itself. `Threshold`: a fixed step when utilisation leaves a
    band, nothing else. `External`: a person or a HorizontalPodAutoscaler sets `replicas` through the scale
    subresource; where nobody has, the operator writes the size the pool has, for them to read."""
    target_wait: Annotated[str, StringConstraints(pattern=r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$", max_length=32)] = "2s"
    """A request may wait so long for a slot. Forecast policy only."""
    target_utilization_percent: Annotated[int, Field(ge=1, le=100)] = 95
    """Busy share of the slots that the expected load may reach at most. Forecast policy only."""
    queue: Queue | None = None
    """Tasks that wait in a Redis Stream count as work beside the requests; one of them wakes a pool at zero. An agent
    of your own finds its names and Redis in AGENTPOOL_QUEUE_STREAM, _GROUP, _CONSUMER and _REDIS_URL."""
    threshold: Threshold = Threshold()
    """Figures of the Threshold policy."""
    behavior: Behavior = Behavior()
    """How fast the Forecast policy may change the size."""
    schedules: Annotated[
        list[Schedule],
        Field(
            max_length=16,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        ),
    ] = []
    """Windows of time with bounds of their own. While several are open the largest minimum and the largest maximum
    hold."""
