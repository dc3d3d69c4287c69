"""Bad days: figures that cannot be, clocks that jump, gaps, floods. Nothing raises, nothing leaves the bounds."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentpool_operator.decide.history import History, from_bytes, record, seed, to_bytes
from agentpool_operator.decide.load import PoolLoad
from agentpool_operator.decide.policy import PolicyKind, ScalingPolicy
from agentpool_operator.decide.reasons import Reason
from agentpool_operator.decide.scaling import decide
from agentpool_operator.decide.state import PoolState

NOW = 1_800_000_000.0
POLICY = ScalingPolicy()
anything = st.none() | st.floats() | st.integers(-(10**12), 10**12)


@settings(deadline=None)
@given(
    counts=st.tuples(anything, anything, anything),
    in_flight=anything,
    queued=anything,
    utilization=anything,
    arrivals=st.none() | st.lists(st.floats(), max_size=80),
    minutes=st.none() | st.lists(st.floats(), max_size=200),
    service=anything,
    startup=anything,
    ceiling=st.none() | st.integers(-5, 10**9),
    kind=st.sampled_from(PolicyKind),
    jumps=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=5),
)
def test_no_figure_and_no_clock_breaks_the_bounds(
    counts, in_flight, queued, utilization, arrivals, minutes, service, startup, ceiling, kind, jumps
):
    ready, starting, concurrency = counts
    load = PoolLoad(
        ready=ready,
        starting=starting,
        concurrency=concurrency,
        in_flight=in_flight,
        queued=queued,
        utilization=utilization,
        arrivals_per_s=arrivals,
        arrivals_per_min=minutes,
        service_s=service,
        startup_s=startup,
        budget_ceiling=ceiling,
    )
    state, now_s = PoolState(), NOW
    for jump in jumps:
        decision = decide(ScalingPolicy(policy=kind), load, state, now_s=now_s)
        state, now_s = decision.state, now_s + jump
        highest = 20 if ceiling is None else max(min(20, ceiling), 0)
        assert min(2, highest) <= decision.desired <= highest
        assert all(math.isfinite(value) for value in decision.inputs.values())


def load(**changes):
    known = {"ready": 3, "in_flight": 1, "queued": 0, "utilization": 0.4, "service_s": 2.0, "startup_s": 45.0}
    return PoolLoad(**{**known, "arrivals_per_s": [0.5] * 60, **changes})


@pytest.mark.parametrize("bad", [math.nan, -1.0, math.inf])
def test_an_impossible_service_time_is_missing_and_holds(bad):
    decision = decide(POLICY, load(ready=6, service_s=bad), PoolState(), now_s=NOW)
    assert (decision.desired, decision.reason) == (6, Reason.METRICS_MISSING)


def test_constant_zero_load_goes_to_the_minimum_and_no_further():
    state, now_s = PoolState(), NOW
    for _ in range(100):
        decision = decide(POLICY, load(arrivals_per_s=[0.0] * 10, in_flight=0), state, now_s=now_s)
        state, now_s = decision.state, now_s + 5
    assert decision.desired == 2


def test_a_hundredfold_load_in_a_minute_reaches_the_maximum_and_comes_back():
    policy, state, now_s = ScalingPolicy(max_agents=400), PoolState(), NOW
    for _ in range(60):
        state, now_s = decide(policy, load(), state, now_s=now_s).state, now_s + 5
    flood = load(arrivals_per_s=[50.0] * 5, in_flight=3, queued=200)
    for _ in range(12):
        decision = decide(policy, flood, state, now_s=now_s)
        state, now_s = decision.state, now_s + 5
    assert decision.desired >= 100
    for _ in range(120):
        decision = decide(policy, load(arrivals_per_s=[0.5] * 5), state, now_s=now_s)
        state, now_s = decision.state, now_s + 5
    assert decision.desired <= 8


def test_a_clock_that_goes_back_neither_repeats_arrivals_nor_changes_the_size():
    first = decide(POLICY, load(), PoolState(), now_s=NOW)
    back = decide(POLICY, load(), first.state, now_s=NOW - 60)
    assert back.state.history is first.state.history
    assert back.desired == first.desired


def test_a_report_that_overlaps_adds_only_its_new_seconds():
    history = record(History(), [1.0] * 60, now_s=NOW)
    history = record(history, [2.0] * 60, now_s=NOW + 10)
    assert history.recent.tolist() == [1.0] * 60 + [2.0] * 10


def test_a_gap_makes_the_minutes_between_unknown_not_zero():
    history = record(History(), [1.0] * 300, now_s=NOW)
    history = record(history, [1.0] * 120, now_s=NOW + 1200)
    known = history.per_minute(21)
    assert [math.isnan(value) for value in known[-4:]] == [True, True, False, False]


def test_minutes_are_the_sums_of_their_seconds():
    history, now_s = History(), NOW - NOW % 60
    for minute in range(5):
        for _ in range(12):
            now_s += 5
            history = record(history, [float(minute)] * 5, now_s=now_s)
    assert history.per_minute(4).tolist() == [60.0, 120.0, 180.0, 240.0]


def test_a_restart_forgets_nothing():
    history = seed(History(), [float(i % 97) for i in range(20160)], now_s=NOW)
    history = record(history, [3.0] * 60, now_s=NOW + 30)
    again = from_bytes(to_bytes(history))
    assert again.end_s == history.end_s
    assert again.recent.tolist() == history.recent.tolist()
    assert again.minutes.tolist() == history.minutes.tolist()
    decisions = [decide(POLICY, load(), PoolState(history=h), now_s=NOW + 35) for h in (history, again)]
    assert decisions[0].desired == decisions[1].desired
    assert decisions[0].inputs == decisions[1].inputs


@pytest.mark.parametrize("data", [b"", b"junk", to_bytes(History())[:-3]])
def test_bytes_that_are_no_history_are_refused_with_a_plain_word(data):
    with pytest.raises(ValueError, match="not a history"):
        from_bytes(data)


def test_a_flood_of_arrivals_stays_finite():
    decision = decide(POLICY, load(arrivals_per_s=[1e30] * 60, service_s=1e6), PoolState(), now_s=NOW)
    assert decision.desired == 20
