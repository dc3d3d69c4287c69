"""What the chart renders: rights, security, settings, and clear words for wrong values."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.toolchain import tool_path

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "agentpool"
Manifest = dict[str, Any]


def helm_template(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(tool_path("helm")), "template", "agentpool", str(CHART), "--namespace", "agentpool-system"]
    command += ["--kube-version", "1.34.4", *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=200)


def render(**values: str) -> list[Manifest]:
    """Objects of the release; ``redis__url="x"`` sets redis.url."""
    settings = [part for name, value in values.items() for part in ("--set", f"{name.replace('__', '.')}={value}")]
    done = helm_template(*settings)
    assert done.returncode == 0, done.stderr
    return [manifest for manifest in yaml.safe_load_all(done.stdout) if manifest]


def of_kind(manifests: list[Manifest], *kinds: str) -> list[Manifest]:
    return [manifest for manifest in manifests if manifest["kind"] in kinds]


def named(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    (found,) = [manifest for manifest in of_kind(manifests, kind) if manifest["metadata"]["name"] == name]
    return found


def environment(container: Manifest) -> dict[str, Any]:
    return {entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in container["env"]}


def operator_container(manifests: list[Manifest]) -> Manifest:
    (container,) = named(manifests, "Deployment", "agentpool-operator")["spec"]["template"]["spec"]["containers"]
    return dict(container)


def pod_specs(manifests: list[Manifest]) -> list[Manifest]:
    templates = [manifest["spec"]["template"]["spec"] for manifest in of_kind(manifests, "Deployment")]
    return templates + [manifest["spec"] for manifest in of_kind(manifests, "Pod")]


@pytest.fixture(scope="module")
def default() -> list[Manifest]:
    return render()


@pytest.mark.parametrize("plural", ["agentpools", "costbudgets"])
def test_the_charts_resource_definitions_are_the_generated_ones(plural: str) -> None:
    ours = (CHART / "files" / "crds" / f"{plural}.yaml").read_text(encoding="utf-8")
    assert ours == (ROOT / "crds" / f"{plural}.yaml").read_text(encoding="utf-8"), "run `make crds`"


def test_rendering_changes_nothing_in_a_resource_definition_but_its_metadata(default: list[Manifest]) -> None:
    for plural in ("agentpools", "costbudgets"):
        rendered = named(default, "CustomResourceDefinition", f"{plural}.agentpool.dev")
        assert rendered["spec"] == yaml.safe_load((ROOT / "crds" / f"{plural}.yaml").read_text())["spec"]


def test_resource_definitions_belong_to_the_release_and_outlive_it(default: list[Manifest]) -> None:
    for crd in of_kind(default, "CustomResourceDefinition"):
        assert crd["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    for crd in of_kind(render(crds__keep="false"), "CustomResourceDefinition"):
        assert "annotations" not in crd["metadata"]
    assert not of_kind(render(crds__install="false"), "CustomResourceDefinition")


def test_nothing_in_the_release_holds_a_finalizer(default: list[Manifest]) -> None:
    assert [manifest["kind"] for manifest in default if "finalizers" in manifest["metadata"]] == []


def test_every_namespaced_object_names_its_namespace_and_release(default: list[Manifest]) -> None:
    cluster_wide = ("ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition")
    for manifest in default:
        if manifest["kind"] not in cluster_wide:
            assert manifest["metadata"]["namespace"] == "agentpool-system", manifest["metadata"]["name"]
        if manifest["kind"] != "CustomResourceDefinition":
            assert manifest["metadata"]["labels"]["app.kubernetes.io/instance"] == "agentpool"


@pytest.mark.parametrize("values", [{}, {"operator__replicas": "2", "redis__persistence__enabled": "true"}])
def test_every_pod_runs_without_root_writes_or_capabilities(values: dict[str, str]) -> None:
    specs = pod_specs(render(**values))
    assert len(specs) == 3
    for spec in specs:
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in spec["containers"]:
            security = container["securityContext"]
            assert security["readOnlyRootFilesystem"] is True
            assert security["allowPrivilegeEscalation"] is False
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["limits"]["memory"]
            assert container["imagePullPolicy"] == "IfNotPresent"


def test_only_the_operator_gets_a_token(default: list[Manifest]) -> None:
    tokens = [spec.get("automountServiceAccountToken", True) for spec in pod_specs(default)]
    assert tokens.count(True) == 1
    assert "serviceAccountName" in named(default, "Deployment", "agentpool-operator")["spec"]["template"]["spec"]


def rights(roles: list[Manifest]) -> set[tuple[str, str, str]]:
    """(group/resource, names, verb) of all rules."""
    return {
        (f"{group}/{resource}", ",".join(rule.get("resourceNames", [])), verb)
        for role in roles
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def operator_roles(manifests: list[Manifest]) -> list[Manifest]:
    roles = of_kind(manifests, "Role", "ClusterRole")
    return [role for role in roles if role["metadata"]["name"].startswith("agentpool-operator")]


def test_no_right_is_a_wildcard_and_no_secret_can_be_read(default: list[Manifest]) -> None:
    granted = rights(operator_roles(default))
    assert not [right for right in granted if "*" in "".join(right)]
    assert {verb for resource, _, verb in granted if resource == "/secrets"} == {"create"}


def test_the_operator_may_not_change_what_users_wrote(default: list[Manifest]) -> None:
    granted = rights(operator_roles(default))
    for resource in ("agentpool.dev/agentpools", "agentpool.dev/costbudgets"):
        assert {verb for name, _, verb in granted if name == resource} == {"list", "watch"}


def test_with_named_namespaces_the_operator_holds_no_right_on_the_cluster(default: list[Manifest]) -> None:
    manifests = render(watchNamespaces="{team-a,team-b}", rbac__aggregate="false")
    assert not of_kind(manifests, "ClusterRole", "ClusterRoleBinding")
    roles = operator_roles(manifests)
    places = sorted((role["metadata"]["namespace"], role["metadata"]["name"]) for role in roles)
    assert places == [
        ("team-a", "agentpool-operator"),
        ("team-a", "agentpool-operator-lease"),
        ("team-b", "agentpool-operator"),
    ]
    assert rights(roles) == rights(operator_roles(default)), "the same rights, in fewer places"
    assert environment(operator_container(manifests))["AGENTPOOL_NAMESPACES"] == "team-a,team-b"


def test_the_lease_stays_at_home_when_home_is_watched() -> None:
    manifests = render(watchNamespaces="{team-a,agentpool-system}")
    assert named(manifests, "Role", "agentpool-operator-lease")["metadata"]["namespace"] == "agentpool-system"


def test_every_binding_names_a_role_and_the_operators_account() -> None:
    for manifests in (render(), render(watchNamespaces="{a,b}")):
        for binding in of_kind(manifests, "RoleBinding", "ClusterRoleBinding"):
            role = named(
                [
                    manifest
                    for manifest in manifests
                    if manifest["metadata"].get("namespace") == binding["metadata"].get("namespace")
                ],
                binding["roleRef"]["kind"],
                binding["roleRef"]["name"],
            )
            assert role["rules"]
            assert binding["subjects"] == [
                {"kind": "ServiceAccount", "name": "agentpool-operator", "namespace": "agentpool-system"}
            ]


def test_a_namespaces_editors_see_budgets_and_its_admins_change_them(default: list[Manifest]) -> None:
    roles = of_kind(default, "ClusterRole")

    def aggregated(to: str) -> set[tuple[str, str, str]]:
        label = f"rbac.authorization.k8s.io/aggregate-to-{to}"
        return rights([role for role in roles if role["metadata"].get("labels", {}).get(label) == "true"])

    change = ("agentpool.dev/costbudgets", "", "patch")
    see = ("agentpool.dev/costbudgets", "", "get")
    assert see in aggregated("view")
    assert see in aggregated("edit")
    assert change not in aggregated("edit")
    assert change in aggregated("admin")
    assert ("agentpool.dev/agentpools/scale", "", "patch") in aggregated("edit")


def test_the_chart_runs_a_redis_of_its_own_unless_a_url_is_given(default: list[Manifest]) -> None:
    settings = environment(operator_container(default))
    assert settings["AGENTPOOL_REDIS_URL"] == "redis://agentpool-redis.agentpool-system.svc:6379/0"
    assert settings["AGENTPOOL_REDIS_PASSWORD"] == {"secretKeyRef": {"name": "agentpool-redis", "key": "password"}}
    external = render(redis__url="rediss://redis.example.com:6380/0", redis__caSecret__name="redis-ca")
    assert not [m for m in external if m["metadata"]["name"] == "agentpool-redis"]
    settings = environment(operator_container(external))
    assert settings["AGENTPOOL_REDIS_URL"] == "rediss://redis.example.com:6380/0"
    assert settings["AGENTPOOL_REDIS_CA_FILE"] == "/etc/agentpool/redis-ca/ca.crt"
    assert "AGENTPOOL_REDIS_PASSWORD" not in settings


def test_a_password_of_your_own_is_taken_from_your_secret() -> None:
    manifests = render(redis__passwordSecret__name="mine", redis__passwordSecret__key="pw")
    assert not of_kind(manifests, "Secret")
    expected = {"secretKeyRef": {"name": "mine", "key": "pw"}}
    assert environment(operator_container(manifests))["AGENTPOOL_REDIS_PASSWORD"] == expected
    (redis,) = named(manifests, "Deployment", "agentpool-redis")["spec"]["template"]["spec"]["containers"]
    assert environment(redis)["REDISCLI_AUTH"] == expected


def test_redis_drops_cached_answers_before_records_of_spend(default: list[Manifest]) -> None:
    (redis,) = named(default, "Deployment", "agentpool-redis")["spec"]["template"]["spec"]["containers"]
    arguments = redis["args"]
    assert arguments[arguments.index("--maxmemory-policy") + 1] == "volatile-ttl"
    assert arguments[arguments.index("--appendonly") + 1] == "yes"


def test_redis_data_can_live_on_a_volume_that_outlives_the_release() -> None:
    manifests = render(redis__persistence__enabled="true", redis__persistence__storageClass="fast")
    claim = named(manifests, "PersistentVolumeClaim", "agentpool-redis")
    assert claim["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    assert claim["spec"]["storageClassName"] == "fast"
    volumes = named(manifests, "Deployment", "agentpool-redis")["spec"]["template"]["spec"]["volumes"]
    assert volumes == [{"name": "data", "persistentVolumeClaim": {"claimName": "agentpool-redis"}}]


def test_only_the_operator_the_agents_and_the_test_reach_redis(default: list[Manifest]) -> None:
    policy = named(default, "NetworkPolicy", "agentpool-redis")["spec"]
    components = [
        source["podSelector"].get("matchLabels", {}).get("app.kubernetes.io/component")
        for source in policy["ingress"][0]["from"]
    ]
    assert components == ["operator", "test", None]
    agents = policy["ingress"][0]["from"][2]
    assert agents == {
        "namespaceSelector": {},
        "podSelector": {"matchExpressions": [{"key": "agentpool.dev/pool", "operator": "Exists"}]},
    }


def test_a_new_version_of_the_chart_alone_restarts_no_redis(default: list[Manifest]) -> None:
    labels = named(default, "Deployment", "agentpool-redis")["spec"]["template"]["metadata"]["labels"]
    assert not [value for value in labels.values() if "0.1.0" in value]


def test_pods_have_probes_that_need_an_answer(default: list[Manifest]) -> None:
    operator = operator_container(default)
    assert operator["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert operator["readinessProbe"]["httpGet"]["path"] == "/readyz"
    (redis,) = named(default, "Deployment", "agentpool-redis")["spec"]["template"]["spec"]["containers"]
    assert redis["livenessProbe"]["exec"]["command"] == ["redis-cli", "-e", "ping"]


def test_monitoring_is_off_until_asked_for(default: list[Manifest]) -> None:
    kinds = ("ServiceMonitor", "PodMonitor", "PrometheusRule")
    assert not of_kind(default, *kinds)
    asked = render(
        metrics__serviceMonitor__enabled="true",
        metrics__podMonitor__enabled="true",
        metrics__rules__enabled="true",
        metrics__rules__labels__release="prometheus",
    )
    assert {manifest["kind"] for manifest in of_kind(asked, *kinds)} == set(kinds)
    (rules,) = of_kind(asked, "PrometheusRule")
    assert rules["metadata"]["labels"]["release"] == "prometheus"


def test_the_image_with_the_encoder_is_the_operators_only_when_it_is_named(default: list[Manifest]) -> None:
    assert "AGENTPOOL_RUNTIME_SEMANTIC_IMAGE" not in environment(operator_container(default))
    named_one = render(images__semantic__repository="registry.example/runtime-semantic", images__semantic__tag="v2")
    settings = environment(operator_container(named_one))
    assert settings["AGENTPOOL_RUNTIME_SEMANTIC_IMAGE"] == "registry.example/runtime-semantic:v2"


def test_the_dashboard_is_a_configmap_that_grafanas_sidecar_finds(default: list[Manifest]) -> None:
    assert not of_kind(default, "ConfigMap")
    (found,) = of_kind(render(metrics__dashboard__enabled="true"), "ConfigMap")
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert json.loads(found["data"]["agentpool.json"]) == json.loads((CHART / "files" / "dashboard.json").read_text())


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        pytest.param("operator.replicas=5", "/operator/replicas", id="too many replicas"),
        pytest.param("operator.replicas=0", "/operator/replicas", id="no replica"),
        pytest.param("operator.logFormat=xml", "must be one of 'json', 'text'", id="unknown log format"),
        pytest.param("operator.logLevle=info", "'logLevle' not allowed", id="misspelt name"),
        pytest.param("images.pullPolicy=always", "/images/pullPolicy", id="pull policy in lower case"),
        pytest.param("images.operator.repository=", "/images/operator/repository", id="no image"),
        pytest.param("watchNamespaces=a", "got string, want array", id="namespaces as text"),
        pytest.param("watchNamespaces={Team_A}", "lower case letters", id="no namespace"),
        pytest.param("watchNamespaces={a,a}", "name each once", id="a namespace twice"),
        pytest.param("redis.url=http://redis", "write it like redis://host:6379/0", id="no Redis URL"),
        pytest.param("redis.url=redis://:secret@host:6379/0", "take it out", id="password in the URL"),
        pytest.param("redis.caSecret.name=ca", "rediss://", id="CA without TLS"),
        pytest.param("redis.maxMemory=100Mi", "use for example 200mb", id="size in another notation"),
        pytest.param("redis.persistence.enabled=yes", "want boolean", id="yes is no boolean"),
        pytest.param("metrics.serviceMonitor.interval=15", "/metrics/serviceMonitor/interval", id="interval, no unit"),
        pytest.param("crds.keep=maybe", "/crds/keep", id="keep is a boolean"),
    ],
)
def test_a_wrong_value_is_refused_with_its_place(setting: str, words: str) -> None:
    done = helm_template("--set", setting)
    assert done.returncode != 0
    assert words in done.stderr


def test_your_redis_and_our_volume_exclude_each_other() -> None:
    done = helm_template("--set", "redis.url=redis://mine:6379/0,redis.persistence.enabled=true")
    assert done.returncode != 0
    assert "set it to false" in done.stderr


def test_the_chart_passes_helms_own_check() -> None:
    done = subprocess.run(
        [str(tool_path("helm")), "lint", "--strict", str(CHART)], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
