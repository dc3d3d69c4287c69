"""What is told as an event? Transitions only: a condition that changed, a size that changed, a threshold crossed.

An event's name is made from what it tells, so telling it twice is refused by the API server, whoever tells it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog

from agentpool_api.conditions import BudgetCondition, Condition, PoolCondition
from agentpool_api.costbudget import CostBudgetStatus
from agentpool_api.labels import FIELD_MANAGER
from agentpool_api.pool_status import AgentPoolStatus
from agentpool_operator.act.api import Api
from agentpool_operator.decide.budget import BudgetPolicy
from agentpool_operator.errors import OperatorError
from agentpool_operator.kinds import EVENT

log = structlog.get_logger(__name__)

LONGEST_NOTE = 1000
"""The API server takes 1,024 bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Occurrence:
    """Something worth telling once. ``identity`` is the same whenever the same thing is told."""

    reason: str
    note: str
    warning: bool
    identity: str


def condition_changes(
    before: Iterable[Condition], after: Iterable[Condition], *, told: frozenset[str], bad_when_true: frozenset[str]
) -> list[Occurrence]:
    """Conditions of the told types that turned bad, are bad for another reason, or are good again.

    ``bad_when_true`` are the types that warn by being True; all others warn by being False.
    """
    known = {condition.type: condition for condition in before}
    found = []
    for condition in after:
        old = known.get(condition.type)
        was_bad = old is not None and _is_bad(old, bad_when_true)
        is_bad = _is_bad(condition, bad_when_true)
        is_news = (old is None or not was_bad or old.reason != condition.reason) if is_bad else was_bad
        if condition.type not in told or not is_news or condition.status == "Unknown":
            continue
        found.append(
            Occurrence(
                reason=condition.reason,
                note=f"{condition.type} is {condition.status}: {condition.message}",
                warning=is_bad,
                identity=f"{condition.type}/{condition.status}/{condition.reason}/{condition.last_transition_time}",
            )
        )
    return found


def _is_bad(condition: Condition, bad_when_true: frozenset[str]) -> bool:
    return condition.status == ("True" if condition.type in bad_when_true else "False")


def pool_occurrences(before: AgentPoolStatus, after: AgentPoolStatus) -> list[Occurrence]:
    """What is worth telling about a pool between two statuses."""
    told = frozenset(
        {
            PoolCondition.READY,
            PoolCondition.BUDGET_LIMITED,
            PoolCondition.METRICS_AVAILABLE,
            PoolCondition.QUEUE_AVAILABLE,
        }
    )
    bad_when_true = frozenset({PoolCondition.BUDGET_LIMITED})
    # A pool on its way up is no warning; only what needs somebody is.
    changes = [
        change
        for change in condition_changes(before.conditions, after.conditions, told=told, bad_when_true=bad_when_true)
        if change.reason != "AgentsStarting"
    ]
    if after.last_scale_time is None or after.decisions[:1] == before.decisions[:1]:
        return changes
    last = after.decisions[0]
    scaled = Occurrence(
        reason="Scaled",
        note=f"{last.from_agents} to {last.to_agents} agents ({last.reason}): {last.message}; "
        f"{last.hourly_cost_usd} USD/h ({last.hourly_cost_change_usd})",
        warning=False,
        identity=f"scaled/{last.at}/{last.from_agents}/{last.to_agents}",
    )
    return [scaled, *changes]


def budget_occurrences(before: CostBudgetStatus, after: CostBudgetStatus, policy: BudgetPolicy) -> list[Occurrence]:
    """What is worth telling about a budget: thresholds reached, once per window and limit, and conditions."""
    bad_when_true = frozenset(
        {
            BudgetCondition.AGGRESSIVE_CACHING,
            BudgetCondition.CHEAPER_MODELS,
            BudgetCondition.BATCH_REQUESTS,
            BudgetCondition.SCALE_DOWN,
            BudgetCondition.EMERGENCY_SHUTDOWN,
        }
    )
    told = bad_when_true | {BudgetCondition.READY, BudgetCondition.LEDGER_AVAILABLE}
    known = {(window.name, window.resets_at): window.alerted_percent for window in before.windows}
    alerts = [
        Occurrence(
            reason="BudgetAlert",
            note=f"{percent} % of the {window.name} limit of {window.limit} USD is spent; it resets at "
            f"{window.resets_at}",
            warning=True,
            identity=f"alert/{window.name}/{window.resets_at}/{window.limit}/{percent}",
        )
        for window in after.windows
        for percent in policy.alert_percents
        if known.get((window.name, window.resets_at), 0) < percent <= window.alerted_percent
    ]
    return alerts + condition_changes(before.conditions, after.conditions, told=told, bad_when_true=bad_when_true)


async def post_events(
    api: Api, body: dict[str, Any], occurrences: Iterable[Occurrence], *, instance: str, now: datetime
) -> None:
    """Tell what happened to an object. An event that cannot be written is logged and left: it changes nothing."""
    for occurrence in occurrences:
        manifest = make_event(body, occurrence, instance=instance, now=now)
        try:
            await api.create(EVENT, manifest)
        except OperatorError as error:
            log.warning("event not written", reason=occurrence.reason, error=str(error))


def make_event(body: dict[str, Any], occurrence: Occurrence, *, instance: str, now: datetime) -> dict[str, Any]:
    """An Event of events.k8s.io about an object."""
    metadata = body["metadata"]
    identity = hashlib.sha256(f"{metadata['uid']}/{occurrence.identity}".encode()).hexdigest()[:16]
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": f"{metadata['name'][:200]}.{identity}", "namespace": metadata["namespace"]},
        "eventTime": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "type": "Warning" if occurrence.warning else "Normal",
        "reason": occurrence.reason,
        "action": "Reconcile",
        "note": occurrence.note[:LONGEST_NOTE],
        "reportingController": f"agentpool.dev/{FIELD_MANAGER}",
        "reportingInstance": instance[:128],
        "regarding": {
            "apiVersion": body["apiVersion"],
            "kind": body["kind"],
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "uid": metadata["uid"],
            "resourceVersion": metadata.get("resourceVersion", ""),
        },
    }
