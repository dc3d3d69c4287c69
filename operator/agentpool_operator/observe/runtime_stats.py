"""What do the agents report?

Heartbeats hold counters that only rise. Two of them from the same process give rates; a single one gives the state of
now. A report that is malformed, old, from the future or of a pod nobody knows is no report.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from pydantic import ValidationError

from agentpool_api.wire import Heartbeat, Problem
from agentpool_operator import metrics
from agentpool_operator.decide.facts import QueueFacts
from agentpool_operator.observe.arrivals import ArrivalSeconds
from agentpool_operator.observe.cluster import PodFacts
from agentpool_operator.observe.queue import QueueTracker, joined_arrivals

STALE_S = 10.0
"""A heartbeat comes every second; ten missed ones are an outage."""

AHEAD_S = 5.0
"""Clocks of nodes differ by less than this, or their reports cannot be used."""

WINDOW_S = 60.0
"""Rates and utilization are means over this time."""

SERVICE_FADE_S = 120.0
"""A completed request counts for the mean service time by e^(-age / this)."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Sums over a pool's agents at one reading. ``at_s`` is our clock."""

    at_s: float
    capacity: int
    in_flight: int
    arrivals: int
    """Arrived since the reading before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolStats:
    """What a pool's agents report, taken together. None is unknown."""

    available: bool
    """Some ready agent reports."""
    partial: bool
    """Some ready agents do not report."""
    silent: tuple[str, ...] = ()
    """Ready agents that do not report."""
    in_flight: int | None = None
    queued: int | None = None
    utilization: float | None = None
    arrivals_per_s: float | None = None
    """Mean over the last minute."""
    arrivals_by_s: Sequence[float] | None = None
    """Each of the last seconds, oldest first."""
    service_s: float | None = None
    """Mean of the last minutes; while nothing is completed, the last one known."""
    last_activity_s: float | None = None
    draining: frozenset[str] = frozenset()
    problems: tuple[Problem, ...] = ()
    in_flight_by_pod: Mapping[str, int] = field(default_factory=dict)
    """Work a pod holds: requests, or tasks of the queue when they are more."""
    queue: QueueFacts | None = None


NOTHING = PoolStats(available=False, partial=False)


def parse_heartbeats(raw: Mapping[bytes, bytes]) -> dict[str, Heartbeat]:
    """Valid heartbeats by pod UID."""
    found: dict[str, Heartbeat] = {}
    for value in raw.values():
        try:
            heartbeat = Heartbeat.model_validate_json(value)
        except ValidationError:
            metrics.HEARTBEATS_REFUSED.labels("malformed").inc()
            continue
        found[heartbeat.uid] = heartbeat
    return found


class _Counted(NamedTuple):
    """An agent's counters at its last report: all that the next one is compared with."""

    at_s: float
    started_s: float
    arrivals: int = 0
    completed: int = 0
    service_s: float = 0.0


class PoolTracker:
    """Folds one pool's readings into rates."""

    def __init__(self) -> None:
        self._before: dict[str, _Counted] = {}
        self._samples: deque[Sample] = deque()
        self._arrivals = ArrivalSeconds()
        self._read_s: float | None = None
        self._completed = self._in_service_s = 0.0
        self._completed_at_s = 0.0
        self._held_s = 0.0
        """Time the queue's tasks were held since one was last completed."""
        self._queue: QueueTracker | None = None

    def update(
        self,
        heartbeats: Mapping[str, Heartbeat],
        pods: Sequence[PodFacts],
        *,
        now_s: float,
        queue: QueueFacts | None = None,
    ) -> PoolStats:
        """Take in a reading and tell what is known now."""
        present = {pod.uid: pod for pod in pods if not pod.ended}
        fresh = {uid: h for uid, h in heartbeats.items() if uid in present and _is_fresh(h, now_s)}
        ready = {uid: pod for uid, pod in present.items() if pod.ready and not pod.leaving}
        silent = tuple(sorted(p.name for uid, p in ready.items() if uid not in fresh and _is_due(p, now_s)))
        problems = _distinct(p for uid, h in fresh.items() for p in h.problems)
        self._work_off(queue, sum(h.in_flight for h in fresh.values()), now_s)
        if not fresh:
            self._before = {}
            self._read_s = None
            self._samples.clear()
            self._arrivals = ArrivalSeconds()
            nothing = PoolStats(available=False, partial=bool(silent), silent=silent, problems=problems, queue=queue)
            return nothing if queue is None or ready else self._at_rest(nothing, now_s)
        serving = {uid: h for uid, h in fresh.items() if not h.draining and not present[uid].leaving}
        held = queue.held if queue is not None else {}
        self._add(fresh, serving, sum(held.get(h.pod, 0) for h in serving.values()), now_s)
        activity = [h.last_activity_s for h in fresh.values() if h.last_activity_s is not None]
        return PoolStats(
            available=True,
            partial=bool(silent),
            silent=silent,
            in_flight=sum(h.in_flight for h in fresh.values()),
            queued=sum(h.queued for h in fresh.values()),
            utilization=self._utilization(),
            arrivals_per_s=self._arrivals_per_s(),
            arrivals_by_s=joined_arrivals(self._arrivals.show(now_s), self._queue_arrivals(now_s)),
            service_s=self._service_s(queue),
            last_activity_s=min(max(activity), now_s) if activity else None,
            draining=frozenset(h.pod for h in fresh.values() if h.draining),
            problems=problems,
            in_flight_by_pod={h.pod: max(h.in_flight + h.queued, held.get(h.pod, 0)) for h in fresh.values()},
            queue=queue,
        )

    def _at_rest(self, nothing: PoolStats, now_s: float) -> PoolStats:
        """No agent is ready: the queue is all there is to know."""
        service_s = self._service_s(nothing.queue)
        return replace(nothing, in_flight=0, queued=0, arrivals_by_s=self._queue_arrivals(now_s), service_s=service_s)

    def _work_off(self, queue: QueueFacts | None, in_flight: int, now_s: float) -> None:
        """Count what happened at the queue as work of the agents."""
        if queue is None:
            self._queue = None
            return
        self._queue = self._queue or QueueTracker()
        worked = self._queue.update(queue, in_flight, now_s=now_s)
        self._held_s += worked.held_s
        if worked.completed:
            self._complete(worked.completed, self._held_s, now_s)
            self._held_s = 0.0

    def _queue_arrivals(self, now_s: float) -> Sequence[float] | None:
        return None if self._queue is None else self._queue.arrivals.show(now_s)

    def _service_s(self, queue: QueueFacts | None) -> float | None:
        """Mean time per task; no less than those that are held have taken by now, for they may be the first."""
        mean = self._in_service_s / self._completed if self._completed else None
        if queue is None or not queue.pending or not self._held_s:
            return mean
        return max(mean or 0.0, self._held_s / queue.pending)

    def _add(self, fresh: Mapping[str, Heartbeat], serving: Mapping[str, Heartbeat], held: int, now_s: float) -> None:
        arrivals = completed = 0
        service_s = 0.0
        counted = {uid: _counted(heartbeat) for uid, heartbeat in fresh.items()}
        for uid, after in counted.items():
            before = self._before.get(uid)
            if before is None or before.started_s != after.started_s:
                if self._read_s is None or after.started_s < self._read_s:
                    continue  # what a process did before we looked is not of this interval
                before = _Counted(after.started_s, after.started_s)
            arrived = max(after.arrivals - before.arrivals, 0)
            self._arrivals.add(arrived, before.at_s, after.at_s)
            arrivals += arrived
            completed += max(after.completed - before.completed, 0)
            service_s += max(after.service_s - before.service_s, 0.0)
        self._before, self._read_s = counted, now_s
        self._complete(completed, service_s, now_s)
        capacity = sum(h.capacity for h in serving.values())
        in_flight = max(sum(h.in_flight for h in serving.values()), held)
        self._samples.append(Sample(now_s, capacity, in_flight, arrivals))
        while self._samples and not 0 <= now_s - self._samples[0].at_s <= WINDOW_S:
            self._samples.popleft()

    def _utilization(self) -> float | None:
        capacity = sum(sample.capacity for sample in self._samples)
        return sum(sample.in_flight for sample in self._samples) / capacity if capacity else None

    def _arrivals_per_s(self) -> float | None:
        if len(self._samples) < 2:
            return None
        span_s = self._samples[-1].at_s - self._samples[0].at_s
        # The first sample's arrivals lie before the span.
        return sum(s.arrivals for s in list(self._samples)[1:]) / span_s if span_s > 0 else None

    def _complete(self, completed: int, service_s: float, now_s: float) -> None:
        if completed:
            fade = math.exp(-min(max(now_s - self._completed_at_s, 0.0) / SERVICE_FADE_S, 50.0))
            self._completed = self._completed * fade + completed
            self._in_service_s = self._in_service_s * fade + service_s
            self._completed_at_s = now_s


def _counted(told: Heartbeat) -> _Counted:
    counters = told.arrivals_total, told.completed_total, told.service_seconds_total
    return _Counted(told.at_s, told.started_s, *counters)


def _is_fresh(heartbeat: Heartbeat, now_s: float) -> bool:
    age_s = now_s - heartbeat.at_s
    if age_s > STALE_S:
        metrics.HEARTBEATS_REFUSED.labels("stale").inc()
    elif age_s < -AHEAD_S:
        metrics.HEARTBEATS_REFUSED.labels("future").inc()
    return -AHEAD_S <= age_s <= STALE_S


def _is_due(pod: PodFacts, now_s: float) -> bool:
    """Whether a ready pod has had the time to report."""
    return pod.ready_since_s is None or now_s - pod.ready_since_s > STALE_S


def _distinct(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    return tuple({(p.reason, p.field): p for p in problems}.values())
