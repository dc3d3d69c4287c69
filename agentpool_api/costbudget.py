"""What is a CostBudget: its spec and status."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints

from agentpool_api.conditions import Condition
from agentpool_api.fields import TIME_ZONE_PATTERN, TIME_ZONE_RULE
from agentpool_api.money import Usd
from agentpool_api.schema import ApiModel


class LabelSelector(ApiModel):
    """Pools of the budget's namespace, by label; without labels all of them."""

    match_labels: Annotated[dict[str, str], Field(max_length=64)] = {}
    """Labels a pool must carry, all of them."""


class SpendLimits(ApiModel):
    """Most US dollars in each calendar window. The tightest window rules."""

    cel_rules: ClassVar[tuple[tuple[str, str], ...]] = (
        (
            "has(self.daily) || has(self.weekly) || has(self.monthly)",
            "the budget limits nothing: set at least one of daily, weekly, monthly",
        ),
        (
            "!has(self.daily) || !has(self.weekly) || quantity(self.daily).compareTo(quantity(self.weekly)) <= 0",
            "daily is above weekly and could never be reached: lower daily or raise weekly",
        ),
        (
            "!has(self.daily) || !has(self.monthly) || quantity(self.daily).compareTo(quantity(self.monthly)) <= 0",
            "daily is above monthly and could never be reached: lower daily or raise monthly",
        ),
        (
            "!has(self.weekly) || !has(self.monthly) || quantity(self.weekly).compareTo(quantity(self.monthly)) <= 0",
            "weekly is above monthly and could never be reached: lower weekly or raise monthly",
        ),
    )

    daily: Usd | None = None
    """A day begins at midnight in the budget's time zone."""
    weekly: Usd | None = None
    """A week begins on Monday."""
    monthly: Usd | None = None
    """A month begins on its first day."""


class CostBudgetSpec(ApiModel):
    """A limit on what the selected pools may spend, on agents and on model tokens together."""

    cel_rules: ClassVar[tuple[tuple[str, str], ...]] = (
        (
            "self.alertPercents.all(i, self.alertPercents.exists_one(j, j == i))"
            " && self.alertPercents.all(i, self.alertPercents.indexOf(i) == "
            "size(self.alertPercents.filter(j, j < i)))",
            "alertPercents must rise, each value once: sort them",
        ),
        (
            "self.scaleDownPercent < self.shutdownPercent",
            "scaleDownPercent must be below shutdownPercent: lower the one or raise the other",
        ),
        (
            "self.hysteresisPercent < self.scaleDownPercent",
            "hysteresisPercent must be below scaleDownPercent, or scale-down could never be undone: lower it",
        ),
    )

    selector: LabelSelector = LabelSelector()
    """Which pools the budget covers."""
    limits: SpendLimits
    """How much they may spend."""
    time_zone: Annotated[
        str,
        StringConstraints(pattern=TIME_ZONE_PATTERN, max_length=64),
        Field(
            json_schema_extra={
                "x-kubernetes-validations": [
                    TIME_ZONE_RULE,
                    {
                        "rule": "self == oldSelf",
                        "message": "timeZone cannot change, for the windows already counted hang on it: "
                        "make a new CostBudget",
                    },
                ]
            }
        ),
    ] = "UTC"
    """IANA time zone in which days, weeks and months begin, for example `Europe/Berlin`."""
    alert_percents: Annotated[list[Annotated[int, Field(ge=1, le=1000)]], Field(min_length=1, max_length=16)] = [
        50,
        80,
        90,
        100,
    ]
    """Shares of a limit at which an event is written, once per window."""
    aggressive_caching_percent: Annotated[int, Field(ge=0, le=100)] = 80
    """From here agents answer from the cache for `cache.keepStale` longer, without asking the model; 0 for never."""
    cheaper_models_percent: Annotated[int, Field(ge=0, le=100)] = 80
    """From here right-sizing takes the cheapest model that fits; 0 for never."""
    batch_requests_percent: Annotated[int, Field(ge=0, le=100)] = 90
    """From here requests to models with a batch endpoint wait for `batching.window` and go in batches; 0 for never."""
    scale_down_percent: Annotated[int, Field(ge=1, le=100)] = 95
    """From here the pools shrink to minAgents (NonEssential ones to none; Critical ones are left alone)."""
    shutdown_percent: Annotated[int, Field(ge=1, le=100)] = 100
    """From here the pools run no agents."""
    hysteresis_percent: Annotated[int, Field(ge=0, le=50)] = 5
    """An action is undone when the share has fallen so far below its threshold."""


class WindowStatus(ApiModel):
    """Spend of one window."""

    name: str
    limit: str
    """US dollars."""
    spent: str
    """US dollars, on agents and tokens."""
    agents: str
    """Of that, on agents' time."""
    tokens: str
    """Of that, on model tokens."""
    carried: str = "0.00"
    """Of that, what the pools' figures no longer show: a pool left the budget, or Redis lost its data."""
    percent: int
    """Spent over limit, in whole percent, rounded down."""
    burn_rate_per_hour: str
    """US dollars per hour, over the last quarter of an hour."""
    resets_at: str
    alerted_percent: int = 0
    """Highest alert threshold crossed in this window."""


class CostBudgetStatus(ApiModel):
    """What the operator last counted."""

    observed_generation: int | None = None
    pools: int = 0
    """Pools the budget selects."""
    window: str = ""
    """The tightest window: the one with the highest share spent."""
    spent: str = ""
    """Spent and limit of the tightest window."""
    percent: int | None = None
    level: str = ""
    """What is in force: Normal, ScaleDown or EmergencyShutdown."""
    windows: Annotated[
        list[WindowStatus],
        Field(json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}),
    ] = []
    conditions: Annotated[
        list[Condition],
        Field(json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}),
    ] = []
