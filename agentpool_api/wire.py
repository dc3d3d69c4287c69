"""What do the runtime and the operator tell each other through Redis?"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Count = Annotated[int, Field(ge=0, le=2**53)]
"""No further than a float counts exactly: who reads a record need not fear its figures."""
Seconds = Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False)]
UnixTime = Annotated[float, Field(gt=0, lt=1e11, allow_inf_nan=False)]
Name = Annotated[str, Field(max_length=253)]
MOST_DIGITS = 19  # of the largest number Redis counts to


def whole_number(text: str | bytes) -> int | None:
    """The number that a text holds, as Redis keeps what was counted; None for anything else, and for more digits than
    anything here counts to."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS else None


class Record(BaseModel):
    """Base of the records: closed, immutable, JSON."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Problem(Record):
    """Something in the configuration that keeps an agent from working."""

    reason: Literal["SecretMissing", "EndpointUnreachable", "ConfigurationInvalid"]
    field: str
    """Path of the field in the AgentPool, for example ``spec.runtime.models[0].apiKeySecretRef``."""
    message: str
    """What is wrong and what to change; no secret in it."""


class Heartbeat(Record):
    """State of one agent, written every second. Counters count from the start of the process and never fall."""

    pod: Name
    uid: Name
    at_s: UnixTime
    """Unix seconds, the pod's clock."""
    started_s: UnixTime
    """Unix seconds at which the process began."""
    capacity: Count
    """Requests it works on at once."""
    in_flight: Count
    queued: Count
    """Requests that wait for a slot."""
    draining: bool = False
    arrivals_total: Count
    """Requests accepted or queued, cache hits left out: what needs an agent's slot."""
    completed_total: Count
    service_seconds_total: Seconds
    """Time in a slot, summed over completed requests."""
    wait_seconds_total: Seconds
    """Time in the queue, summed over completed requests."""
    cache_hits_total: Count = 0
    last_activity_s: Seconds | None = None
    """Unix seconds of the last request; None before the first."""
    problems: list[Problem] = []


class BudgetAction(StrEnum):
    """What agents do to save money while a budget runs low. Each is a condition of the CostBudget, too."""

    AGGRESSIVE_CACHING = "AggressiveCaching"
    CHEAPER_MODELS = "CheaperModels"
    BATCH_REQUESTS = "BatchRequests"


NOTICE_LIFE_S = 600
"""A notice counts for so long after it was last heard of: an operator that is away ends no saving at once."""


class BudgetNotice(Record):
    """What the budgets that select a pool leave it, told by the operator to the pool's agents. Empty: there is none."""

    left_percent: Annotated[int, Field(ge=0, le=100)] | None = None
    """Share of the tightest window's limit that is left; None: not counted yet, which is not the same as nothing."""
    actions: list[str] = []
    """BudgetActions in force, sorted. One that an agent does not know does nothing there."""


class UsageRecord(Record):
    """What one answer used and cost."""

    request_id: str
    at_s: UnixTime
    pool: str
    pod: str
    model: str
    input_tokens: Count
    """All input tokens, cached ones included."""
    cached_input_tokens: Count = 0
    output_tokens: Count
    cost_nanousd: Count
    saved_nanousd: Count = 0
    """What a cache hit would have cost."""
    cache: Literal["", "l1", "l2", "l3", "semantic", "precomputed", "coalesced"] = ""
    priced: bool = True
    """False when no price is known for the model: the cost is then zero and the pool says so."""
    estimated: bool = False
    """True when the endpoint told no usage, or its answer was left before its end."""
