"""How a queue's readings become work of the agents."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from agentpool_operator.decide.facts import CapacityFacts, PoolFacts, QueueFacts
from agentpool_operator.decide.pool_status import told_queue
from agentpool_operator.observe.pool import observe_load
from agentpool_operator.observe.queue import joined_arrivals
from agentpool_operator.observe.runtime_stats import PoolTracker
from tests.unit.operator.make import heartbeat, pod


def queue(**changes):
    return QueueFacts(**({"key": "k", "lag": 0, "pending": 0, "added": 0} | changes))


def told(tracker, facts, *, at_s, in_flight=0, name="p-1", agents=1):
    pods = [pod(name)][:agents]
    reports = {h.uid: h for h in [heartbeat(name, at_s, in_flight=in_flight)][:agents]}
    return tracker.update(reports, pods, now_s=at_s, queue=facts)


def work_off(tracker, *, task_s, held, per_step, steps=60, in_flight=0):
    """``held`` tasks in work at any time, each of ``task_s``."""
    for step in range(steps):
        facts = queue(pending=held, lag=0, added=100 + step * per_step)
        stats = told(tracker, facts, at_s=100.0 + 2 * step, in_flight=in_flight)
    return stats


def test_the_time_a_task_takes_is_learned_from_what_is_held_and_done():
    stats = work_off(PoolTracker(), task_s=8.0, held=4, per_step=1)
    assert stats.service_s == pytest.approx(8.0, rel=0.05)


def test_arrivals_of_the_queue_count_beside_the_requests():
    stats = work_off(PoolTracker(), task_s=8.0, held=4, per_step=1)
    assert sum(stats.arrivals_by_s[-20:]) == pytest.approx(10, abs=1)


def test_requests_that_tasks_cause_are_not_counted_twice():
    tracker = PoolTracker()
    stats = work_off(tracker, task_s=8.0, held=4, per_step=1, in_flight=4)
    assert not stats.service_s
    load = load_of(stats)
    assert (load.in_flight, load.pending) == (4, 4)


def test_the_first_tasks_of_a_pool_take_at_least_as_long_as_they_have_taken():
    tracker = PoolTracker()
    for step in range(31):
        stats = told(tracker, queue(pending=2, lag=50, added=52), at_s=100.0 + 2 * step)
    assert stats.service_s == pytest.approx(60.0)


def test_a_task_that_takes_longer_than_those_before_is_noticed_before_it_ends():
    tracker = PoolTracker()
    work_off(tracker, task_s=2.0, held=1, per_step=1)
    for step in range(300):
        stats = told(tracker, queue(pending=1, added=159), at_s=300.0 + 2 * step)
    assert stats.service_s > 500


def test_a_stream_made_anew_is_no_arrival():
    tracker = PoolTracker()
    told(tracker, queue(added=1000), at_s=100.0)
    for step in range(1, 10):
        stats = told(tracker, queue(added=3), at_s=100.0 + 2 * step)
    assert sum(stats.arrivals_by_s) == 0


def test_without_agents_the_queue_alone_is_known():
    tracker = PoolTracker()
    for step in range(10):
        stats = told(tracker, queue(lag=step, added=step), at_s=100.0 + 2 * step, agents=0)
    assert (stats.available, stats.in_flight, stats.queued) == (False, 0, 0)
    assert sum(stats.arrivals_by_s) > 0
    load = load_of(stats, pods=[])
    assert (load.backlog, load.in_system) == (9, 0)


def test_agents_that_are_silent_are_not_taken_for_none():
    stats = PoolTracker().update({}, [pod()], now_s=100.0, queue=queue(lag=4))
    assert stats.in_flight is None
    assert load_of(stats).backlog == 4


def test_a_pod_that_holds_tasks_is_busy_without_a_request():
    stats = told(PoolTracker(), queue(pending=3, held={"p-1": 2, "gone": 1}), at_s=100.0, in_flight=1)
    assert stats.in_flight_by_pod == {"p-1": 2}
    assert stats.utilization == 0.5


def test_a_leaving_agent_adds_no_capacity():
    both = [pod("a"), pod("b", leaving=True)]
    reports = {h.uid: h for h in (heartbeat("a", in_flight=4), heartbeat("b"))}
    assert PoolTracker().update(reports, both, now_s=100.0).utilization == 1.0


@pytest.mark.parametrize(
    ("requests", "tasks", "joined"),
    [
        pytest.param((1.0, 2.0), None, (1.0, 2.0), id="no queue"),
        pytest.param(None, (1.0,), None, id="requests unknown"),
        pytest.param((1.0,), (5.0, 5.0), (5.0, 6.0), id="both end now"),
    ],
)
def test_arrivals_are_joined_at_their_end(requests, tasks, joined):
    found = joined_arrivals(requests, tasks)
    assert (None if found is None else tuple(found)) == joined


def load_of(stats, pods=None):
    pods = [pod()] if pods is None else pods
    return observe_load(
        pods, stats, desired=len(pods), concurrency=4, service_s=None, startup_s=None, now_s=100.0, budget_ceiling=None
    )


def facts(**changes):
    known = {"generation": 1, "on_demand": CapacityFacts(), "spot": CapacityFacts(), "spot_enabled": False}
    state = {"redis_up": True, "metrics_available": True, "queue_named": True}
    return PoolFacts(**(known | state | changes))


def test_the_status_tells_the_queue_once_a_minute_at_most_and_keeps_what_it_told_without_redis():
    now = datetime(2026, 11, 21, tzinfo=UTC)
    first = told_queue(None, facts(queue=queue(lag=5)), now)
    assert (first.lag, first.pending, first.key) == (5, 0, "k")
    assert told_queue(first, facts(queue=queue(lag=9)), now + timedelta(seconds=59)) == first
    assert told_queue(first, facts(queue=queue(lag=9)), now + timedelta(seconds=60)).lag == 9
    assert told_queue(first, facts(queue=queue(lag=5)), now + timedelta(hours=1)) == first
    assert told_queue(first, facts(queue=None), now) == first
    nonsense = first.model_copy(update={"as_of": "a while ago"})
    assert told_queue(nonsense, facts(queue=queue(lag=9)), now).lag == 9
    assert told_queue(first, facts(queue_named=False), now) is None
