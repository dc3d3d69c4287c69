"""What do the counters amount to? Pure: from the samples of one agent or of many to what a person asks for.

Counts of agents are added sample by sample, so the figures of a pool are made in the same way as those of one agent.
Percentiles are read off a histogram's buckets, evenly within a bucket, as Prometheus' ``histogram_quantile`` does.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from agentpool_api.money import NANO_PER_USD, usd_exact

P = "agentpool_runtime_"
HITS = ("l1", "l2", "l3", "semantic", "precomputed", "coalesced")
PERCENTILES = (50, 95, 99)

SEPARATOR = "\x1f"
_ADDABLE = ("_total", "_bucket", "_sum")
Counts = Mapping[str, float]
"""Name, without the common prefix, and label values, set apart by ``SEPARATOR`` → count."""


class Sample(NamedTuple):
    """One value of a metric."""

    name: str
    labels: tuple[str, ...]
    value: float


def as_counts(samples: Iterable[Sample]) -> dict[str, float]:
    """The samples that can be added over agents: counters and histograms."""
    kept = (one for one in samples if one.name.startswith(P) and one.name.endswith(_ADDABLE))
    return {SEPARATOR.join((one.name.removeprefix(P), *one.labels)): one.value for one in kept}


def add(parts: Iterable[Counts]) -> dict[str, float]:
    """The counts of several agents together."""
    total: defaultdict[str, float] = defaultdict(float)
    for counts in parts:
        for name, value in counts.items():
            total[name] += value
    return dict(total)


def figures(counts: Counts) -> dict[str, Any]:
    """The figures as JSON values: counts, money as decimal strings, ratios in [0, 1], milliseconds."""
    read = _Reader(counts)
    requests = read.sums("requests_total", 0)
    codes = read.sums("requests_total", 2)
    cache = read.sums("cache_requests_total", 0)
    hits = sum(cache.get(layer, 0) for layer in HITS)
    looked_up = hits + cache.get("miss", 0)
    return {
        "requests": {
            "total": sum(requests.values()),
            "by_operation": requests,
            "errors": {code: number for code, number in codes.items() if code >= "400"},
            "client_disconnects": read.sum("client_disconnects_total"),
        },
        "cache": {"results": cache, "hit_ratio": round(hits / looked_up, 4) if looked_up else None},
        "tokens": read.sums("tokens_total", 1),
        "cost_usd": read.usd("cost_usd_total"),
        "saved_usd": {
            "cache": read.usd("saved_usd_total"),
            "right_sizing": read.usd("right_sizing_saved_usd_total"),
            "compression": read.usd("prompt_compression_saved_usd_total"),
            "batches": read.usd("batch_saved_usd_total"),
        },
        "unpriced_answers": read.sum("unpriced_answers_total"),
        "estimated_usage_answers": read.sum("estimated_usage_answers_total"),
        "cost_usd_by_model": {model: _usd(spent) for model, spent in read.groups("cost_usd_total", 0).items()},
        "latency_ms": {
            "request": {operation: read.latency("request_duration_seconds", operation) for operation in requests},
            "first_token": read.latency("time_to_first_token_seconds"),
            "queue_wait": read.latency("queue_wait_seconds"),
            "overhead": read.latency("overhead_seconds"),
        },
        "upstream": {"calls": read.sums("upstream_calls_total", 1), "retries": read.sum("upstream_retries_total")},
    }


class _Reader:
    """Sums over samples by their labels."""

    def __init__(self, counts: Counts) -> None:
        self._by_name: defaultdict[str, list[tuple[list[str], float]]] = defaultdict(list)
        for key, value in counts.items():
            name, *labels = key.split(SEPARATOR)
            self._by_name[name].append((labels, value))

    def groups(self, name: str, label: int) -> dict[str, float]:
        found: defaultdict[str, float] = defaultdict(float)
        for labels, value in self._by_name[name]:
            if label < len(labels) and value:
                found[labels[label]] += value
        return dict(sorted(found.items()))

    def sums(self, name: str, label: int) -> dict[str, int]:
        return {key: round(value) for key, value in self.groups(name, label).items()}

    def sum(self, name: str) -> int:
        return round(sum(value for _, value in self._by_name[name]))

    def usd(self, name: str) -> str:
        return _usd(sum(value for _, value in self._by_name[name]))

    def latency(self, name: str, label: str | None = None) -> dict[str, float | int] | None:
        """Count, mean and percentiles in milliseconds; None before the first."""
        buckets: defaultdict[float, float] = defaultdict(float)
        for labels, value in self._by_name[f"{name}_bucket"]:
            if label is None or labels[0] == label:
                buckets[float(labels[-1])] += value
        count = buckets.get(math.inf, 0.0)
        if not count:
            return None
        seconds = sum(value for labels, value in self._by_name[f"{name}_sum"] if label is None or labels[0] == label)
        told: dict[str, float | int] = {"count": round(count), "mean": round(seconds / count * 1000, 3)}
        return told | {f"p{q}": round(percentile(buckets, q / 100) * 1000, 3) for q in PERCENTILES}


def percentile(buckets: Mapping[float, float], share: float) -> float:
    """The value below which this share of a histogram lies; ``buckets``: upper bound → cumulative count, some counted.

    In the last bucket, which has no upper bound, it is that bucket's lower one.
    """
    wanted = share * buckets[math.inf]
    below, before = 0.0, 0.0
    for bound in sorted(buckets):
        within = buckets[bound] - before
        if buckets[bound] >= wanted and within > 0:
            return below if bound == math.inf else below + (bound - below) * (wanted - before) / within
        below, before = (bound if bound < math.inf else below), buckets[bound]
    return below


def _usd(amount: float) -> str:
    return usd_exact(round(amount * NANO_PER_USD))
