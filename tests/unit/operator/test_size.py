import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentpool_operator.decide.load import PoolLoad
from agentpool_operator.decide.reasons import Reason
from agentpool_operator.decide.size import SizeMemory, SizePolicy, decide_size

NOW = 10_000.0
POLICY = SizePolicy(min_agents=2, max_agents=20, warm_agents=3)


def load(**changes):
    figures = {"ready": 3, "concurrency": 4, "in_flight": 6, "queued": 0, "utilization": 0.5, "service_s": 1.0}
    return PoolLoad(**(figures | {"arrivals_per_s": (1.0,)} | changes))


def memory(**changes):
    return SizeMemory(**({"desired": 3, "last_scaled_at_s": None, "last_active_s": NOW - 1} | changes))


def decide(policy, seen, remembered, *, partial=False):
    return decide_size(policy, seen, remembered, partial=partial, now_s=NOW)


NEW = memory(desired=None)
EMPTY = load(ready=0, in_flight=None, queued=None, utilization=None, arrivals_per_s=None, service_s=None)
NOTHING_KNOWN = load(in_flight=None, queued=None, utilization=None, arrivals_per_s=None, service_s=None)


@pytest.mark.parametrize(
    ("policy", "seen", "remembered", "desired", "reason"),
    [
        pytest.param(POLICY, EMPTY, NEW, 3, Reason.WARM, id="a new pool starts with its warm agents"),
        pytest.param(POLICY, load(), memory(), 3, Reason.STEADY, id="enough is enough"),
        pytest.param(POLICY, load(utilization=0.8), memory(), 5, Reason.UTILIZATION_HIGH, id="busy: two more"),
        pytest.param(POLICY, load(utilization=0.3), memory(desired=8), 7, Reason.UTILIZATION_LOW, id="idle: one less"),
        pytest.param(
            POLICY,
            load(utilization=0.9),
            memory(last_scaled_at_s=NOW - 10),
            3,
            Reason.COOLDOWN,
            id="the threshold rule rests after a change",
        ),
        pytest.param(
            POLICY,
            load(utilization=0.9, arrivals_per_s=(40.0,)),
            memory(last_scaled_at_s=NOW - 10),
            13,
            Reason.CURRENT_LOAD,
            id="demand does not wait for the cooldown",
        ),
        pytest.param(
            POLICY, load(in_flight=12, queued=40), memory(), 13, Reason.CURRENT_LOAD, id="a backlog is demand"
        ),
        pytest.param(
            SizePolicy(min_agents=2, max_agents=20, demand_floor=False),
            load(in_flight=12, queued=40),
            memory(),
            3,
            Reason.STEADY,
            id="the demand floor can be switched off",
        ),
        pytest.param(POLICY, load(arrivals_per_s=(900.0,)), memory(), 20, Reason.BOUNDS, id="never over maxAgents"),
        pytest.param(
            POLICY,
            load(in_flight=0, utilization=0.0, arrivals_per_s=(0.0,)),
            memory(desired=6, last_active_s=NOW - 1801),
            2,
            Reason.IDLE,
            id="without work for the idle timeout the pool rests at minAgents",
        ),
        pytest.param(
            POLICY,
            load(in_flight=0, utilization=0.0, arrivals_per_s=(0.0,)),
            memory(desired=2, last_active_s=NOW - 5),
            3,
            Reason.WARM,
            id="the first request brings the warm agents back",
        ),
        pytest.param(POLICY, NOTHING_KNOWN, memory(desired=7), 7, Reason.METRICS_MISSING, id="nothing known: hold"),
        pytest.param(POLICY, NOTHING_KNOWN, memory(desired=30), 20, Reason.BOUNDS, id="bounds hold also then"),
        pytest.param(
            POLICY, load(utilization=math.nan), memory(desired=7), 7, Reason.METRICS_MISSING, id="NaN is not known"
        ),
        pytest.param(
            SizePolicy(min_agents=2, max_agents=20, replicas=9, warm_agents=3),
            load(utilization=0.1),
            memory(),
            9,
            Reason.EXTERNAL,
            id="the scale subresource takes the policy's place",
        ),
        pytest.param(
            SizePolicy(min_agents=2, max_agents=20, replicas=50),
            load(),
            memory(),
            20,
            Reason.BOUNDS,
            id="but stays within bounds",
        ),
        pytest.param(
            SizePolicy(min_agents=2, max_agents=20, may_grow=False),
            load(utilization=0.9),
            memory(),
            3,
            Reason.PAUSED,
            id="growing is paused",
        ),
        pytest.param(
            SizePolicy(min_agents=2, max_agents=20, may_shrink=False),
            load(utilization=0.1),
            memory(desired=8),
            8,
            Reason.PAUSED,
            id="shrinking is paused",
        ),
        pytest.param(
            SizePolicy(min_agents=2, max_agents=20, may_grow=False, may_shrink=False),
            EMPTY,
            NEW,
            2,
            Reason.BOUNDS,
            id="a paused pool still starts",
        ),
        pytest.param(POLICY, load(budget_ceiling=0), memory(), 0, Reason.BUDGET, id="the budget goes below minAgents"),
        pytest.param(
            SizePolicy(min_agents=2, max_agents=20, may_shrink=False),
            load(budget_ceiling=1),
            memory(),
            1,
            Reason.BUDGET,
            id="the budget is not paused",
        ),
        pytest.param(
            POLICY, load(), memory(desired=0), 3, Reason.WARM, id="after the budget the pool is what it was at rest"
        ),
    ],
)
def test_the_size_of_a_pool(policy, seen, remembered, desired, reason):
    size = decide(policy, seen, remembered)
    assert (size.desired, size.reason) == (desired, reason)
    assert size.message


def test_a_pool_some_agents_of_which_are_silent_grows_but_does_not_shrink():
    assert decide(POLICY, load(utilization=0.9), memory(), partial=True).desired == 5
    low = decide(POLICY, load(utilization=0.1), memory(desired=8), partial=True)
    assert (low.desired, low.reason) == (8, Reason.METRICS_MISSING)


finite = st.floats(min_value=0, max_value=1e6)
policies = st.builds(
    lambda low, more, warm, grow, shrink, replicas: SizePolicy(
        min_agents=low, max_agents=low + more, warm_agents=warm, may_grow=grow, may_shrink=shrink, replicas=replicas
    ),
    st.integers(0, 50),
    st.integers(1, 100),
    st.integers(0, 100),
    st.booleans(),
    st.booleans(),
    st.none() | st.integers(0, 500),
)
anything = st.none() | st.floats(allow_nan=True, allow_infinity=True)
loads = st.builds(
    lambda **figures: PoolLoad(**figures),
    ready=st.integers(0, 500),
    concurrency=st.integers(1, 64),
    in_flight=st.none() | st.integers(-5, 10_000),
    queued=st.none() | st.integers(-5, 10_000),
    utilization=anything,
    arrivals_per_s=st.none() | st.tuples(finite),
    service_s=anything,
    budget_ceiling=st.none() | st.integers(0, 500),
)
memories = st.builds(
    SizeMemory,
    desired=st.none() | st.integers(0, 500),
    last_scaled_at_s=st.none() | finite,
    last_active_s=finite,
)


@given(policies, loads, memories, st.booleans())
def test_bounds_and_budget_always_hold(policy, seen, remembered, partial):
    size = decide_size(policy, seen, remembered, partial=partial, now_s=NOW)
    assert size.desired >= 0
    if seen.budget_ceiling is not None:
        assert size.desired <= seen.budget_ceiling
    elif policy.may_grow and policy.may_shrink:
        assert policy.min_agents <= size.desired <= policy.max_agents


@given(policies, loads, memories, st.booleans(), st.integers(0, 500), st.integers(0, 500))
def test_more_budget_never_gives_fewer_agents(policy, seen, remembered, partial, one, other):
    low, high = sorted((one, other))
    sizes = [
        decide_size(policy, replace(seen, budget_ceiling=c), remembered, partial=partial, now_s=NOW).desired
        for c in (low, high)
    ]
    assert sizes[0] <= sizes[1]


@given(policies, loads, memories)
def test_a_second_look_at_the_same_world_gives_the_same_answer(policy, seen, remembered):
    answers = [decide_size(policy, seen, remembered, partial=False, now_s=NOW) for _ in range(2)]
    assert answers[0] == answers[1]
