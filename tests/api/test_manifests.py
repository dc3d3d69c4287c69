"""Which manifests does the API server take, and what does it say of the others?"""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.support import BUDGETS, POOLS, Cluster, Object

MODEL = {"name": "m", "endpoint": "https://models.example/v1"}


def model(**changes: Any) -> Object:
    return {"runtime": {"models": [MODEL | changes]}, "agent": {}}


def endpoints(*places: Object) -> Object:
    return {"runtime": {"models": [{"name": "m", "endpoints": list(places)}]}, "agent": {}}


def agent(**changes: Any) -> Object:
    return {"agent": {"image": "mine:1"} | changes}


def runtime(**changes: Any) -> Object:
    return {"runtime": {"models": [MODEL]} | changes, "agent": {}}


def schedule(**changes: Any) -> Object:
    return {"scaling": {"schedules": [{"name": "s", "start": "08:00", "end": "18:00"} | changes]}}


GOOD_POOLS: dict[str, Object] = {
    "nothing but an image": {},
    "nothing but a model": model(),
    "several endpoints": {
        "runtime": {
            "models": [
                {
                    "name": "m",
                    "endpoints": [
                        {"url": "https://a.example/v1", "weight": 3, "apiKeySecretRef": {"name": "a"}},
                        {"url": "http://b.models:8000/v1", "priority": 1, "tlsServerName": "b.example"},
                        {
                            "name": "c-2",
                            "url": "https://c.example/v1",
                            "clientCertificateSecretName": "shown",
                            "price": {"inputPerMillion": "1"},
                        },
                    ],
                }
            ],
            "connections": {"authorities": {"configMapName": "company"}, "breaker": {"openFor": "30s"}},
        },
        "agent": {},
    },
    "one agent": {"minAgents": 1, "maxAgents": 1, "warmAgents": 1},
    "scale to zero": {"minAgents": 0, "warmAgents": 0},
    "the most there may be": {"minAgents": 10000, "maxAgents": 10000},
    "warm agents as a share": {"warmAgents": "10%"},
    "all agents warm": {"warmAgents": "100%"},
    "no warm agents": {"warmAgents": "0%"},
    "a size from outside": {"replicas": 5},
    "every priority": {"priorityClass": "NonEssential"},
    "paused": {"pause": "Both"},
    "a long idle timeout": {"idleTimeout": "1d12h"},
    "no idle timeout": {"idleTimeout": "0"},
    "no spot": {"spot": {"enabled": False}},
    "all spot": {"spot": {"percent": 100, "onDemandBase": 0}},
    "spot nodes of one's own": {"spot": {"nodeSelector": {"a": "b"}, "tolerations": [{"operator": "Exists"}]}},
    "free agents": {"cost": {"onDemandPerHour": "0", "spotPerHour": "0"}},
    "prices to the nano-dollar": {"cost": {"onDemandPerHour": "0.123456789"}},
    "threshold": {"scaling": {"policy": "Threshold", "threshold": {"scaleUpPercent": 1, "scaleDownPercent": 0}}},
    "a wait of one's own": {"scaling": {"targetWait": "250ms", "targetUtilizationPercent": 80}},
    "behavior as in an HPA": {
        "scaling": {
            "behavior": {
                "scaleUp": {"policies": [{"type": "Pods", "value": 4, "periodSeconds": 15}], "selectPolicy": "Min"},
                "scaleDown": {"stabilizationWindowSeconds": 3600, "tolerancePercent": 10},
            }
        }
    },
    "a schedule over midnight": {
        "scaling": {
            "schedules": [
                {"name": "night", "timeZone": "Europe/Berlin", "start": "22:00", "end": "05:00", "maxAgents": 5},
                {"name": "week", "days": ["Mon", "Fri"], "start": "08:00", "end": "08:00", "minAgents": 4},
            ]
        }
    },
    "preview": {"mode": "Preview"},
    "a cost target": {"cost": {"targetPerHour": "0.50"}},
    "a quick fall-back": {"spot": {"fallbackAfter": "10s"}},
    "an agent with everything": agent(
        command=["/agent"],
        args=["--fast"],
        env=[{"name": "A", "value": "b"}, {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        port=9000,
        resources={"requests": {"cpu": "1", "memory": "1Gi"}},
        runtimeResources={"limits": {"memory": "1Gi"}},
        concurrency=10000,
        drainTimeout="24h",
        podTemplate={"metadata": {"labels": {"a": "b"}}, "spec": {"nodeSelector": {"a": "b"}}},
    ),
    "an account of its own": agent(createServiceAccount=True),
    "somebody's account": agent(serviceAccountName="mine"),
    "an image by digest": agent(image="registry.example:5000/a/b@sha256:" + "0" * 64),
    "a key from a Secret": model(apiKeySecretRef={"name": "keys"}),
    "a key from the environment": model(apiKeyEnv="OPENAI_API_KEY"),
    "a price of one's own": model(price={"inputPerMillion": "2.5", "outputPerMillion": "10"}),
    "an embeddings model": model(kind="embeddings", upstreamModel="text-embedding-3-small"),
    "no authentication": runtime(auth={"enabled": False}),
    "keys of one's own": runtime(auth={"secretName": "keys"}),
    "no cache": runtime(cache={"enabled": False}),
    "a big cache": runtime(cache={"ttl": "1h30m", "maxEntries": 1000000, "maxSize": "1.5Gi"}),
    "connections": runtime(connections={"total": 5, "perHost": 5, "timeout": "250ms", "retries": 0}),
    "an embedder of the semantic cache": runtime(
        models=[MODEL | {"kind": "embeddings"}], cache={"semantic": {"embedder": {"model": MODEL["name"]}}}
    ),
    "limits": runtime(limits={"maxBodySize": "1k", "maxQueued": 0, "queueTimeout": "1s"}),
}

BAD_POOLS: dict[str, tuple[Object, str]] = {
    "bounds the wrong way round": ({"minAgents": 5, "maxAgents": 4}, "lower minAgents or raise maxAgents"),
    "too low a maximum": ({"maxAgents": 1}, "minAgents (2 unless set) is above maxAgents"),
    "no agents at all": ({"minAgents": 0, "maxAgents": 0}, "spec.maxAgents"),
    "negative": ({"minAgents": -1}, "spec.minAgents"),
    "too many": ({"maxAgents": 10001}, "spec.maxAgents"),
    "a fraction of an agent": ({"minAgents": 1.5}, "spec.minAgents"),
    "more warm agents than agents": ({"warmAgents": 21}, "lower warmAgents or raise maxAgents"),
    "too many warm agents in per cent": ({"warmAgents": "101%"}, "write it like 3 or 10%"),
    "warm agents in words": ({"warmAgents": "many"}, "write it like 3 or 10%"),
    "negative warm agents": ({"warmAgents": -1}, "write it like 3 or 10%"),
    "a duration without a unit": ({"idleTimeout": "30"}, "spec.idleTimeout"),
    "a negative duration": ({"idleTimeout": "-1m"}, "spec.idleTimeout"),
    "an unknown priority": ({"priorityClass": "Urgent"}, '"Critical", "Standard", "Deferrable", "NonEssential"'),
    "an unknown pause": ({"pause": "Yes"}, '"None", "In", "Out", "Both"'),
    "an unknown policy": ({"scaling": {"policy": "Guess"}}, "spec.scaling.policy"),
    "thresholds the wrong way round": (
        {"scaling": {"threshold": {"scaleDownPercent": 80, "scaleUpPercent": 80}}},
        "scaleDownPercent must be below scaleUpPercent",
    ),
    "a threshold over everything": ({"scaling": {"threshold": {"scaleUpPercent": 101}}}, "scaleUpPercent"),
    "a step of nothing": ({"scaling": {"threshold": {"scaleUpBy": 0}}}, "scaleUpBy"),
    "a wait of nothing": ({"scaling": {"targetWait": "0s"}}, "set at least 100ms"),
    "a schedule that changes nothing": (schedule(), "set its minAgents, its maxAgents or both"),
    "a schedule the wrong way round": (schedule(minAgents=5, maxAgents=4), "lower the one or raise the other"),
    "a schedule above the pool": (schedule(minAgents=21), "set maxAgents in the schedule too"),
    "a schedule below the pool": (schedule(maxAgents=1), "set minAgents in the schedule too"),
    "a schedule with a day twice": (schedule(minAgents=3, days=["Mon", "Mon"]), "name each once"),
    "a schedule on no day": (schedule(minAgents=3, days=["Someday"]), "spec.scaling.schedules[0].days[0]"),
    "a schedule at no time": (schedule(minAgents=3, start="24:00"), "spec.scaling.schedules[0].start"),
    "a schedule in no zone": (schedule(minAgents=3, timeZone="Mars/Base"), "use a name such as Europe/Berlin"),
    "two schedules of one name": (
        {"scaling": {"schedules": [schedule(minAgents=3)["scaling"]["schedules"][0]] * 2}},
        "spec.scaling.schedules",
    ),
    "an unknown mode": ({"mode": "Try"}, '"Enforce", "Preview"'),
    "a stabilization beyond an hour": (
        {"scaling": {"behavior": {"scaleDown": {"stabilizationWindowSeconds": 3601}}}},
        "stabilizationWindowSeconds",
    ),
    "more than all spot": ({"spot": {"percent": 101}}, "spec.spot.percent"),
    "a base above the maximum": ({"spot": {"onDemandBase": 21}}, "spot.onDemandBase is above maxAgents"),
    "money as a number": ({"cost": {"spotPerHour": 0.15}}, "spec.cost.spotPerHour"),
    "negative money": ({"cost": {"spotPerHour": "-1"}}, "spec.cost.spotPerHour"),
    "money with a sign": ({"cost": {"spotPerHour": "$1"}}, "spec.cost.spotPerHour"),
    "money below a nano-dollar": ({"cost": {"spotPerHour": "0.0000000001"}}, "spec.cost.spotPerHour"),
    "money in powers of ten": ({"cost": {"spotPerHour": "1e3"}}, "spec.cost.spotPerHour"),
    "nothing to run": ({"agent": {}}, "name a model in runtime.models, or set agent.image"),
    "no models and no image": ({"agent": {}, "runtime": {"models": []}}, "the pool has nothing to run"),
    "an image with a blank": (agent(image="a b"), "spec.agent.image"),
    "a command without an image": (model() | {"agent": {"command": ["x"]}}, "set agent.image, or remove them"),
    "an environment without an image": (
        model() | {"agent": {"env": [{"name": "A"}]}},
        "belong to a container of your own",
    ),
    "the runtime's port": (agent(port=8080), "give your container another port"),
    "no port": (agent(port=0), "spec.agent.port"),
    "a variable that is none": (agent(env=[{"name": "1A"}]), "spec.agent.env[0].name"),
    "a variable without a name": (agent(env=[{"value": "x"}]), "spec.agent.env[0].name"),
    "no concurrency": (agent(concurrency=0), "spec.agent.concurrency"),
    "an account with capitals": (agent(serviceAccountName="Mine"), "spec.agent.serviceAccountName"),
    "two models of one name": (
        runtime(models=[MODEL, MODEL]),
        "give each model of the pool a name of its own",
    ),
    "a model without an endpoint": (
        {"agent": {}, "runtime": {"models": [{"name": "m"}]}},
        "say once where the model is served",
    ),
    "an endpoint and endpoints": (
        model(endpoints=[{"url": "https://a.example/v1"}]),
        "say once where the model is served",
    ),
    "a key beside endpoints": (
        runtime(models=[{"name": "m", "apiKeyEnv": "A", "endpoints": [{"url": "https://a.example/v1"}]}]),
        "with endpoints each one names its own key",
    ),
    "no endpoints": (runtime(models=[{"name": "m", "endpoints": []}]), "spec.runtime.models[0].endpoints"),
    "a password in an endpoint": (model(endpoint="https://me:secret@h/v1"), "spec.runtime.models[0].endpoint"),
    "a password in a proxy": (runtime(connections={"proxy": "http://me:secret@h"}), "spec.runtime.connections.proxy"),
    "authorities from nowhere": (runtime(connections={"authorities": {}}), "set configMapName or secretName"),
    "more warm connections than allowed": (
        runtime(connections={"perHost": 2, "warm": 3}),
        "lower warm or raise perHost",
    ),
    "an endpoint that is no URL": (model(endpoint="models.example"), "spec.runtime.models[0].endpoint"),
    "an endpoint of another kind": (model(endpoint="ftp://models.example"), "spec.runtime.models[0].endpoint"),
    "the key twice": (
        model(apiKeyEnv="A", apiKeySecretRef={"name": "keys"}),
        "set apiKeySecretRef or apiKeyEnv, not both",
    ),
    "a client certificate without TLS": (
        endpoints({"url": "http://a.example/v1", "clientCertificateSecretName": "shown"}),
        "leave clientCertificateSecretName out",
    ),
    "two endpoints of one name": (
        endpoints({"name": "a", "url": "http://a/v1"}, {"url": "http://b/v1"}, {"name": "a", "url": "http://c/v1"}),
        "give each its own",
    ),
    "an endpoint named by a number": (
        endpoints({"name": "1", "url": "http://a/v1"}),
        "spec.runtime.models[0].endpoints[0].name",
    ),
    "an unknown kind of model": (model(kind="images"), '"chat", "embeddings"'),
    "a price without its input": (model(price={"outputPerMillion": "1"}), "inputPerMillion: Required"),
    "more connections per host than in all": (
        runtime(connections={"total": 5, "perHost": 6}),
        "lower perHost or raise total",
    ),
    "too many retries": (runtime(connections={"retries": 11}), "spec.runtime.connections.retries"),
    "a size without a number": (runtime(limits={"maxBodySize": "big"}), "spec.runtime.limits.maxBodySize"),
    "an embedder that is a chat model": (
        runtime(cache={"semantic": {"embedder": {"model": MODEL["name"]}}}),
        "cache.semantic.embedder.model names no embeddings model of the pool",
    ),
    "an empty cache": (runtime(cache={"maxEntries": 0}), "spec.runtime.cache.maxEntries"),
}

GOOD_BUDGETS: dict[str, Object] = {
    "one limit": {"limits": {"daily": "10"}},
    "all limits": {"limits": {"daily": "10", "weekly": "50.50", "monthly": "200"}},
    "equal limits": {"limits": {"daily": "10", "monthly": "10"}},
    "nothing at all": {"limits": {"daily": "0"}},
    "some pools": {"limits": {"weekly": "1"}, "selector": {"matchLabels": {"team": "a"}}},
    "a time zone": {"limits": {"daily": "1"}, "timeZone": "Europe/Berlin"},
    "a time zone of three parts": {"limits": {"daily": "1"}, "timeZone": "America/Argentina/Buenos_Aires"},
    "alerts beyond the limit": {"limits": {"daily": "1"}, "alertPercents": [1, 100, 1000]},
    "thresholds": {"limits": {"daily": "1"}, "scaleDownPercent": 1, "shutdownPercent": 2, "hysteresisPercent": 0},
}

BAD_BUDGETS: dict[str, tuple[Object, str]] = {
    "no limits": ({}, "spec.limits: Required"),
    "empty limits": ({"limits": {}}, "set at least one of daily, weekly, monthly"),
    "a day above its week": ({"limits": {"daily": "10", "weekly": "9.99"}}, "lower daily or raise weekly"),
    "a day above its month": ({"limits": {"daily": "10", "monthly": "9"}}, "lower daily or raise monthly"),
    "a week above its month": ({"limits": {"weekly": "10", "monthly": "9"}}, "lower weekly or raise monthly"),
    "a negative limit": ({"limits": {"daily": "-1"}}, "spec.limits.daily"),
    "a limit as a number": ({"limits": {"daily": 10}}, "spec.limits.daily"),
    "a zone that is none": ({"limits": {"daily": "1"}, "timeZone": "Mars/Base"}, "use a name such as Europe/Berlin"),
    "a zone of the machine's": ({"limits": {"daily": "1"}, "timeZone": "Local"}, "use a name such as Europe/Berlin"),
    "a distance in place of a zone": ({"limits": {"daily": "1"}, "timeZone": "+02:00"}, "spec.timeZone"),
    "no alerts": ({"limits": {"daily": "1"}, "alertPercents": []}, "spec.alertPercents"),
    "alerts that fall": ({"limits": {"daily": "1"}, "alertPercents": [80, 50]}, "alertPercents must rise"),
    "an alert twice": ({"limits": {"daily": "1"}, "alertPercents": [50, 50]}, "alertPercents must rise"),
    "an alert at nothing": ({"limits": {"daily": "1"}, "alertPercents": [0]}, "spec.alertPercents[0]"),
    "shutdown before scale-down": (
        {"limits": {"daily": "1"}, "scaleDownPercent": 90, "shutdownPercent": 90},
        "scaleDownPercent must be below shutdownPercent",
    ),
    "a hysteresis that never ends": (
        {"limits": {"daily": "1"}, "scaleDownPercent": 40, "hysteresisPercent": 40},
        "scale-down could never be undone",
    ),
}

BAD_NAMES = ["1pool", "a" * 53, "a.b", "pool-"]
NAME_SAYS = "use at most 52 lower-case letters"


def table(rows: dict[str, Any]) -> list[Any]:
    return [pytest.param(*(row if isinstance(row, tuple) else (row,)), id=name) for name, row in rows.items()]


def try_pool(cluster: Cluster, spec: Object, name: str = "p") -> tuple[int, Object]:
    full = agent() | spec
    body = {"apiVersion": "agentpool.dev/v1alpha1", "kind": "AgentPool", "metadata": {"name": name}, "spec": full}
    return cluster.create(POOLS.format("default") + "?dryRun=All", body)


def try_budget(cluster: Cluster, spec: Object) -> tuple[int, Object]:
    body = {"apiVersion": "agentpool.dev/v1alpha1", "kind": "CostBudget", "metadata": {"name": "b"}, "spec": spec}
    return cluster.create(BUDGETS.format("default") + "?dryRun=All", body)


@pytest.mark.parametrize("spec", table(GOOD_POOLS))
def test_a_good_pool_is_taken(cluster: Cluster, spec: Object):
    status, answer = try_pool(cluster, spec)
    assert status == 201, answer


@pytest.mark.parametrize(("spec", "says"), table(BAD_POOLS))
def test_a_bad_pool_is_refused_with_what_to_change(cluster: Cluster, spec: Object, says: str):
    status, answer = try_pool(cluster, spec)
    assert status == 422, answer
    assert says in answer["message"]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_name_no_service_can_have_is_refused(cluster: Cluster, name: str):
    status, answer = try_pool(cluster, {}, name)
    assert status == 422, answer
    assert NAME_SAYS in answer["message"] or "RFC 1123" in answer["message"]


def test_the_longest_name_is_taken(cluster: Cluster):
    assert try_pool(cluster, {}, "a" * 52)[0] == 201


@pytest.mark.parametrize("spec", table(GOOD_BUDGETS))
def test_a_good_budget_is_taken(cluster: Cluster, spec: Object):
    status, answer = try_budget(cluster, spec)
    assert status == 201, answer


@pytest.mark.parametrize(("spec", "says"), table(BAD_BUDGETS))
def test_a_bad_budget_is_refused_with_what_to_change(cluster: Cluster, spec: Object, says: str):
    status, answer = try_budget(cluster, spec)
    assert status == 422, answer
    assert says in answer["message"]


def test_a_budgets_time_zone_cannot_change(cluster: Cluster, namespace: str):
    folder = BUDGETS.format(namespace)
    body = {
        "apiVersion": "agentpool.dev/v1alpha1",
        "kind": "CostBudget",
        "metadata": {"name": "b"},
        "spec": {"limits": {"daily": "1"}, "timeZone": "Europe/Berlin"},
    }
    assert cluster.apply(folder, body)[0] == 201
    status, answer = cluster.apply(folder, body | {"spec": {"limits": {"daily": "1"}, "timeZone": "UTC"}})
    assert status == 422
    assert "make a new CostBudget" in answer["message"]


def test_defaults_are_filled_in(cluster: Cluster):
    _, pool = try_pool(cluster, {})
    spec = pool["spec"]
    assert (spec["minAgents"], spec["maxAgents"], spec["warmAgents"], spec["idleTimeout"]) == (2, 20, 3, "30m")
    threshold = {"scaleUpPercent": 80, "scaleUpBy": 2, "scaleDownPercent": 30, "scaleDownBy": 1, "cooldown": "5m"}
    assert spec["scaling"]["threshold"] == threshold
    assert spec["spot"]["percent"] == 70
    assert spec["runtime"]["connections"] == {
        "total": 20,
        "perHost": 10,
        "keepAlive": "30s",
        "warm": 1,
        "firstTokenTimeout": "120s",
        "tokenTimeout": "60s",
        "breaker": {"failures": 5, "openFor": "10s"},
        "hedgePercent": 0,
        "noProxy": [],
        "connectTimeout": "5s",
        "timeout": "600s",
        "retries": 3,
    }
    _, budget = try_budget(cluster, {"limits": {"daily": "1"}})
    assert budget["spec"]["alertPercents"] == [50, 80, 90, 100]
    assert (budget["spec"]["scaleDownPercent"], budget["spec"]["shutdownPercent"]) == (95, 100)
    assert budget["spec"]["timeZone"] == "UTC"


def test_unknown_fields_are_dropped_and_strict_clients_told(cluster: Cluster):
    body = {
        "apiVersion": "agentpool.dev/v1alpha1",
        "kind": "AgentPool",
        "metadata": {"name": "p"},
        "spec": agent() | {"minAgent": 3},
    }
    status, answer = cluster.create(POOLS.format("default") + "?dryRun=All&fieldValidation=Strict", body)
    assert status == 400
    assert 'unknown field "spec.minAgent"' in answer["message"]
