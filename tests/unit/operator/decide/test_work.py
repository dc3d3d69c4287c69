"""What tasks in service tell: how long they really last, and how sure the load is while they do."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentpool_operator.decide.load import PoolLoad
from agentpool_operator.decide.state import PoolState, remembered
from agentpool_operator.decide.work import load_ahead, observed_work, service_factor

NOW = 1_800_000_000.0


def after(seconds, *, in_flight, arrived_per_s, service_s, queued=0):
    work = None
    for second in range(0, seconds + 1, 5):
        work = observed_work(
            work,
            in_flight=in_flight,
            queued=queued,
            arrived=5 * arrived_per_s,
            service_s=service_s,
            now_s=NOW + second,
        )
    return work


def test_tasks_that_last_longer_than_measured_are_found_by_what_is_in_service():
    work = after(1800, in_flight=60, arrived_per_s=10.0, service_s=3.0)
    assert 1.7 < service_factor(work, 3.0) <= 2.0


def test_tasks_that_last_as_measured_change_nothing():
    assert service_factor(after(1800, in_flight=31, arrived_per_s=10.0, service_s=3.0), 3.0) == 1.0


def test_a_few_tasks_prove_nothing():
    assert service_factor(after(30, in_flight=3, arrived_per_s=0.5, service_s=3.0), 3.0) == 1.0


@pytest.mark.parametrize("known", [{"queued": 4}, {"in_flight": None}, {"service_s": None}])
def test_time_in_which_tasks_wait_or_something_is_unknown_is_left_out(known):
    work = after(1800, **{"in_flight": 60, "arrived_per_s": 10.0, "service_s": 3.0, **known})
    assert service_factor(work, 3.0) == 1.0


def test_a_clock_that_went_back_begins_anew():
    work = after(1800, in_flight=60, arrived_per_s=10.0, service_s=3.0)
    again = observed_work(work, in_flight=60, queued=0, arrived=1.0, service_s=3.0, now_s=NOW - 60)
    assert service_factor(again, 3.0) == 1.0


def test_the_load_of_short_tasks_is_poisson_and_that_of_long_ones_is_known():
    short, long = (load_ahead(10.0, 10.0, service_s=service_s, ahead_s=60.0) for service_s in (3.0, 600.0))
    assert short == (0.0, pytest.approx(1.0))
    assert long == (0.0, pytest.approx(1.0 - math.exp(-0.2), abs=0.1))


@pytest.mark.parametrize(
    ("in_system", "extra"),
    [(100.0, 0.0), (118.0, 0.0), (140.0, 10.0), (400.0, 140.0)],
    ids=["as explained", "chance", "more than chance", "a backlog"],
)
def test_short_tasks_beyond_the_arrivals_are_load_only_beyond_chance(in_system, extra):
    """Of a Poisson load of 100 tasks one standard deviation is 10."""
    assert load_ahead(100.0, in_system, service_s=2.0, ahead_s=60.0)[0] == pytest.approx(extra, abs=1e-6)


@given(st.floats(0.01, 500), st.floats(0, 500), st.floats(0, 500), st.floats(0.05, 5000), st.floats(1, 600))
def test_more_in_service_is_never_less_load(explained, first, second, service_s, ahead_s):
    low, high = sorted((first, second))
    extras = [load_ahead(explained, seen, service_s=service_s, ahead_s=ahead_s)[0] for seen in (low, high)]
    assert extras[0] <= extras[1] + 1e-9
    assert explained + extras[0] >= 0


@pytest.mark.parametrize("gap_s", [0, 40], ids=["a new pool", "an operator that was away"])
def test_work_seen_before_its_arrivals_are_known_is_no_sign_of_slow_tasks(gap_s):
    """A tracker knows no arrivals for its first ten seconds, while the agents already report what they work on."""
    state, service_s = PoolState(), 1.0
    if gap_s:
        state = remembered(state, load_of(30, arrivals_s=20), NOW - gap_s)
    for second in range(0, 120, 2):
        state = remembered(state, load_of(30, arrivals_s=second if second >= 10 else None), NOW + second)
        assert service_factor(state.work, service_s) == 1.0, second


def load_of(per_s, *, arrivals_s):
    """A steady load of tasks of a second; its arrivals are known for so many seconds."""
    arrivals = None if arrivals_s is None else (float(per_s),) * arrivals_s
    return PoolLoad(ready=10, concurrency=4, in_flight=per_s, queued=0, service_s=1.0, arrivals_per_s=arrivals)
