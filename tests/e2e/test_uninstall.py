"""The last test of the session: the release goes while pools still run, and nothing is stuck."""

from __future__ import annotations

from demo.cluster_setup import RELEASE, Kubectl
from tests.e2e.place import Place, eventually, pool
from tests.e2e.test_budget import budget
from tests.e2e.test_install import helm


def namespaces(kubectl: Kubectl) -> list[str]:
    return kubectl("get", "namespaces", "--output", "name").split()


def test_uninstalling_leaves_pools_serving_and_nothing_stuck(place: Place) -> None:
    place.apply(pool(minAgents=2), budget("1.00"))
    eventually("two agents", lambda: len(place.pods()) == 2)
    helm(place.kubectl, "uninstall", RELEASE, "--wait")
    assert len(place.pods()) == 2, "agents outlive the operator"
    assert place("get", "agentpools", "--output", "name") == "agentpool.agentpool.dev/assistants\n"
    for resource in ("agentpool/assistants", "costbudget/b"):
        assert place("get", resource, "--output", "jsonpath={.metadata.finalizers}") == ""
    place.kubectl("delete", "namespace", place.namespace, "--wait=false")
    eventually("the namespace is gone", lambda: f"namespace/{place.namespace}" not in namespaces(place.kubectl))
    place.kubectl("delete", "crd", "agentpools.agentpool.dev", "costbudgets.agentpool.dev", "--timeout=120s")
