"""What a pool's own past is worth: readiness for the next rise, a queue emptied sooner, and nothing where none was."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from agentpool_operator.decide.demand import measure_drift
from agentpool_operator.decide.forecast import make_forecast
from agentpool_operator.decide.history import History, seed
from agentpool_operator.decide.load import PoolLoad
from agentpool_operator.decide.policy import ScalingPolicy
from agentpool_operator.decide.queueing import most_agents
from agentpool_operator.decide.scaling import decide
from agentpool_operator.decide.state import PoolState

NOW = 1_800_000_000
POLICY = ScalingPolicy(max_agents=500)
QUIET = PoolLoad(
    ready=4,
    concurrency=10,
    in_flight=20,
    queued=0,
    arrivals_per_s=[20.0] * 60,
    service_s=1.0,
    startup_s=45.0,
)


def past(*, rises_per_hour: int, hours: int = 12) -> History:
    """Twenty tasks a second, five times as many in each rise of five minutes, at random; the last minutes are quiet."""
    minutes = np.full(hours * 60, 20.0 * 60)
    for start in np.random.default_rng(4).integers(10, len(minutes) - 20, rises_per_hour * hours):
        minutes[start : start + 5] = 100.0 * 60
    return seed(History(), minutes.tolist(), now_s=NOW)


@pytest.mark.parametrize(
    ("rises_per_hour", "hours", "least", "most"),
    [
        pytest.param(0, 12, 1.0, 1.1, id="no-rise"),
        pytest.param(4, 12, 4.0, 6.0, id="rises"),
        pytest.param(4, 1, 1.0, 1.0, id="an-hour-is-too-short-to-tell"),
    ],
)
def test_a_surprise_is_a_rise_that_came_in_one_minute_of_fifty(rises_per_hour, hours, least, most):
    drift = measure_drift(past(rises_per_hour=rises_per_hour, hours=hours), startup_s=45.0)
    assert least <= drift.surprise <= most


@pytest.mark.parametrize(("surprise", "most"), [(1.0, 15), (1.4, 15), (2.0, 20), (9.0, 25)])
def test_a_pool_may_surge_as_its_own_past_did_within_limits(surprise, most):
    assert most_agents(100.0, concurrency=10, surprise=surprise) == most


def test_a_pool_that_knows_rises_is_ready_for_the_next_one_and_another_is_not():
    sizes = [
        decide(POLICY, QUIET, PoolState(history=past(rises_per_hour=rises)), now_s=NOW + 60.0).wished
        for rises in (0, 4)
    ]
    assert sizes[0] <= 4  # of the load, 2 agents, and its noise
    assert sizes[1] >= 10  # of the rise


def test_long_tasks_make_room_slowly_so_they_need_less_spare_for_rising_arrivals():
    """Of tasks of 200 s a fifth ends within a start-up, so little follows the arrivals at once."""
    chance = np.random.default_rng(1)
    noisy = seed(History(), (60 * np.exp(chance.normal(0, 0.2, 2880))).tolist(), now_s=NOW)
    load = replace(QUIET, concurrency=1, in_flight=200, arrivals_per_s=[1.0] * 60, service_s=200.0)
    assert decide(POLICY, load, PoolState(history=noisy), now_s=NOW + 60.0).wished < 300


def test_an_hour_out_of_the_ordinary_spoils_little_of_the_forecast():
    """An hour a day at another time brings four times the work: a level taken from it is wrong about the next hour."""
    wapes = []
    for chance in map(np.random.default_rng, range(4)):
        rate = 300 + 200 * np.sin(2 * np.pi * np.arange(10 * 1440) / 1440)
        for day in range(10):
            start = day * 1440 + int(chance.integers(0, 1200))
            rate[start : start + 60] *= 4
        wapes.append(make_forecast(seed(History(), chance.poisson(rate).astype(float).tolist(), now_s=NOW)).wape)
    assert sum(wapes) / len(wapes) < 0.375
