"""Traces, as a collector on loopback gets them: OTLP over HTTP, decoded with OpenTelemetry's own protobuf messages."""

import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from tests.ports import free_port
from tests.redis.runtime_app.conftest import BEARER, Runtime, Start, settings_for, until
from tests.redis.runtime_app.upstream import Call, Upstream, answer

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
UNSAMPLED = PARENT[:-1] + "0"


@dataclass
class Collector:
    url: str
    spans: list[Span] = field(default_factory=list)
    resources: list[dict[str, Any]] = field(default_factory=list)
    raw: bytes = b""

    async def take(self, request: web.Request) -> web.Response:
        assert request.content_type == "application/x-protobuf"
        body = await request.read()
        self.raw += body
        for group in ExportTraceServiceRequest.FromString(body).resource_spans:
            self.resources.append(values(group.resource.attributes))
            for scope in group.scope_spans:
                self.spans += scope.spans
        return web.Response()

    def of_kind(self, kind: int) -> list[Span]:
        return [span for span in self.spans if span.kind == kind]


def values(attributes: Any) -> dict[str, Any]:
    """Attributes of a span as plain values."""
    told = {}
    for pair in attributes:
        kind = pair.value.WhichOneof("value")
        value = getattr(pair.value, kind)
        told[pair.key] = [one.string_value for one in value.values] if kind == "array_value" else value
    return told


@pytest.fixture
async def collector(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Collector]:
    monkeypatch.setattr("agent_runtime.app.LAST_WORDS_S", 20.0)  # the last spans of a busy machine come late
    app, port = web.Application(), free_port()
    taker = Collector(f"http://127.0.0.1:{port}")
    app.router.add_post("/v1/traces", taker.take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    yield taker
    await runner.cleanup()


async def begin(start: Start, upstream: Upstream, collector: Collector, percent: int = 100, **changes: Any) -> Runtime:
    tracing = {"endpoint": collector.url, "samplePercent": percent}
    return await start(settings_for(upstream.url, telemetry={"tracing": tracing}, **changes))


async def test_a_chat_is_a_server_span_and_a_call_in_the_callers_trace(
    start: Start, upstream: Upstream, collector: Collector
) -> None:
    runtime = await begin(start, upstream, collector)
    headers = {"traceparent": PARENT, "tracestate": "a=b", "baggage": "user=1"}
    async with runtime.chat("my secret", headers=headers, temperature=0.5, max_tokens=7) as response:
        request_id = response.headers["x-agentpool-request-id"]
        await response.read()
    await runtime.app.drain()
    (server,), (call,) = collector.of_kind(Span.SPAN_KIND_SERVER), collector.of_kind(Span.SPAN_KIND_CLIENT)
    assert server.trace_id.hex() == call.trace_id.hex() == "0af7651916cd43dd8448eb211c80319c"
    assert (server.parent_span_id.hex(), call.parent_span_id) == ("b7ad6b7169203331", server.span_id)
    sent = upstream.calls[0].headers
    assert sent["traceparent"] == f"00-{call.trace_id.hex()}-{call.span_id.hex()}-01"
    assert (sent["tracestate"], sent["baggage"]) == ("a=b", "user=1")
    assert (server.name, call.name) == ("POST /v1/chat/completions", "chat up")
    told = values(call.attributes)
    assert {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "up",
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.max_tokens": 7,
        "gen_ai.response.id": "c",
        "gen_ai.response.model": "up",
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.usage.input_tokens": 10,
        "gen_ai.usage.output_tokens": 4,
        "server.address": "127.0.0.1",
        "agentpool.cost_usd": "0.000052",
    }.items() <= told.items()
    outer = values(server.attributes)
    assert {
        "http.route": "/v1/chat/completions",
        "http.response.status_code": 200,
        "agentpool.cache": "bypass",
        "agentpool.request.id": request_id,
        "gen_ai.request.model": "chat",
    }.items() <= outer.items()
    assert server.start_time_unix_nano <= call.start_time_unix_nano <= call.end_time_unix_nano
    assert call.end_time_unix_nano <= server.end_time_unix_nano
    assert {"service.name": "agentpool-runtime", "agentpool.pool": "local"}.items() <= collector.resources[0].items()
    assert b"secret" not in collector.raw and b"hello" not in collector.raw and b"sk-" not in collector.raw


async def test_a_stream_ends_its_spans_when_it_ends(start: Start, upstream: Upstream, collector: Collector) -> None:
    runtime = await begin(start, upstream, collector)
    async with runtime.chat(stream=True) as response:
        await response.read()
    await runtime.app.drain()
    told = values(collector.of_kind(Span.SPAN_KIND_CLIENT)[0].attributes)
    assert told["gen_ai.response.finish_reasons"] == ["stop"] and told["gen_ai.response.id"] == "c"
    assert told["gen_ai.usage.output_tokens"] == 4 and told["gen_ai.response.time_to_first_chunk"] > 0


async def test_a_hit_makes_no_call(start: Start, upstream: Upstream, collector: Collector) -> None:
    runtime = await begin(start, upstream, collector)
    for _ in range(2):
        async with runtime.chat() as response:
            await response.read()
    await runtime.app.drain()
    assert len(collector.of_kind(Span.SPAN_KIND_CLIENT)) == 1
    hit = values(collector.of_kind(Span.SPAN_KIND_SERVER)[1].attributes)
    assert (hit["agentpool.cache"], hit["agentpool.saved_usd"]) == ("l1", "0.000052")


async def test_a_failed_call_is_an_error_in_both_spans(start: Start, upstream: Upstream, collector: Collector) -> None:
    runtime = await begin(start, upstream, collector, connections={"retries": 0})

    async def broken(call: Call) -> None:
        await answer(call, 500, b"", extra="Connection: close\r\n")

    upstream.script = broken
    async with runtime.chat() as response:
        assert response.status == 502
    await runtime.app.drain()
    assert len(collector.spans) == 2
    for span in collector.spans:
        assert span.status.code == Status.STATUS_CODE_ERROR
        assert values(span.attributes)["error.type"] == "upstream_error"


async def test_the_endpoint_that_answered_is_named(start: Start, upstream: Upstream, collector: Collector) -> None:
    dead = f"http://127.0.0.1:{free_port()}/v1"
    places = [{"url": dead, "priority": 0}, {"name": "own", "url": upstream.url, "priority": 1}]
    settings = {"models": [{"name": "chat", "endpoints": places}], "connections": {"retries": 1}}
    runtime = await start(settings | {"telemetry": {"tracing": {"endpoint": collector.url, "samplePercent": 100}}})
    async with runtime.chat() as response:
        assert response.status == 200
    await runtime.app.drain()
    (call,) = collector.of_kind(Span.SPAN_KIND_CLIENT)
    told = values(call.attributes)
    assert f":{told['server.port']}/" in upstream.url and told["agentpool.endpoint"] == "own"


@pytest.mark.parametrize(("percent", "parent", "spans"), [(0, None, 0), (100, UNSAMPLED, 0), (0, PARENT, 2)])
async def test_who_begins_a_trace_decides_whether_it_is_kept(
    start: Start, upstream: Upstream, collector: Collector, percent: int, parent: str | None, spans: int
) -> None:
    runtime = await begin(start, upstream, collector, percent)
    async with runtime.chat(headers={"traceparent": parent} if parent else {}) as response:
        await response.read()
    await runtime.app.drain()
    assert len(collector.spans) == spans
    flags = int(upstream.calls[0].headers["traceparent"].rpartition("-")[2], 16)
    assert flags & 1 == bool(spans)


async def test_a_traceparent_that_makes_no_sense_begins_a_new_trace(
    start: Start, upstream: Upstream, collector: Collector
) -> None:
    runtime = await begin(start, upstream, collector)
    async with runtime.chat(headers={"traceparent": "00-zz-1-01"}) as response:
        assert response.status == 200
    await runtime.app.drain()
    assert len(collector.spans) == 2 and "zz" not in upstream.calls[0].headers["traceparent"]


async def test_a_collector_that_is_away_holds_nothing_up_and_is_counted(
    start: Start, upstream: Upstream, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent_runtime.pipeline.spans.EXPORT_TIMEOUT_S", 0.3)
    collector.url = f"http://127.0.0.1:{free_port()}"
    runtime = await begin(start, upstream, collector)
    async with runtime.chat() as response:
        assert response.status == 200
    await runtime.app.drain()
    lost = runtime.app.instruments.spans.labels("failed")._value
    await until(lambda: lost.get() == 2)


async def test_without_an_endpoint_a_callers_trace_goes_through_as_it_is(runtime: Runtime, upstream: Upstream) -> None:
    async with runtime.chat(headers={"traceparent": PARENT, "x-other": "1"} | BEARER) as response:
        assert response.status == 200
    assert upstream.calls[0].headers["traceparent"] == PARENT and "x-other" not in upstream.calls[0].headers
    async with runtime.chat("no trace") as response:
        assert response.status == 200
    assert "traceparent" not in upstream.calls[1].headers


def test_the_library_is_loaded_only_by_those_who_trace() -> None:
    code = "import sys, agent_runtime.app; sys.exit('opentelemetry' in sys.modules or 'google.protobuf' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
