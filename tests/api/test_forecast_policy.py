"""The forecast policy on a real API server: agents follow the arrivals their heartbeats tell of."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from agentpool_api import keys
from tests.api.pools import Pool
from tests.api.support import CORE, DEPLOYMENTS, PASSES, PATIENCE_S, Agents, Cluster, Redis, now_s, rest, until, watch

CALM = {"warmAgents": 2, "spot": {"percent": 0}, "agent": {"image": "mine:1", "concurrency": 4}}
SUM = 'agentpool_operator_pass_seconds_sum{kind="AgentPool"}'


class Traffic(Agents):
    """Agents that share a steady stream of requests, each of which takes a second."""

    per_s = 0.0
    _done = 0.0
    _told_s = 0.0

    def beat(self) -> None:
        at_s = now_s()
        self._done += self.per_s * (at_s - (self._told_s or at_s))
        self._told_s = at_s
        pods = self._cluster.items(f"{CORE.format(self._namespace)}/pods")
        self.in_flight = round(self.per_s / max(len(pods), 1))
        total = int(self._done)
        # The first pod's counters tell of all requests: only their sum matters.
        first = min((pod["metadata"]["uid"] for pod in pods), default="")
        reports: dict[str, str] = {}
        for pod in pods:
            uid = pod["metadata"]["uid"]
            count = total if uid == (self._teller or first) else 0
            self._teller = self._teller or first
            report = {
                "pod": pod["metadata"]["name"],
                "uid": uid,
                "at_s": at_s,
                "started_s": 1.0,
                "capacity": 4,
                "in_flight": self.in_flight,
                "queued": 0,
                "arrivals_total": count,
                "completed_total": count,
                "service_seconds_total": float(count),
                "wait_seconds_total": 0.0,
            }
            reports[pod["metadata"]["name"]] = json.dumps(report)
        if reports:  # all at once: nobody sees the work of a part of them only
            self._redis.client.hset(keys.heartbeats(self._namespace, "research"), mapping=reports)

    _teller = ""


@pytest.fixture
def traffic(cluster: Cluster, redis_server: Redis, namespace: str) -> Iterator[Traffic]:
    found = Traffic(cluster, redis_server, namespace)
    yield found
    found.close()


def known_minutes(server: Redis, namespace: str) -> float:
    """When the arrivals in Redis end, and 0 while there are none."""
    raw = redis_bytes(server).hget(keys.memory(namespace, "research"), "arrivals")
    if raw is None:
        return 0
    from agentpool_operator.decide.history import from_bytes

    return from_bytes(raw).end_s or 0


def redis_bytes(server: Redis):
    import redis

    return redis.Redis(port=server.port)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_agents_follow_the_load_and_a_restart_forgets_nothing(
    start, pool: Pool, traffic: Traffic, redis_server: Redis, namespace: str, cluster: Cluster, user: str
):
    first = start()
    pool.apply(**CALM).wait_ready()
    pool.wait_replicas(2, 0)
    pool.wait_condition("ForecastReady", "False", "HistoryTooShort")
    traffic.per_s = 30.0
    until(lambda: (pool.replicas()[0] or 0) >= 8, "agents for thirty requests a second", seen=lambda: pool.status)
    # The status follows what was done.
    until(lambda: "in hand" in pool.status["decisions"][0]["inputs"], "its reason", seen=lambda: pool.status)
    assert pool.status["decisions"][0]["hourlyCostChangeUsd"] == "3.00"
    until(lambda: known_minutes(redis_server, namespace), "arrivals in Redis", 60 + PATIENCE_S)

    traffic.per_s = 60.0
    until(lambda: pool.replicas()[0] >= 15, "agents for sixty requests a second", seen=lambda: pool.status)
    reasons = ("ForecastDemand", "Bounds")
    until(lambda: pool.status["decisions"][0]["reason"] in reasons, "its reason", seen=lambda: pool.status)
    assert "requests/s, 1 s each" in pool.status["decisions"][0]["inputs"]
    memory = redis_bytes(redis_server).hgetall(keys.memory(namespace, "research"))
    facts = json.loads(memory[b"facts"])
    assert facts["service_s"] == pytest.approx(1.0)
    assert first.terminate() == 0
    told = len(pool.status["decisions"])
    traffic.per_s = 0.0  # from here on only memory knows how long a request takes
    watch(start(), 5, 2)
    assert pool.replicas()[0] >= 15
    assert len(pool.status["decisions"]) <= told + 2
    kept = redis_bytes(redis_server).hget(keys.memory(namespace, "research"), "facts")
    assert json.loads(kept)["service_s"] == pytest.approx(1.0)
    assert json.loads(kept)["woken_at_s"] == facts["woken_at_s"]


@pytest.mark.slow
def test_under_a_steady_load_nothing_is_written(start, pool: Pool, traffic: Traffic, cluster: Cluster, user: str):
    operator = start()
    traffic.per_s = 6.0
    pool.apply(**CALM | {"minAgents": 4}).wait_ready()
    until(lambda: pool.condition("MetricsAvailable") == ("True", "HeartbeatsFresh"), "metrics")
    time.sleep(10)  # the window of arrivals fills
    rest(operator, 6.0)
    before, version = len(cluster.writes(user)), pool.body["metadata"]["resourceVersion"]
    passes, spent_s = operator.metric(PASSES), operator.metric(SUM)
    watch(operator, 8, 4)
    assert cluster.writes(user)[before:] == []
    assert pool.body["metadata"]["resourceVersion"] == version
    assert operator.metric("agentpool_operator_pass_errors_total") == 0
    passes, spent_s = operator.metric(PASSES) - passes, operator.metric(SUM) - spent_s
    print(f"{1000 * spent_s / passes:.2f} ms per pass")


def test_a_preview_publishes_and_writes_no_workload(
    operator, pool: Pool, traffic: Traffic, cluster: Cluster, namespace: str
):
    pool.apply(**CALM).wait_ready()
    pool.wait_replicas(2, 0)
    before = pool.deployment("on-demand")["metadata"]["resourceVersion"]
    generation = pool.deployment("on-demand")["metadata"]["generation"]
    pool.apply(**CALM, mode="Preview")
    pool.wait_condition("ScalingActive", "False", "Preview")
    traffic.per_s = 30.0
    until(lambda: pool.status["desiredAgents"] >= 8, "the wish", seen=lambda: pool.status)
    assert pool.replicas() == (2, 0)
    assert pool.deployment("on-demand")["metadata"]["generation"] == generation, before
    assert pool.status["decisions"][0]["reason"] in ("ForecastDemand", "CurrentLoad")
    pool.apply(**CALM, mode="Enforce")
    until(lambda: (pool.replicas()[0] or 0) >= 8, "what was only a wish")


def test_a_pool_made_in_preview_starts_nothing(operator, pool: Pool, cluster: Cluster, namespace: str):
    pool.apply(mode="Preview")
    pool.wait_condition("Ready", "False", "Preview")
    assert cluster.items(DEPLOYMENTS.format(namespace)) == []
    assert pool.status["desiredAgents"] == 3


def test_spot_agents_without_a_node_run_on_demand(operator, pool: Pool, cluster: Cluster):
    spot = {"percent": 70, "fallbackAfter": "3s", "nodeSelector": {"no": "such"}}
    pool.apply(spot=spot, minAgents=5)
    pool.wait_replicas(5, 0)
    pool.wait_condition("SpotAvailable", "False", "FellBack")
    until(lambda: pool.status["hourlyCostUsd"] == "2.50", "the cost of what runs")
    pool.wait_ready()
