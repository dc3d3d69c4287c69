"""A pool and a budget of a test, and what is seen of them."""

from __future__ import annotations

from typing import Any

from tests.api.support import BUDGETS, DEPLOYMENTS, PATIENCE_S, POOLS, Cluster, Object, condition, until

SPEC = {"agent": {"image": "mine:1"}}


class Resource:
    """One custom resource of a test."""

    kind = ""
    folder_of = ""

    def __init__(self, cluster: Cluster, namespace: str, name: str) -> None:
        self.cluster, self.namespace, self.name = cluster, namespace, name
        self.folder = self.folder_of.format(namespace)
        self.path = f"{self.folder}/{name}"

    def write(self, spec: Object, labels: dict[str, str]) -> None:
        metadata = {"name": self.name, "labels": labels}
        body = {"apiVersion": "agentpool.dev/v1alpha1", "kind": self.kind, "metadata": metadata, "spec": spec}
        status, answer = self.cluster.apply(self.folder, body)
        assert status in (200, 201), answer

    @property
    def body(self) -> Any:
        return self.cluster.get(self.path)

    @property
    def status(self) -> Object:
        return (self.body or {}).get("status") or {}

    def condition(self, type_: str) -> tuple[str, str] | None:
        return condition(self.body, type_)

    def wait_condition(self, type_: str, status: str, reason: str, deadline_s: float = PATIENCE_S) -> None:
        expected = (status, reason)
        until(lambda: self.condition(type_) == expected, f"{type_} {expected}", deadline_s, seen=lambda: self.status)

    def events(self) -> list[Object]:
        """Events about this very resource."""
        path = f"/apis/events.k8s.io/v1/namespaces/{self.namespace}/events"
        return [
            event
            for event in self.cluster.items(path)
            if (event["regarding"].get("kind"), event["regarding"].get("name")) == (self.kind, self.name)
        ]


class Pool(Resource):
    """One AgentPool."""

    kind, folder_of = "AgentPool", POOLS

    def __init__(self, cluster: Cluster, namespace: str, name: str = "research", **labels: str) -> None:
        super().__init__(cluster, namespace, name)
        self.labels = {"team": "a"} | labels

    def apply(self, **spec: Any) -> Pool:
        self.write(SPEC | spec, self.labels)
        return self

    def wait_ready(self) -> Pool:
        self.wait_condition("Ready", "True", "AgentsReady")
        return self

    def deployment(self, capacity_type: str) -> Any:
        return self.cluster.get(f"{DEPLOYMENTS.format(self.namespace)}/{self.name}-{capacity_type}")

    def replicas(self) -> tuple[int | None, int | None]:
        """Agents asked for, on demand and on spot."""
        on_demand, spot = self.deployment("on-demand"), self.deployment("spot")
        return on_demand and on_demand["spec"]["replicas"], spot and spot["spec"]["replicas"]

    def wait_replicas(self, on_demand: int, spot: int, deadline_s: float = PATIENCE_S) -> None:
        until(lambda: self.replicas() == (on_demand, spot), f"{on_demand}+{spot}", deadline_s, seen=lambda: self.status)


class Budget(Resource):
    """One CostBudget."""

    kind, folder_of = "CostBudget", BUDGETS

    def __init__(self, cluster: Cluster, namespace: str, name: str = "monthly") -> None:
        super().__init__(cluster, namespace, name)

    def apply(self, **spec: Any) -> Budget:
        self.write({"selector": {"matchLabels": {"team": "a"}}} | spec, {})
        return self

    def wait_level(self, level: str, deadline_s: float = PATIENCE_S) -> None:
        until(lambda: self.status.get("level") == level, f"level {level}", deadline_s, seen=lambda: self.status)
