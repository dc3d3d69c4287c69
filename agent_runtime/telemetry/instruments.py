"""Which figures does the runtime publish? Prometheus names and units; labels are few and take few values."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.exposition import generate_latest

from agent_runtime.telemetry.figures import Sample
from agent_runtime.telemetry.gauges import Gauges
from agent_runtime.telemetry.upstreams import UpstreamInstruments
from agent_runtime.usage import Usage
from agentpool_api.money import NANO_PER_USD

P = "agentpool_runtime_"
OWN_TIME_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
ANSWER_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120)
OTHER_MODEL = ""
"""Label of requests for models nobody configured: callers must not be able to make label values."""


class Instruments:
    """All metrics of one process."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._requests = Counter(
            P + "requests", "Requests answered.", ["operation", "model", "code"], registry=registry
        )
        self._duration = Histogram(
            P + "request_duration_seconds",
            "Time from the request's last byte to the answer's last.",
            ["operation"],
            buckets=ANSWER_S,
            registry=registry,
        )
        self.overhead = Histogram(
            P + "overhead_seconds",
            "The runtime's own time per answer: all time until the answer begins, less queue and endpoint.",
            buckets=OWN_TIME_S,
            registry=registry,
        )
        self.queue_wait = Histogram(
            P + "queue_wait_seconds", "Wait for a free slot.", buckets=ANSWER_S, registry=registry
        )
        self._first_token = Histogram(
            P + "time_to_first_token_seconds",
            "Time from the request to the stream's first frame.",
            ["model"],
            buckets=ANSWER_S,
            registry=registry,
        )
        self._cache = Counter(
            P + "cache_requests",
            "Requests by what the cache did: l1, l2, l3, semantic, precomputed, coalesced, miss, bypass; "
            "revalidated when the caller held the stored answer already.",
            ["result"],
            registry=registry,
        )
        self._semantic = Counter(
            P + "semantic_lookups",
            "Single questions by what the semantic cache found: hit, sampled, risky, unconfirmed, differs, empty, "
            "gone, late, unavailable, precomputed.",
            ["outcome"],
            registry=registry,
        )
        self._semantic_vectors = Counter(
            P + "semantic_vectors",
            "Texts the semantic cache had embedded by a model of the pool: embedded, cached, failed.",
            ["outcome"],
            registry=registry,
        )
        self.semantic_restarts = Counter(
            P + "semantic_restarts",
            "Times that model gave other vectors than before, and the semantic cache began anew.",
            registry=registry,
        )
        self._tokens = Counter(
            P + "tokens", "Tokens by direction: input, cached_input, output.", ["model", "direction"], registry=registry
        )
        self._cost = Counter(P + "cost_usd", "Money spent on tokens.", ["model"], registry=registry)
        self._saved = Counter(P + "saved_usd", "Money the cache saved.", ["model"], registry=registry)
        self._right_sized = Counter(
            P + "right_sized_requests", "Requests whose model the pool chose.", ["model", "reason"], registry=registry
        )
        self._right_sizing_saved = Counter(
            P + "right_sizing_saved_usd", "Money saved by choosing a cheaper model.", ["model"], registry=registry
        )
        self._batches = Counter(
            P + "batches",
            "Requests that went together, by way: batch (one call), single (calls of their own).",
            ["model", "way"],
            registry=registry,
        )
        self._batched = Counter(P + "batched_requests", "Requests in them.", ["model", "way"], registry=registry)
        self._batch_saved = Counter(
            P + "batch_saved_usd", "Money saved by the discount of batch endpoints.", ["model"], registry=registry
        )
        self._fallbacks = Counter(
            P + "fallbacks",
            "Requests whose deadline was over, by what they got: model, text, none.",
            ["kind"],
            registry=registry,
        )
        self._late = Counter(
            P + "late_answers", "Answers that came after their deadline: whole, failed.", ["outcome"], registry=registry
        )
        self._prompt_tokens = Counter(
            P + "prompt_compression_tokens",
            "Tokens of the prompts that were looked at for compression: before it, and after.",
            ["model", "when"],
            registry=registry,
        )
        self._compression_saved = Counter(
            P + "prompt_compression_saved_usd", "Money saved by compressing prompts.", ["model"], registry=registry
        )
        self.unpriced = Counter(
            P + "unpriced_answers", "Answers of models without a known price.", ["model"], registry=registry
        )
        self.estimated = Counter(
            P + "estimated_usage_answers", "Answers whose tokens had to be estimated.", ["model"], registry=registry
        )
        self.upstream_calls = Counter(
            P + "upstream_calls", "Calls to endpoints by outcome.", ["endpoint", "outcome"], registry=registry
        )
        self.upstream_retries = Counter(
            P + "upstream_retries",
            "Repeated calls by the reason of the failure.",
            ["endpoint", "reason"],
            registry=registry,
        )
        self.gauges = Gauges(registry)
        self.upstreams = UpstreamInstruments(registry)
        self.spans = Counter(
            P + "spans", "Spans by what became of them: exported, failed.", ["outcome"], registry=registry
        )
        self.disconnects = Counter(
            P + "client_disconnects", "Callers who left before their answer was whole.", registry=registry
        )
        self.settled = Counter(P + "settled_answers", "Usage records written to the ledger.", registry=registry)
        self.settlements_folded = Counter(
            P + "folded_answers", "Usage records merged into others for lack of room.", registry=registry
        )
        self._known: dict[tuple[str, ...], Callable[[float], None]] = {}

    def answered(self, operation: str, model: str, code: int, duration_s: float) -> None:
        """Count one finished request."""
        self._add(self._requests, operation, model, str(code))(1)
        self._observe(self._duration, operation)(duration_s)

    def cache_result(self, result: str) -> None:
        self._add(self._cache, result)(1)

    def semantic_result(self, outcome: str) -> None:
        self._add(self._semantic, outcome)(1)

    def semantic_vector(self, outcome: str) -> None:
        self._add(self._semantic_vectors, outcome)(1)

    def first_token(self, model: str, seconds: float) -> None:
        self._observe(self._first_token, model)(seconds)

    def used(self, model: str, usage: Usage, cost_nanousd: int) -> None:
        """Count tokens and money of one answer of an endpoint."""
        self._add(self._tokens, model, "input")(usage.input_tokens - usage.cached_input_tokens)
        self._add(self._tokens, model, "cached_input")(usage.cached_input_tokens)
        self._add(self._tokens, model, "output")(usage.output_tokens)
        self._add(self._cost, model)(cost_nanousd / NANO_PER_USD)
        if usage.estimated:
            self.estimated.labels(model).inc()

    def saved(self, model: str, cost_nanousd: int) -> None:
        self._add(self._saved, model)(cost_nanousd / NANO_PER_USD)

    def right_sized(self, model: str, reason: str) -> None:
        self._add(self._right_sized, model, reason)(1)

    def right_sizing_saved(self, model: str, saved_nanousd: int) -> None:
        self._add(self._right_sizing_saved, model)(max(saved_nanousd, 0) / NANO_PER_USD)

    def batched(self, model: str, way: str, size: int) -> None:
        self._add(self._batches, model, way)(1)
        self._add(self._batched, model, way)(size)

    def batch_saved(self, model: str, saved_nanousd: int) -> None:
        self._add(self._batch_saved, model)(saved_nanousd / NANO_PER_USD)

    def fell_back(self, kind: str) -> None:
        self._add(self._fallbacks, kind)(1)

    def late(self, outcome: str) -> None:
        self._add(self._late, outcome)(1)

    def compressed(self, model: str, before: int, after: int, saved_nanousd: int) -> None:
        self._add(self._prompt_tokens, model, "before")(before)
        self._add(self._prompt_tokens, model, "after")(after)
        self._add(self._compression_saved, model)(saved_nanousd / NANO_PER_USD)

    def upstream_outcome(self, endpoint: str, outcome: str) -> None:
        self._add(self.upstream_calls, endpoint, outcome)(1)

    def samples(self) -> Iterator[Sample]:
        """All values as they are now."""
        for metric in self.registry.collect():
            for one in metric.samples:
                yield Sample(one.name, tuple(one.labels.values()), one.value)

    def exposition(self) -> bytes:
        """All metrics in the Prometheus text format."""
        return generate_latest(self.registry)

    def _add(self, counter: Counter, *labels: str) -> Callable[[float], None]:
        """The child's ``inc``, looked up once: ``labels`` costs more than the count itself."""
        key = (counter._name, *labels)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = counter.labels(*labels).inc
        return known

    def _observe(self, histogram: Histogram, *labels: str) -> Callable[[float], None]:
        key = (histogram._name, *labels)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = histogram.labels(*labels).observe
        return known
