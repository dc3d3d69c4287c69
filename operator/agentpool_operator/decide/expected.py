"""How many agents does the load expected one start-up ahead need?

Brings together what is known of it: the rate now, what comes back on the clock, how rates drifted, the forecast of the
day, how long tasks really last, and what is in service already.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from agentpool_operator.decide.backlog import backlog_slots
from agentpool_operator.decide.demand import ORDER_S, Drift, Floats, Rate, current_rate, expected_rates
from agentpool_operator.decide.load import PoolLoad
from agentpool_operator.decide.policy import ScalingPolicy
from agentpool_operator.decide.queueing import PRUDENT_SURGE, agents_for, late_work_prices, most_agents
from agentpool_operator.decide.reasons import Reason
from agentpool_operator.decide.state import UNKNOWN_STARTUP_S, PoolState
from agentpool_operator.decide.threshold import needed_agents
from agentpool_operator.decide.work import load_ahead, service_factor, staying_share

_ANY_SERVICE_S = 1.0
"""Where nothing arrives and nothing is served there is no load, however long a task would take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Agents the expected load needs, why, and the figures they came from."""

    agents: int
    reason: Reason
    inputs: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Expected:
    """The load one start-up ahead, in slots."""

    rate: Rate
    service_s: float
    offered: Floats
    """Equally likely loads."""
    arriving: Floats
    """The part of them that arrivals bring, beside work that is behind."""
    surprise: float
    """Factor by which the load rose within a start-up in one minute of fifty."""
    growth: float
    """Factor the forecast of the day adds."""
    peakedness: float
    """Variance over mean of what meets the slots."""
    backlog: float
    """Slots that a queue's tasks fill; part of `offered`."""

    @property
    def mean(self) -> float:
        return self.rate.per_s * self.service_s


def wanted_agents(policy: ScalingPolicy, load: PoolLoad, state: PoolState, *, limit: int, present: int) -> Wanted:
    """Agents for the work expected one start-up ahead; the size stays where that is unknown, unless a backlog is.

    The present size stays too while it lies between what is worth asking for and what is worth keeping.
    """
    startup_s = UNKNOWN_STARTUP_S if load.startup_s is None else load.startup_s
    inputs: dict[str, float] = {"startup_s": startup_s}
    if load.in_system is not None:
        inputs["in_system"] = float(load.in_system)
    backlog = backlog_slots(
        load.backlog,
        service_s=load.service_s,
        startup_s=startup_s,
        unknown_slots=max(policy.warm_agents, 1) * load.concurrency,
    )
    expected = _expected_load(load, state, startup_s, backlog)
    if expected is None:
        in_hand = load.in_system if load.backlog is None else math.ceil((load.in_system or 0) + backlog)
        work = needed_agents(arrivals_per_s=None, service_s=None, concurrency=load.concurrency, in_system=in_hand)
        known = max(present, work or 0)
        reason = Reason.METRICS_MISSING if known == present else Reason.CURRENT_LOAD
        return Wanted(agents=known, reason=reason, inputs=inputs)
    least, most = (_agents(policy, load, expected, limit, price) for price in late_work_prices(startup_s))
    agents = min(max(present, least), most)
    inputs |= {
        "arrivals_per_s": expected.rate.per_s,
        "rate_window_s": float(expected.rate.window_s),
        "service_s": expected.service_s,
        "offered_load": expected.mean,
        "offered_load_p90": float(np.partition(expected.offered, _rank(expected.offered))[_rank(expected.offered)]),
        "peakedness": expected.peakedness,
        "growth": expected.growth,
        "enough_agents": float(least),
        "kept_agents": float(most),
    }
    reason = Reason.STEADY if agents == present else Reason.FORECAST
    return Wanted(agents=agents, reason=reason, inputs=inputs)


def _expected_load(load: PoolLoad, state: PoolState, startup_s: float, backlog: float) -> _Expected | None:
    """The load one start-up ahead; ``None`` where arrivals or the time a task takes are unknown.

    The forecast of the day raises only, and only while it beats yesterday's values and no change at all.
    """
    drift = state.drift
    if drift is None or load.arrivals_per_s is None:
        return None
    rate = current_rate(state.history, drift.noise)
    if rate is None:
        return None
    rate = _announced(rate, drift, state.history.end_s, startup_s)
    service_s = load.service_s
    if service_s is None:
        if rate.per_s > 0 or load.backlog or load.in_system != 0:
            return None
        service_s = _ANY_SERVICE_S
    service_s *= service_factor(state.work, service_s)
    forecast = state.forecast
    growth = forecast.growth(startup_s) if forecast is not None and forecast.ready else 1.0
    explained = rate.per_s * service_s
    seen = sum(tasks for _, tasks in state.in_system) / len(state.in_system) if state.in_system else explained
    extra, certainty = load_ahead(explained, seen, service_s=service_s, ahead_s=startup_s)
    # A changed rate fills only the slots of tasks that end by the time its change was measured over.
    renewed = 1.0 - staying_share(service_s, 60.0 * drift.lag_min)
    arriving = explained + renewed * (expected_rates(rate, drift) * (service_s * growth) - explained)
    return _Expected(
        rate=rate,
        service_s=service_s,
        offered=np.maximum(arriving + extra, 0.0) + backlog,
        arriving=arriving,
        surprise=drift.surprise,
        growth=growth,
        peakedness=drift.peakedness * certainty,
        backlog=backlog,
    )


def _announced(rate: Rate, drift: Drift, end_s: int | None, startup_s: float) -> Rate:
    """The rate, or what comes back on the clock before an agent asked for a little later would serve."""
    announced = 0.0 if end_s is None else drift.announced_per_s(end_s, startup_s + ORDER_S)
    return rate if announced <= rate.per_s else replace(rate, per_s=announced, tasks=announced * 60.0, window_s=60)


def _agents(policy: ScalingPolicy, load: PoolLoad, expected: _Expected, limit: int, price: float) -> int:
    agents = agents_for(
        expected.offered,
        concurrency=load.concurrency,
        service_s=expected.service_s,
        wait_s=policy.target_wait_s,
        peakedness=expected.peakedness,
        price=price,
        limit=max(limit, 1),
    )
    # Work in hand may exceed what arrivals explain, but a backlog fills whatever is there: it bounds without a margin.
    in_hand = math.ceil(((load.in_flight or 0) + expected.backlog) / load.concurrency - 1e-9)
    most = most_agents(expected.mean * expected.growth, concurrency=load.concurrency, surprise=expected.surprise)
    if expected.surprise > PRUDENT_SURGE:  # rises that the pool's own past knows are not imprudent to be ready for
        most = max(most, math.ceil(float(expected.arriving.max()) / load.concurrency))
    least = math.ceil(expected.mean / (load.concurrency * policy.target_utilization) - 1e-9)
    return max(min(agents, max(most, in_hand)), least, 1 if load.has_work else 0)


def _rank(values: Floats) -> int:
    return min(int(0.9 * len(values)), len(values) - 1)
