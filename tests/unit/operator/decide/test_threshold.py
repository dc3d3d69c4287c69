"""The threshold rule: +2 when busy, -1 when idle, a pause after each step; and the floor of measured work."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentpool_operator.decide.reasons import Reason
from agentpool_operator.decide.threshold import ThresholdRule, decide_threshold, needed_agents

RULE = ThresholdRule()


@pytest.mark.parametrize(
    ("total", "utilization", "since_change_s", "desired", "reason"),
    [
        pytest.param(5, 0.8, None, 7, Reason.UTILIZATION_HIGH, id="exactly-at-upper-threshold-grows-by-two"),
        pytest.param(5, 0.7999, None, 5, Reason.STEADY, id="just-under-upper-threshold-stays"),
        pytest.param(5, 0.3, None, 4, Reason.UTILIZATION_LOW, id="exactly-at-lower-threshold-shrinks-by-one"),
        pytest.param(5, 0.3001, None, 5, Reason.STEADY, id="just-over-lower-threshold-stays"),
        pytest.param(5, 0.95, 299.9, 5, Reason.COOLDOWN, id="cooldown-holds-growth"),
        pytest.param(5, 0.1, 299.9, 5, Reason.COOLDOWN, id="cooldown-holds-shrinking"),
        pytest.param(5, 0.95, 300.0, 7, Reason.UTILIZATION_HIGH, id="cooldown-ends-at-five-minutes"),
        pytest.param(5, None, None, 5, Reason.METRICS_MISSING, id="missing-metrics-keep-the-size"),
        pytest.param(5, math.nan, None, 5, Reason.METRICS_MISSING, id="nan-is-missing"),
        pytest.param(5, -1.0, None, 5, Reason.METRICS_MISSING, id="negative-is-missing"),
        pytest.param(19, 1.0, None, 20, Reason.UTILIZATION_HIGH, id="step-is-cut-at-the-maximum"),
        pytest.param(20, 1.0, None, 20, Reason.BOUNDS, id="at-maximum-stays"),
        pytest.param(2, 0.0, None, 2, Reason.BOUNDS, id="at-minimum-stays"),
        pytest.param(30, None, 1.0, 20, Reason.BOUNDS, id="over-maximum-is-cut-even-in-cooldown-without-metrics"),
        pytest.param(0, None, 1.0, 2, Reason.BOUNDS, id="under-minimum-is-raised"),
        pytest.param(5, 0.95, -10.0, 5, Reason.COOLDOWN, id="a-change-in-the-future-counts-as-just-now"),
    ],
)
def test_threshold_table(total, utilization, since_change_s, desired, reason):
    step = decide_threshold(
        RULE,
        total=total,
        utilization=utilization,
        last_scaled_at_s=None if since_change_s is None else 1000.0 - since_change_s,
        min_agents=2,
        max_agents=20,
        now_s=1000.0,
    )
    assert (step.desired, step.reason) == (desired, reason)
    assert step.stepped == (desired != total)


@given(
    total=st.integers(0, 500),
    utilization=st.none() | st.floats(),
    last=st.none() | st.floats(-1e9, 1e9),
    low=st.integers(0, 50),
    span=st.integers(0, 50),
)
def test_threshold_stays_within_bounds_whatever_is_observed(total, utilization, last, low, span):
    step = decide_threshold(
        RULE,
        total=total,
        utilization=utilization,
        last_scaled_at_s=last,
        min_agents=low,
        max_agents=low + span,
        now_s=0.0,
    )
    assert low <= step.desired <= low + span


@given(total=st.integers(0, 60), first=st.floats(0, 2), second=st.floats(0, 2))
def test_higher_utilization_never_wants_fewer_agents(total, first, second):
    def desired(utilization: float) -> int:
        return decide_threshold(
            RULE, total=total, utilization=utilization, last_scaled_at_s=None, min_agents=2, max_agents=20, now_s=0.0
        ).desired

    low, high = sorted((first, second))
    assert desired(low) <= desired(high)


@pytest.mark.parametrize(
    ("arrivals", "service", "concurrency", "in_system", "needed"),
    [
        pytest.param(10.0, 0.8, 1, None, 10, id="eight-busy-slots-at-80-percent-are-ten-not-eleven"),
        pytest.param(10.0, 0.81, 1, None, 11, id="a-little-more-is-rounded-up"),
        pytest.param(0.0, 5.0, 4, 0, 0, id="no-work-needs-no-agent"),
        pytest.param(0.001, 5.0, 4, 0, 1, id="any-work-needs-an-agent"),
        pytest.param(0.0, 5.0, 4, 9, 3, id="a-backlog-needs-slots-though-nothing-arrives"),
        pytest.param(None, 5.0, 4, 9, 3, id="unknown-arrivals-leave-the-backlog"),
        pytest.param(None, 5.0, 4, None, None, id="nothing-known-gives-no-answer"),
        pytest.param(3.0, None, 4, None, None, id="unknown-service-time-gives-no-answer"),
        pytest.param(math.nan, 5.0, 4, None, None, id="nan-is-unknown"),
        pytest.param(-1.0, 5.0, 4, 3, 1, id="negative-is-unknown"),
    ],
)
def test_needed_agents_table(arrivals, service, concurrency, in_system, needed):
    assert (
        needed_agents(arrivals_per_s=arrivals, service_s=service, concurrency=concurrency, in_system=in_system)
        == needed
    )


@given(a=st.floats(0, 1e6), b=st.floats(0, 1e6), service=st.floats(0.01, 300), c=st.integers(1, 64))
def test_more_arrivals_never_need_fewer_agents(a, b, service, c):
    low, high = sorted((a, b))
    assert needed_agents(arrivals_per_s=low, service_s=service, concurrency=c) <= needed_agents(
        arrivals_per_s=high, service_s=service, concurrency=c
    )
