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

from agentpool_api.agentpool import AgentPoolStatus
from agentpool_api.conditions import Condition, PoolCondition
from agentpool_api.labels import FIELD_MANAGER
from agentpool_operator.act.api import Api
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
    """Conditions of the told types whose status or, while bad, reason changed.

    The first appearance of a good condition is no news. ``bad_when_true`` are types that warn by being True.
    """
    known = {condition.type: condition for condition in before}
    found = []
    for condition in after:
        if condition.type not in told:
            continue
        old = known.get(condition.type)
        bad = (condition.status == "True") == (condition.type in bad_when_true)
        same = old is not None and old.status == condition.status
        if same and (not bad or old is None or old.reason == condition.reason):
            continue
        if old is None and not bad and condition.type != "Ready":
            continue
        found.append(
            Occurrence(
                reason=condition.reason,
                note=f"{condition.type} is {condition.status}: {condition.message}",
                warning=bad,
                identity=f"{condition.type}/{condition.status}/{condition.reason}/{condition.last_transition_time}",
            )
        )
    return found


def pool_occurrences(before: AgentPoolStatus, after: AgentPoolStatus) -> list[Occurrence]:
    """What is worth telling about a pool between two statuses."""
    told = frozenset({PoolCondition.READY, PoolCondition.BUDGET_LIMITED, PoolCondition.METRICS_AVAILABLE})
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
