"""What does the operator tell about a pool?"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from agentpool_api.conditions import Condition
from agentpool_api.schema import ApiModel


class CapacityStatus(ApiModel):
    """Agents of one capacity type."""

    desired: int = 0
    ready: int = 0


class ForecastStatus(ApiModel):
    """The forecast of arrivals and its measured quality, one hour ahead over the last two days."""

    model: str
    """How the forecast is made."""
    horizon: str
    """How far it looks."""
    wape_percent: int
    """Weighted absolute percentage error."""
    coverage_percent: int
    """Share of the time that stayed under the stated upper bound; 90 is what it states."""
    ready: bool
    """It acts: it has been better than yesterday's values and than no change, and its bound holds what it states."""


class QueueStatus(ApiModel):
    """The pool's queue, as it was at `asOf`; renewed once a minute at most. The metrics tell it at every reading."""

    key: str
    """Where the stream is in Redis."""
    lag: int
    """Tasks no consumer has read."""
    pending: int
    """Tasks a consumer holds and has not acknowledged."""
    as_of: str


class DecisionRecord(ApiModel):
    """One change of the pool's size, with what led to it."""

    at: str
    from_agents: int
    to_agents: int
    reason: str
    message: str
    inputs: str = ""
    """The figures it was made from."""
    hourly_cost_usd: str
    """What an hour costs after the change."""
    hourly_cost_change_usd: str
    """How much the change adds to an hour's cost; negative for a saving."""


class AgentPoolStatus(ApiModel):
    """What the operator last saw and decided."""

    observed_generation: int | None = None
    replicas: int = 0
    """Agents that exist, of both capacity types."""
    selector: str = ""
    """Label selector of the pool's pods, for the scale subresource."""
    desired_agents: int | None = None
    ready_agents: int = 0
    on_demand: CapacityStatus = CapacityStatus()
    spot: CapacityStatus = CapacityStatus()
    reason: str = ""
    """Reason of the last change of size."""
    hourly_cost_usd: str = "0.00"
    last_scale_time: str | None = None
    forecast: ForecastStatus | None = None
    """The forecast, once two and a half days of arrivals are known."""
    queue: QueueStatus | None = None
    """The queue the pool names."""
    decisions: Annotated[list[DecisionRecord], Field(max_length=10)] = []
    """The last ten changes of size, newest first."""
    conditions: Annotated[
        list[Condition],
        Field(json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}),
    ] = []
