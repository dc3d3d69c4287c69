"""What do raw objects say? Identities, and the facts of a pod a pass reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from agentpool_api.labels import CAPACITY_TYPE_LABEL, POD_DELETION_COST_ANNOTATION, POOL_LABEL


class ObjectKey(NamedTuple):
    """Identity of an object while it is on the API server."""

    kind: str
    namespace: str
    name: str


class PoolKey(NamedTuple):
    """A pool by namespace and name."""

    namespace: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PodFacts:
    """One pod of a pool. Times are Unix seconds."""

    name: str
    uid: str
    capacity_type: str
    phase: str
    ready: bool
    ready_since_s: float | None
    """When it last became ready or unready."""
    created_s: float | None = None
    started_s: float | None
    """When a node took it: from here on it costs money."""
    leaving: bool
    """Asked to end, not yet gone."""
    ended: bool
    """All containers have ended."""
    waiting_reason: str
    """Why a container, or the pod, does not start; empty when nothing is wrong."""
    waiting_message: str
    waiting_container: str
    unschedulable: str
    """The scheduler's message while no node takes the pod."""
    unschedulable_since_s: float | None = None
    deletion_cost: str | None


def key_of(body: Mapping[str, Any]) -> ObjectKey:
    """Identity of a raw object."""
    metadata = body["metadata"]
    return ObjectKey(str(body["kind"]), str(metadata.get("namespace", "")), str(metadata["name"]))


def pool_of(body: Mapping[str, Any]) -> PoolKey:
    """The pool a raw object was made for, by its label."""
    metadata = body["metadata"]
    return PoolKey(str(metadata.get("namespace", "")), str((metadata.get("labels") or {}).get(POOL_LABEL, "")))


def pod_facts(body: Mapping[str, Any]) -> PodFacts:
    """The facts of a raw pod. Absent parts are as good as unknown: a pod that says nothing is not ready."""
    metadata, status = body["metadata"], body.get("status") or {}
    labels = metadata.get("labels") or {}
    conditions = {c.get("type"): c for c in status.get("conditions") or []}
    scheduled, ready = conditions.get("PodScheduled") or {}, conditions.get("Ready") or {}
    reason, message, container = _waiting(status)
    phase = str(status.get("phase", "Pending"))
    return PodFacts(
        name=str(metadata["name"]),
        uid=str(metadata.get("uid", "")),
        capacity_type=str(labels.get(CAPACITY_TYPE_LABEL, "")),
        phase=phase,
        ready=ready.get("status") == "True",
        ready_since_s=_unix_s(ready.get("lastTransitionTime")),
        created_s=_unix_s(metadata.get("creationTimestamp")),
        started_s=_unix_s(status.get("startTime")),
        leaving="deletionTimestamp" in metadata,
        ended=phase in ("Succeeded", "Failed"),
        waiting_reason=reason,
        waiting_message=message,
        waiting_container=container,
        unschedulable=_unschedulable(scheduled),
        unschedulable_since_s=_unix_s(scheduled.get("lastTransitionTime")) if _unschedulable(scheduled) else None,
        deletion_cost=(metadata.get("annotations") or {}).get(POD_DELETION_COST_ANNOTATION),
    )


HARMLESS_WAITING = frozenset({"", "ContainerCreating", "PodInitializing"})
"""A container that waits for these is merely on its way."""


def _waiting(status: Mapping[str, Any]) -> tuple[str, str, str]:
    """Reason, message and container of the first container that cannot start."""
    every: list[Any] = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    for container in every:
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("reason", "") not in HARMLESS_WAITING:
            return str(waiting["reason"]), str(waiting.get("message", "")), str(container.get("name", ""))
    return "", "", ""


def _unschedulable(scheduled: Mapping[str, Any]) -> str:
    if scheduled.get("status") == "False" and scheduled.get("reason") == "Unschedulable":
        return str(scheduled.get("message") or "no node takes the pod")
    return ""


def _unix_s(text: str | None) -> float | None:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() if text else None
