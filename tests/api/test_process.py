"""The operator as a process: one writer, hand-over, sudden ends, and a server that comes and goes."""

from __future__ import annotations

import json
import signal
import threading
import time
from datetime import datetime

import pytest

from agentpool_api import keys
from agentpool_operator.election import RENEW_S
from tests.api.faults import FaultyApi
from tests.api.pools import Budget, Pool
from tests.api.support import PATIENCE_S, Clock, Cluster, Operator, Redis, until, watch

LEASES = "/apis/coordination.k8s.io/v1/namespaces/{}/leases/agentpool-operator"


def holder(cluster: Cluster, namespace: str) -> str:
    lease = cluster.get(LEASES.format(namespace))
    return str((lease or {"spec": {}})["spec"].get("holderIdentity") or "")


def lease_time(cluster: Cluster, namespace: str, field: str) -> datetime:
    return datetime.fromisoformat(cluster.get(LEASES.format(namespace))["spec"][field])


def test_of_two_one_writes_and_the_other_stands_by_ready(start, cluster, namespace, pool: Pool):
    first = start(AGENTPOOL_POD_NAME="first")
    second = start(wait=False, AGENTPOOL_POD_NAME="second")
    until(lambda: second.role() == "standby", "the standby")
    assert second.http("/healthz") == (200, "standby\n")
    pool.apply().wait_ready()
    assert first.metric("agentpool_operator_api_writes_total") > 5
    assert second.metric("agentpool_operator_api_writes_total") == 0
    assert (first.metric("agentpool_operator_leader"), second.metric("agentpool_operator_leader")) == (1, 0)


def test_sigterm_gives_the_lease_back_and_the_standby_leads(start, cluster, namespace, pool: Pool):
    first = start(AGENTPOOL_POD_NAME="first")
    second = start(wait=False, AGENTPOOL_POD_NAME="second")
    until(lambda: second.role() == "standby", "the standby")
    pool.apply().wait_ready()
    began = time.monotonic()
    assert first.terminate() == 0
    gone_s = time.monotonic() - began
    assert not holder(cluster, namespace).startswith("first_"), "nobody waits for a Lease that was given back"
    until(lambda: second.role() == "leader", "the hand-over")
    print(f"SIGTERM to exit: {gone_s:.2f} s, to the standby's lead: {time.monotonic() - began:.2f} s")
    pool.apply(maxAgents=19, minAgents=5)
    pool.wait_replicas(2, 3)


@pytest.mark.slow
def test_a_killed_leader_is_replaced_when_its_lease_has_run_out(start, cluster, namespace, pool: Pool):
    first = start(AGENTPOOL_POD_NAME="first")
    second = start(wait=False, AGENTPOOL_POD_NAME="second")
    until(lambda: second.role() == "standby", "the standby")
    pool.apply().wait_ready()
    renewed_at = lease_time(cluster, namespace, "renewTime")
    first.process.kill()
    began = time.monotonic()
    until(lambda: second.role() == "leader", "the takeover")
    print(f"killed to the standby's lead: {time.monotonic() - began:.1f} s")
    waited = lease_time(cluster, namespace, "acquireTime") - renewed_at
    assert waited.total_seconds() > RENEW_S, "the dead one might have written until then"
    pool.apply(minAgents=5)
    pool.wait_replicas(2, 3)


@pytest.mark.slow
def test_a_leader_frozen_in_the_middle_of_its_work_writes_nothing_when_it_wakes(
    start, cluster, namespace, pool: Pool, faulty: FaultyApi, kubeconfig
):
    first = start(AGENTPOOL_POD_NAME="first", KUBECONFIG=str(faulty.kubeconfig(kubeconfig)))
    second = start(wait=False, AGENTPOOL_POD_NAME="second")
    until(lambda: second.role() == "standby", "the standby")
    pool.apply().wait_ready()
    others = [Pool(cluster, namespace, f"other-{number}").apply() for number in range(5)]
    until(lambda: any("other-" in request.path for request in faulty.requests), "work on them")
    first.process.send_signal(signal.SIGSTOP)
    until(lambda: second.role() == "leader", "the takeover")
    pool.apply(minAgents=5)
    pool.wait_replicas(2, 3)
    for other in others:
        other.wait_ready()
    woken_s = time.monotonic()
    first.process.send_signal(signal.SIGCONT)
    assert first.process.wait(PATIENCE_S) == -signal.SIGALRM
    late = [request for request in faulty.requests if request.at_s >= woken_s and request.is_write]
    assert [request.path for request in late] == []
    assert holder(cluster, namespace).startswith("second_")


def test_a_clock_that_jumps_changes_no_size_and_holds_up_nothing_afterwards(
    start, pool: Pool, clock: Clock, agents, cluster, redis_server: Redis, namespace: str
):
    operator = start(AGENTPOOL_PERIOD="0.5s")
    pool.apply(cost={"onDemandPerHour": "3600", "spotPerHour": "3600", "targetPerHour": "100000"}).wait_ready()
    pool.wait_condition("MetricsAvailable", "True", "HeartbeatsFresh")
    budget = Budget(cluster, namespace).apply(limits={"daily": "3000", "weekly": "100000"})
    budget.wait_level("Normal")
    began_s = time.monotonic()

    def spent_usd() -> float:
        return sum(map(int, redis_server.client.hvals(keys.spend(namespace, pool.name)))) / 1e9

    for step_s in (3600.0, -7200.0):
        clock.step_s(step_s)
        until(lambda: pool.condition("MetricsAvailable")[0] == "False", "reports of another time to be refused")
        watch(operator, 1, 1)
        assert (pool.replicas(), len(pool.status["decisions"])) == ((1, 2), 1)
        assert operator.metric("agentpool_operator_clock_ahead_seconds") > 3590 or step_s < 0
    clock.step_s(3600.0)
    pool.wait_condition("MetricsAvailable", "True", "HeartbeatsFresh")
    pool.apply(minAgents=5)
    pool.wait_replicas(2, 3)
    assert operator.http("/healthz") == (200, "leader\n")
    most_usd = 5 * (
        time.monotonic() - began_s + 60
    )  # a dollar a second for each agent, of which there were five at most
    assert 0 < spent_usd() < most_usd < 3000, "an hour that was jumped over costs 3,600 USD for each agent"
    assert budget.status["level"] == "Normal"


@pytest.mark.slow
@pytest.mark.parametrize("delay_s", [0.05, 0.2])
def test_an_operator_killed_in_the_middle_of_a_pass_leaves_nothing_half_done(start, pool: Pool, cluster, delay_s):
    first = start()
    killer = threading.Timer(delay_s, first.process.kill)
    pool.apply()
    killer.start()
    first.process.wait()
    killer.join()
    start(wait=False)
    pool.wait_condition("Ready", "True", "AgentsReady")
    assert pool.replicas() == (1, 2)
    assert len(pool.status["decisions"]) == 1
    scaled = [e for e in pool.events() if e["reason"] == "Scaled"]
    assert len(scaled) <= 1


def test_a_restart_of_the_api_server_is_survived(start, pool: Pool, cluster: Cluster, agents):
    operator = start()
    pool.apply().wait_ready()
    began = time.monotonic()
    cluster.plane.restart_apiserver()
    away_s = time.monotonic() - began
    pool.apply(minAgents=5)

    def grown() -> bool:
        nonlocal operator
        if operator.process.poll() is not None and away_s > RENEW_S / 2:
            # A busy machine starts the API server too slowly for a Lease.
            assert operator.process.returncode in (1, -signal.SIGALRM)
            operator = start()
        return pool.replicas() == (2, 3)

    until(grown, "the new size", seen=lambda: operator.log)
    assert operator.process.poll() is None
    assert operator.http("/healthz")[0] == 200


def test_an_api_server_that_stays_away_ends_the_leader_before_anybody_may_take_over(
    operator: Operator, pool: Pool, cluster: Cluster
):
    pool.apply().wait_ready()
    cluster.plane.pause("kube-apiserver")
    began = time.monotonic()
    try:
        assert operator.process.wait(PATIENCE_S) == 1
        print(f"API server away to the leader's end: {time.monotonic() - began:.1f} s")
        assert "could not be renewed" in operator.log
    finally:
        cluster.plane.resume("kube-apiserver")


def test_liveness_follows_the_events_that_come_back(operator: Operator):
    until(lambda: operator.metric("agentpool_operator_canary_age_seconds") > 0, "the canary")
    time.sleep(5)
    until(lambda: operator.metric("agentpool_operator_canary_age_seconds") < 4, "a canary that came later")
    assert operator.http("/healthz") == (200, "leader\n")


def test_the_rights_may_come_after_the_operator(start, cluster, namespace, pool: Pool):
    roles = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/rolebindings/agentpool-operator"
    binding = cluster.get(roles)
    cluster.delete(roles)
    operator = start(wait=False)
    until(lambda: "cannot be read yet" in operator.log, "the complaint")
    assert operator.http("/readyz")[0] == 503
    assert operator.http("/healthz")[0] == 200
    for field in ("resourceVersion", "uid", "creationTimestamp", "managedFields"):
        binding["metadata"].pop(field, None)
    cluster.create(roles.rpartition("/")[0], binding)
    until(lambda: operator.role() == "leader", "the operator to lead")


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"AGENTPOOL_RUNTIME_IMAGE": ""}, "AGENTPOOL_RUNTIME_IMAGE is not set"),
        ({"AGENTPOOL_REDIS_URL": "nowhere"}, "AGENTPOOL_REDIS_URL is no Redis URL"),
        ({"KUBECONFIG": "/nowhere/kubeconfig"}, "/nowhere/kubeconfig"),
    ],
)
def test_a_wrong_setting_ends_the_process_with_one_line(start, environment, says):
    operator = start(wait=False, **environment)
    assert operator.process.wait(PATIENCE_S) == 2
    (line,) = operator.log.strip().splitlines()
    assert says in line


def test_logs_are_json_by_default(start, pool: Pool):
    operator = start(AGENTPOOL_LOG_FORMAT="json")
    pool.apply().wait_ready()
    lines = [json.loads(line) for line in operator.log.splitlines()]
    assert {"event", "level", "timestamp", "logger"} <= set(lines[0])


def test_a_namespace_with_pools_can_be_deleted_without_the_operator(start, cluster, namespace, pool: Pool):
    operator = start()
    pool.apply().wait_ready()
    operator.close()
    cluster.delete(f"/api/v1/namespaces/{namespace}")
    until(lambda: cluster.get(f"/api/v1/namespaces/{namespace}") is None, "the namespace to go")
