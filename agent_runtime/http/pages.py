"""What can be read about an agent? Its health, its metrics, its models and its API."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, MutableMapping
from typing import Any

import orjson
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from agent_runtime.errors import ApiError
from agent_runtime.http.edge import Edge, Page, Sent
from agent_runtime.http.openapi import document
from agent_runtime.http.protocol import CALLER
from agent_runtime.http.replies import JSON, NO_STORE, Send, send_body, send_error
from agent_runtime.http.routes import ANSWER, CPU_PROFILE, MEMORY_PROFILE, Route
from agent_runtime.pod.pool_stats import PoolStats
from agent_runtime.pod.state import State
from agent_runtime.profiling.on_demand import Profiler
from agent_runtime.telemetry.instruments import Instruments

Scope = MutableMapping[str, Any]

SVG = (b"content-type", b"image/svg+xml")
NO_SCRIPT = (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'")


class Pages:
    """What answers to GET and HEAD."""

    def __init__(
        self,
        *,
        state: State,
        stats: PoolStats,
        instruments: Instruments,
        tenant: Callable[[bytes], str],
        models: tuple[str, ...],
        started_s: float,
        edge: Edge,
    ) -> None:
        self._state = state
        self._stats = stats
        self._instruments = instruments
        self._tenant = tenant
        self._models = models
        self._started_s = int(started_s)
        self._profiler = Profiler()
        self._edge = edge

    async def serve(self, route: Route, scope: Scope, send: Send) -> None:
        """Answer, or say why there is no answer."""
        sent = dict(scope["headers"])
        try:
            tenant = self._tenant(sent.get(b"authorization", b"")) if route.needs_key else ""
            if route.path == ANSWER:
                status, headers, body = await self._edge.answer(tenant, scope["path"], sent)
            else:
                status, headers, body = await self._page(route, scope, sent)
        except ApiError as error:
            await send_error(send, error, [])
        except asyncio.CancelledError:
            if not scope[CALLER].gone:  # who leaves in the middle of a profile is no error
                raise
        else:
            await send_body(send, status, headers, body)

    async def _page(self, route: Route, scope: Scope, sent: Sent) -> Page:
        match route.path:
            case "/healthz":
                return 200, [(b"content-type", b"text/plain")], b"ok\n"
            case "/readyz":
                report = self._state.readiness()
                return 200 if report["ready"] else 503, [JSON], orjson.dumps(report)
            case "/metrics":
                self._state.publish()
                return 200, [(b"content-type", CONTENT_TYPE_LATEST.encode())], self._instruments.exposition()
            case "/openapi.json":
                return 200, [JSON], orjson.dumps(document(self._models))
            case "/v1/stats":
                return (
                    200,
                    [JSON, NO_STORE],
                    orjson.dumps(await self._stats.read() | {"response_time": self._response_time()}),
                )
            case _ if route.path == CPU_PROFILE:  # any key will do: it holds names of functions, nothing of a request
                drawn = await self._profiler.cpu(scope["query_string"], self._state.pod)
                return 200, [SVG, NO_STORE, NO_SCRIPT], drawn
            case _ if route.path == MEMORY_PROFILE:
                return 200, [JSON, NO_STORE], orjson.dumps(await self._profiler.memory(scope["query_string"]))
            case _:
                wanted = scope["path"].removeprefix("/v1/models").strip("/")
                return self._edge.page(self._model_list(wanted), sent)

    def _response_time(self) -> dict[str, Any]:
        """How long this agent's answers took in the last minutes; null while there were none."""
        seen = self._state.response_times()
        quantiles = {f"p{quantile * 100:g}": seconds for quantile, seconds in (seen.quantiles or {}).items()}
        return {
            "answers": seen.answers,
            "target_ms": round(seen.target_s * 1000, 3),
            "met_ratio": None if seen.met is None else round(seen.met, 4),
            "quantiles_ms": {name: round(seconds * 1000, 3) for name, seconds in quantiles.items()} or None,
        }

    def _model_list(self, wanted: str) -> bytes:
        cards = [
            {"id": name, "object": "model", "created": self._started_s, "owned_by": "agentpool"}
            for name in self._models
        ]
        if not wanted:
            return orjson.dumps({"object": "list", "data": cards})
        for card in cards:
            if card["id"] == wanted:
                return orjson.dumps(card)
        raise ApiError(404, "model_not_found", "this pool has no model of that name; GET /v1/models lists them")
