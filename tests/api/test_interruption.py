"""A spot node is taken back: its agents go and others take their place, on nodes that are left."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.api.pools import Pool
from tests.api.support import CORE, Agents, AuditedControlPlane, Cluster, Operator, until


@pytest.fixture
def spot_node(plane: AuditedControlPlane, cluster: Cluster, namespace: str) -> Iterator[str]:
    name = f"spot-{namespace}"
    plane.add_fake_node(name, {"karpenter.sh/capacity-type": "spot"})
    yield name
    cluster.delete(f"/api/v1/nodes/{name}")


def test_agents_of_an_interrupted_spot_node_are_replaced_and_the_pool_keeps_its_size(
    operator: Operator, pool: Pool, cluster: Cluster, namespace: str, agents: Agents, spot_node: str
):
    """Whoever takes a node back evicts or taints it, and Kubernetes tells the pods; the operator needs no right on
    nodes for it."""

    def on_node() -> set[str]:
        pods = cluster.items(f"{CORE.format(namespace)}/pods")
        return {pod["metadata"]["name"] for pod in pods if pod["spec"].get("nodeName") == spot_node}

    pool.apply(minAgents=5, warmAgents=0, spot={"percent": 60}).wait_ready()
    until(on_node, "spot agents on the spot node")  # they prefer it: the scheduler may put one elsewhere
    taint = {"key": "example.com/interrupted", "effect": "NoExecute"}
    cluster.patch(f"/api/v1/nodes/{spot_node}", {"spec": {"taints": [taint]}})
    until(lambda: not on_node(), "the node to be empty", seen=on_node)
    until(lambda: pool.status["readyAgents"] == 5, "all agents elsewhere", seen=lambda: pool.status)
    assert pool.replicas() == (2, 3)
    assert [decision["toAgents"] for decision in pool.status["decisions"]] == [5]
    pool.wait_condition("SpotAvailable", "True", "SpotAvailable")
