"""What does the operator measure about itself and its pools? Documented in docs/operations.md."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

_POOL = ("namespace", "pool")
_BUDGET = ("namespace", "budget")

LEADER = Gauge("agentpool_operator_leader", "1 while this instance holds the Lease")
CANARY_AGE = Gauge("agentpool_operator_canary_age_seconds", "Age of the newest own Lease renewal seen by the watch")
PASS_SECONDS = Histogram(
    "agentpool_operator_pass_seconds",
    "Time of one pass over one object",
    ("kind",),
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10),
)
PASS_ERRORS = Counter("agentpool_operator_pass_errors_total", "Passes that failed", ("kind", "error"))
QUEUE_DEPTH = Gauge("agentpool_operator_queue_depth", "Objects that wait for a pass")
WATCH_EVENTS = Counter("agentpool_operator_watch_events_total", "Watch events received", ("kind",))
API_WRITES = Counter("agentpool_operator_api_writes_total", "Writes to the API server", ("verb", "kind", "code"))
REDIS_UP = Gauge("agentpool_operator_redis_up", "1 while Redis answers")
REDIS_SECONDS = Histogram(
    "agentpool_operator_redis_seconds",
    "Time of reading Redis for all pools",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1),
)
CLOCK_AHEAD = Gauge("agentpool_operator_clock_ahead_seconds", "How far the operator's clock is ahead of Redis'")
CHARGES_REFUSED = Counter(
    "agentpool_operator_charges_refused_total", "Charges Redis refused, for example for want of memory; sent again"
)
HEARTBEATS_REFUSED = Counter(
    "agentpool_operator_heartbeats_refused_total", "Heartbeats that were malformed, stale or of no known pod", ("why",)
)

POOL_DESIRED = Gauge("agentpool_pool_agents_desired", "Agents wanted", (*_POOL, "capacity_type"))
POOL_READY = Gauge("agentpool_pool_agents_ready", "Agents that serve", (*_POOL, "capacity_type"))
POOL_UTILIZATION = Gauge("agentpool_pool_utilization_ratio", "Busy share of the agents' slots", _POOL)
POOL_QUEUED = Gauge("agentpool_pool_requests_queued", "Requests that wait for a slot", _POOL)
POOL_IN_FLIGHT = Gauge("agentpool_pool_requests_in_flight", "Requests that hold a slot", _POOL)
POOL_ARRIVALS = Gauge("agentpool_pool_arrivals_per_second", "Requests that need a slot, per second", _POOL)
POOL_QUEUE_LAG = Gauge("agentpool_pool_queue_lag", "Tasks of the pool's queue that no consumer has read", _POOL)
POOL_QUEUE_PENDING = Gauge("agentpool_pool_queue_pending", "Tasks of the pool's queue not yet acknowledged", _POOL)
POOL_QUEUE_OLDEST = Gauge(
    "agentpool_pool_queue_oldest_seconds", "Age of the oldest task of the pool's queue that is not done", _POOL
)
POOL_HOURLY_COST = Gauge("agentpool_pool_hourly_cost_usd", "What an hour of the wanted agents costs", _POOL)
POOL_CONDITION = Gauge("agentpool_pool_condition", "1 while the condition is True", (*_POOL, "condition"))
SIZE_CHANGES = Counter("agentpool_pool_size_changes_total", "Changes of a pool's size", (*_POOL, "reason"))

BUDGET_SPENT = Gauge("agentpool_budget_spent_usd", "Spent in the window", (*_BUDGET, "window"))
BUDGET_LIMIT = Gauge("agentpool_budget_limit_usd", "Limit of the window", (*_BUDGET, "window"))
BUDGET_BURN = Gauge("agentpool_budget_burn_usd_per_hour", "Burn rate over the last quarter of an hour", _BUDGET)
BUDGET_CONDITION = Gauge("agentpool_budget_condition", "1 while the condition is True", (*_BUDGET, "condition"))


def forget_pool(namespace: str, pool: str) -> None:
    """Drop the series of a pool that is gone."""
    for metric in (
        POOL_DESIRED,
        POOL_READY,
        POOL_UTILIZATION,
        POOL_QUEUED,
        POOL_IN_FLIGHT,
        POOL_ARRIVALS,
        POOL_QUEUE_LAG,
        POOL_QUEUE_PENDING,
        POOL_QUEUE_OLDEST,
        POOL_HOURLY_COST,
        POOL_CONDITION,
        SIZE_CHANGES,
    ):
        metric.remove_by_labels({"namespace": namespace, "pool": pool})


def forget_budget(namespace: str, budget: str) -> None:
    """Drop the series of a budget that is gone."""
    for metric in (BUDGET_SPENT, BUDGET_LIMIT, BUDGET_BURN, BUDGET_CONDITION):
        metric.remove_by_labels({"namespace": namespace, "budget": budget})
