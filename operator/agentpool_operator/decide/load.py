"""What is known about a pool at one moment?

The observation a decision reads. ``None`` always means unknown and is never the same as zero. Figures that cannot be
true (NaN, negative, infinite) are unknown too: `trusted` turns them into ``None`` before anything is computed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolLoad:
    """One observation of a pool. Counts are agents or tasks, times are seconds, ``None`` is unknown."""

    ready: int
    """Agents that serve."""
    starting: int = 0
    """Agents asked for that do not serve yet. They count as capacity, or a slow start would be ordered twice."""
    draining: int = 0
    """Agents that finish their work and go. They count as cost, never as capacity."""
    concurrency: int = 1
    """Tasks one agent serves at once."""
    in_flight: int | None = None
    """Tasks being served."""
    queued: int | None = None
    """Tasks that wait in the agents' own queues."""
    backlog: int | None = None
    """Tasks of the pool's queue that nobody has taken yet. They are worth slots by the time they take; see backlog."""
    pending: int | None = None
    """Tasks of the pool's queue that a consumer holds: part of `in_flight`."""
    utilization: float | None = None
    """Busy share of the serving slots over the last reports, 0 to 1."""
    arrivals_per_s: Sequence[float] | None = None
    """Tasks that arrived in each of the last seconds, oldest first, the last one ending at the time of the decision."""
    arrivals_per_min: Sequence[float] | None = None
    """Tasks of each past minute, oldest first, ending at the last full minute. Only to fill a history that is empty."""
    service_s: float | None = None
    """Mean time an agent works on one task."""
    startup_s: float | None = None
    """Measured time from asking for an agent to its first readiness."""
    oldest_wait_s: float | None = None
    """How long the longest waiting task has waited."""
    partial: bool = False
    """Some agents do not report: there may be more work than is seen."""
    budget_ceiling: int | None = None
    """Agents the budgets still pay for; ``None`` when no budget limits the pool."""

    @property
    def total(self) -> int:
        """Agents that serve or will: what a decision compares its wish with."""
        return self.ready + self.starting

    @property
    def has_work(self) -> bool:
        """Whether any task is known to wait or to be served."""
        return bool(self.in_flight) or bool(self.queued) or bool(self.backlog)

    @property
    def in_system(self) -> int | None:
        """Tasks that wait or are served; ``None`` unless both are known."""
        if self.in_flight is None or self.queued is None:
            return None
        return self.in_flight + self.queued


MOST = 1_000_000
"""Agents or tasks beyond which a figure is taken as this many: no cluster holds more, and arithmetic stays exact."""
LONGEST_STARTUP_S = 3600.0
SHORTEST_SERVICE_S, LONGEST_SERVICE_S = 1e-6, 86_400.0


def _positive(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) and value > 0 else None


def _not_negative(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) and value >= 0 else None


def _count(value: float | None) -> int | None:
    known = _not_negative(value)
    return None if known is None else int(min(known, MOST))


def _within(value: float | None, least: float, most: float) -> float | None:
    return None if value is None else min(max(value, least), most)


def trusted(load: PoolLoad) -> PoolLoad:
    """The same observation with every impossible figure turned into unknown.

    Agents cannot be unknown (the API server is asked for them): an impossible count of agents is 0. A utilization over
    1 is kept (a report may count a task twice while it moves); only what is not a number of its kind is dropped. Counts
    and times beyond what a cluster can hold are cut to it.
    """
    return replace(
        load,
        ready=_count(load.ready) or 0,
        starting=_count(load.starting) or 0,
        draining=_count(load.draining) or 0,
        concurrency=max(_count(load.concurrency) or 1, 1),
        in_flight=_count(load.in_flight),
        queued=_count(load.queued),
        backlog=_count(load.backlog),
        pending=_count(load.pending),
        utilization=_not_negative(load.utilization),
        service_s=_within(_positive(load.service_s), SHORTEST_SERVICE_S, LONGEST_SERVICE_S),
        startup_s=_within(_not_negative(load.startup_s), 0.0, LONGEST_STARTUP_S),
        oldest_wait_s=_not_negative(load.oldest_wait_s),
        budget_ceiling=None if load.budget_ceiling is None else max(int(load.budget_ceiling), 0),
    )
