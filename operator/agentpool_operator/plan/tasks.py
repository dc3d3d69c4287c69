"""Which single tasks stand for a trace's counts? Chance is a fixed seed, so a plan can be repeated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agentpool_operator.plan.trace import Trace

Floats = NDArray[np.float64]
_SEED = 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tasks:
    """Every task's arrival (seconds from the start, ascending) and service time (seconds)."""

    arrival_s: Floats
    service_s: Floats
    duration_s: int
    starts_at_s: float = 0.0
    """What the pool's clock shows at the start."""

    @property
    def mean_service_s(self) -> float | None:
        """Mean service time; ``None`` without a task."""
        return float(self.service_s.mean()) if len(self.service_s) else None

    def arrivals_per_s(self) -> NDArray[np.int64]:
        """Tasks that arrive in each second."""
        counts: NDArray[np.int64] = np.bincount(self.arrival_s.astype(np.int64), minlength=self.duration_s)
        return counts[: self.duration_s]


def make_tasks(trace: Trace) -> Tasks:
    """Tasks spread evenly at random over their slot.

    A slot's only task takes exactly its mean; of several, each takes an exponential time of that mean, the spread that
    chat completions come close to and that queueing formulas assume.
    """
    random = np.random.default_rng(_SEED)
    counts = np.array([slot.count for slot in trace.slots], np.int64)
    begins = np.array([slot.at_s for slot in trace.slots]) - trace.starts_at_s
    means = np.repeat(np.array([slot.service_s for slot in trace.slots]), counts)
    arrival = np.repeat(begins, counts) + random.random(len(means)) * trace.slot_s
    service = np.where(np.repeat(counts, counts) == 1, means, random.exponential(1.0, len(means)) * means)
    order = np.argsort(arrival, kind="stable")
    return Tasks(
        arrival_s=arrival[order],
        service_s=np.maximum(service[order], 1e-3),
        duration_s=trace.duration_s,
        starts_at_s=trace.starts_at_s,
    )


def offered_agents(tasks: Tasks, *, concurrency: int, span_s: int = 60) -> Floats:
    """Agents that would be busy in each span if no task ever waited."""
    edges = np.arange(0, tasks.duration_s + span_s, span_s)
    ends = tasks.arrival_s + tasks.service_s
    # Work done before each edge: the sum over tasks of min(edge, end) − min(edge, arrival), by sorted prefix sums.
    done = _sum_of_minima(ends, edges) - _sum_of_minima(tasks.arrival_s, edges)
    result: Floats = np.diff(done) / np.minimum(span_s, np.maximum(tasks.duration_s - edges[:-1], 1)) / concurrency
    return result


def _sum_of_minima(values: Floats, limits: NDArray[np.int64]) -> Floats:
    ordered = np.sort(values)
    total = np.concatenate([[0.0], np.cumsum(ordered)])
    below = np.searchsorted(ordered, limits)
    result: Floats = total[below] + (len(ordered) - below) * limits
    return result
