"""What holds with two weeks of history and every part of the decision at work, not only for a pool that is new."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentpool_operator.decide.history import History
from agentpool_operator.decide.load import PoolLoad
from agentpool_operator.decide.policy import ScalingPolicy
from agentpool_operator.decide.scaling import decide
from agentpool_operator.decide.state import PoolState

NOW = 1_800_000_000 // 86_400 * 86_400 + 40_000
POLICY = ScalingPolicy(max_agents=5000)


def history(*, seed: int, wave: float) -> History:
    """Two weeks of days with a wave, a random level that wanders, and half an hour of the last level."""
    chance = np.random.default_rng(seed)
    minute = np.arange(14 * 1440)
    level = 5.0 * np.exp(np.cumsum(chance.normal(0, 0.01, len(minute))) * 0.3)
    rate = level * (1 + wave * np.sin(2 * np.pi * minute / 1440))
    recent = chance.poisson(rate[-1], 1800).astype(np.float32)
    return History(NOW, recent, (chance.poisson(60 * rate) / 60).astype(np.float16))


def warm(seed: int, wave: float) -> PoolState:
    load = PoolLoad(ready=10, in_flight=10, queued=0, arrivals_per_s=[5.0] * 10, service_s=2.0, startup_s=45.0)
    return decide(POLICY, load, PoolState(history=history(seed=seed, wave=wave)), now_s=NOW).state


STATES = [warm(seed, wave) for seed, wave in ((1, 0.0), (2, 0.5), (3, 0.9))]
states = st.sampled_from(STATES)
loads = st.builds(
    PoolLoad,
    ready=st.integers(0, 60),
    starting=st.integers(0, 20),
    concurrency=st.integers(1, 8),
    in_flight=st.integers(0, 400),
    queued=st.integers(0, 400),
    backlog=st.none() | st.integers(0, 1000),
    arrivals_per_s=st.lists(st.integers(0, 40).map(float), min_size=5, max_size=60),
    service_s=st.floats(0.05, 600),
    startup_s=st.floats(0, 600),
)
more = st.integers(0, 500)


@settings(deadline=None)
@given(states, loads, more)
def test_more_waiting_work_never_gives_fewer_agents(state, load, extra):
    for name in ("queued", "backlog"):
        larger = replace(load, **{name: (getattr(load, name) or 0) + extra})
        sizes = [decide(POLICY, seen, state, now_s=NOW + 5).desired for seen in (load, larger)]
        assert sizes[0] <= sizes[1]


@settings(deadline=None)
@given(states, loads, st.floats(0.0, 10.0))
def test_a_shorter_promise_to_wait_never_gives_fewer_agents(state, load, wait_s):
    sizes = [
        decide(replace(POLICY, target_wait_s=target), load, state, now_s=NOW + 5).desired
        for target in (wait_s + 1, 1.0)
    ]
    assert sizes[0] <= sizes[1]


@settings(deadline=None)
@given(states, loads, st.integers(0, 50), st.integers(0, 50), st.integers(0, 50))
def test_bounds_budget_and_repetition_hold(state, load, low, span, ceiling):
    policy = ScalingPolicy(min_agents=low, max_agents=low + span)
    free, again = (decide(policy, load, state, now_s=NOW + 5) for _ in range(2))
    assert (free.desired, free.reasons, free.inputs) == (again.desired, again.reasons, again.inputs)
    assert low <= free.desired <= low + span
    assert decide(policy, load, free.state, now_s=NOW + 5).desired == free.desired
    sizes = [
        decide(policy, replace(load, budget_ceiling=limit), state, now_s=NOW + 5).desired
        for limit in (ceiling, ceiling + 1, None)
    ]
    assert sizes == sorted(sizes)
    assert sizes[0] <= ceiling


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("factor", [3.0, 10.0])
def test_a_multiple_of_the_arrivals_grows_the_pool(state, factor):
    level = float(state.history.recent[-60:].mean())
    load = PoolLoad(
        ready=20, in_flight=int(2 * level), queued=0, arrivals_per_s=[level] * 20, service_s=2.0, startup_s=45.0
    )
    sizes = [
        decide(POLICY, replace(load, arrivals_per_s=[level * k] * 20), state, now_s=NOW + 20).wished
        for k in (1.0, factor)
    ]
    assert sizes[0] < sizes[1]
