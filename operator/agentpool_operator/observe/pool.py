"""What is seen of one pool?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from agentpool_operator.decide.facts import CapacityFacts, PoolFacts, Trouble
from agentpool_operator.decide.load import PoolLoad
from agentpool_operator.decide.trouble import container_trouble
from agentpool_operator.observe.cluster import PodFacts, PoolKey, Store
from agentpool_operator.observe.readings import Readings
from agentpool_operator.observe.runtime_stats import PoolStats


def observe_load(
    pods: Sequence[PodFacts], stats: PoolStats, *, desired: int, concurrency: int, budget_ceiling: int | None
) -> PoolLoad:
    """The load a decision reads. ``desired`` is what was asked for last: what is not there yet is starting."""
    serving = [pod for pod in pods if not pod.leaving and not pod.ended and pod.name not in stats.draining]
    ready = sum(pod.ready for pod in serving)
    return PoolLoad(
        ready=ready,
        starting=max(desired - ready, 0),
        draining=sum(1 for pod in pods if pod.leaving and not pod.ended),
        concurrency=concurrency,
        in_flight=stats.in_flight,
        queued=stats.queued,
        utilization=stats.utilization,
        arrivals_per_s=None if stats.arrivals_per_s is None else (stats.arrivals_per_s,),
        service_s=stats.service_s,
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
    refused: Trouble | None,
) -> PoolFacts:
    """The facts after the objects were applied. ``deployments`` are the names for on-demand and spot."""
    pods = [pod for pod in store.pods_of(pool) if not pod.ended]
    stats = readings.of(pool)
    on_demand, spot = (
        _capacity(store.get("Deployment", pool.namespace, name), (p for p in pods if p.capacity_type == capacity_type))
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
        refused=refused,
    )


def _capacity(deployment: dict[str, Any] | None, pods: Iterable[PodFacts]) -> CapacityFacts:
    present = [pod for pod in pods if not pod.leaving]
    waiting = next((pod for pod in present if pod.waiting_reason), None)
    return CapacityFacts(
        existing=len(present),
        ready=sum(pod.ready for pod in present),
        current=deployment is not None and _is_current(deployment),
        waiting=None
        if waiting is None
        else container_trouble(waiting.waiting_container, waiting.waiting_reason, waiting.waiting_message),
        unschedulable=next((pod.unschedulable for pod in present if pod.unschedulable), ""),
    )


def _is_current(deployment: dict[str, Any]) -> bool:
    status = deployment.get("status") or {}
    seen = status.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 0)
    return bool(seen and status.get("updatedReplicas", 0) == status.get("replicas", 0))
