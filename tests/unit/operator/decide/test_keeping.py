"""An agent that is there is kept where one that is not would not be asked for, so chance does not move a pool."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentpool_operator.decide.explain import told_inputs
from agentpool_operator.decide.history import History, seed
from agentpool_operator.decide.load import PoolLoad
from agentpool_operator.decide.policy import ScalingPolicy
from agentpool_operator.decide.queueing import late_work_prices
from agentpool_operator.decide.reasons import Reason
from agentpool_operator.decide.scaling import decide
from agentpool_operator.decide.state import PoolState

NOW = 1_800_000_000
POLICY = ScalingPolicy(min_agents=0, max_agents=500)
BUSY = PoolLoad(
    ready=1,
    concurrency=1,
    in_flight=40,
    queued=0,
    arrivals_per_s=[10.0] * 60,
    service_s=4.0,
    startup_s=45.0,
)


def wished(load: PoolLoad, present: int) -> tuple[int, Reason]:
    """What the load makes of a pool of this size that was never seen before, the hold of its size aside."""
    steady = PoolState(history=seed(History(), [600.0] * 600, now_s=NOW))
    decision = decide(POLICY, replace(load, ready=present), replace(steady, desired=present), now_s=NOW + 60.0)
    return decision.wished, decision.reason


def band(load: PoolLoad) -> tuple[int, int]:
    """The size an empty pool grows to, and the one a far too large pool shrinks to."""
    return wished(load, 1)[0], wished(load, 400)[0]


def test_a_size_between_what_is_worth_asking_for_and_worth_keeping_stays():
    least, most = band(BUSY)
    assert 40 < least < most < 80
    for present in range(least, most + 1):
        assert wished(BUSY, present) == (present, Reason.STEADY)
    assert wished(BUSY, least - 1)[0] == least
    assert wished(BUSY, most + 1)[0] == most


@settings(max_examples=40, deadline=None)
@given(
    present=st.tuples(st.integers(1, 120), st.integers(1, 120)),
    rate=st.floats(0.1, 20.0),
    concurrency=st.integers(1, 8),
)
def test_more_agents_there_never_give_fewer_and_nothing_leaves_the_band(present, rate, concurrency):
    load = replace(BUSY, arrivals_per_s=[rate] * 60, in_flight=round(4 * rate), concurrency=concurrency)
    least, most = band(load)
    few, many = (wished(load, agents)[0] for agents in sorted(present))
    assert least <= few <= many <= most


def test_both_ends_are_told_with_the_decision():
    steady = PoolState(history=seed(History(), [600.0] * 600, now_s=NOW))
    decision = decide(POLICY, BUSY, steady, now_s=NOW + 60.0)
    least, most = band(BUSY)
    assert f"{least} agents enough, up to {most} kept" in told_inputs(decision.inputs)


@pytest.mark.parametrize("startup_s", [0.0, 10.0, 45.0, 120.0, 3600.0])
def test_a_new_agent_must_prevent_more_than_one_that_is_kept(startup_s):
    asked, kept = late_work_prices(startup_s)
    assert 0 < 1.5 * asked <= kept


def changes_in_an_hour() -> int:
    """Changes of a pool under Poisson arrivals of a constant rate, looked at every five seconds."""
    chance = np.random.default_rng(7)
    arrivals = chance.poisson(10.0, 5400)
    in_service = np.convolve(arrivals, np.ones(4))[: len(arrivals)]
    state = PoolState(history=seed(History(), chance.poisson(600.0, 600).astype(float).tolist(), now_s=NOW))
    present, changes = 60, 0
    for second in range(1805, 5400, 5):
        recent = arrivals[second - (1800 if second == 1805 else 10) : second].astype(float)
        load = replace(BUSY, ready=present, in_flight=int(in_service[second - 1]), arrivals_per_s=recent)
        decision = decide(POLICY, load, state, now_s=float(NOW + second))
        changes += decision.desired != present
        present, state = decision.desired, decision.state
    return changes


def test_chance_alone_hardly_moves_a_pool():
    assert changes_in_an_hour() <= 10
