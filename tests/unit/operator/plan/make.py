"""Traffic and rules for replays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from agentpool_operator.decide.load import PoolLoad
from agentpool_operator.plan.outcome import PoolTerms
from agentpool_operator.plan.tasks import Tasks


@dataclass
class Fixed:
    """A rule whose size depends on the time alone."""

    size: Callable[[float], int]
    name: str = "fixed"
    period_s: int = 5
    idle_first: bool = False

    def desired(self, load: PoolLoad, *, now_s: float) -> int:
        return self.size(now_s)


def poisson(rate_per_s: float, service_s: float, duration_s: int, seed: int, *, constant: bool = False) -> Tasks:
    """Poisson arrivals with exponential (or constant) service times."""
    random = np.random.default_rng(seed)
    arrival = np.sort(random.random(random.poisson(rate_per_s * duration_s)) * duration_s)
    service = np.full(len(arrival), service_s) if constant else random.exponential(service_s, len(arrival))
    return Tasks(arrival_s=arrival, service_s=service, duration_s=duration_s)


def tasks_at(*pairs: tuple[float, float], duration_s: int) -> Tasks:
    """Single tasks as (arrival, service time)."""
    arrival, service = np.array(pairs, float).reshape(-1, 2).T
    return Tasks(arrival_s=arrival, service_s=service, duration_s=duration_s)


def terms(**changes: float) -> PoolTerms:
    """Terms of a small pool."""
    values = {"concurrency": 1, "min_agents": 1, "max_agents": 40, "startup_s": 45.0} | changes
    return PoolTerms(**values)
