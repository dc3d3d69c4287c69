"""Which of the runtime's states are published? Each is set anew when somebody looks, never on a request's way."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Gauge

P = "agentpool_runtime_"


class Gauges:
    """What the runtime holds, uses and waits for now."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.semantic_entries = Gauge(
            P + "semantic_questions", "Questions whose answer the semantic cache knows.", registry=registry
        )
        self.semantic_bytes = Gauge(
            P + "semantic_bytes", "Bytes of these questions and of cached embeddings.", registry=registry
        )
        self.cache_entries = Gauge(P + "cache_entries", "Answers held in the process.", registry=registry)
        self.cache_bytes = Gauge(P + "cache_bytes", "Bytes of the answers held in the process.", registry=registry)
        self.cache_duplicates = Gauge(
            P + "cache_deduplicated_answers", "Answers stored as what differs from another one.", registry=registry
        )
        self.cache_duplicates_saved = Gauge(
            P + "cache_deduplicated_bytes", "Bytes that saved in Redis or on disk.", registry=registry
        )
        self.cache_canonical = Gauge(
            P + "cache_canonical_answers", "Answers that others are compared with.", registry=registry
        )
        self.cache_max_bytes = Gauge(
            P + "cache_max_bytes", "Most bytes of answers held in the process; follows the hits.", registry=registry
        )
        self.cache_newcomers = Gauge(
            P + "cache_newcomers_ratio",
            "Share of the answers in the process not asked for again yet; at 1 the order is LRU.",
            registry=registry,
        )
        self.memory_used = Gauge(
            P + "memory_used_bytes",
            "Working set of the container, or of the process outside of one.",
            registry=registry,
        )
        self.memory_peak = Gauge(P + "memory_peak_bytes", "Most of it since the start.", registry=registry)
        self.memory_limit = Gauge(P + "memory_limit_bytes", "Memory to stay within.", registry=registry)
        self.memory_sheds = Gauge(
            P + "memory_sheds",
            "Times something was let go for memory: garbage, l1 (answers in the process), embeddings.",
            ["what"],
            registry=registry,
        )
        self.memory_refused = Gauge(
            P + "memory_refused_requests", "Requests refused for lack of memory.", registry=registry
        )
        self.cache_disk_bytes = Gauge(P + "cache_disk_bytes", "Bytes of the answers on disk.", registry=registry)
        self.cache_disk_rebuilds = Gauge(
            P + "cache_disk_rebuilds", "Times the disk cache was damaged and made anew.", registry=registry
        )
        self.cache_evictions = Gauge(
            P + "cache_evicted_answers", "Answers evicted for room since the start.", registry=registry
        )
        self.budget_left = Gauge(
            P + "budget_left_ratio",
            "Share of the tightest budget that is left; NaN: none, or not known.",
            registry=registry,
        )
        self.budget_actions = Gauge(
            P + "budget_action", "1 while a budget asks the agents for this.", ["action"], registry=registry
        )
        self.response_time = Gauge(
            P + "response_time_seconds",
            "Quantiles of the window; NaN without answers.",
            ["quantile"],
            registry=registry,
        )
        self.response_time_target = Gauge(
            P + "response_time_target_seconds", "The target, as it has tuned itself.", registry=registry
        )
        self.response_time_met = Gauge(
            P + "response_time_met_ratio",
            "Share of the window's answers in time; NaN without answers.",
            registry=registry,
        )
        self.in_flight = Gauge(P + "in_flight", "Requests in a slot.", registry=registry)
        self.queued = Gauge(P + "queued", "Requests that wait for a slot.", registry=registry)
        self.capacity = Gauge(P + "capacity", "Slots.", registry=registry)
        self.ready = Gauge(P + "ready", "1 when the runtime is ready.", registry=registry)
        self.redis_available = Gauge(P + "redis_available", "1 when Redis answers.", registry=registry)
        self.settlements_pending = Gauge(
            P + "settlements_pending", "Usage records that wait to be written.", registry=registry
        )
