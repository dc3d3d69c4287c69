"""The rights the chart gives are those the operator uses: no call is refused, and no right is idle."""

from __future__ import annotations

import pytest

from tests.api.conftest import RELEASE
from tests.api.pools import Budget, Pool
from tests.api.support import (
    DEPLOYMENTS,
    Agents,
    Cluster,
    Object,
    Operator,
    apply_rights,
    chart_rights,
    kubeconfig_of,
    resource_of,
    until,
)

Right = tuple[str, str, str]
"""API group, resource, verb."""


def granted(bodies: list[Object]) -> set[Right]:
    """Rights the operator's roles give."""
    return {
        (group, resource, verb)
        for body in bodies
        for rule in body.get("rules", [])
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def used(entries: list[Object]) -> set[Right]:
    """Rights the audited requests needed. Apply is a patch; where it makes an object it needs create as well."""
    found = set()
    for entry in entries:
        if "objectRef" not in entry:
            continue  # discovery, which everybody may read
        group = entry["objectRef"].get("apiGroup", "")
        found.add((group, resource_of(entry), entry["verb"]))
        if entry["verb"] == "patch" and entry["responseStatus"]["code"] == 201:
            found.add((group, resource_of(entry), "create"))
    return found


def refused(entries: list[Object]) -> list[str]:
    """Requests that were forbidden, but those in namespaces of other tests that are going away."""
    return [
        f"{entry['verb']} {resource_of(entry)}"
        for entry in entries
        if entry["responseStatus"]["code"] == 403 and "being terminated" not in entry["responseStatus"]["message"]
    ]


def exercise(operator: Operator, cluster: Cluster, namespace: str, agents: Agents) -> None:
    """Everything an operator does: make, repair, look for strangers, shrink with busy agents, tell, count."""
    pool = Pool(cluster, namespace).apply(agent={"image": "mine:1", "createServiceAccount": True}, minAgents=1)
    pool.wait_ready()
    Budget(cluster, namespace).apply(limits={"daily": "10"}).wait_condition("Ready", "True", "PoolsSelected")
    agents.in_flight = 3
    cluster.patch(pool.path, {"spec": {"replicas": 6}})
    pool.wait_replicas(2, 4)
    until(lambda: pool.status["readyAgents"] == 6, "all agents")
    until(lambda: operator.metric("agentpool_pool_requests_in_flight") == 18, "all to report that they are busy")
    cluster.patch(pool.path, {"spec": {"replicas": 3}})
    pool.wait_replicas(1, 2)
    assert cluster.get(f"{DEPLOYMENTS.format(namespace)}/{pool.name}-spot")
    other = Pool(cluster, namespace, "external").apply(scaling={"policy": "External"})
    until(lambda: other.body["spec"].get("replicas") == 3, "the size it has")


def test_in_named_namespaces_every_right_is_used_and_none_is_missing(
    operator: Operator, cluster, namespace, user, agents
):
    exercise(operator, cluster, namespace, agents)
    bodies = list(chart_rights(RELEASE, namespace, cluster_wide=False))
    entries = cluster.requests(user)
    assert refused(entries) == []
    assert used(entries) == granted(bodies)
    assert not any("Cluster" in body["kind"] for body in bodies if body.get("rules") and _is_for_operator(body))


def _is_for_operator(body: Object) -> bool:
    return body["metadata"]["labels"].get("app.kubernetes.io/component") == "operator"


def test_secrets_are_made_and_never_read(operator: Operator, cluster, namespace, user, agents):
    Pool(cluster, namespace).apply().wait_ready()
    verbs = {e["verb"] for e in cluster.requests(user) if e.get("objectRef", {}).get("resource") == "secrets"}
    assert verbs == {"create"}


@pytest.fixture
def everywhere(cluster: Cluster, redis_server, namespace: str, tmp_path):
    """An operator for the whole cluster."""
    bodies = list(chart_rights(f"{RELEASE}-{namespace}", namespace, cluster_wide=True))
    account = apply_rights(cluster, bodies)
    kubeconfig = kubeconfig_of(cluster, namespace, account, tmp_path)
    operator = Operator(
        {
            "KUBECONFIG": str(kubeconfig),
            "AGENTPOOL_NAMESPACE": namespace,
            "AGENTPOOL_LEASE_NAME": account,
            "AGENTPOOL_RUNTIME_IMAGE": "runtime:1",
            "AGENTPOOL_REDIS_URL": redis_server.url,
            "AGENTPOOL_LOG_FORMAT": "text",
        },
        tmp_path,
    )
    yield operator, bodies, f"{namespace}:{account}"
    operator.close()
    print(operator.log)
    for body in bodies:
        if body["kind"].startswith("Cluster"):
            kind = body["kind"].lower() + "s"
            cluster.delete(f"/apis/rbac.authorization.k8s.io/v1/{kind}/{body['metadata']['name']}")


def test_cluster_wide_every_right_is_used_and_none_is_missing(everywhere, cluster, namespace, agents):
    operator, bodies, user = everywhere
    until(lambda: operator.role() == "leader", "the operator to lead", seen=lambda: operator.log)
    exercise(operator, cluster, namespace, agents)
    other = f"{namespace}-other"
    cluster.create("/api/v1/namespaces", {"metadata": {"name": other}})
    try:
        until(lambda: cluster.get(f"/api/v1/namespaces/{other}/serviceaccounts/default"), "the default account")
        Pool(cluster, other).apply().wait_ready()
        entries = cluster.requests(user)
        assert refused(entries) == []
        assert used(entries) == granted(bodies)
        until(lambda: operator.metric("agentpool_operator_canary_age_seconds") > 0, "the canary")
        assert operator.metric("agentpool_operator_canary_age_seconds") < 5
    finally:
        cluster.delete(f"/api/v1/namespaces/{other}")
