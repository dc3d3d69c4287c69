"""The whole decision: order of authority, cold start, zero and back, pause, budget, and what it remembers."""

from __future__ import annotations

from dataclasses import replace
from datetime import time
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentpool_operator.decide.behavior import DirectionRules, PolicyKind, RatePolicy
from agentpool_operator.decide.load import PoolLoad
from agentpool_operator.decide.policy import Pause, ScalingPolicy
from agentpool_operator.decide.policy import PolicyKind as Policy
from agentpool_operator.decide.reasons import Reason
from agentpool_operator.decide.scaling import decide
from agentpool_operator.decide.schedules import ScheduleWindow
from agentpool_operator.decide.split import AgentPrices, SpotPolicy
from agentpool_operator.decide.state import PoolState

NOW = 1_800_000_000.0


def observed(**changes):
    known = {
        "ready": 3,
        "concurrency": 2,
        "in_flight": 2,
        "queued": 0,
        "utilization": 0.5,
        "arrivals_per_s": [1.0] * 60,
        "service_s": 2.0,
        "startup_s": 45.0,
    }
    return PoolLoad(**{**known, **changes})


def settle(policy, load, state=None, *, passes=40, now_s=NOW):
    """Decisions every five seconds under the same load, agents appearing at once; the last decision."""
    decision = decide(policy, load, state or PoolState(), now_s=now_s)
    for _ in range(passes):
        now_s += 5.0
        decision = decide(policy, load, decision.state, now_s=now_s)
    return decision, now_s


def test_a_second_pass_at_the_same_moment_plans_nothing():
    first = decide(ScalingPolicy(), observed(), PoolState(), now_s=NOW)
    second = decide(ScalingPolicy(), observed(), first.state, now_s=NOW)
    assert second.desired == first.desired
    assert second.cost_change_nanousd == 0


def test_the_reason_is_what_had_the_last_word():
    busy = observed(arrivals_per_s=[50.0] * 60, in_flight=6, queued=90)
    assert decide(ScalingPolicy(), busy, PoolState(), now_s=NOW).reason is Reason.BOUNDS
    limited = decide(ScalingPolicy(), observed(arrivals_per_s=[50.0] * 60, budget_ceiling=4), PoolState(), now_s=NOW)
    assert (limited.desired, limited.reason) == (4, Reason.BUDGET)


def test_the_budget_alone_goes_under_the_minimum():
    assert decide(ScalingPolicy(), observed(budget_ceiling=0), PoolState(), now_s=NOW).desired == 0


@pytest.mark.parametrize(
    ("pause", "load", "desired"),
    [
        pytest.param(Pause.OUT, observed(arrivals_per_s=[9.0] * 60), 3, id="out-holds-growth"),
        pytest.param(Pause.IN, observed(arrivals_per_s=[0.0] * 60, in_flight=0), 3, id="in-holds-shrinking"),
        pytest.param(Pause.BOTH, observed(arrivals_per_s=[9.0] * 60), 3, id="both-holds-growth"),
        pytest.param(
            Pause.BOTH, observed(arrivals_per_s=[9.0] * 60, budget_ceiling=1), 1, id="the-budget-stands-over-it"
        ),
    ],
)
def test_pause_holds_its_direction(pause, load, desired):
    assert decide(ScalingPolicy(pause=pause), load, PoolState(), now_s=NOW).desired == desired


@pytest.mark.parametrize("missing", ["arrivals_per_s", "service_s"])
def test_missing_metrics_keep_the_size_and_say_so(missing):
    decision = decide(ScalingPolicy(), observed(ready=7, in_flight=None, **{missing: None}), PoolState(), now_s=NOW)
    assert (decision.desired, decision.reason) == (7, Reason.METRICS_MISSING)


def test_a_known_backlog_grows_the_pool_though_arrivals_are_unknown():
    decision = decide(ScalingPolicy(), observed(arrivals_per_s=None, queued=18), PoolState(), now_s=NOW)
    assert (decision.desired, decision.reason) == (10, Reason.CURRENT_LOAD)


def test_starting_agents_are_not_ordered_twice():
    load = observed(ready=2, starting=0, arrivals_per_s=[4.0] * 60, in_flight=4, queued=9)
    first = decide(ScalingPolicy(), load, PoolState(), now_s=NOW)
    waiting = observed(ready=2, starting=first.desired - 2, arrivals_per_s=[4.0] * 60, in_flight=4, queued=12)
    second = decide(ScalingPolicy(), waiting, first.state, now_s=NOW + 5)
    assert second.desired <= first.desired + 2


def test_one_queued_task_wakes_a_pool_at_zero():
    policy = ScalingPolicy(min_agents=0, warm_agents=0)
    quiet = observed(ready=0, in_flight=0, queued=0, utilization=None, arrivals_per_s=[0.0] * 60)
    asleep = decide(policy, quiet, PoolState(), now_s=NOW)
    assert asleep.desired == 0
    task = observed(ready=0, in_flight=0, queued=1, utilization=None, arrivals_per_s=[0.0] * 59 + [1.0])
    woken = decide(policy, task, asleep.state, now_s=NOW + 5)
    assert woken.desired >= 1
    assert woken.reason is Reason.WOKEN


def test_one_pending_entry_of_an_older_queue_wakes_a_pool_though_nothing_arrived():
    policy = ScalingPolicy(min_agents=0, warm_agents=0)
    task = observed(ready=0, in_flight=0, queued=1, utilization=None, arrivals_per_s=[0.0] * 60)
    assert decide(policy, task, PoolState(), now_s=NOW).desired == 1


def test_a_woken_pool_gets_its_warm_agents_and_keeps_one_until_the_idle_timeout():
    policy = ScalingPolicy(min_agents=0, warm_agents=3)
    quiet = observed(ready=0, in_flight=0, queued=0, utilization=None, arrivals_per_s=[0.0] * 60)
    state = decide(policy, quiet, PoolState(), now_s=NOW).state
    task = observed(ready=0, in_flight=0, queued=1, utilization=None, arrivals_per_s=[0.0] * 59 + [1.0])
    woken = decide(policy, task, state, now_s=NOW + 5)
    assert (woken.desired, woken.reason) == (3, Reason.WARM)
    still, now_s = settle(policy, quiet, woken.state, passes=300, now_s=NOW + 10)
    assert still.desired >= 1
    gone, _ = settle(policy, quiet, still.state, passes=60, now_s=now_s + 300)
    assert gone.desired == 0


def test_the_idle_clock_does_not_start_before_the_first_task():
    quiet = observed(ready=3, in_flight=0, queued=0, arrivals_per_s=[0.0] * 60)
    decision, _ = settle(ScalingPolicy(min_agents=0), quiet, passes=3)
    assert decision.state.last_active_at_s is None
    assert Reason.IDLE not in decision.reasons


def test_the_threshold_policy_follows_its_rule_exactly():
    policy = ScalingPolicy(policy=Policy.THRESHOLD, warm_agents=0)
    grown = decide(policy, observed(ready=5, utilization=0.8), PoolState(), now_s=NOW)
    assert (grown.desired, grown.reason) == (7, Reason.UTILIZATION_HIGH)
    resting = decide(policy, observed(ready=7, utilization=0.1), grown.state, now_s=NOW + 299)
    assert (resting.desired, resting.reason) == (7, Reason.COOLDOWN)
    shrunk = decide(policy, observed(ready=7, utilization=0.1), resting.state, now_s=NOW + 300)
    assert (shrunk.desired, shrunk.reason) == (6, Reason.UTILIZATION_LOW)


def test_a_schedule_raises_the_minimum_and_is_named_as_the_reason():
    window = ScheduleWindow(name="day", start=time(0), end=time(0), zone=ZoneInfo("UTC"), min_agents=9)
    decision = decide(ScalingPolicy(schedules=(window,)), observed(), PoolState(), now_s=NOW)
    assert (decision.desired, decision.reason) == (9, Reason.SCHEDULE)


def test_the_hourly_cost_target_bounds_the_size_but_not_the_minimum():
    policy = ScalingPolicy(hourly_cost_target_nanousd=2_000_000_000, spot=SpotPolicy(enabled=False))
    decision = decide(policy, observed(arrivals_per_s=[9.0] * 60), PoolState(), now_s=NOW)
    assert (decision.desired, decision.reason) == (4, Reason.COST_TARGET)
    poor = ScalingPolicy(hourly_cost_target_nanousd=1, spot=SpotPolicy(enabled=False))
    assert decide(poor, observed(arrivals_per_s=[9.0] * 60), PoolState(), now_s=NOW).desired == 2


def test_the_cost_of_a_change_is_told_exactly():
    policy = ScalingPolicy(spot=SpotPolicy(enabled=False), prices=AgentPrices(on_demand_nanousd=500_000_000))
    decision = decide(policy, observed(arrivals_per_s=[50.0] * 60), PoolState(), now_s=NOW)
    assert decision.cost_before_nanousd == 1_500_000_000
    assert decision.cost_change_nanousd == (decision.desired - 3) * 500_000_000


def test_seconds_of_quiet_do_not_shrink_a_pool_that_is_seen_for_the_first_time():
    quiet = observed(ready=11, in_flight=1, arrivals_per_s=[0.0, 0.0, 1.0, 0.0, 0.0])
    first = decide(ScalingPolicy(), quiet, PoolState(), now_s=NOW)
    assert (first.desired, first.reason) == (11, Reason.STABILIZED)
    later, _ = settle(ScalingPolicy(), quiet, first.state, passes=12, now_s=NOW + 5)
    assert later.desired < 11


def test_a_rate_policy_limits_growth():
    up = DirectionRules(policies=(RatePolicy(kind=PolicyKind.PODS, value=1, period_s=60),))
    load = observed(arrivals_per_s=[9.0] * 60, in_flight=18)
    first = decide(ScalingPolicy(up=up), load, PoolState(), now_s=NOW)
    assert (first.desired, first.reason) == (4, Reason.RATE_LIMITED)
    assert decide(ScalingPolicy(up=up), load, first.state, now_s=NOW + 5).desired == 4
    assert decide(ScalingPolicy(up=up), load, first.state, now_s=NOW + 61).desired == 5


def test_a_steady_load_settles_and_stays():
    decision, now_s = settle(ScalingPolicy(), observed(arrivals_per_s=[3.0] * 60), passes=360)
    sizes = set()
    for _ in range(60):
        now_s += 5.0
        decision = decide(ScalingPolicy(), observed(arrivals_per_s=[3.0] * 60), decision.state, now_s=now_s)
        sizes.add(decision.desired)
    assert len(sizes) == 1


def test_the_overshoot_case_stays_under_one_and_a_half_times_the_need():
    """100 arrivals per second, 10 per agent and second, 60 s until an agent serves: ten agents are needed."""
    policy, state, ready, orders, queue, peak = ScalingPolicy(max_agents=30_000), PoolState(), 1, [], 0.0, 0
    for step in range(360):
        now_s = NOW + 5 * step
        ready += sum(count for at, count in orders if at == now_s)
        orders = [(at, count) for at, count in orders if at > now_s]
        served = min(queue + 500, ready * 50)
        queue = queue + 500 - served
        load = PoolLoad(
            ready=ready,
            starting=sum(count for _, count in orders),
            concurrency=10,
            in_flight=min(ready * 10, 100 + int(queue)),
            queued=int(queue),
            utilization=1.0,
            arrivals_per_s=[100.0] * 5,
            service_s=1.0,
            startup_s=60.0,
        )
        decision = decide(policy, load, state, now_s=now_s)
        state, change = decision.state, decision.desired - load.total
        if change > 0:
            orders.append((now_s + 60, change))
        elif change < 0:
            ready = max(ready + change, 1)
        peak = max(peak, decision.desired)
    assert peak <= 15
    assert queue == 0


loads = st.builds(
    observed,
    ready=st.integers(0, 60),
    starting=st.integers(0, 20),
    in_flight=st.none() | st.integers(0, 200),
    queued=st.none() | st.integers(0, 500),
    utilization=st.none() | st.floats(0, 1),
    arrivals_per_s=st.none() | st.lists(st.integers(0, 50).map(float), max_size=90),
    service_s=st.none() | st.floats(0.05, 60),
    startup_s=st.none() | st.floats(0, 600),
    concurrency=st.integers(1, 16),
    budget_ceiling=st.none() | st.integers(0, 60),
)
policies = st.builds(
    lambda low, span, **rest: ScalingPolicy(min_agents=low, max_agents=low + span, **rest),
    st.integers(0, 10),
    st.integers(0, 40),
    warm_agents=st.integers(0, 10),
    policy=st.sampled_from(Policy),
)


@settings(deadline=None)
@given(policies, st.lists(loads, min_size=1, max_size=6))
def test_bounds_always_hold_and_the_budget_stands_over_them(policy, sequence):
    state = PoolState()
    for step, load in enumerate(sequence):
        decision = decide(policy, load, state, now_s=NOW + 5 * step)
        state = decision.state
        ceiling = policy.max_agents if load.budget_ceiling is None else min(policy.max_agents, load.budget_ceiling)
        assert min(policy.min_agents, ceiling) <= decision.desired <= ceiling
        assert decision.split.total == decision.desired


@settings(deadline=None)
@given(policies, loads)
def test_same_input_same_output_and_a_second_pass_plans_nothing(policy, load):
    first, again = (decide(policy, load, PoolState(), now_s=NOW) for _ in range(2))
    assert (first.desired, first.reasons, first.inputs) == (again.desired, again.reasons, again.inputs)
    if policy.policy is Policy.FORECAST and load.budget_ceiling is None:
        assert decide(policy, load, first.state, now_s=NOW).desired == first.desired


@settings(deadline=None)
@given(policies, loads, st.integers(0, 60), st.integers(0, 60))
def test_more_budget_never_gives_fewer_agents(policy, load, first, second):
    low, high = sorted((first, second))
    sizes = [decide(policy, replace(load, budget_ceiling=c), PoolState(), now_s=NOW).desired for c in (low, high, None)]
    assert sizes == sorted(sizes)


@settings(deadline=None)
@given(loads, st.integers(0, 500), st.integers(0, 500))
def test_more_queued_work_never_gives_fewer_agents(load, first, second):
    low, high = sorted((first, second))
    policy = ScalingPolicy(max_agents=300)
    sizes = [decide(policy, replace(load, queued=q), PoolState(), now_s=NOW).desired for q in (low, high)]
    assert sizes == sorted(sizes)


@settings(deadline=None)
@given(st.floats(0, 40), st.floats(0, 40), st.floats(0.1, 30), st.integers(1, 8))
def test_more_arrivals_never_give_fewer_agents(first, second, service, concurrency):
    low, high = sorted((first, second))
    policy = ScalingPolicy(max_agents=3000)
    sizes = [
        decide(
            policy,
            observed(arrivals_per_s=[rate] * 60, service_s=service, concurrency=concurrency),
            PoolState(),
            now_s=NOW,
        ).desired
        for rate in (low, high)
    ]
    assert sizes == sorted(sizes)


EXTERNAL = ScalingPolicy(min_agents=2, max_agents=20, replicas=9, hourly_cost_target_nanousd=1)


@pytest.mark.parametrize(
    ("policy", "load", "desired", "reason"),
    [
        pytest.param(EXTERNAL, observed(arrivals_per_s=[90.0] * 60), 9, Reason.EXTERNAL, id="in place of the policy"),
        pytest.param(replace(EXTERNAL, replicas=50), observed(), 20, Reason.BOUNDS, id="within the bounds"),
        pytest.param(EXTERNAL, observed(budget_ceiling=4), 4, Reason.BUDGET, id="under the budget"),
        pytest.param(EXTERNAL, observed(partial=True), 9, Reason.EXTERNAL, id="whoever reports"),
    ],
)
def test_the_number_set_from_outside(policy, load, desired, reason):
    decision = decide(policy, load, PoolState(desired=12), now_s=NOW)
    assert (decision.desired, decision.reason) == (desired, reason)


@pytest.mark.parametrize("age_s", [20, 7200], ids=["just made", "older than its idle timeout"])
@pytest.mark.parametrize("agents", [0, 1, 7])
def test_a_pool_handed_back_to_its_policy_keeps_the_size_it_was_given_and_is_decided_on_from_there(agents, age_s):
    policy = ScalingPolicy(min_agents=0)
    made = PoolState(desired=3, woken_at_s=NOW, last_active_at_s=NOW)
    calm = observed(ready=agents, in_flight=0, arrivals_per_s=[0.0] * 60)
    given, now_s = settle(replace(policy, replicas=agents), calm, made, passes=age_s // 5)
    assert given.desired == agents
    back = decide(policy, calm, given.state, now_s=now_s + 2)
    assert back.desired == agents
    later, now_s = settle(policy, calm, back.state, passes=20, now_s=now_s + 2)
    assert later.desired == (min(agents, 1) if age_s < policy.idle_timeout_s else 0)
    busy = observed(ready=agents, arrivals_per_s=[8.0] * 60, queued=9)
    assert decide(policy, busy, later.state, now_s=now_s + 2).desired > later.desired


@pytest.mark.parametrize("load", [observed(arrivals_per_s=[90.0] * 60, queued=99), observed(ready=0, in_flight=0)])
def test_an_external_policy_keeps_the_size_until_a_number_is_set(load):
    policy = ScalingPolicy(min_agents=0, policy=Policy.EXTERNAL)
    decision, now_s = settle(policy, load, PoolState(desired=6))
    assert (decision.desired, decision.reason) == (6, Reason.EXTERNAL)
    assert decide(replace(policy, replicas=4), load, decision.state, now_s=now_s).desired == 4
    assert decide(replace(policy, max_agents=3), load, decision.state, now_s=now_s).desired == 3
    assert decide(policy, PoolLoad(ready=0), PoolState(), now_s=NOW).desired == policy.warm_agents


def test_a_pool_handed_back_at_zero_is_woken_with_its_warm_agents():
    policy = ScalingPolicy(min_agents=0)
    made = PoolState(desired=3, woken_at_s=NOW - 60, last_active_at_s=NOW - 60)
    given = decide(replace(policy, replicas=0), PoolLoad(ready=3), made, now_s=NOW)
    rest = decide(policy, PoolLoad(ready=0), given.state, now_s=NOW + 60)
    assert (given.desired, rest.desired) == (0, 0)
    assert decide(policy, PoolLoad(ready=0, in_flight=0, queued=0, backlog=1), rest.state, now_s=NOW + 62).desired == 3


def test_where_some_agents_are_silent_a_pool_grows_but_does_not_shrink():
    quiet = observed(arrivals_per_s=[0.0] * 60, in_flight=0, partial=True)
    held, now_s = settle(ScalingPolicy(), quiet, PoolState(desired=9))
    assert (held.desired, held.reason) == (9, Reason.METRICS_MISSING)
    growing = observed(arrivals_per_s=[20.0] * 60, partial=True)
    busy, _ = settle(ScalingPolicy(), growing, held.state, now_s=now_s)
    assert busy.desired > 9


def test_a_paused_pool_still_starts():
    new = PoolLoad(ready=0)
    assert decide(ScalingPolicy(pause=Pause.BOTH), new, PoolState(), now_s=NOW).desired == 2


def test_where_nothing_comes_and_nothing_is_served_the_service_time_does_not_matter():
    idle = observed(arrivals_per_s=[0.0] * 60, in_flight=0, service_s=None)
    decision, _ = settle(ScalingPolicy(), idle, PoolState(desired=9))
    assert decision.desired == 2
