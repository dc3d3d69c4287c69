"""The replay loses no task, agrees with queueing theory, and bills what was asked for."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentpool_operator.plan.replay import replay
from tests.unit.operator.plan.make import Fixed, poisson, tasks_at, terms


@settings(max_examples=60, deadline=None)
@given(
    rate=st.floats(0.0, 3.0),
    service_s=st.floats(0.1, 60.0),
    sizes=st.lists(st.integers(0, 12), min_size=1, max_size=8),
    concurrency=st.integers(1, 4),
    drain_timeout_s=st.sampled_from([0.0, 5.0, 1800.0]),
    idle_first=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_every_task_is_ended_cut_served_or_waiting(
    rate, service_s, sizes, concurrency, drain_timeout_s, idle_first, seed
):
    tasks = poisson(rate, service_s, 400, seed)
    rule = Fixed(lambda now_s: sizes[int(now_s // 40) % len(sizes)], idle_first=idle_first)
    outcome = replay(
        tasks, rule, terms(concurrency=concurrency, startup_s=12.0, drain_timeout_s=drain_timeout_s, min_agents=0)
    )
    assert len(tasks.arrival_s) == outcome.ended + len(outcome.cut) + outcome.in_service + outcome.waiting
    assert sum(outcome.held_s.values()) == pytest.approx(400)
    assert (outcome.wait_s >= 0).all()
    first_come = tasks.arrival_s + outcome.wait_s
    assert (np.diff(first_come) >= -1e-9).all()
    assert outcome.agent_hours * 3600 == pytest.approx(sum(outcome.agents_by_s), abs=20 * len(set(sizes)) + 100)


@pytest.mark.parametrize(
    ("rate", "service_s", "agents", "concurrency"),
    [pytest.param(2.0, 3.0, 4, 2, id="eight-slots"), pytest.param(5.0, 1.5, 9, 1, id="nine-slots-busy")],
)
def test_waiting_agrees_with_erlang_c(rate, service_s, agents, concurrency):
    outcome = replay(
        poisson(rate, service_s, 100_000, 3),
        Fixed(lambda now_s: agents, period_s=1000),
        terms(concurrency=concurrency, min_agents=agents, max_agents=agents),
    )
    slots, load = agents * concurrency, rate * service_s
    blocked = 1.0
    for servers in range(1, slots + 1):
        blocked = load * blocked / (servers + load * blocked)
    delayed = slots * blocked / (slots - load * (1 - blocked))
    drain_per_s = slots / service_s - rate
    assert outcome.late_share(1e-9) == pytest.approx(delayed, abs=0.02)
    assert outcome.late_share(1.0) == pytest.approx(delayed * math.exp(-drain_per_s), abs=0.02)
    assert outcome.wait_s.mean() == pytest.approx(delayed / drain_per_s, rel=0.1)


def test_a_new_agent_serves_after_its_start_and_is_paid_from_the_order():
    tasks = tasks_at((0.0, 100.0), (1.0, 1.0), duration_s=100)
    outcome = replay(tasks, Fixed(lambda now_s: 2), terms(startup_s=30.0))
    assert outcome.wait_s.tolist() == [0.0, 34.0]
    assert outcome.held_s == {1: 5.0, 2: 95.0}


def test_a_leaving_agent_ends_its_task_and_is_paid_until_then():
    tasks = tasks_at((0.0, 20.0), (0.0, 20.0), duration_s=40)
    rule = Fixed(lambda now_s: 2 if now_s < 10 else 1)
    outcome = replay(tasks, rule, terms(min_agents=2))
    assert outcome.ended == 2
    assert outcome.held_s == {1: 20.0, 2: 20.0}


def test_a_task_that_outlives_the_drain_timeout_is_cut_and_late():
    tasks = tasks_at((0.0, 30.0), (0.0, 30.0), duration_s=40)
    rule = Fixed(lambda now_s: 2 if now_s < 10 else 1)
    outcome = replay(tasks, rule, terms(min_agents=2, drain_timeout_s=5.0))
    assert len(outcome.cut) == 1
    assert outcome.late_share(2.0) == 0.5
    assert outcome.held_s == {1: 25.0, 2: 15.0}


@pytest.mark.parametrize(("idle_first", "held_s"), [(True, {1: 30.0, 2: 10.0}), (False, {1: 20.0, 2: 20.0})])
def test_idle_agents_go_first_only_where_the_rule_marks_them(idle_first, held_s):
    # The newest agent works on the second task when the pool shrinks; the oldest is idle by then.
    tasks = tasks_at((0.0, 5.0), (0.0, 20.0), duration_s=40)
    rule = Fixed(lambda now_s: 2 if now_s < 10 else 1, idle_first=idle_first)
    assert replay(tasks, rule, terms(min_agents=2)).held_s == held_s


def test_agents_that_start_are_dismissed_before_those_that_serve():
    tasks = tasks_at((0.0, 40.0), duration_s=40)
    rule = Fixed(lambda now_s: 3 if now_s < 10 else 1)
    outcome = replay(tasks, rule, terms())
    assert outcome.held_s == {1: 35.0, 3: 5.0}


def test_a_task_that_never_starts_has_waited_until_the_end():
    outcome = replay(tasks_at((0.0, 50.0), (10.0, 1.0), duration_s=40), Fixed(lambda now_s: 1), terms())
    assert outcome.wait_s.tolist() == [0.0, 30.0]
    assert outcome.waiting == 1


def test_no_traffic_is_not_late():
    outcome = replay(tasks_at(duration_s=60), Fixed(lambda now_s: 1), terms())
    assert (outcome.late_share(2.0), outcome.p99_wait_s, outcome.agent_hours) == (0.0, 0.0, pytest.approx(1 / 60))


def test_progress_is_told_up_to_the_end():
    heard: list[float] = []
    replay(tasks_at((0.0, 1.0), duration_s=1000), Fixed(lambda now_s: 1), terms(), heard.append)
    assert len(heard) == 100
    assert heard[-1] == 1.0
