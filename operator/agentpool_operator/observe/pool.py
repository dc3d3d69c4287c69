"""What is seen of one pool?"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

from agentpool_operator.decide.facts import CapacityFacts, PoolFacts, Trouble
from agentpool_operator.decide.load import PoolLoad
from agentpool_operator.decide.spot import SpotFacts
from agentpool_operator.decide.trouble import container_trouble
from agentpool_operator.observe.cluster import PodFacts, PoolKey
from agentpool_operator.observe.readings import Readings
from agentpool_operator.observe.runtime_stats import PoolStats
from agentpool_operator.observe.store import Store

KEY_FIELD = "spec.runtime.auth.secretName"
"""What the runtime names when it has no key of the pool."""

KNOWN_STARTUPS = 20
SHORTEST_STARTUP_S = 10.0
"""Below this the time until a wish is seen, made and taken in by clients counts for more than the pod's own."""


def observe_startup(pods: Iterable[PodFacts], known: dict[str, float]) -> float | None:
    """Median time from a pod's creation to its readiness, over the newest pods seen; None before the first.

    ``known`` holds seconds by pod UID, oldest first; a pod is measured once, for later it may have lost readiness.
    """
    for pod in pods:
        if pod.ready and pod.uid not in known and pod.created_s is not None and pod.ready_since_s is not None:
            known[pod.uid] = max(pod.ready_since_s - pod.created_s, 0.0)
    for uid in list(known)[:-KNOWN_STARTUPS]:
        del known[uid]
    return max(statistics.median(known.values()), SHORTEST_STARTUP_S) if known else None


def missing_secrets(key_secret: str, redis_secret: str, pods: Iterable[PodFacts], stats: PoolStats) -> list[str]:
    """Which of the two Secrets the operator makes the agents miss.

    Those that run report that they have no key; a pod that cannot start for want of where Redis is says so itself.
    """
    missing = []
    if any(problem.reason == "SecretMissing" and problem.field == KEY_FIELD for problem in stats.problems):
        missing.append(key_secret)
    if any(f'"{redis_secret}" not found' in pod.waiting_message for pod in pods):
        missing.append(redis_secret)
    return missing


def observe_spot(pods: Iterable[PodFacts]) -> SpotFacts:
    """How the pool's spot agents fare with the scheduler."""
    present = [pod for pod in pods if pod.capacity_type == "spot" and not pod.leaving and not pod.ended]
    waits = [pod.unschedulable_since_s for pod in present if pod.unschedulable_since_s is not None]
    return SpotFacts(
        placed=sum(not pod.unschedulable for pod in present),
        ready=sum(pod.ready for pod in present),
        waiting_since_s=min(waits, default=None),
    )


def observe_load(
    pods: Sequence[PodFacts],
    stats: PoolStats,
    *,
    desired: int,
    concurrency: int,
    service_s: float | None,
    startup_s: float | None,
    now_s: float = 0.0,
    budget_ceiling: int | None,
) -> PoolLoad:
    """The load a decision reads. ``desired`` is what was asked for last: what is not there yet is starting.

    ``service_s`` is the service time known from before, for as long as the agents tell none.
    """
    serving = [pod for pod in pods if not pod.leaving and not pod.ended and pod.name not in stats.draining]
    ready = sum(pod.ready for pod in serving)
    queue = stats.queue
    pending = None if queue is None else queue.pending
    oldest_at_s = None if queue is None else queue.oldest_at_s
    return PoolLoad(
        ready=ready,
        starting=max(desired - ready, 0),
        draining=sum(not pod.ended and (pod.leaving or pod.name in stats.draining) for pod in pods),
        concurrency=concurrency,
        # A task of the queue and the requests it causes are one work.
        in_flight=None if stats.in_flight is None else max(stats.in_flight, pending or 0),
        queued=stats.queued,
        backlog=None if queue is None else queue.lag,
        pending=pending,
        oldest_wait_s=None if oldest_at_s is None else max(now_s - oldest_at_s, 0.0),
        utilization=stats.utilization,
        arrivals_per_s=stats.arrivals_by_s,
        service_s=service_s if stats.service_s is None else stats.service_s,
        startup_s=startup_s,
        partial=stats.partial,
        budget_ceiling=budget_ceiling,
    )


def observe_pool(
    store: Store,
    readings: Readings,
    pool: PoolKey,
    *,
    generation: int,
    spot_enabled: bool,
    deployments: Sequence[str],
    preview: bool,
    queue_named: bool = False,
    refused: Trouble | None,
) -> PoolFacts:
    """The facts after the objects were applied. ``deployments`` are the names for on-demand and spot."""
    pods = [pod for pod in store.pods_of(pool) if not pod.ended]
    stats = readings.of(pool)
    on_demand, spot = (
        _capacity(store, pool.namespace, name, (p for p in pods if p.capacity_type == capacity_type))
        for name, capacity_type in zip(deployments, ("on-demand", "spot"), strict=True)
    )
    return PoolFacts(
        generation=generation,
        on_demand=on_demand,
        spot=spot,
        spot_enabled=spot_enabled,
        redis_up=readings.redis_up,
        metrics_available=stats.available,
        silent=stats.silent,
        problems=stats.problems,
        queue_named=queue_named,
        queue=stats.queue,
        preview=preview,
        refused=refused,
    )


def _capacity(store: Store, namespace: str, deployment: str, pods: Iterable[PodFacts]) -> CapacityFacts:
    present = [pod for pod in pods if not pod.leaving]
    waiting = next((pod for pod in present if pod.waiting_reason), None)
    return CapacityFacts(
        existing=len(present),
        ready=sum(pod.ready for pod in present),
        current=store.is_rolled_out(namespace, deployment),
        waiting=None
        if waiting is None
        else container_trouble(waiting.waiting_container, waiting.waiting_reason, waiting.waiting_message),
        unschedulable=next((pod.unschedulable for pod in present if pod.unschedulable), ""),
        refused=store.refused_pods(namespace, deployment),
    )
