"""Counters that agents report, each at its own moment, become arrivals by second: none lost, none told twice."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentpool_operator.decide.history import History, record
from agentpool_operator.observe.arrivals import LAG_S, ArrivalSeconds


def test_a_difference_is_spread_over_the_time_between_two_reports():
    arrivals = ArrivalSeconds()
    arrivals.show(100.0)
    arrivals.add(8, 100.5, 102.5)
    shown = arrivals.show(108.0 + LAG_S)
    assert tuple(shown[:5]) == (0.0, 0.0, 2.0, 4.0, 2.0)
    assert sum(shown) == 8


def test_a_few_seconds_are_no_rate():
    arrivals = ArrivalSeconds()
    arrivals.show(100.0)
    arrivals.add(8, 100.5, 102.5)
    assert arrivals.show(109.9) is None
    assert arrivals.show(110.0) is not None


def test_a_steady_stream_looks_steady_however_reports_and_readings_fall():
    arrivals = ArrivalSeconds()
    for reading in range(30):
        now_s = 1000.0 + 2 * reading
        # Seen every two seconds, reports came 1, 2 or 3 seconds apart.
        ends = [now_s - 0.3, now_s - 1.1][reading % 2]
        begins = [now_s - 3.1, now_s - 2.3][reading % 2]
        arrivals.add(round((ends - begins) * 100), begins, ends)
        arrivals.show(now_s)
    settled = arrivals.show(1058.0 + LAG_S)[5:-3]
    assert min(settled) > 95
    assert max(settled) < 105


def test_a_report_that_comes_late_still_counts():
    arrivals = ArrivalSeconds()
    arrivals.show(100.0)
    before = arrivals.show(110.0)
    arrivals.add(6, 101.0, 103.0)
    assert arrivals.show(116.0)[: len(before)] == before
    assert sum(arrivals.show(116.0)) == pytest.approx(6)


reports = st.lists(st.tuples(st.integers(0, 50), st.floats(-8, 4), st.floats(0, 5)), max_size=40)


@given(reports)
def test_a_history_holds_every_arrival_exactly_once(reports):
    arrivals, history, now_s = ArrivalSeconds(), History(), 10_000.0
    arrivals.show(now_s)
    for count, begin, length in reports:
        arrivals.add(count, now_s + begin - length, now_s + begin)
        now_s += 2.0
        shown = arrivals.show(now_s)
        history = history if shown is None else record(history, shown, now_s=now_s)
    for _ in range(15):
        now_s += 2.0
        shown = arrivals.show(now_s)
        history = history if shown is None else record(history, shown, now_s=now_s)
    assert history.recent.sum() == pytest.approx(sum(count for count, _, _ in reports), abs=1e-2)


def test_a_clock_that_goes_back_begins_anew():
    arrivals = ArrivalSeconds()
    arrivals.show(1000.0)
    arrivals.add(5, 1000.0, 1001.0)
    assert arrivals.show(500.0) is None
    arrivals.add(3, 500.0, 501.0)
    assert sum(arrivals.show(512.0)) == pytest.approx(3)
