"""Quantiles of a window that slides, and a target that follows the answers."""

from __future__ import annotations

import math
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_runtime.telemetry.response_times import (
    BUCKETS,
    DATA,
    ENOUGH,
    GENERAL,
    HIGHEST_S,
    LOWEST_S,
    QUANTILES,
    ResponseTimes,
    Tuning,
    bucket_of,
    tune,
)

WINDOW_S = 300.0


def times(target_s: float = 2.0, tuning: Tuning = GENERAL, low_s: float = 0.1, high_s: float = 30.0) -> ResponseTimes:
    return ResponseTimes(target_s=target_s, low_s=low_s, high_s=high_s, tuning=tuning, window_s=WINDOW_S)


def after_a_window(share_met: float, **changes: float | Tuning) -> float:
    """The target after one window with so many answers in time."""
    seen = times(**changes)  # type: ignore[arg-type]
    for at in range(100):
        seen.add(0.0 if at < share_met * 100 else 100.0, 1000.0 + at)
    seen.add(0.0, 1000.0 + WINDOW_S)
    return seen.target_s


@pytest.mark.parametrize(
    ("tuning", "met", "factor"),
    [
        pytest.param(GENERAL, 0.91, 0.9, id="general-met"),
        pytest.param(GENERAL, 0.9, 1.0, id="general-at-the-upper-edge"),
        pytest.param(GENERAL, 0.5, 1.0, id="general-at-the-lower-edge"),
        pytest.param(GENERAL, 0.49, 1.2, id="general-missed"),
        pytest.param(DATA, 0.96, 0.85, id="data-met"),
        pytest.param(DATA, 0.95, 1.0, id="data-at-the-upper-edge"),
        pytest.param(DATA, 0.6, 1.0, id="data-at-the-lower-edge"),
        pytest.param(DATA, 0.59, 1.15, id="data-missed"),
    ],
)
def test_a_target_follows_the_share_that_met_it(tuning: Tuning, met: float, factor: float) -> None:
    assert tune(2.0, met, tuning) == pytest.approx(2.0 * factor)
    assert after_a_window(met, tuning=tuning) == pytest.approx(2.0 * factor)


def test_a_target_stays_within_its_bounds() -> None:
    assert after_a_window(1.0, low_s=1.9) == 1.9
    assert after_a_window(0.0, high_s=2.1) == 2.1
    assert times(target_s=60.0).target_s == 30.0


def test_a_target_is_tuned_once_a_window_by_answers_to_itself() -> None:
    seen = times()
    for second in range(int(WINDOW_S) * 2):
        seen.add(0.0, 900.0 + second)
    assert seen.target_s == pytest.approx(1.8)
    seen.add(0.0, 900.0 + WINDOW_S * 2)
    assert seen.target_s == pytest.approx(1.62)


def test_a_few_answers_tune_nothing() -> None:
    seen = times()
    for at in range(ENOUGH - 1):
        seen.add(0.0, 1000.0 + at * WINDOW_S)
    assert seen.target_s == 2.0


def test_without_answers_nothing_is_known() -> None:
    seen = times().snapshot(1000.0)
    assert (seen.answers, seen.quantiles, seen.met, seen.target_s) == (0, None, None, 2.0)


def test_answers_leave_with_the_window() -> None:
    seen = times()
    seen.add(9.0, 1000.0)
    seen.add(1.0, 1200.0)
    assert seen.snapshot(1200.0).answers == 2
    late = seen.snapshot(1000.0 + WINDOW_S)
    assert (late.answers, late.met) == (1, 1.0)
    assert seen.snapshot(1200.0 + WINDOW_S).quantiles is None


@given(st.lists(st.floats(LOWEST_S, HIGHEST_S), min_size=1, max_size=300), st.randoms(use_true_random=False))
def test_quantiles_are_the_nearest_ranks_within_five_per_cent(answers: list[float], order) -> None:
    seen = times()
    order.shuffle(answers)
    for seconds in answers:
        seen.add(seconds, 1000.0)
    found = seen.snapshot(1000.0).quantiles
    assert found is not None
    for quantile in QUANTILES:
        exact = sorted(answers)[max(math.ceil(quantile * len(answers)), 1) - 1]
        assert exact / 1.026 <= found[quantile] <= exact * 1.026


@given(st.floats(0, 1e12))
def test_every_duration_has_a_bucket(seconds: float) -> None:
    assert 0 <= bucket_of(seconds) < BUCKETS


@given(st.lists(st.tuples(st.floats(0, 1000), st.floats(0, 1e6)), max_size=200))
def test_no_order_of_times_breaks_it_or_leaves_the_bounds(answers: list[tuple[float, float]]) -> None:
    seen = times()
    for seconds, now_s in answers:
        seen.add(seconds, now_s)
        shown = seen.snapshot(now_s)
        assert 0.1 <= shown.target_s <= 30.0
        assert shown.met is None or 0 <= shown.met <= 1


def test_memory_does_not_depend_on_traffic() -> None:
    seen = times()
    for at in range(20_000):
        seen.add(at % 100 / 10, 900.0 + at)
    assert sum(sys.getsizeof(one.counts) for one in seen._slices) < 32 * 1024
