"""What is seen of a pool's pods: how long they take to start, and how spot agents fare."""

import pytest

from agentpool_api.wire import Problem
from agentpool_operator.decide.spot import SpotFacts
from agentpool_operator.observe.pool import KNOWN_STARTUPS, missing_secrets, observe_load, observe_spot, observe_startup
from agentpool_operator.observe.runtime_stats import NOTHING, PoolStats
from tests.unit.operator.make import pod


def started(name, took_s):
    return pod(name, created_s=100.0, ready_since_s=100.0 + took_s)


@pytest.mark.parametrize(
    ("took_s", "expected"),
    [
        pytest.param([], None, id="unknown before the first"),
        pytest.param([40, 45, 900], 45, id="one slow node does not count"),
        pytest.param([1, 2], 10, id="never less than seeing and asking take"),
    ],
)
def test_the_start_up_time_is_the_median(took_s, expected):
    pods = [started(f"p-{number}", took) for number, took in enumerate(took_s)]
    assert observe_startup(pods, {}) == expected


def test_a_pod_is_measured_once_and_the_newest_count():
    known = {}
    observe_startup([started("p-0", 40)], known)
    assert observe_startup([started("p-0", 4000)], known) == 40
    observe_startup([started(f"p-{number}", 60) for number in range(1, 100)], known)
    assert len(known) == KNOWN_STARTUPS
    assert observe_startup([pod(ready=False, created_s=1.0)], known) == 60


def test_spot_agents_that_wait_are_told_from_those_with_a_node():
    pods = [
        pod("a", capacity_type="spot"),
        pod("b", capacity_type="spot", ready=False),
        pod("c", capacity_type="spot", ready=False, unschedulable="no node", unschedulable_since_s=50.0),
        pod("d", capacity_type="spot", ready=False, unschedulable="no node", unschedulable_since_s=40.0),
        pod("e", capacity_type="spot", ready=False, unschedulable="no node", unschedulable_since_s=1.0, leaving=True),
        pod("f", ready=False, unschedulable="no node", unschedulable_since_s=1.0),
    ]
    assert observe_spot(pods) == SpotFacts(placed=2, ready=1, waiting_since_s=40.0)


def test_the_service_time_known_from_before_stands_in():
    load = observe_load([pod()], NOTHING, desired=3, concurrency=4, service_s=2.5, startup_s=None, budget_ceiling=None)
    assert (load.service_s, load.ready, load.starting, load.arrivals_per_s) == (2.5, 1, 2, None)


def missed(field):
    problem = Problem(reason="SecretMissing", field=field, message="make it")
    return PoolStats(available=True, partial=False, problems=(problem,))


@pytest.mark.parametrize(
    ("stats", "changes", "expected"),
    [
        pytest.param(NOTHING, {}, [], id="all is well"),
        pytest.param(missed("spec.runtime.auth.secretName"), {}, ["k"], id="agents have no key"),
        pytest.param(missed("spec.runtime.models[0].apiKeySecretRef"), {}, [], id="a Secret of the user's"),
        pytest.param(NOTHING, {"waiting_message": 'secret "r" not found'}, ["r"], id="a pod cannot start"),
        pytest.param(NOTHING, {"waiting_message": 'secret "rr" not found'}, [], id="another Secret of a like name"),
    ],
)
def test_secrets_of_the_operators_own_that_agents_miss_are_named(stats, changes, expected):
    assert missing_secrets("k", "r", [pod(**changes)], stats) == expected
