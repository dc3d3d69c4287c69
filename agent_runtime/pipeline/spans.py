"""How do traces reach a collector? By OpenTelemetry's SDK and its OTLP/HTTP exporter, which has a thread of its own.

Names follow OpenTelemetry's semantic conventions for generative AI and HTTP (``opentelemetry-semantic-conventions``
0.66). Loaded only when a pool sets ``telemetry.tracing.endpoint``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from agent_runtime.models.sse import frame_json, split_frames
from agent_runtime.usage import Usage
from agentpool_api.money import usd_exact

EXPORT_TIMEOUT_S = 5.0
MAX_QUEUED = 2048
"""Spans that wait for the collector; more are dropped."""

OPERATION_NAMES = {"chat": "chat", "embeddings": "embeddings", "responses": "chat"}

PROVIDERS = {
    "openai.azure.com": "azure.ai.openai",
    "anthropic.com": "anthropic",
    "mistral.ai": "mistral_ai",
    "groq.com": "groq",
    "deepseek.com": "deepseek",
    "x.ai": "x_ai",
    "cohere.com": "cohere",
    "perplexity.ai": "perplexity",
    "generativelanguage.googleapis.com": "gcp.gemini",
    "aiplatform.googleapis.com": "gcp.vertex_ai",
}
"""``gen_ai.provider.name`` by the end of the endpoint's host; ``openai``, whose API all of them speak, for others."""

_ASKED = {
    "temperature": "gen_ai.request.temperature",
    "top_p": "gen_ai.request.top_p",
    "max_tokens": "gen_ai.request.max_tokens",
    "max_completion_tokens": "gen_ai.request.max_tokens",
    "max_output_tokens": "gen_ai.request.max_tokens",
    "frequency_penalty": "gen_ai.request.frequency_penalty",
    "presence_penalty": "gen_ai.request.presence_penalty",
    "seed": "gen_ai.request.seed",
}
_FINISH = re.compile(rb'"finish_reason"\s*:\s*"([a-z_]{1,40})"')
_CONTEXT = TraceContextTextMapPropagator()


class SpanTracer:
    """Begins traces; ``count`` is told of spans sent ("exported") and lost ("failed")."""

    def __init__(
        self, endpoint: str, sample_share: float, resource: Mapping[str, str], count: Callable[[str, int], None]
    ) -> None:
        exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=EXPORT_TIMEOUT_S)
        self._processor = BatchSpanProcessor(_Counted(exporter, count), max_queue_size=MAX_QUEUED)
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(sample_share)),
            resource=Resource.create(dict(resource)),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(self._processor)
        self._tracer = self._provider.get_tracer("agent_runtime")

    def begin(
        self, operation: str, route: str, fields: Mapping[str, Any], forwarded: Mapping[str, str], request_id: str
    ) -> RequestTrace:
        span = self._tracer.start_span(
            f"POST {route}",
            context=_CONTEXT.extract(forwarded),
            kind=SpanKind.SERVER,
            attributes={
                "http.request.method": "POST",
                "http.route": route,
                "url.path": route,
                "url.scheme": "http",
                "agentpool.request.id": request_id,
            },
        )
        return RequestTrace(self._tracer, span, operation, fields, forwarded)

    def stop(self) -> None:
        self._provider.force_flush(int(EXPORT_TIMEOUT_S * 1000))
        self._provider.shutdown()


class RequestTrace:
    """The spans of one request."""

    def __init__(
        self, tracer: Any, span: Span, operation: str, fields: Mapping[str, Any], forwarded: Mapping[str, str]
    ) -> None:
        self._tracer = tracer
        self._span = span
        self._operation = operation
        self._fields = fields
        self._forwarded = forwarded
        self._call: Span | None = None

    def begin_call(self, model: str) -> Mapping[str, str]:
        name = OPERATION_NAMES[self._operation]
        self._call = self._tracer.start_span(
            f"{name} {model}", context=set_span_in_context(self._span), kind=SpanKind.CLIENT
        )
        headers = {name: value for name, value in self._forwarded.items() if name == "baggage"}
        _CONTEXT.inject(headers, set_span_in_context(self._call))
        if self._call.is_recording():
            self._call.set_attributes({"gen_ai.operation.name": name, "gen_ai.request.model": model})
            self._call.set_attributes(_asked(self._fields))
        return headers

    def served_by(self, host: str | None, port: int | None, name: str) -> None:
        if self._call is not None and self._call.is_recording() and host is not None:
            self._call.set_attributes({"gen_ai.provider.name": _provider(host), "server.address": host})
            self._call.set_attribute("server.port", port or 0)
            if name:
                self._call.set_attribute("agentpool.endpoint", name)

    def end_call(
        self, usage: Usage, cost_nanousd: int | None, answer: bytes, *, streamed: bool, first_chunk_s: float
    ) -> None:
        call, self._call = self._call, None
        if call is None or not call.is_recording():
            return
        call.set_attributes(
            {
                "gen_ai.usage.input_tokens": usage.input_tokens,
                "gen_ai.usage.output_tokens": usage.output_tokens,
                "gen_ai.usage.cache_read.input_tokens": usage.cached_input_tokens,
                "agentpool.usage.estimated": usage.estimated,
            }
        )
        call.set_attributes(_answered(answer, streamed))
        if streamed:
            call.set_attribute("gen_ai.response.time_to_first_chunk", first_chunk_s)
        if cost_nanousd is not None:
            call.set_attribute("agentpool.cost_usd", usd_exact(cost_nanousd))
        call.end()

    def end(self, status: int, error: str, attributes: Mapping[str, str | int | float]) -> None:
        for span in (self._call, self._span):
            if span is not None and error:
                span.set_attribute("error.type", error)
                span.set_status(
                    Status(StatusCode.ERROR) if status >= 500 or span is self._call else Status(StatusCode.UNSET)
                )
        if self._call is not None:
            self._call.end()
        self._span.set_attribute("http.response.status_code", status)
        self._span.set_attributes(attributes)
        self._span.end()


class _Counted(SpanExporter):
    """An exporter that tells how it went."""

    def __init__(self, exporter: SpanExporter, count: Callable[[str, int], None]) -> None:
        self._exporter = exporter
        self._count = count

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._exporter.export(spans)
        self._count("exported" if result is SpanExportResult.SUCCESS else "failed", len(spans))
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()


def _provider(host: str) -> str:
    return next((name for end, name in PROVIDERS.items() if host == end or host.endswith(f".{end}")), "openai")


def _asked(fields: Mapping[str, Any]) -> dict[str, str | int | float | bool]:
    """The sampling wishes of a request; never its content."""
    asked: dict[str, str | int | float | bool] = {
        name: fields[field]
        for field, name in _ASKED.items()
        if isinstance(fields.get(field), int | float) and not isinstance(fields[field], bool)
    }
    choices = fields.get("n")
    if isinstance(choices, int) and choices > 1:
        asked["gen_ai.request.choice.count"] = choices
    if fields.get("stream") is True:
        asked["gen_ai.request.stream"] = True
    return asked


def _answered(answer: bytes, streamed: bool) -> dict[str, str | list[str]]:
    """Id, model and endings of an answer; of a stream its first frame has the first two."""
    head = frame_json(next(iter(split_frames(answer[:65536])), b"")) if streamed else _json(answer)
    if isinstance(head, dict) and isinstance(head.get("response"), dict):
        head = head["response"]
    told: dict[str, str | list[str]] = {
        f"gen_ai.response.{name}": head[name]
        for name in ("id", "model")
        if isinstance(head, dict) and isinstance(head.get(name), str)
    }
    if endings := [reason.decode() for reason in _FINISH.findall(answer)]:
        told["gen_ai.response.finish_reasons"] = endings
    return told


def _json(answer: bytes) -> object:
    try:
        return orjson.loads(answer)
    except orjson.JSONDecodeError:
        return None
