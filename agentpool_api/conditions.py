"""What do the resources' conditions look like, and when does their transition time change?

Follows the Kubernetes API conventions and kstatus: a condition's ``lastTransitionTime`` moves only with its status.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from agentpool_api.schema import ApiModel

LONGEST_MESSAGE = 2000
"""What others say can be of any length, and nobody reads more."""


class Condition(ApiModel):
    """One observed condition of a resource."""

    type: Annotated[str, StringConstraints(max_length=316)]
    status: Literal["True", "False", "Unknown"]
    observed_generation: Annotated[int, Field(ge=0)] | None = None
    last_transition_time: str
    reason: Annotated[str, StringConstraints(min_length=1, max_length=1024)]
    message: Annotated[str, StringConstraints(max_length=32768)]


class PoolCondition(StrEnum):
    """Condition types of an AgentPool."""

    READY = "Ready"
    PROGRESSING = "Progressing"
    SCALING_ACTIVE = "ScalingActive"
    SCALING_LIMITED = "ScalingLimited"
    BUDGET_LIMITED = "BudgetLimited"
    METRICS_AVAILABLE = "MetricsAvailable"
    FORECAST_READY = "ForecastReady"
    SPOT_AVAILABLE = "SpotAvailable"
    QUEUE_AVAILABLE = "QueueAvailable"


class BudgetCondition(StrEnum):
    """Condition types of a CostBudget."""

    READY = "Ready"
    WITHIN_BUDGET = "WithinBudget"
    AGGRESSIVE_CACHING = "AggressiveCaching"
    CHEAPER_MODELS = "CheaperModels"
    BATCH_REQUESTS = "BatchRequests"
    SCALE_DOWN = "ScaleDown"
    EMERGENCY_SHUTDOWN = "EmergencyShutdown"
    LEDGER_AVAILABLE = "LedgerAvailable"


def set_condition(
    conditions: Iterable[Condition],
    type_: str,
    status: bool | None,
    reason: str,
    message: str,
    *,
    observed_generation: int | None,
    now: datetime,
) -> list[Condition]:
    """The conditions with this one put in its place; ``status`` None is Unknown.

    The transition time of an earlier condition is kept unless its status changes.
    """
    text: Literal["True", "False", "Unknown"] = "Unknown" if status is None else ("True" if status else "False")
    before = {condition.type: condition for condition in conditions}
    known = before.get(type_)
    changed_at = known.last_transition_time if known and known.status == text else rfc3339(now)
    before[type_] = Condition(
        type=type_,
        status=text,
        observed_generation=observed_generation,
        last_transition_time=changed_at,
        reason=reason,
        message=message if len(message) <= LONGEST_MESSAGE else message[: LONGEST_MESSAGE - 1] + "…",
    )
    return list(before.values())


def rfc3339(moment: datetime) -> str:
    """UTC time as Kubernetes writes it, whole seconds."""
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
