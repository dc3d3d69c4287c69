"""Rises that come back on the clock: announced once they proved themselves, never by chance."""

from __future__ import annotations

import numpy as np
import pytest

from agentpool_operator.decide.demand import ORDER_S, current_rate, expected_rates, measure_drift
from agentpool_operator.decide.history import History
from agentpool_operator.decide.load import PoolLoad
from agentpool_operator.decide.policy import ScalingPolicy
from agentpool_operator.decide.scaling import decide
from agentpool_operator.decide.state import PoolState

HOUR = 1_800_000_000 // 3600 * 3600
STARTUP_S = 45.0


def jobs(days: float, *, seed_: int = 1, level=60.0, peak=600.0, every=60, lasting=2) -> np.ndarray:
    """Minutes up to the full hour, with `lasting` minutes of a job at the start of each period."""
    minute = np.arange(-int(days * 1440), 0)
    rate = np.where(minute % every < lasting, peak, level)
    return np.random.default_rng(seed_).poisson(rate).astype(float)


def known(minutes, end_s: int = HOUR) -> History:
    """The minutes, and half an hour of one arrival per second before `end_s`."""
    return History(end_s, np.ones(1800, np.float32), (minutes / 60).astype(np.float16))


def announced_per_s(minutes, end_s: int) -> float:
    return measure_drift(known(minutes, end_s), startup_s=STARTUP_S).announced_per_s(end_s, STARTUP_S + ORDER_S)


def test_an_hourly_job_is_announced_one_start_up_before_it_begins():
    assert announced_per_s(jobs(1)[:-1], HOUR - 40) == pytest.approx(10.0, rel=0.2)


def test_nothing_is_announced_between_two_jobs():
    assert announced_per_s(jobs(1)[:-30], HOUR - 30 * 60) == 0.0


@pytest.mark.parametrize("seed_", range(3))
def test_bursts_at_any_time_are_not_announced(seed_):
    chance = np.random.default_rng(seed_)
    rate = np.where(chance.random(3 * 1440) < 1 / 30, 600.0, 60.0)
    minutes = chance.poisson(rate).astype(float)
    assert not measure_drift(known(minutes), startup_s=STARTUP_S).announced.any()


def test_a_falling_day_announces_nothing():
    minutes = 600 + 500 * np.cos(np.linspace(0, 6 * np.pi, 3 * 1440))
    falling = np.random.default_rng(1).poisson(minutes).astype(float)
    assert not measure_drift(known(falling), startup_s=STARTUP_S).announced.any()


def test_jobs_that_stopped_are_forgotten_within_hours():
    minutes = jobs(1)
    minutes[-4 * 60 :] = 60.0
    assert announced_per_s(minutes[:-1], HOUR - 40) == 0.0


def test_agents_are_ordered_for_the_job_before_it_begins():
    def size(minutes):
        state = PoolState(history=known(minutes, HOUR - 50), desired=4)
        load = PoolLoad(ready=4, in_flight=2, queued=0, arrivals_per_s=[1.0] * 10, service_s=2.0, startup_s=STARTUP_S)
        return decide(ScalingPolicy(max_agents=100), load, state, now_s=HOUR - 40).desired

    assert size(jobs(1)[:-1]) >= 20
    assert size(jobs(1, peak=60.0)[:-1]) <= 6


def test_the_errors_of_announced_rises_do_not_size_the_quiet_minutes():
    history = known(jobs(2)[:-30])
    drift = measure_drift(history, startup_s=STARTUP_S)
    rates = expected_rates(current_rate(history, drift.noise), drift)
    assert rates.max() < 2.0
