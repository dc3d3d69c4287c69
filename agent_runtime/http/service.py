"""Which URL does what? The runtime's API as one plain ASGI application."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from contextlib import aclosing, suppress
from typing import Any

import orjson
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from agent_runtime.cache.control import PLAIN, parse_cache_control
from agent_runtime.cache.flights import Caller
from agent_runtime.cache.purges import Purger
from agent_runtime.errors import ApiError
from agent_runtime.forms import Reply
from agent_runtime.http.batch import answer_batch, parse_batch
from agent_runtime.http.protocol import CALLER
from agent_runtime.http.replies import CLOSE, EVENTS, JSON, NO_STORE, Headers, error_headers, told_headers
from agent_runtime.pipeline import Pipeline
from agent_runtime.requests import (
    CHAT,
    EMBEDDINGS,
    Request,
    parse_fields,
    parse_purge,
    parse_statement,
    wants_stream,
)
from agent_runtime.routing.wishes import NO_WISHES, WISHES, parse_wishes
from agent_runtime.secrets import Secrets
from agent_runtime.state import State
from agent_runtime.telemetry.instruments import OTHER_MODEL, Instruments
from agent_runtime.telemetry.logs import log

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

FORGET = "/v1/cache/forget"
PURGE = "/v1/cache/purge"
BATCH = "/v1/batch"
OPERATIONS = {"/v1/chat/completions": CHAT, "/v1/embeddings": EMBEDDINGS}
FORWARDED = {b"traceparent": "traceparent", b"tracestate": "tracestate", b"baggage": "baggage"}
"""W3C trace context: the only headers of a caller that an endpoint gets."""

DRAIN_RETRY_AFTER_S = 1.0
MAX_REQUEST_ID = 200


class Service:
    """The ASGI application."""

    def __init__(
        self,
        *,
        pipeline: Pipeline,
        purger: Purger,
        secrets: Secrets,
        state: State,
        instruments: Instruments,
        models: Iterable[str],
        max_body_bytes: int,
        request_ids: Callable[[], str],
        clock: Callable[[], float],
        started_s: float,
    ) -> None:
        self._pipeline = pipeline
        self._purger = purger
        self._secrets = secrets
        self._state = state
        self._instruments = instruments
        self._models = tuple(models)
        self._max_body_bytes = max_body_bytes
        self._request_ids = request_ids
        self._clock = clock
        self._started_s = int(started_s)
        self.active = 0
        """Requests of the API that have no complete answer yet."""
        self._nothing_left = asyncio.Event()

    async def idle(self, longest_s: float) -> None:
        """Wait until no request is left, or so many seconds."""
        self._nothing_left.clear()
        if self.active:
            with suppress(TimeoutError):
                async with asyncio.timeout(longest_s):
                    await self._nothing_left.wait()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        operation = OPERATIONS.get(scope["path"])
        if scope["path"] == FORGET and scope["method"] == "POST":
            await self._forget(scope, receive, send)
        elif scope["path"] == PURGE and scope["method"] == "POST":
            await self._purge(scope, receive, send)
        elif (operation is not None or scope["path"] == BATCH) and scope["method"] == "POST":
            self.active += 1
            try:
                if operation is None:
                    await self._batch(scope, receive, send)
                else:
                    await self._operate(operation, scope, receive, send)
            finally:
                self.active -= 1
                if self.active == 0:
                    self._nothing_left.set()
        else:
            await self._serve(scope, send)

    # --- calls of models ---

    async def _operate(self, operation: str, scope: Scope, receive: Receive, send: Send) -> None:
        began_s = self._clock()
        caller: Caller = scope[CALLER]
        request_id = self._request_ids()
        request: Request | None = None
        code = 499
        headers: Headers = [(b"x-agentpool-request-id", request_id.encode())]
        started = False
        try:
            request = await self._read(operation, scope, receive, request_id, headers)
            began_s = request.started_s
            if self._state.draining:
                headers.append(CLOSE)  # the client's next request finds an agent that stays
            reply = await self._pipeline.answer(request, caller)
            started = True
            await _send_reply(send, reply, headers)
            code = 200
        except ApiError as error:
            code = error.status
            await _send_error(send, error, headers)
        except asyncio.CancelledError:
            if caller.gone:
                self._instruments.disconnects.inc()
            elif not started:
                code = 503
                await _send_error(send, _leaving(), headers)
            else:
                code = 503
                raise  # the drain's time is over in the middle of a stream: the connection breaks
        except Exception as error:
            code = 500
            self._state.unexpected_errors += 1
            log(logging.ERROR, "unexpected error", request_id=request_id, error=repr(error))
            logging.getLogger("agent_runtime").debug("trace", exc_info=True)
            if started:
                raise
            await _send_error(send, _unexpected(request_id), headers)
        finally:
            known = request.model if request is not None and request.model in self._models else OTHER_MODEL
            self._instruments.answered(operation, known, code, self._clock() - began_s)

    async def _read(
        self, operation: str, scope: Scope, receive: Receive, request_id: str, reply_headers: Headers
    ) -> Request:
        """The request, checked. Raises ApiError."""
        forwarded: dict[str, str] = {}
        wishes: dict[bytes, bytes] = {}
        authorization, cache_control, length = b"", b"", b""
        for name, value in scope["headers"]:
            if name == b"authorization":
                authorization = value
            elif name == b"cache-control":
                cache_control = cache_control + b"," + value if cache_control else value
            elif name == b"content-length":
                length = value
            elif name in FORWARDED:
                forwarded[FORWARDED[name]] = value.decode("latin-1")
            elif name in WISHES:
                wishes[name] = value
            elif name == b"x-request-id" and len(value) <= MAX_REQUEST_ID:
                reply_headers.append((name, value))
        if self._state.refusing:
            raise _leaving()
        if self._state.memory_short:
            raise _memory_short()
        tenant = self._tenant(authorization)
        body = await self._body(receive, length)
        started_s = self._clock()
        fields = parse_fields(operation, body)
        stream, include_usage = wants_stream(operation, fields)
        self._state.touch()
        return Request(
            operation=operation,
            body=body,
            fields=fields,
            model=fields["model"],
            stream=stream,
            include_usage=include_usage,
            tenant=tenant,
            control=parse_cache_control(cache_control.decode("latin-1")) if cache_control else PLAIN,
            forwarded=forwarded,
            wishes=parse_wishes(wishes) if wishes else NO_WISHES,
            request_id=request_id,
            started_s=started_s,
        )

    def _tenant(self, authorization: bytes) -> str:
        tenant = self._secrets.tenant(authorization)
        if tenant is None:
            what = "the key is not one of this pool's" if authorization else "no key was sent"
            raise ApiError(
                401,
                "invalid_api_key",
                f"{what}: send 'Authorization: Bearer <key>' with a value of the Secret {self._secrets.auth_secret}",
                kind="authentication_error",
            )
        return tenant

    async def _body(self, receive: Receive, length: bytes) -> bytes:
        """The whole body. Raises ApiError 413; the connection is then closed instead of reading on."""
        if length.isdigit() and int(length[:19]) > self._max_body_bytes:
            raise self._too_large()
        message = await receive()
        body: bytes = message.get("body", b"")
        if message.get("more_body"):
            parts, size = [body], len(body)
            while message.get("more_body"):
                message = await receive()
                parts.append(message.get("body", b""))
                size += len(parts[-1])
                if size > self._max_body_bytes:
                    raise self._too_large()
            body = b"".join(parts)
        if message["type"] == "http.disconnect":
            raise asyncio.CancelledError
        if len(body) > self._max_body_bytes:
            raise self._too_large()
        return body

    def _too_large(self) -> ApiError:
        return ApiError(
            413,
            "body_too_large",
            f"the body is larger than {self._max_body_bytes} bytes: shorten it, or raise the pool's limits.maxBodySize",
            close=True,
        )

    async def _forget(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Drop the caller's cached answers to questions near a statement."""
        sent = dict(scope["headers"])
        try:
            tenant = self._tenant(sent.get(b"authorization", b""))
            statement, similarity = parse_statement(await self._body(receive, sent.get(b"content-length", b"")))
            dropped = await self._pipeline.forget_near(tenant, statement, similarity)
            await _send(send, 200, [JSON, NO_STORE], orjson.dumps({"dropped": dropped}))
        except ApiError as error:
            await _send_error(send, error, [])

    async def _batch(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer many requests; each is counted, booked and refused on its own."""
        sent = dict(scope["headers"])
        try:
            if self._state.refusing:
                raise _leaving()
            self._tenant(sent.get(b"authorization", b""))
            items = parse_batch(await self._body(receive, sent.get(b"content-length", b"")), OPERATIONS)
        except ApiError as error:
            await _send_error(send, error, [])
            return
        await _send(send, 200, [JSON, NO_STORE], await answer_batch(self, scope, items))

    async def _purge(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Make every agent of the pool forget the caller's answers, of one model or all."""
        sent = dict(scope["headers"])
        try:
            tenant = self._tenant(sent.get(b"authorization", b""))
            model = parse_purge(await self._body(receive, sent.get(b"content-length", b"")), self._models)
            await self._purger.purge(tenant, model)
            await _send(send, 200, [JSON, NO_STORE], b'{"purged":true}')
        except ApiError as error:
            await _send_error(send, error, [])

    # --- everything else ---

    async def _serve(self, scope: Scope, send: Send) -> None:
        """Health, metrics and the list of models; GET and HEAD only."""
        path: str = scope["path"]
        try:
            if path in OPERATIONS or path in (FORGET, PURGE, BATCH):
                raise ApiError(405, "method_not_allowed", f"{path} answers to POST only")
            known = path in ("/healthz", "/readyz", "/metrics", "/v1/models") or path.startswith("/v1/models/")
            if not known:
                raise ApiError(404, "unknown_url", f"there is no {scope['method']} {path[:200]} here")
            if scope["method"] not in ("GET", "HEAD"):
                raise ApiError(405, "method_not_allowed", f"{path[:200]} answers to GET only")
            await self._get(path, scope, send)
        except ApiError as error:
            await _send_error(send, error, [])

    async def _get(self, path: str, scope: Scope, send: Send) -> None:
        if path == "/healthz":
            await _send(send, 200, [(b"content-type", b"text/plain")], b"ok\n")
        elif path == "/readyz":
            report = self._state.readiness()
            await _send(send, 200 if report["ready"] else 503, [JSON], orjson.dumps(report))
        elif path == "/metrics":
            self._state.publish()
            await _send(send, 200, [(b"content-type", CONTENT_TYPE_LATEST.encode())], self._instruments.exposition())
        else:
            authorization = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
            self._tenant(authorization)
            await _send(send, 200, [JSON, NO_STORE], self._model_list(path.removeprefix("/v1/models").strip("/")))

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


def _leaving() -> ApiError:
    return ApiError(
        503,
        "shutting_down",
        "this agent is leaving; send the request again to reach another one",
        kind="server_error",
        retry_after_s=DRAIN_RETRY_AFTER_S,
        should_retry=True,
        close=True,
    )


def _memory_short() -> ApiError:
    return ApiError(
        503,
        "memory_short",
        "this agent is short of memory; send the request again, or give the runtime more (agent.runtimeResources)",
        kind="server_error",
        retry_after_s=DRAIN_RETRY_AFTER_S,
        should_retry=True,
    )


def _unexpected(request_id: str) -> ApiError:
    message = f"the runtime failed on this request; its log has the reason under {request_id}"
    return ApiError(500, "internal_error", message, kind="server_error")


async def _send_reply(send: Send, reply: Reply, headers: Headers) -> None:
    headers += told_headers(reply.told)
    if reply.frames is None:
        await _send(send, 200, [*headers, JSON], reply.body or b"")
        return
    async with aclosing(reply.frames) as frames:  # type: ignore[type-var]
        headers += [EVENTS, (b"x-accel-buffering", b"no")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        async for part in frames:
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _send_error(send: Send, error: ApiError, headers: Headers) -> None:
    await _send(send, error.status, headers + error_headers(error), error.payload())


async def _send(send: Send, status: int, headers: Headers, body: bytes) -> None:
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body, "more_body": False})
