"""How soon are answers wanted, and may they wait for each other? Settings of a runtime."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from agentpool_api.quantity import Duration
from agentpool_api.schema import ApiModel


class ResponseTime(ApiModel):
    """How soon answers are wanted: a target that tunes itself, and a deadline with what is answered after it."""

    profile: Literal["General", "Data"] = "General"
    """General aims at 2 s, lowers its target by a tenth when over 90 % of the answers met it and raises it by a fifth
    when under 50 % did. Data aims at 1.5 s, lowers by 15 % above 95 % and raises by 15 % below 60 %."""
    target: Duration | None = None
    """The target to begin with; the profile's when absent."""
    min_target: Duration = "100ms"
    """The target is never tuned below this."""
    max_target: Duration = "30s"
    """The target is never tuned above this."""
    window: Duration = "5m"
    """Quantiles and the share of answers in time are of so long; the target is tuned once in it."""
    deadline: Duration | None = None
    """A chat request not answered by then gets the fallback, or 504 without one. Absent: none, or with a fallback the
    profile's, 2 s or 1.5 s."""
    fallback_model: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = None
    """A faster chat model of the pool that is asked when the deadline is over; it has as long again."""
    fallback_text: Annotated[str, StringConstraints(min_length=1, max_length=32768)] | None = None
    """What is answered when the deadline is over, after the fallback model where there is one."""


class Batching(ApiModel):
    """Chat requests that wait a moment for others of the same model, to go together. Streams never wait."""

    mode: Literal["Off", "OnRequest", "Always"] = "OnRequest"
    """OnRequest: requests with `x-agentpool-batch: true`, and while a budget's BatchRequests is in force all to models
    with a `batch` endpoint. Always: all but those with `x-agentpool-batch: false`."""
    size: Annotated[int, Field(ge=1, le=1000)] = 5
    """Most requests that go together."""
    window: Duration = "100ms"
    """Longest wait for others."""
