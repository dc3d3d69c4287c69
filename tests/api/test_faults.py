"""Bad days between the operator and the API server: watches that die or fall silent, refusals, a slow server."""

from __future__ import annotations

import os
import time

import pytest

from agentpool_operator.election import RENEW_S
from tests.api.faults import Fault, FaultyApi
from tests.api.pools import Budget, Pool
from tests.api.support import DEPLOYMENTS, LOADED, PATIENCE_S, Cluster, Operator, until

KINDS = {
    "agentpools": "AgentPool",
    "pods": "Pod",
    "deployments": "Deployment",
    "costbudgets": "CostBudget",
    "services": "Service",
    "configmaps": "ConfigMap",
    "poddisruptionbudgets": "PodDisruptionBudget",
    "leases": "Lease",
}
KILLED = list(KINDS) if os.environ.get("EVERY_WATCH") else ["pods"]
"""``EVERY_WATCH=1`` kills each in turn."""
SLOW_S = float(os.environ.get("SLOW_S", "2.5"))
"""What every call takes when the API server is slow; a renewal of the Lease may take `election.TRY_S`."""
SILENCE_S = float(os.environ.get("SILENCE_S", "4"))
"""After how much silence a watch is taken for dead; 70 is what the operator does by itself."""


@pytest.fixture
def operated(start, faulty: FaultyApi, kubeconfig) -> Operator:
    """An operator behind the proxy, whose watches run."""
    operator = start(KUBECONFIG=str(faulty.kubeconfig(kubeconfig)), AGENTPOOL_WATCH_SILENCE=f"{SILENCE_S:g}s")
    until(lambda: {r.path.rpartition("/")[2] for r in faulty.requests if r.is_watch} >= set(KINDS), "every watch")
    return operator


@pytest.mark.slow
@pytest.mark.timeout(200 + 100 * len(KILLED))
def test_when_a_watch_dies_the_process_ends_and_its_successor_sees_events_again(
    start, faulty: FaultyApi, kubeconfig, operated: Operator, cluster: Cluster, namespace: str, pool: Pool
):
    Budget(cluster, namespace).apply(limits={"daily": "100.00"})
    pool.apply().wait_ready()
    for resource in KILLED:
        until(lambda resource=resource: faulty.tell(resource, 500), "a watch to kill")
        began = time.monotonic()
        assert operated.process.wait(PATIENCE_S) == 1, resource
        ended_s = time.monotonic() - began
        operated = start(KUBECONFIG=str(faulty.kubeconfig(kubeconfig)))
        until(lambda seen=operated, kind=KINDS[resource]: shows(seen, kind), "events")
        print(f"watch of {resource} killed: ended after {ended_s:.1f} s, events after {time.monotonic() - began:.1f} s")
        assert time.monotonic() - began < 60 * LOADED


def shows(operator: Operator, kind: str) -> bool:
    if kind == "Lease":
        return 0 < operator.metric("agentpool_operator_canary_age_seconds") < 2
    return operator.metric(f'agentpool_operator_watch_events_total{{kind="{kind}"}}') > 0


@pytest.mark.timeout(200 + 2 * SILENCE_S)
def test_a_connection_that_died_silently_is_noticed(
    faulty: FaultyApi, operated: Operator, cluster: Cluster, namespace: str, pool: Pool
):
    pool.apply().wait_ready()
    until(lambda: pool.condition("Progressing") == ("False", "Stable"), "rest")
    assert faulty.silence("deployments")
    began = time.monotonic()
    cluster.patch(f"{DEPLOYMENTS.format(namespace)}/{pool.name}-spot", {"spec": {"replicas": 9}})
    pool.wait_replicas(1, 2, SILENCE_S + PATIENCE_S)
    print(f"silent connection: what was missed is seen after {time.monotonic() - began:.1f} s")
    assert time.monotonic() - began < SILENCE_S + 5 * LOADED
    assert operated.process.poll() is None


def test_what_was_deleted_while_a_watch_had_fallen_too_far_behind_is_found_and_made_anew(
    faulty: FaultyApi, operated: Operator, cluster: Cluster, namespace: str, pool: Pool
):
    pool.apply().wait_ready()
    until(lambda: pool.condition("Progressing") == ("False", "Stable"), "rest")

    def lists() -> int:
        return sum(r.path.endswith("/deployments") and r.method == "GET" and not r.is_watch for r in faulty.requests)

    before = lists()
    faulty.fault = lambda method, path: Fault(503) if path.endswith("/deployments") and method == "GET" else None
    faulty.tell("deployments", 410)
    path = f"{DEPLOYMENTS.format(namespace)}/{pool.name}-spot"
    until(lambda: lists() > before, "a list")
    cluster.delete(path)
    faulty.fault = lambda method, path: None
    began = time.monotonic()
    until(lambda: cluster.get(path), "the Deployment to be made anew")
    print(f"410 Gone: what was deleted meanwhile is there again after {time.monotonic() - began:.1f} s")
    assert operated.process.poll() is None


def test_who_is_asked_to_come_back_later_comes_back_later(faulty: FaultyApi, operated: Operator, pool: Pool):
    refused: set[str] = set()

    def fault(method: str, path: str) -> Fault | None:
        if method != "PATCH" or ("/services/" not in path and "/deployments/" not in path) or path in refused:
            return None
        refused.add(path)
        return Fault(429, {"Retry-After": "2"})

    faulty.fault = fault
    pool.apply().wait_ready()
    assert len(refused) == 3
    for path in refused:
        first, second = [r.at_s for r in faulty.requests if r.path == path and r.is_write][:2]
        assert second - first >= 2, path
    assert operated.process.poll() is None


def test_a_slow_api_server_costs_time_and_nothing_else(faulty: FaultyApi, operated: Operator, pool: Pool):
    pool.apply().wait_ready()
    faulty.fault = lambda method, path: Fault(delay_s=SLOW_S)
    began = time.monotonic()
    pool.apply(minAgents=6)
    until(lambda: sum(filter(None, pool.replicas())) == 6, "the size")
    print(f"every call takes {SLOW_S:g} s: a new size is there after {time.monotonic() - began:.1f} s")
    time.sleep(max(began + RENEW_S + SLOW_S - time.monotonic(), 0))  # the Lease is renewed all the while
    assert operated.process.poll() is None
    assert operated.http("/healthz")[0] == 200


@pytest.mark.slow
def test_an_api_server_that_comes_and_goes_is_lived_with(faulty: FaultyApi, operated: Operator, pool: Pool):
    began = time.monotonic()
    faulty.fault = lambda method, path: Fault(503) if (time.monotonic() - began) % 6 < 1.5 else None
    pool.apply(minAgents=4)
    until(lambda: sum(filter(None, pool.replicas())) == 4, "the size", 2 * PATIENCE_S)
    faulty.tell("agentpools", 410)
    pool.apply(minAgents=6)
    until(lambda: sum(filter(None, pool.replicas())) == 6, "the new size", 2 * PATIENCE_S)
    print(f"away for 1.5 s of every 6: two sizes applied after {time.monotonic() - began:.1f} s")
    assert operated.process.poll() is None
