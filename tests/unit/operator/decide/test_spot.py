"""Spot nodes that are short: agents move to on demand, and come back carefully."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentpool_operator.decide.spot import LONGEST_RETRY_S, SpotFacts, SpotState, decide_spot

NOW = 1_800_000_000.0


def decided(state, *, now_s=NOW, wanted=7, placed=0, ready=0, waits_s=None):
    seen = SpotFacts(placed=placed, ready=ready, waiting_since_s=None if waits_s is None else now_s - waits_s)
    return decide_spot(state, seen, wanted=wanted, fallback_after_s=90.0, now_s=now_s)


FALLEN = SpotState(limit=0, failures=1, retry_at_s=NOW + 300)
TRIED = SpotState(limit=1, failures=1, retry_at_s=NOW, step=1)


@pytest.mark.parametrize(
    ("state", "seen", "limit", "step"),
    [
        pytest.param(SpotState(), {"placed": 7, "ready": 7}, None, 0, id="spot takes all"),
        pytest.param(SpotState(), {"waits_s": 89}, None, 0, id="a short wait is borne"),
        pytest.param(SpotState(), {"waits_s": 90}, 0, 0, id="a long one is not"),
        pytest.param(SpotState(), {"waits_s": 90, "placed": 4}, 4, 0, id="agents with a node stay"),
        pytest.param(FALLEN, {"waits_s": 95}, 0, 0, id="pods on their way out do not count twice"),
        pytest.param(SpotState(limit=4, retry_at_s=NOW + 9), {"waits_s": 95, "placed": 2}, 2, 0, id="nodes taken back"),
        pytest.param(FALLEN, {"now_s": NOW + 299}, 0, 0, id="not before the time"),
        pytest.param(FALLEN, {"now_s": NOW + 300}, 1, 1, id="then with one agent"),
        pytest.param(FALLEN, {"now_s": NOW + 300, "wanted": 0}, 0, 0, id="not while none is wanted"),
        pytest.param(FALLEN, {"now_s": NOW - 90_000}, 1, 1, id="a clock that went back does not wait for days"),
        pytest.param(TRIED, {"placed": 1}, 1, 1, id="a trial waits until it serves"),
        pytest.param(TRIED, {"placed": 1, "ready": 1}, 3, 2, id="then with two more"),
        pytest.param(TRIED, {"waits_s": 90}, 0, 0, id="a trial that fails falls back"),
        pytest.param(SpotState(limit=7, step=4, failures=2), {"placed": 7, "ready": 7}, None, 0, id="all are back"),
        pytest.param(SpotState(limit=7, step=4), {"ready": 2, "wanted": 2}, None, 0, id="all that are still wanted"),
    ],
)
def test_the_limit_of_spot_agents(state, seen, limit, step):
    after = decided(state, **seen)
    assert (after.limit, after.step) == (limit, step)


def test_trials_become_rare_and_stay_hourly():
    state, waits = SpotState(), []
    now_s = NOW
    for _ in range(7):
        state = decided(state, now_s=now_s, waits_s=100)
        waits.append(state.retry_at_s - now_s)
        now_s = state.retry_at_s
        state = decided(state, now_s=now_s)
        assert state.step == 1
    assert waits == [300, 600, 1200, 2400, 3600, 3600, 3600]


def test_a_success_forgets_the_failures():
    state = SpotState(limit=6, failures=5, step=4)
    assert decided(state, placed=7, ready=7, wanted=6) == SpotState()


states = st.builds(
    SpotState,
    limit=st.none() | st.integers(0, 50),
    failures=st.integers(0, 10_000),
    retry_at_s=st.floats(0, 4e9),
    step=st.integers(0, 64),
)


@given(states, st.integers(0, 50), st.integers(0, 50), st.integers(0, 50), st.none() | st.floats(-1e6, 1e6))
def test_it_always_tries_again_within_the_hour(state, wanted, placed, ready, waits_s):
    after = decided(state, wanted=wanted, placed=placed, ready=ready, waits_s=waits_s)
    assert after.limit is None or after.limit >= 0
    if after.has_fallen_back and wanted:
        assert decided(after, wanted=wanted, now_s=NOW + LONGEST_RETRY_S).limit != after.limit or after.step
