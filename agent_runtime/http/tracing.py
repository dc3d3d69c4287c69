"""Is a pool traced, and what does a trace tell about a request from the caller's side?"""

from __future__ import annotations

from dataclasses import replace

from agent_runtime.pipeline.forms import Reply
from agent_runtime.requests import Request
from agent_runtime.settings import Process
from agent_runtime.telemetry.instruments import Instruments
from agent_runtime.telemetry.tracing import Trace, Tracer
from agentpool_api.money import usd_exact
from agentpool_api.runtime_settings import Tracing


def make_tracer(tracing: Tracing, process: Process, instruments: Instruments) -> Tracer | None:
    """What traces a pool's requests; None when no collector is named."""
    if tracing.endpoint is None:
        return None
    from agent_runtime.pipeline.spans import SpanTracer  # costs memory, so only for those who want it

    resource = {
        "service.name": "agentpool-runtime",
        "service.instance.id": process.uid,
        "k8s.namespace.name": process.namespace,
        "k8s.pod.name": process.pod,
        "agentpool.pool": process.pool,
    }

    def count(outcome: str, number: int) -> None:
        instruments.spans.labels(outcome).inc(number)

    return SpanTracer(tracing.endpoint, tracing.sample_percent / 100, resource, count)


def traced(tracer: Tracer, request: Request, route: str) -> Request:
    """The request with its trace begun."""
    trace = tracer.begin(request.operation, route, request.fields, request.forwarded, request.request_id)
    return replace(request, trace=trace)


def end_trace(trace: Trace, request: Request, reply: Reply | None, status: int, error: str) -> None:
    """End the trace with what the answer's headers told."""
    told: dict[str, str | int | float] = {"gen_ai.request.model": request.model}
    if reply is not None:
        told |= {
            "gen_ai.response.model": reply.told.model,
            "agentpool.cache": reply.told.cache,
            "agentpool.overhead_ms": round(reply.told.overhead_s * 1000, 3),
            "agentpool.saved_usd": usd_exact(reply.told.saved_nanousd),
        }
    trace.end(status, error, told)
