"""A clock that jumps ahead and is set right again: what was known before stays in its place."""

from __future__ import annotations

import math

import pytest

from agentpool_operator.decide.history import WAITED_S, History, record, seed
from agentpool_operator.decide.load import PoolLoad
from agentpool_operator.decide.policy import PolicyKind, ScalingPolicy
from agentpool_operator.decide.reasons import Reason
from agentpool_operator.decide.scaling import decide
from agentpool_operator.decide.state import PoolState

NOW = 1_800_000_000 // 60 * 60
HOUR = 3600


def a_day() -> History:
    """A day in which each minute has a rate of its own, and five steady minutes at its end."""
    history = seed(History(), [60.0 * (1 + minute % 50) for minute in range(1440)], now_s=NOW - 300)
    return record(history, [4.0] * 120, now_s=NOW)


def rate_at(history: History, at_s: int) -> float:
    """Arrivals per second in the minute that begins then."""
    assert history.end_s is not None
    return float(history.minutes[-(history.end_s // 60 - at_s // 60)])


@pytest.mark.parametrize("jump_s", [HOUR, 8 * HOUR, -HOUR])
def test_after_a_jump_ahead_and_back_the_days_minutes_are_where_they_were(jump_s):
    before = a_day()
    jumped = record(before, [9.0] * 60, now_s=NOW + jump_s)
    after = record(jumped, [4.0] * 60, now_s=NOW + 600)
    for back in (HOUR * 2, HOUR * 5, HOUR * 20):
        assert rate_at(after, NOW - back) == rate_at(before, NOW - back)
    assert after.end_s == NOW + 600
    assert 9.0 not in after.minutes[-20:].tolist(), "what was recorded under the wrong time"


def test_seconds_known_before_a_step_back_that_reaches_behind_them_are_kept_up_to_it():
    history = record(History(), [1.0] * 900, now_s=NOW)
    after = record(history, [2.0] * 60, now_s=NOW - 300)
    assert after.recent.tolist() == [1.0] * 540 + [2.0] * 60
    assert after.end_s == NOW - 300


def test_a_correction_of_seconds_is_waited_for():
    history = record(History(), [1.0] * 600, now_s=NOW)
    assert record(history, [1.0] * 60, now_s=NOW - WAITED_S + 1) is history


def test_traffic_after_a_step_back_is_followed_at_once():
    load = PoolLoad(ready=3, in_flight=1, queued=0, service_s=2.0, startup_s=45.0, arrivals_per_s=[0.5] * 60)
    calm = decide(ScalingPolicy(), load, PoolState(), now_s=NOW)
    busy = PoolLoad(ready=3, in_flight=9, queued=9, service_s=2.0, startup_s=45.0, arrivals_per_s=[20.0] * 60)
    back = decide(ScalingPolicy(), busy, calm.state, now_s=NOW - 600)
    assert back.inputs["arrivals_per_s"] == 20.0
    assert back.desired > calm.desired


def test_a_cooldown_that_began_under_a_wrong_time_is_no_longer_than_any_other():
    policy = ScalingPolicy(policy=PolicyKind.THRESHOLD)
    busy = PoolLoad(ready=3, in_flight=3, queued=9, utilization=1.0)
    state = PoolState(desired=3, last_scaled_at_s=NOW + HOUR)
    held = decide(policy, busy, state, now_s=NOW)
    assert (held.desired, held.reason) == (3, Reason.COOLDOWN)
    assert decide(policy, busy, held.state, now_s=NOW + policy.rule.cooldown_s).desired == 5


def test_an_idle_clock_that_stood_in_the_future_runs_from_now():
    idle = PoolLoad(ready=3, in_flight=0, queued=0, service_s=2.0, startup_s=45.0, arrivals_per_s=[0.0] * 60)
    state = PoolState(desired=3, last_active_at_s=NOW + 9 * HOUR, woken_at_s=NOW + 9 * HOUR)
    first = decide(ScalingPolicy(min_agents=0), idle, state, now_s=NOW)
    assert first.state.last_active_at_s == first.state.woken_at_s == NOW
    assert decide(ScalingPolicy(min_agents=0), idle, first.state, now_s=NOW + 1799).desired == 3 - 2
    assert decide(ScalingPolicy(min_agents=0), idle, first.state, now_s=NOW + 1800).desired == 0


def test_minutes_of_a_jump_are_unknown_and_not_zero():
    history = record(a_day(), [4.0] * 60, now_s=NOW + HOUR)
    assert math.isnan(rate_at(history, NOW + 1800))
