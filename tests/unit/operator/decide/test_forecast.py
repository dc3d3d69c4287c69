"""Queueing, demand and forecast: against exact formulas and known traffic."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentpool_operator.decide.demand import current_rate, expected_rates, measure_drift
from agentpool_operator.decide.forecast import DAY, make_forecast
from agentpool_operator.decide.history import History, record, seed
from agentpool_operator.decide.queueing import agents_for, late_share, most_agents

END = 1_800_000_000 // 86_400 * 86_400


def erlang_c_late(slots: int, offered: float, service_s: float, wait_s: float) -> float:
    block = 1.0
    for k in range(1, slots + 1):
        block = offered * block / (k + offered * block)
    wait = slots * block / (slots - offered * (1 - block))
    return wait * math.exp(-(slots - offered) * wait_s / service_s)


@pytest.mark.parametrize(("slots", "offered"), [(2, 1.2), (4, 3.0), (10, 8.0), (40, 36.0), (200, 190.0), (1000, 975.0)])
def test_late_share_is_close_to_erlang_c(slots, offered):
    exact = erlang_c_late(slots, offered, 5.0, 2.0)
    close = float(late_share(slots, np.array([offered]), service_s=5.0, wait_s=2.0, peakedness=1.0)[0])
    assert close == pytest.approx(exact, abs=0.05)


samples = st.lists(st.floats(0.01, 300), min_size=1, max_size=20).map(lambda values: np.array(values))


@given(samples, st.floats(1.0, 3.0), st.integers(1, 16), st.floats(0.1, 60), st.floats(1, 6))
def test_more_load_never_needs_fewer_agents(offered, factor, concurrency, service, peaked):
    def size(load):
        return agents_for(load, concurrency=concurrency, service_s=service, wait_s=2.0, peakedness=peaked, limit=2000)

    assert size(offered) <= size(offered * factor)


@given(samples, st.randoms())
def test_the_order_of_a_sample_does_not_matter(offered, chance):
    shuffled = list(offered)
    chance.shuffle(shuffled)
    sizes = [agents_for(np.array(x), concurrency=2, service_s=3.0, wait_s=2.0, limit=500) for x in (offered, shuffled)]
    assert sizes[0] == sizes[1]


def test_load_beyond_the_limit_needs_the_limit():
    assert agents_for(np.array([1e6]), concurrency=1, service_s=1.0, wait_s=2.0, limit=40) == 40


@pytest.mark.parametrize(
    ("load", "concurrency", "most"),
    [(100.0, 10, 15), (0.0, 4, 1), (4.0, 1, 14), (1000.0, 10, 150)],
)
def test_safety_and_backlog_are_bounded_by_the_load(load, concurrency, most):
    assert most_agents(load, concurrency=concurrency) == most


def test_the_rate_uses_all_of_a_steady_half_hour_and_little_after_a_jump():
    steady = record(History(), [2.0] * 1800, now_s=END)
    rate = current_rate(steady, 1.0)
    assert (rate.per_s, rate.window_s) == (2.0, 1280)
    jumped = record(steady, [20.0] * 20, now_s=END + 20)
    assert current_rate(jumped, 1.0).per_s == 20.0


def test_steady_poisson_traffic_has_next_to_no_drift_once_its_noise_is_taken_out():
    chance = np.random.default_rng(1)
    history = seed(History(), chance.poisson(600, 2880).astype(float), now_s=END)
    history = record(history, chance.poisson(10, 1800).astype(float), now_s=END + 1)
    drift = measure_drift(history, startup_s=45.0)
    rates = expected_rates(current_rate(history, drift.noise), drift)
    assert 9.0 < np.quantile(rates, 0.05) < np.quantile(rates, 0.95) < 11.5


def daily_series(days: int, seed_: int) -> list[float]:
    chance = np.random.default_rng(seed_)
    minute = np.arange(days * 1440)
    return chance.poisson(300 + 250 * np.sin(2 * np.pi * minute / 1440)).astype(float).tolist()


def test_a_daily_season_is_found_and_beats_both_plain_rules():
    forecast = make_forecast(seed(History(), daily_series(10, 2), now_s=END))
    assert forecast.ready
    assert forecast.pinball < 0.9 * forecast.naive_pinball
    truth = (300 + 250 * np.sin(2 * np.pi * np.arange(DAY) / DAY)) / 60
    assert float(np.abs(forecast.expected_per_s - truth).mean() / truth.mean()) < 0.05


@pytest.mark.parametrize("seed_", range(4))
def test_the_stated_coverage_is_kept(seed_):
    forecast = make_forecast(seed(History(), daily_series(10, seed_), now_s=END))
    assert 0.87 <= forecast.coverage <= 0.93


def test_a_level_shift_closes_the_gate_or_is_followed():
    series = np.array(daily_series(10, 3))
    series[-180:] *= 4
    forecast = make_forecast(seed(History(), series.tolist(), now_s=END))
    assert not forecast.ready or forecast.expected_per_s[0] > 0.7 * series[-60:].mean() / 60


def test_traffic_without_a_season_does_not_open_the_gate():
    chance = np.random.default_rng(5)
    walk = np.exp(np.cumsum(chance.normal(0, 0.05, 14400)))
    forecast = make_forecast(seed(History(), (100 * walk / walk.mean()).tolist(), now_s=END))
    assert forecast.growth(45.0) < 1.2


def test_two_days_are_too_few_for_a_forecast():
    assert make_forecast(seed(History(), daily_series(2, 1), now_s=END)) is None


@pytest.mark.parametrize("value", [0.0, 60.0])
def test_constant_traffic_is_forecast_as_constant(value):
    forecast = make_forecast(seed(History(), [value] * 14400, now_s=END))
    assert forecast.expected_per_s == pytest.approx(np.full(DAY, value / 60), abs=1e-3)
    assert forecast.growth(3600.0) == 1.0
