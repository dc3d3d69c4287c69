import json

import pytest

from agentpool_api.runtime_settings import RuntimeSettings
from agentpool_operator.decide.split import CapacitySplit
from agentpool_operator.manifests.config import make_key_secret, make_redis_secret
from agentpool_operator.manifests.deployment import make_deployment
from agentpool_operator.manifests.pool import make_pool_objects
from agentpool_operator.settings import RedisAccess
from tests.unit.operator.make import MODEL, values


def deployment(capacity_type="on-demand", **spec):
    return make_deployment(values(**spec), capacity_type, 2)


def pod_spec(capacity_type="on-demand", **spec):
    return deployment(capacity_type, **spec)["spec"]["template"]["spec"]


def container(name, **spec):
    pod = pod_spec(**spec)
    (found,) = [c for c in pod.get("initContainers", []) + pod["containers"] if c["name"] == name]
    return found


def env_of(found):
    return {variable["name"]: variable for variable in found["env"]}


def test_a_pool_has_these_objects_and_owns_them_all():
    objects = make_pool_objects(values(), CapacitySplit(1, 2))
    assert [(o["kind"], o["metadata"]["name"]) for o in objects] == [
        ("ConfigMap", "research-runtime"),
        ("Service", "research"),
        ("PodDisruptionBudget", "research"),
        ("Deployment", "research-on-demand"),
        ("Deployment", "research-spot"),
    ]
    for found in objects:
        (owner,) = found["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["uid"]) == ("AgentPool", "uid-1")
        assert "blockOwnerDeletion" not in owner


def test_the_split_goes_to_the_deployments():
    objects = make_pool_objects(values(), CapacitySplit(1, 2))
    assert [o["spec"]["replicas"] for o in objects if o["kind"] == "Deployment"] == [1, 2]


def test_a_service_account_is_made_only_when_asked_for():
    assert "serviceAccountName" not in pod_spec()
    assert pod_spec(agent={"serviceAccountName": "mine"})["serviceAccountName"] == "mine"
    assert pod_spec(agent={"createServiceAccount": True})["serviceAccountName"] == "research"
    kinds = [o["kind"] for o in make_pool_objects(values(agent={"createServiceAccount": True}), CapacitySplit(0, 0))]
    assert "ServiceAccount" in kinds


def test_the_runtime_reads_back_what_the_pool_says():
    (config, *_) = make_pool_objects(values(), CapacitySplit(0, 0))
    text = config["data"]["runtime.json"]
    assert RuntimeSettings.model_validate_json(text) == values().spec.runtime
    assert json.loads(text)["models"][0]["name"] == "m"


def test_every_container_is_restricted():
    spec = pod_spec(agent={"image": "mine:1"})
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] == 65532
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    for found in spec["initContainers"] + spec["containers"]:
        assert found["securityContext"]["allowPrivilegeEscalation"] is False
        assert found["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert spec["initContainers"][0]["securityContext"]["readOnlyRootFilesystem"] is True


def test_the_runtime_knows_who_and_where_it_is():
    env = env_of(container("agent-runtime", agent={"concurrency": 7, "drainTimeout": "90s"}))
    assert env["AGENTPOOL_POOL"]["value"] == "research"
    assert env["AGENTPOOL_CAPACITY_TYPE"]["value"] == "on-demand"
    assert env["AGENTPOOL_CONCURRENCY"]["value"] == "7"
    assert env["AGENTPOOL_DRAIN_TIMEOUT_S"]["value"] == "90"
    assert env["POD_UID"]["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.uid"
    assert env["AGENTPOOL_REDIS_URL"]["valueFrom"]["secretKeyRef"]["name"].startswith("research-redis-")


def test_draining_ends_before_the_kernel_kills():
    assert pod_spec(agent={"drainTimeout": "90s"})["terminationGracePeriodSeconds"] == 100


@pytest.mark.parametrize("drain_timeout", ["1s", "1500ms", "90s", "30m"])
def test_the_kill_comes_later_than_the_drain_the_runtime_was_told(drain_timeout):
    agent = {"drainTimeout": drain_timeout}
    told = env_of(container("agent-runtime", agent=agent))["AGENTPOOL_DRAIN_TIMEOUT_S"]["value"]
    assert pod_spec(agent=agent)["terminationGracePeriodSeconds"] >= float(told) + 10


def test_a_disk_cache_has_a_volume_with_room_for_its_log():
    spec = pod_spec(runtime={"cache": {"diskSize": "1Gi"}})
    (volume,) = [v for v in spec["volumes"] if v["name"] == "cache"]
    assert volume["emptyDir"] == {"sizeLimit": str((1024 + 256 + 64) * 2**20)}
    assert {"name": "cache", "mountPath": "/var/cache/agentpool"} in spec["containers"][0]["volumeMounts"]


def test_without_a_disk_cache_there_is_no_volume_for_it():
    for spec in (pod_spec(), pod_spec(runtime={"cache": {"diskSize": "0"}})):
        assert "cache" not in [v["name"] for v in spec["volumes"]]
        assert "/var/cache/agentpool" not in [m["mountPath"] for m in spec["containers"][0]["volumeMounts"]]


def test_secrets_of_the_spec_are_optional_files():
    spec = pod_spec()
    secrets = {v["secret"]["secretName"]: v["secret"]["optional"] for v in spec["volumes"] if "secret" in v}
    assert secrets == {"endpoint-key": True, "research-key": True}
    mounts = {m["mountPath"] for m in spec["containers"][0]["volumeMounts"]}
    assert "/var/run/agentpool/secrets/endpoint-key" in mounts
    assert "/var/run/agentpool/secrets/research-key" in mounts


def test_the_secrets_of_several_endpoints_are_mounted():
    endpoints = [{"url": "https://a/v1", "apiKeySecretRef": {"name": n}} for n in ("one", "two")]
    spec = pod_spec(runtime={"models": [{"name": "m", "endpoints": endpoints}]})
    assert {"one", "two"} <= {v["secret"]["secretName"] for v in spec["volumes"] if "secret" in v}


def test_the_certificates_endpoints_are_shown_are_mounted():
    endpoints = [{"url": "https://a/v1", "clientCertificateSecretName": "shown"}]
    spec = pod_spec(runtime={"models": [{"name": "m", "endpoints": endpoints}]})
    assert "shown" in {v["secret"]["secretName"] for v in spec["volumes"] if "secret" in v}
    assert "/var/run/agentpool/secrets/shown" in {m["mountPath"] for m in spec["containers"][0]["volumeMounts"]}


@pytest.mark.parametrize(
    ("named", "source"),
    [
        pytest.param({"configMapName": "company"}, {"configMap": {"name": "company"}}, id="ConfigMap"),
        pytest.param({"secretName": "company"}, {"secret": {"secretName": "company"}}, id="Secret"),
    ],
)
def test_certificate_authorities_are_mounted_from_where_the_pool_says(named, source):
    spec = pod_spec(runtime={"connections": {"authorities": named | {"key": "root.pem"}}})
    (volume,) = [v for v in spec["volumes"] if v["name"] == "authorities"]
    ((kind, reference),) = source.items()
    assert volume[kind] == reference | {"items": [{"key": "root.pem", "path": "root.pem"}], "optional": True}
    mounts = {m["name"]: m["mountPath"] for m in spec["containers"][0]["volumeMounts"]}
    assert mounts["authorities"] == "/var/run/agentpool/ca"
    assert "authorities" not in [v["name"] for v in pod_spec()["volumes"]]


def test_a_secret_used_twice_is_mounted_once():
    models = [MODEL, MODEL | {"name": "n"}]
    spec = pod_spec(runtime={"models": models, "auth": {"secretName": "endpoint-key"}})
    assert [v["secret"]["secretName"] for v in spec["volumes"] if "secret" in v] == ["endpoint-key"]


def test_an_agent_of_the_users_own_reaches_the_runtime_beside_it():
    env = env_of(container("agent", agent={"image": "mine:1"}))
    assert env["OPENAI_BASE_URL"]["value"] == "http://127.0.0.1:8080/v1"
    assert env["OPENAI_API_KEY"]["valueFrom"]["secretKeyRef"] == {
        "name": "research-key",
        "key": "api-key",
        "optional": True,
    }


QUEUE = {"agent": {"image": "mine:1"}, "scaling": {"queue": {"stream": "jobs", "group": "agents"}}}


def test_the_runtime_outlives_an_agent_of_the_users_own():
    spec = pod_spec(agent={"image": "mine:1"})
    assert [c["name"] for c in spec["containers"]] == ["agent"]
    (runtime,) = spec["initContainers"]
    assert (runtime["name"], runtime["restartPolicy"]) == ("agent-runtime", "Always")
    assert runtime["lifecycle"]["preStop"]["exec"]["command"][-1] == "kill -USR1 1"
    assert "initContainers" not in pod_spec()


def test_an_agent_of_the_users_own_finds_the_queue_and_is_a_consumer_named_like_its_pod():
    env = env_of(container("agent", **QUEUE))
    assert env["AGENTPOOL_QUEUE_STREAM"]["value"] == "agentpool:{team}:queue:jobs"
    assert env["AGENTPOOL_QUEUE_GROUP"]["value"] == "agents"
    assert env["AGENTPOOL_QUEUE_CONSUMER"]["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.name"
    assert env["AGENTPOOL_QUEUE_REDIS_URL"]["valueFrom"]["secretKeyRef"]["key"] == "url"


def test_an_agent_without_a_queue_is_given_no_way_to_redis():
    assert not [name for name in env_of(container("agent", agent={"image": "mine:1"})) if "REDIS" in name]


def test_the_users_environment_wins_over_ours():
    own = [{"name": "OPENAI_API_KEY", "value": "mine"}]
    found = container("agent", agent={"image": "mine:1", "env": own})
    assert [v for v in found["env"] if v["name"] == "OPENAI_API_KEY"] == own


def test_without_authentication_the_agent_needs_no_key():
    spec = {"agent": {"image": "mine:1"}, "runtime": {"auth": {"enabled": False}}}
    assert env_of(container("agent", **spec))["OPENAI_API_KEY"]["value"] == "none"


def test_without_an_image_the_runtime_is_the_agent():
    assert [c["name"] for c in pod_spec()["containers"]] == ["agent-runtime"]


def test_the_service_offers_the_runtime_and_the_agents_own_port():
    (_, service, *_) = make_pool_objects(values(agent={"image": "mine:1", "port": 9000}), CapacitySplit(0, 0))
    ports = {p["name"]: (p["port"], p["targetPort"]) for p in service["spec"]["ports"]}
    assert ports == {"http": (80, 8080), "agent": (9000, 9000)}


def test_an_agent_on_port_80_does_not_clash_with_the_runtime():
    (_, service, *_) = make_pool_objects(values(agent={"image": "mine:1", "port": 80}), CapacitySplit(0, 0))
    assert len({p["port"] for p in service["spec"]["ports"]}) == 2


def test_an_update_takes_no_agent_away_before_its_successor_serves():
    assert deployment()["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


def test_a_changed_configuration_rolls_the_pods_and_a_changed_size_does_not():
    def hash_of(**spec):
        return deployment(**spec)["spec"]["template"]["metadata"]["annotations"]["agentpool.dev/config-hash"]

    assert hash_of() != hash_of(runtime={"models": [MODEL], "cache": {"ttl": "5m"}})
    assert hash_of() == hash_of(minAgents=1)


def test_spot_agents_prefer_spot_nodes_and_tolerate_their_taints():
    spec = pod_spec("spot")
    preferred = spec["affinity"]["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    keys = {term["preference"]["matchExpressions"][0]["key"] for term in preferred}
    assert "karpenter.sh/capacity-type" in keys
    assert "nodeSelector" not in spec
    assert {t["key"] for t in spec["tolerations"]} == {
        "cloud.google.com/gke-spot",
        "kubernetes.azure.com/scalesetpriority",
    }


@pytest.mark.parametrize("capacity_type", ["on-demand", "spot"])
def test_agents_are_spread_over_zones_and_nodes_where_they_can(capacity_type):
    spread = pod_spec(capacity_type)["topologySpreadConstraints"]
    assert [each["topologyKey"] for each in spread] == ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]
    selector = deployment(capacity_type)["spec"]["selector"]
    assert all((each["labelSelector"], each["whenUnsatisfiable"]) == (selector, "ScheduleAnyway") for each in spread)


def test_spot_nodes_of_the_users_naming_are_required():
    spot = {"nodeSelector": {"pool": "spot"}, "tolerations": [{"key": "spot", "operator": "Exists"}]}
    spec = pod_spec("spot", spot=spot)
    assert spec["nodeSelector"] == {"pool": "spot"}
    assert {"key": "spot", "operator": "Exists"} in spec["tolerations"]
    assert "nodeSelector" not in pod_spec("on-demand", spot=spot)


def test_on_demand_agents_keep_off_spot_nodes_where_they_can():
    preferred = pod_spec()["affinity"]["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    (term,) = preferred
    assert all(e["operator"] == "NotIn" for e in term["preference"]["matchExpressions"])


def test_the_overlay_cannot_take_the_pods_out_of_their_deployment():
    overlay = {"metadata": {"labels": {"agentpool.dev/pool": "other", "mine": "yes"}}}
    labels = deployment(agent={"podTemplate": overlay})["spec"]["template"]["metadata"]["labels"]
    assert labels["agentpool.dev/pool"] == "research"
    assert labels["mine"] == "yes"


def test_resources_of_both_containers_are_the_users():
    agent = {"image": "i", "resources": {"requests": {"cpu": "1"}}, "runtimeResources": {"limits": {"cpu": "2"}}}
    assert container("agent", agent=agent)["resources"] == {"requests": {"cpu": "1"}}
    assert container("agent-runtime", agent=agent)["resources"] == {"limits": {"cpu": "2"}}


def test_the_redis_secret_is_named_after_its_content():
    one = values()
    other = type(one)(
        namespace="team",
        name="research",
        uid="uid-1",
        spec=one.spec,
        runtime=one.runtime,
        redis=RedisAccess(url="rediss://other:6379/0", ca_pem="PEM"),
    )
    assert make_redis_secret(one)["metadata"]["name"] != make_redis_secret(other)["metadata"]["name"]
    assert make_redis_secret(one)["immutable"] is True
    assert make_redis_secret(other)["stringData"] == {"url": "rediss://other:6379/0", "ca.crt": "PEM"}
    spec = make_deployment(other, "spot", 1)["spec"]["template"]["spec"]
    assert env_of(spec["containers"][0])["AGENTPOOL_REDIS_CA_FILE"]["value"] == "/etc/agentpool-redis/ca.crt"


def test_the_key_secret_holds_one_key():
    assert make_key_secret(values(), "k")["stringData"] == {"api-key": "k"}


@pytest.mark.parametrize("capacity_type", ["on-demand", "spot"])
def test_pods_are_found_by_their_deployments_selector(capacity_type):
    found = deployment(capacity_type)
    labels = found["spec"]["template"]["metadata"]["labels"]
    assert found["spec"]["selector"]["matchLabels"].items() <= labels.items()
