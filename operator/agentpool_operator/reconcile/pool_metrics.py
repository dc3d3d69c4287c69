"""What do the metrics say of a pool?"""

from __future__ import annotations

from agentpool_api.pool_status import AgentPoolStatus
from agentpool_operator import metrics
from agentpool_operator.observe.cluster import PoolKey
from agentpool_operator.observe.runtime_stats import PoolStats


def show(pool: PoolKey, status: AgentPoolStatus, stats: PoolStats, *, now_s: float) -> None:
    """Set the pool's series. A figure that is not known has no series: zero would be a lie."""
    for capacity_type, capacity in (("on-demand", status.on_demand), ("spot", status.spot)):
        metrics.POOL_DESIRED.labels(*pool, capacity_type).set(capacity.desired)
        metrics.POOL_READY.labels(*pool, capacity_type).set(capacity.ready)
    metrics.POOL_HOURLY_COST.labels(*pool).set(float(status.hourly_cost_usd))
    for condition in status.conditions:
        metrics.POOL_CONDITION.labels(*pool, condition.type).set(condition.status == "True")
    queue = stats.queue
    oldest_at_s = None if queue is None else queue.oldest_at_s
    known = {
        metrics.POOL_UTILIZATION: stats.utilization,
        metrics.POOL_QUEUED: stats.queued,
        metrics.POOL_IN_FLIGHT: stats.in_flight,
        metrics.POOL_ARRIVALS: stats.arrivals_per_s,
        metrics.POOL_QUEUE_LAG: None if queue is None else queue.lag,
        metrics.POOL_QUEUE_PENDING: None if queue is None else queue.pending,
        metrics.POOL_QUEUE_OLDEST: None if oldest_at_s is None else max(now_s - oldest_at_s, 0.0),
    }
    for metric, value in known.items():
        if value is None:
            metric.remove_by_labels({"namespace": pool.namespace, "pool": pool.name})
        else:
            metric.labels(*pool).set(value)


def count_change(pool: PoolKey, before: AgentPoolStatus, after: AgentPoolStatus) -> None:
    """Count a change of size that a status tells for the first time."""
    if after.decisions[:1] != before.decisions[:1]:
        metrics.SIZE_CHANGES.labels(*pool, after.decisions[0].reason).inc()


def forget(pool: PoolKey) -> None:
    """Drop the series of a pool that is gone."""
    metrics.forget_pool(pool.namespace, pool.name)
