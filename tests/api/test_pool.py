"""A pool on a real API server: what it makes, keeps and leaves behind."""

from __future__ import annotations

import os
import time
import uuid

import pytest

from agentpool_operator.reconcile.agentpool import REFUSED_RETRY_S
from tests.api.pools import Pool
from tests.api.support import CORE, DEPLOYMENTS, LOADED, Cluster, Operator, resource_of, rest, until, watch


def test_a_pool_is_ready_in_seconds(operator: Operator, pool: Pool):
    began = time.monotonic()
    pool.apply().wait_ready()
    ready_s = time.monotonic() - began
    print(f"apply to Ready: {ready_s:.2f} s")
    assert ready_s < 8 * LOADED
    assert pool.replicas() == (1, 2)
    assert pool.status["selector"] == "agentpool.dev/pool=research"
    until(lambda: pool.status["readyAgents"] == 3, "all three")
    assert pool.status["observedGeneration"] == pool.body["metadata"]["generation"]


def test_a_pool_makes_its_objects_and_they_go_with_it(operator: Operator, pool: Pool, cluster: Cluster, namespace: str):
    pool.apply(agent={"image": "mine:1", "createServiceAccount": True}).wait_ready()
    core, name = CORE.format(namespace), pool.name
    paths = [
        f"{core}/configmaps/{name}-runtime",
        f"{core}/services/{name}",
        f"{core}/serviceaccounts/{name}",
        f"{core}/secrets/{name}-key",
        f"/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets/{name}",
        f"{DEPLOYMENTS.format(namespace)}/{name}-on-demand",
        f"{DEPLOYMENTS.format(namespace)}/{name}-spot",
    ]
    assert [path for path in paths if cluster.get(path) is None] == []
    assert "finalizers" not in pool.body["metadata"]
    assert not any("kopf" in key for key in pool.body["metadata"].get("annotations", {}))
    cluster.delete(pool.path)
    # The garbage collector learns of new kinds of resources every 30 s.
    until(lambda: not [path for path in paths if cluster.get(path)], "all to be collected")
    until(lambda: not cluster.items(f"{core}/pods"), "pods to go")
    assert cluster.get(pool.path) is None


STEADY_S = float(os.environ.get("STEADY_S", "8"))
"""How long a steady pool is watched; docs/benchmarks.md takes 300."""


@pytest.mark.slow
@pytest.mark.timeout(STEADY_S + 300)
def test_in_steady_state_nothing_is_written(start, pool: Pool, cluster: Cluster, user: str, agents):
    operator = start(AGENTPOOL_PERIOD="0.5s")
    pool.apply().wait_ready()
    pool.wait_condition("MetricsAvailable", "True", "HeartbeatsFresh")
    until(lambda: pool.condition("Progressing") == ("False", "Stable"), "rest")
    rest(operator)
    before = len(cluster.writes(user))
    watch(operator, STEADY_S, 12)
    written = cluster.writes(user)[before:]
    print(f"{len(written)} writes in {STEADY_S:g} s")
    assert written == []


@pytest.mark.slow
def test_a_restarted_operator_writes_nothing_anew(start, pool: Pool, cluster: Cluster, user: str, agents):
    first = start()
    pool.apply().wait_ready()
    pool.wait_condition("MetricsAvailable", "True", "HeartbeatsFresh")
    until(lambda: pool.condition("Progressing") == ("False", "Stable"), "rest")
    rest(first)
    assert first.terminate() == 0
    before = len(cluster.writes(user))
    second = start()
    watch(second, 4, 3)
    assert cluster.writes(user)[before:] == []
    assert second.metric("agentpool_operator_pass_errors_total") == 0


@pytest.mark.parametrize("what", ["replicas", "service", "config", "labels", "disruption budget"])
def test_drift_is_repaired(operator: Operator, pool: Pool, cluster: Cluster, namespace: str, what: str):
    pool.apply().wait_ready()
    core, name = CORE.format(namespace), pool.name
    config, service = f"{core}/configmaps/{name}-runtime", f"{core}/services/{name}"
    disruption = f"/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets/{name}"
    match what:
        case "replicas":
            cluster.patch(f"{DEPLOYMENTS.format(namespace)}/{name}-spot", {"spec": {"replicas": 9}})
            pool.wait_replicas(1, 2)
        case "service":
            cluster.delete(service)
            until(lambda: cluster.get(service), "the Service")
        case "config":
            cluster.patch(config, {"data": {"runtime.json": "{}"}})
            until(lambda: "models" in cluster.get(config)["data"]["runtime.json"], "the configuration")
        case "labels":
            cluster.patch(service, {"metadata": {"labels": {"agentpool.dev/pool": "other"}}})
            until(lambda: cluster.get(service)["metadata"]["labels"]["agentpool.dev/pool"] == name, "the label")
        case "disruption budget":
            cluster.patch(disruption, {"spec": {"maxUnavailable": 0}})
            until(lambda: cluster.get(disruption)["spec"]["maxUnavailable"] == "25%", "the budget")


def test_what_others_add_stays(operator: Operator, pool: Pool, cluster: Cluster, namespace: str):
    pool.apply().wait_ready()
    path = f"{DEPLOYMENTS.format(namespace)}/{pool.name}-spot"
    cluster.patch(path, {"metadata": {"annotations": {"mine": "yes"}}})
    pool.apply(maxAgents=19)
    until(lambda: pool.status["observedGeneration"] == pool.body["metadata"]["generation"], "the new spec")
    time.sleep(1)
    assert cluster.get(path)["metadata"]["annotations"]["mine"] == "yes"


def test_a_new_configuration_rolls_the_agents(operator: Operator, pool: Pool):
    pool.apply().wait_ready()
    before = pool.deployment("spot")["spec"]["template"]["metadata"]["annotations"]
    pool.apply(runtime={"cache": {"ttl": "5m"}})
    until(lambda: pool.deployment("spot")["spec"]["template"]["metadata"]["annotations"] != before, "a new template")
    pool.wait_ready()


def test_the_scale_subresource_is_respected_and_handed_back(operator: Operator, pool: Pool, cluster: Cluster):
    pool.apply().wait_ready()
    cluster.patch(f"{pool.path}/scale", {"spec": {"replicas": 10}})
    pool.wait_replicas(3, 7)
    assert cluster.get(f"{pool.path}/scale")["status"]["selector"] == "agentpool.dev/pool=research"
    pool.wait_condition("ScalingActive", "False", "ReplicasSet")
    until(lambda: cluster.get(f"{pool.path}/scale")["status"]["replicas"] == 10, "the scale's status")
    cluster.patch(pool.path, {"spec": {"replicas": 50}})
    pool.wait_replicas(6, 14)
    cluster.patch(pool.path, {"spec": {"replicas": None}})
    until(lambda: pool.condition("ScalingActive") != ("False", "ReplicasSet"), "the policy's return")


def test_an_autoscaler_reads_the_size_an_external_pool_has_and_sets_another(
    operator: Operator, pool: Pool, cluster: Cluster, namespace: str, user: str
):
    pool.apply(minAgents=0, warmAgents=4, scaling={"policy": "External"})
    pool.wait_replicas(2, 2)
    until(lambda: pool.body["spec"].get("replicas"), "the size it has")
    assert cluster.get(f"{pool.path}/scale")["spec"]["replicas"] == 4
    pool.wait_condition("ScalingActive", "False", "ReplicasSet")
    target = {"apiVersion": "agentpool.dev/v1alpha1", "kind": "AgentPool", "name": pool.name}
    hpas = f"/apis/autoscaling/v2/namespaces/{namespace}/horizontalpodautoscalers"
    hpa = {"metadata": {"name": "hpa"}, "spec": {"scaleTargetRef": target, "minReplicas": 6, "maxReplicas": 9}}
    assert cluster.create(hpas, hpa)[0] == 201
    # The autoscaler learns of new kinds of resources every 30 s.
    pool.wait_replicas(2, 4, 180)
    cluster.delete(f"{hpas}/hpa")
    cluster.patch(pool.path, {"spec": {"replicas": None}})
    until(lambda: pool.body["spec"].get("replicas") == 6, "the size it has, again")
    assert pool.replicas() == (2, 4)
    patches = [each for each in cluster.requests(user) if each["verb"] == "patch"]
    to_scale = [each["responseStatus"]["code"] for each in patches if resource_of(each) == "agentpools/scale"]
    assert to_scale.count(200) <= 2


def test_without_a_number_the_scale_of_a_pool_with_a_policy_cannot_be_read_by_an_autoscaler(
    operator: Operator, pool: Pool, cluster: Cluster
):
    pool.apply().wait_ready()
    status, answer = cluster.plane.api.call("GET", f"{pool.path}/scale")
    assert (status, "replicas" in answer["message"]) == (500, True)


def test_a_stranger_of_the_same_name_is_left_alone(operator: Operator, pool: Pool, cluster: Cluster, namespace: str):
    core = CORE.format(namespace)
    service = {"metadata": {"name": pool.name}, "spec": {"ports": [{"port": 1234}]}}
    assert cluster.create(f"{core}/services", service)[0] == 201
    pool.apply()
    pool.wait_condition("Ready", "False", "NameTaken")
    assert cluster.get(f"{core}/services/{pool.name}")["spec"]["ports"][0]["port"] == 1234
    cluster.delete(f"{core}/services/{pool.name}")
    pool.apply(maxAgents=19)
    pool.wait_ready()


@pytest.mark.parametrize(
    ("overlay", "reason"),
    [
        ({"spec": {"containers": "none"}}, "InvalidPodTemplate"),
        ({"spec": {"restartPolicy": "Perhaps"}}, "ManifestRefused"),
        ({"spec": {"containers": [{"name": "agent", "resources": {"requests": {"cpu": "much"}}}]}}, "ManifestRefused"),
    ],
)
def test_a_pod_template_that_is_refused_keeps_the_last_good_state(
    operator: Operator, pool: Pool, cluster: Cluster, namespace: str, overlay, reason
):
    pool.apply().wait_ready()
    good = pool.deployment("spot")["spec"]["template"]
    pool.apply(agent={"image": "mine:2", "podTemplate": overlay})
    pool.wait_condition("Ready", "False", reason)
    assert pool.deployment("spot")["spec"]["template"] == good
    assert pool.replicas() == (1, 2)
    # The size still follows: a budget must be able to act.
    cluster.patch(pool.path, {"spec": {"replicas": 10}})
    pool.wait_replicas(3, 7)
    pool.apply()
    pool.wait_ready()


def test_agents_no_node_takes_are_told_and_no_more_are_made_than_were_asked_for(
    operator: Operator, pool: Pool, cluster: Cluster, namespace: str
):
    pool.apply(agent={"image": "mine:1", "podTemplate": {"spec": {"nodeSelector": {"no": "such"}}}})
    pool.wait_condition("Ready", "False", "Unschedulable")
    pool.wait_condition("SpotAvailable", "False", "Unschedulable")

    def names() -> set[str]:
        return {pod["metadata"]["name"] for pod in cluster.items(f"{CORE.format(namespace)}/pods")}

    until(lambda: len(names()) == 3, "all to be made", seen=names)
    before = names()
    watch(operator, 1, 3)
    assert names() == before
    assert pool.replicas() == (1, 2)
    pool.apply().wait_ready()


def test_agents_the_namespace_has_no_quota_for_are_told_and_come_once_there_is(
    operator: Operator, pool: Pool, cluster: Cluster, namespace: str
):
    quotas = f"{CORE.format(namespace)}/resourcequotas"
    assert cluster.create(quotas, {"metadata": {"name": "few"}, "spec": {"hard": {"pods": "1"}}})[0] == 201
    until(lambda: "hard" in (cluster.get(f"{quotas}/few").get("status") or {}), "the quota to be counted")
    pool.apply(minAgents=3)
    pool.wait_condition("Ready", "False", "PodsRefused")
    (found,) = [c for c in pool.status["conditions"] if c["type"] == "Ready"]
    assert "exceeded quota: few" in found["message"]
    cluster.delete(f"{quotas}/few")
    pool.wait_condition("Ready", "True", "AgentsReady", 120)


def test_an_image_that_cannot_be_pulled_is_told_and_old_agents_stay(
    operator: Operator, pool: Pool, cluster: Cluster, namespace: str
):
    pool.apply().wait_ready()
    # New pods wait for a node that is not there, so that kwok leaves their status to us.
    overlay = {"spec": {"nodeSelector": {"no": "such"}}}
    pool.apply(agent={"image": "absent:1", "podTemplate": overlay})
    pods = f"{CORE.format(namespace)}/pods"

    def waiting():
        return [p for p in cluster.items(pods) if p["spec"].get("nodeSelector") == {"no": "such"}]

    name = until(waiting, "a new pod")[0]["metadata"]["name"]
    state = {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}}
    container = {"name": "agent", "state": state, "ready": False, "restartCount": 0, "image": "absent:1", "imageID": ""}
    cluster.patch(f"{pods}/{name}/status", {"status": {"containerStatuses": [container]}})
    pool.wait_condition("Ready", "False", "ImagePullBackOff")
    (found,) = [c for c in pool.status["conditions"] if c["type"] == "Ready"]
    assert "spec.agent.image" in found["message"]
    assert pool.status["readyAgents"] == 3


def test_what_an_agent_finds_wrong_becomes_the_pools_condition(operator: Operator, pool: Pool, agents):
    problem = {"reason": "SecretMissing", "field": "spec.runtime.models[0].apiKeySecretRef", "message": "make Secret k"}
    agents.extra = {"problems": [problem]}
    pool.apply()
    pool.wait_condition("Ready", "False", "SecretMissing")
    agents.extra = {}
    pool.wait_ready()


def test_a_key_that_was_deleted_by_hand_is_made_anew_when_agents_miss_it(
    start, pool: Pool, agents, cluster: Cluster, namespace: str, clock
):
    operator = start()
    pool.apply().wait_ready()
    key = f"{CORE.format(namespace)}/secrets/{pool.name}-key"
    before = cluster.get(key)["metadata"]["uid"]
    cluster.delete(key)
    message = f"no pool key: put a value into the Secret {pool.name}-key"
    problem = {"reason": "SecretMissing", "field": "spec.runtime.auth.secretName", "message": message}
    agents.extra = {"problems": [problem]}
    pool.wait_condition("Ready", "False", "SecretMissing")
    assert cluster.get(key) is None, "it was made just now: the kubelet may be bringing it"
    clock.step_s(180.0)
    agents.ahead_s = 180.0
    assert until(lambda: cluster.get(key), "a new key")["metadata"]["uid"] != before
    assert operator.process.poll() is None


def test_transitions_are_told_once(operator: Operator, pool: Pool, cluster: Cluster, agents):
    pool.apply().wait_ready()
    cluster.patch(pool.path, {"spec": {"replicas": 5}})
    pool.wait_replicas(2, 3)
    until(lambda: len([e for e in pool.events() if e["reason"] == "Scaled"]) == 2, "both changes of size")
    watch(operator, 4, 2)
    told = [event["reason"] for event in pool.events()]
    assert sorted(told) == ["AgentsReady", "Scaled", "Scaled"]
    assert operator.metric("agentpool_pool_size_changes_total") == 2, "one reason for each change"


def test_a_pool_deleted_and_made_anew_begins_anew(operator: Operator, pool: Pool, cluster: Cluster):
    pool.apply().wait_ready()
    uid = pool.body["metadata"]["uid"]
    cluster.delete(pool.path)
    until(lambda: pool.body is None, "the end")
    pool.apply().wait_ready()
    assert pool.body["metadata"]["uid"] != uid
    until(
        lambda: pool.deployment("spot")["metadata"]["ownerReferences"][0]["uid"] == pool.body["metadata"]["uid"],
        "the new owner",
    )
    assert len(pool.status["decisions"]) == 1


def test_a_pool_made_anew_waits_for_what_the_last_one_left(
    operator: Operator, pool: Pool, cluster: Cluster, namespace: str
):
    owner = {"apiVersion": "agentpool.dev/v1alpha1", "kind": "AgentPool", "name": pool.name, "uid": str(uuid.uuid4())}
    name, folder = f"{pool.name}-runtime", f"{CORE.format(namespace)}/configmaps"
    left = {"metadata": {"name": name, "finalizers": ["example.com/held"], "ownerReferences": [owner]}}
    assert cluster.create(folder, left)[0] == 201
    # How long Kubernetes takes to find that an owner is gone is no matter of the operator's.
    until(lambda: "deletionTimestamp" in cluster.get(f"{folder}/{name}")["metadata"], "the garbage collector")
    pool.apply()
    pool.wait_condition("Ready", "False", "PreviousPoolEnding")
    cluster.patch(f"{folder}/{name}", {"metadata": {"finalizers": None}})
    # What does not pass by itself would be tried again after REFUSED_RETRY_S.
    until(lambda: cluster.get(f"{folder}/{name}"), "its own configuration", REFUSED_RETRY_S / 2)
    pool.wait_ready()


def test_a_broken_status_is_written_anew(operator: Operator, pool: Pool, cluster: Cluster):
    pool.apply().wait_ready()
    cluster.patch(f"{pool.path}/status", {"status": {"conditions": [], "reason": "Nonsense"}})
    pool.wait_ready()
