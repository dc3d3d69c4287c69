"""What state is this agent in? Ready, draining, its problems and its heartbeat."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from agent_runtime.budget.notice import BudgetView
from agent_runtime.budget.settlement import Settlement
from agent_runtime.cache.disk import DiskTier
from agent_runtime.cache.memory import MemoryTier
from agent_runtime.models.reach import Reach
from agent_runtime.models.trust import Trust
from agent_runtime.models.upstream import Upstream
from agent_runtime.pipeline.paraphrases import Paraphrases
from agent_runtime.pipeline.pipeline import Pipeline
from agent_runtime.pipeline.slots import Slots
from agent_runtime.pod.memory import MemoryGuard
from agent_runtime.pod.secrets import Secrets
from agent_runtime.redis.link import RedisLink
from agent_runtime.settings import Process
from agent_runtime.telemetry.instruments import Instruments
from agent_runtime.telemetry.response_times import QUANTILES, ResponseTimes, Snapshot
from agentpool_api.wire import BudgetAction, Heartbeat, Problem

if TYPE_CHECKING:
    from agent_runtime.cache.duplicates import Duplicates


class State:
    """One view over the parts of the process."""

    def __init__(
        self,
        *,
        process: Process,
        secrets: Secrets,
        reach: Reach,
        trust: Trust,
        slots: Slots,
        pipeline: Pipeline,
        memory: MemoryTier | None,
        guard: MemoryGuard,
        disk: DiskTier | None,
        duplicates: Duplicates | None,
        paraphrases: Paraphrases | None,
        upstream: Upstream,
        link: RedisLink | None,
        settlement: Settlement | None,
        budget: BudgetView,
        response_times: ResponseTimes,
        instruments: Instruments,
        clock: Callable[[], float],
        unix_time: Callable[[], float],
    ) -> None:
        self.draining = False
        """Not ready any more: nobody should send new requests."""
        self.refusing = False
        """New requests are refused."""
        self.unexpected_errors = 0
        self._process = process
        self._secrets = secrets
        self._reach = reach
        self._trust = trust
        self._slots = slots
        self._pipeline = pipeline
        self._memory = memory
        self._guard = guard
        self._disk = disk
        self._duplicates = duplicates
        self._paraphrases = paraphrases
        self._upstream = upstream
        self._link = link
        self._settlement = settlement
        self._budget = budget
        self._response_times = response_times
        self._instruments = instruments
        self._clock = clock
        self._unix_time = unix_time
        self._started_s = unix_time()
        self.last_request_s = 0.0
        """Monotonic time of the last request."""
        self._last_activity_s: float | None = None
        self._was_ready = False

    @property
    def pod(self) -> str:
        """Name of the agent's pod; empty outside of one."""
        return self._process.pod

    def touch(self) -> None:
        """Note that a request came."""
        self.last_request_s = self._clock()
        self._last_activity_s = self._unix_time()

    @property
    def idle_s(self) -> float:
        """Seconds since the last request, or since the start."""
        return self._unix_time() - (self._last_activity_s or self._started_s)

    @property
    def problems(self) -> list[Problem]:
        """What keeps the agent from working, by field."""
        return [*self._secrets.problems, *self._trust.problems, *self._reach.problems]

    @property
    def ready(self) -> bool:
        """Ready once no problem was left; after that only draining ends it: an endpoint that fails later fails for all
        agents alike, and taking every one of them out of the Service would only hide its error."""
        self._was_ready = self._was_ready or (not self.problems and self._reach.all_reached)
        return self._was_ready and not self.draining

    def admits(self, body_bytes: int) -> bool:
        """Is there memory for a request with a body of this size?"""
        return self._guard.admits(body_bytes)

    def arrived(self, body_bytes: int) -> None:
        """A body that was admitted is there, or will never be."""
        self._guard.arrived(body_bytes)

    def readiness(self) -> dict[str, Any]:
        """The body of /readyz."""
        return {
            "ready": self.ready,
            "draining": self.draining,
            "problems": [problem.model_dump() for problem in self.problems],
        }

    def heartbeat(self) -> Heartbeat:
        """What the operator learns every second."""
        slots = self._slots
        return Heartbeat(
            pod=self._process.pod,
            uid=self._process.uid,
            at_s=self._unix_time(),
            started_s=self._started_s,
            capacity=slots.capacity,
            in_flight=slots.in_flight,
            queued=slots.queued,
            draining=self.draining,
            arrivals_total=slots.arrivals_total,
            completed_total=slots.completed_total,
            service_seconds_total=slots.service_seconds_total,
            wait_seconds_total=slots.wait_seconds_total,
            cache_hits_total=self._pipeline.cache_hits_total,
            last_activity_s=self._last_activity_s,
            problems=self.problems,
        )

    def response_times(self) -> Snapshot:
        """How long answers took in the last minutes, and how many were in time."""
        return self._response_times.snapshot(self._clock())

    def _publish_response_times(self) -> None:
        gauges, seen = self._instruments.gauges, self.response_times()
        for quantile in QUANTILES:
            seconds = math.nan if seen.quantiles is None else seen.quantiles[quantile]
            gauges.response_time.labels(str(quantile)).set(seconds)
        gauges.response_time_target.set(seen.target_s)
        gauges.response_time_met.set(math.nan if seen.met is None else seen.met)

    def publish(self) -> None:
        """Bring the gauges up to date."""
        gauges = self._instruments.gauges
        self._publish_response_times()
        gauges.capacity.set(self._slots.capacity)
        gauges.in_flight.set(self._slots.in_flight)
        gauges.queued.set(self._slots.queued)
        gauges.ready.set(self.ready)
        if self._memory is not None:
            self._memory.settle(self._unix_time())
            gauges.cache_entries.set(self._memory.entries)
            gauges.cache_bytes.set(self._memory.bytes)
            gauges.cache_max_bytes.set(self._memory.max_bytes)
            gauges.cache_newcomers.set(self._memory.newcomers_share)
            gauges.cache_evictions.set(self._memory.evictions_total)
        gauges.memory_used.set(self._guard.used)
        gauges.memory_peak.set(self._guard.peak_bytes)
        gauges.memory_limit.set(self._guard.limit_bytes)
        for name, times in self._guard.sheds_total.items():
            gauges.memory_sheds.labels(name).set(times)
        gauges.memory_refused.set(self._guard.refused_total)
        if self._disk is not None:
            gauges.cache_disk_bytes.set(self._disk.bytes)
            gauges.cache_disk_rebuilds.set(self._disk.rebuilt_total)
        if self._duplicates is not None:
            gauges.cache_duplicates.set(self._duplicates.found_total)
            gauges.cache_duplicates_saved.set(self._duplicates.saved_bytes_total)
            gauges.cache_canonical.set(len(self._duplicates))
        if self._paraphrases is not None:
            gauges.semantic_entries.set(self._paraphrases.entries)
            gauges.semantic_bytes.set(self._paraphrases.size_bytes)
        gauges.redis_available.set(self._link is not None and self._link.available)
        gauges.budget_left.set(math.nan if self._budget.left is None else self._budget.left)
        for action in BudgetAction:
            gauges.budget_actions.labels(action).set(self._budget.asks(action))
        gauges.settlements_pending.set(self._settlement.pending if self._settlement is not None else 0)
        self._upstream.publish()
