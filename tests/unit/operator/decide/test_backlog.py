"""How a queue's backlog sizes a pool."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentpool_operator.decide.backlog import backlog_slots
from agentpool_operator.decide.load import PoolLoad
from agentpool_operator.decide.policy import PolicyKind, ScalingPolicy
from agentpool_operator.decide.reasons import Reason
from agentpool_operator.decide.scaling import decide
from agentpool_operator.decide.state import PoolState

NOW = 1_800_000_000.0
POLICY = ScalingPolicy(min_agents=0, max_agents=50, warm_agents=2)


def waiting(**changes):
    """A pool at zero whose queue is known."""
    known = {"ready": 0, "concurrency": 4, "in_flight": 0, "queued": 0, "startup_s": 10.0}
    return PoolLoad(**(known | changes))


@pytest.mark.parametrize(
    ("backlog", "service_s", "slots"),
    [
        pytest.param(None, 1.0, 0, id="unknown"),
        pytest.param(0, 1.0, 0, id="empty"),
        pytest.param(10_000, 0.1, 100, id="short tasks are many for a slot"),
        pytest.param(30, 60.0, 30, id="long tasks need a slot each"),
        pytest.param(10_000, None, 8, id="before a task's time is known"),
        pytest.param(3, None, 3, id="few are few"),
    ],
)
def test_slots_for_a_backlog(backlog, service_s, slots):
    assert backlog_slots(backlog, service_s=service_s, startup_s=10.0, unknown_slots=8) == pytest.approx(slots)


@pytest.mark.parametrize("kind", [PolicyKind.FORECAST, PolicyKind.THRESHOLD])
@pytest.mark.parametrize("work", [{"backlog": 1}, {"in_flight": 1, "pending": 1, "backlog": 0}], ids=["unread", "held"])
@pytest.mark.parametrize("arrivals", [None, [0.0] * 60], ids=["no rate yet", "quiet minute"])
def test_one_task_wakes_a_pool_at_zero(kind, work, arrivals):
    policy = replace(POLICY, policy=kind, warm_agents=0)
    asleep = decide(policy, waiting(backlog=0), PoolState(desired=0), now_s=NOW)
    assert asleep.desired == 0
    woken = decide(policy, waiting(arrivals_per_s=arrivals, **work), asleep.state, now_s=NOW + 2)
    assert (woken.desired, woken.reason) == (1, Reason.WOKEN)


def test_a_woken_pool_gets_its_warm_agents():
    woken = decide(POLICY, waiting(backlog=1), PoolState(desired=0), now_s=NOW)
    assert (woken.desired, woken.reasons) == (2, (Reason.WARM, Reason.WOKEN))


def test_a_huge_backlog_of_unknown_tasks_wakes_the_warm_agents_and_no_more():
    assert decide(POLICY, waiting(backlog=100_000), PoolState(desired=0), now_s=NOW).desired == 2


def test_a_backlog_of_known_tasks_orders_what_empties_it():
    load = waiting(ready=2, backlog=1000, service_s=0.4, arrivals_per_s=[0.0] * 60)
    assert decide(POLICY, load, PoolState(desired=2), now_s=NOW).desired == 10


def test_a_pool_with_a_backlog_does_not_rest():
    idle = PoolState(desired=3, last_active_at_s=NOW - 86_400.0)
    quiet = waiting(ready=3, arrivals_per_s=[0.0] * 60, service_s=1.0)
    assert decide(POLICY, replace(quiet, backlog=0), idle, now_s=NOW).desired == 0
    assert decide(POLICY, replace(quiet, backlog=1), idle, now_s=NOW).desired >= 1


def test_the_idle_clock_starts_with_the_last_arrival_and_not_when_the_report_forgets_it():
    seen = waiting(ready=1, backlog=0, service_s=1.0, arrivals_per_s=[0.0] * 20 + [1.0] + [0.0] * 40)
    state = decide(POLICY, seen, PoolState(desired=1), now_s=NOW).state
    assert state.last_active_at_s == NOW - 40


def test_the_inputs_of_a_decision_tell_the_queue():
    inputs = decide(POLICY, waiting(backlog=7, pending=2, oldest_wait_s=9.0), PoolState(), now_s=NOW).inputs
    assert (inputs["queue_lag"], inputs["queue_pending"], inputs["oldest_wait_s"]) == (7, 2, 9)


@settings(deadline=None)
@given(
    st.integers(0, 10**7),
    st.integers(0, 10**7),
    st.none() | st.floats(0.01, 4000),
    st.none() | st.lists(st.integers(0, 5).map(float), min_size=20, max_size=60),
)
def test_more_backlog_never_gives_fewer_agents(one, other, service_s, arrivals):
    def size(backlog):
        load = waiting(ready=1, backlog=backlog, service_s=service_s, arrivals_per_s=arrivals)
        return decide(POLICY, load, PoolState(desired=1), now_s=NOW).desired

    low, high = sorted((one, other))
    assert size(low) <= size(high)
