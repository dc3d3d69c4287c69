"""What does the cluster look like now, as the watches last showed it?

The store holds what a pass reads, trimmed to what is used. It is filled by watch events only; a deletion the watch
missed while it was cut off is found by the sweep, which compares with a list now and then.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
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
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Store:
    """Objects by kind and name; pods by pool."""

    objects: dict[ObjectKey, dict[str, Any]] = field(default_factory=dict)
    pods: dict[PoolKey, dict[str, PodFacts]] = field(default_factory=dict)

    def get(self, kind: str, namespace: str, name: str) -> dict[str, Any] | None:
        """The object as last seen, without managedFields; None when it is not there."""
        return self.objects.get(ObjectKey(kind, namespace, name))

    def of_kind(self, kind: str, namespace: str | None = None) -> list[dict[str, Any]]:
        """All objects of a kind, of one namespace or all."""
        return [
            body
            for key, body in self.objects.items()
            if key.kind == kind and (namespace is None or key.namespace == namespace)
        ]

    def pods_of(self, pool: PoolKey) -> tuple[PodFacts, ...]:
        """The pool's pods, those that leave included."""
        return tuple(self.pods.get(pool, {}).values())

    def put(self, body: Mapping[str, Any]) -> None:
        """Remember an object as it is now."""
        key = key_of(body)
        if key.kind == "Pod":
            self.pods.setdefault(pool_of(body), {})[key.name] = pod_facts(body)
        elif not _is_older(body, self.objects.get(key)):
            self.objects[key] = _trimmed(body)

    def remove(self, body: Mapping[str, Any]) -> None:
        """Forget an object, unless another of the same name has come since."""
        key, uid = key_of(body), body["metadata"].get("uid")
        if key.kind == "Pod":
            pool = pool_of(body)
            pods = self.pods.get(pool, {})
            if key.name in pods and pods[key.name].uid == uid:
                del pods[key.name]
                if not pods:
                    del self.pods[pool]
        elif key in self.objects and self.objects[key]["metadata"].get("uid") == uid:
            del self.objects[key]

    def keep_only(self, kind: str, present: Iterable[str], known_before: Iterable[str]) -> list[ObjectKey | PoolKey]:
        """Forget objects of a kind that a list does not hold. Both arguments are UIDs; only objects known before the
        list was asked for are judged by it. Returns what was forgotten (for pods: their pools)."""
        gone = set(known_before) - set(present)
        forgotten: list[ObjectKey | PoolKey] = []
        if kind == "Pod":
            for pool, pods in list(self.pods.items()):
                for name in [name for name, pod in pods.items() if pod.uid in gone]:
                    del pods[name]
                    forgotten.append(pool)
        else:
            for key in [k for k, body in self.objects.items() if k.kind == kind and body["metadata"]["uid"] in gone]:
                del self.objects[key]
                forgotten.append(key)
        return forgotten

    def uids(self, kind: str) -> list[str]:
        """UIDs of all objects of a kind."""
        if kind == "Pod":
            return [pod.uid for pods in self.pods.values() for pod in pods.values()]
        return [str(body["metadata"]["uid"]) for body in self.of_kind(kind)]


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
        labels=dict(labels),
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


def _is_older(body: Mapping[str, Any], known: Mapping[str, Any] | None) -> bool:
    """Whether a late event shows what our own write has replaced already.

    Versions of one kind are whole numbers that rise (KEP-5504); any that is not a number is taken as newer.
    """
    if known is None or known["metadata"].get("uid") != body["metadata"].get("uid"):
        return False
    versions = [str(each["metadata"].get("resourceVersion", "")) for each in (body, known)]
    return all(version.isdigit() for version in versions) and int(versions[0]) < int(versions[1])


def _trimmed(body: Mapping[str, Any]) -> dict[str, Any]:
    metadata = {key: value for key, value in body["metadata"].items() if key != "managedFields"}
    return {**body, "metadata": metadata}
