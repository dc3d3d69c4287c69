"""What can be read about an agent? Its health, its metrics and its models."""

from __future__ import annotations

from collections.abc import Callable, Collection, MutableMapping
from typing import Any

import orjson
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from agent_runtime.errors import ApiError
from agent_runtime.http.replies import JSON, NO_STORE, Send, send_body, send_error
from agent_runtime.pool_stats import PoolStats
from agent_runtime.state import State
from agent_runtime.telemetry.instruments import Instruments

Scope = MutableMapping[str, Any]


class Pages:
    """What answers to GET and HEAD. ``post_only`` are the paths that do not."""

    def __init__(
        self,
        *,
        state: State,
        stats: PoolStats,
        instruments: Instruments,
        tenant: Callable[[bytes], str],
        models: tuple[str, ...],
        started_s: float,
        post_only: Collection[str],
    ) -> None:
        self._state = state
        self._stats = stats
        self._instruments = instruments
        self._tenant = tenant
        self._models = models
        self._started_s = int(started_s)
        self._post_only = post_only

    async def serve(self, scope: Scope, send: Send) -> None:
        """Answer, or say why there is no answer."""
        path: str = scope["path"]
        try:
            if path in self._post_only:
                raise ApiError(405, "method_not_allowed", f"{path} answers to POST only")
            known = path in ("/healthz", "/readyz", "/metrics", "/v1/models", "/v1/stats") or path.startswith(
                "/v1/models/"
            )
            if path.startswith("/v1/responses/"):
                raise ApiError(
                    404, "response_not_kept", "this runtime keeps no responses: POST /v1/responses gives all"
                )
            if not known:
                raise ApiError(404, "unknown_url", f"there is no {scope['method']} {path[:200]} here")
            if scope["method"] not in ("GET", "HEAD"):
                raise ApiError(405, "method_not_allowed", f"{path[:200]} answers to GET only")
            await self._get(path, scope, send)
        except ApiError as error:
            await send_error(send, error, [])

    async def _get(self, path: str, scope: Scope, send: Send) -> None:
        if path == "/healthz":
            await send_body(send, 200, [(b"content-type", b"text/plain")], b"ok\n")
        elif path == "/readyz":
            report = self._state.readiness()
            await send_body(send, 200 if report["ready"] else 503, [JSON], orjson.dumps(report))
        elif path == "/metrics":
            self._state.publish()
            await send_body(
                send, 200, [(b"content-type", CONTENT_TYPE_LATEST.encode())], self._instruments.exposition()
            )
        else:
            authorization = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
            self._tenant(authorization)
            if path == "/v1/stats":
                await send_body(send, 200, [JSON, NO_STORE], orjson.dumps(await self._stats.read()))
                return
            await send_body(send, 200, [JSON, NO_STORE], self._model_list(path.removeprefix("/v1/models").strip("/")))

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
