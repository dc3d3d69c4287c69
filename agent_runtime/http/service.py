"""Which URL does what? The runtime's API as one plain ASGI application."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from contextlib import suppress
from typing import Any

import orjson

from agent_runtime.cache.flights import Caller
from agent_runtime.cache.forgetting import Forgetting
from agent_runtime.cache.purges import Purger
from agent_runtime.errors import ApiError
from agent_runtime.http.batch import answer_batch, parse_batch
from agent_runtime.http.edge import Edge
from agent_runtime.http.pages import Pages
from agent_runtime.http.protocol import CALLER
from agent_runtime.http.reading import Reader, leaving
from agent_runtime.http.replies import CLOSE, JSON, NO_STORE, Headers, Send, send_body, send_error, send_reply
from agent_runtime.http.routes import FORGET, OPERATIONS, PURGE, Route, find_route
from agent_runtime.http.tracing import end_trace, traced
from agent_runtime.pipeline.answering import Answering
from agent_runtime.pipeline.conversations import Conversations
from agent_runtime.pipeline.forms import Reply
from agent_runtime.pipeline.pipeline import Pipeline
from agent_runtime.pipeline.stored_responses import StoredResponses
from agent_runtime.pod.pool_stats import PoolStats
from agent_runtime.pod.secrets import Secrets
from agent_runtime.pod.state import State
from agent_runtime.requests import EMBEDDINGS, RESPONSES, STORED_RESPONSES, Request, parse_purge, parse_statement
from agent_runtime.telemetry.instruments import OTHER_MODEL, Instruments
from agent_runtime.telemetry.logs import log
from agent_runtime.telemetry.response_times import ResponseTimes
from agent_runtime.telemetry.tracing import Tracer

UNTIMED = (EMBEDDINGS, STORED_RESPONSES)
"""Operations whose times say nothing about how long answers take."""

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class Service:
    """The ASGI application."""

    def __init__(
        self,
        *,
        pipeline: Pipeline,
        answering: Answering,
        conversations: Conversations,
        stored_responses: StoredResponses,
        response_times: ResponseTimes,
        purger: Purger,
        forgetting: Forgetting,
        secrets: Secrets,
        state: State,
        stats: PoolStats,
        instruments: Instruments,
        models: Iterable[str],
        max_body_bytes: int,
        request_ids: Callable[[], str],
        clock: Callable[[], float],
        started_s: float,
        edge: Edge,
        tracer: Tracer | None = None,
    ) -> None:
        self._pipeline = pipeline
        self._answering = answering
        self._conversations = conversations
        self._stored_responses = stored_responses
        self._response_times = response_times
        self._purger = purger
        self._tracer = tracer
        self._forgetting = forgetting
        self._reader = Reader(secrets, state, max_body_bytes, clock)
        self._state = state
        self._instruments = instruments
        self._models = tuple(models)
        self._request_ids = request_ids
        self._clock = clock
        self._pages = Pages(
            state=state,
            stats=stats,
            instruments=instruments,
            tenant=self._reader.tenant,
            models=self._models,
            started_s=started_s,
            edge=edge,
        )
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
        try:
            route = find_route(scope["path"], scope["method"])
        except ApiError as error:
            await send_error(send, error, [])
            return
        if route.operation:
            await self._work(route, scope, receive, send)
            return
        try:
            await self._serve(route, scope, receive, send)
        except Exception as error:
            request_id = self._request_ids()
            self._note_unexpected(request_id, error)
            await send_error(send, _unexpected(request_id), [])

    async def _serve(self, route: Route, scope: Scope, receive: Receive, send: Send) -> None:
        """What is no single call of a model."""
        if route.method == "GET":
            await self._pages.serve(route, scope, send)
        elif route.path == FORGET:
            await self._forget(scope, receive, send)
        elif route.path == PURGE:
            await self._purge(scope, receive, send)
        else:
            await self._work(route, scope, receive, send)

    async def _work(self, route: Route, scope: Scope, receive: Receive, send: Send) -> None:
        """Do what a drain waits for."""
        self.active += 1
        try:
            if route.operation:
                await self._operate(route.operation, scope, receive, send)
            else:
                await self._batch(scope, receive, send)
        finally:
            self.active -= 1
            if self.active == 0:
                self._nothing_left.set()

    # --- calls of models ---

    async def _operate(self, operation: str, scope: Scope, receive: Receive, send: Send) -> None:
        began_s = self._clock()
        caller: Caller = scope[CALLER]
        request_id = self._request_ids()
        request: Request | None = None
        reply: Reply | None = None
        code, failed = 499, "client_disconnected"
        headers: Headers = [(b"x-agentpool-request-id", request_id.encode())]
        started = False
        try:
            request = await self._reader.request(operation, scope, receive, request_id, headers)
            began_s = request.started_s
            if self._tracer is not None and request.kept is None:
                request = traced(self._tracer, request, scope["path"])
            reply = await self._answer(request, caller)
            if self._state.draining:
                headers.append(CLOSE)  # the client's next request finds an agent that stays
            started = True
            await send_reply(send, reply, headers)
            code, failed = 200, ""
        except ApiError as error:
            code, failed = error.status, error.code
            await send_error(send, error, headers)
        except asyncio.CancelledError:
            if caller.gone:
                self._instruments.disconnects.inc()
            elif not started:
                code, failed = 503, "shutting_down"
                await send_error(send, leaving(), headers)
            else:
                code, failed = 503, "shutting_down"
                raise  # the drain's time is over in the middle of a stream: the connection breaks
        except Exception as error:
            code, failed = 500, "internal_error"
            self._note_unexpected(request_id, error)
            if started:
                raise
            await send_error(send, _unexpected(request_id), headers)
        finally:
            known = request.model if request is not None and request.model in self._models else OTHER_MODEL
            now_s = self._clock()
            self._instruments.answered(operation, known, code, now_s - began_s)
            if code == 200 and operation not in UNTIMED:
                self._response_times.add(now_s - began_s, now_s)
            if request is not None and request.trace is not None:
                end_trace(request.trace, request, reply, code, failed)

    async def _answer(self, request: Request, caller: Caller) -> Reply:
        if request.kept is not None:
            return await self._stored_responses.answer(request, request.kept)
        answerer = self._conversations if request.operation == RESPONSES else self._answering
        return await answerer.answer(request, caller)

    def _note_unexpected(self, request_id: str, error: Exception) -> None:
        self._state.unexpected_errors += 1
        log(logging.ERROR, "unexpected error", request_id=request_id, error=repr(error))
        logging.getLogger("agent_runtime").debug("trace", exc_info=True)

    async def _forget(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Drop the caller's cached answers to questions near a statement."""
        sent = dict(scope["headers"])
        try:
            tenant = self._reader.tenant(sent.get(b"authorization", b""))
            statement, similarity = parse_statement(await self._reader.body(receive, sent.get(b"content-length", b"")))
            dropped = await self._forgetting.forget(tenant, statement, similarity)
            await send_body(send, 200, [JSON, NO_STORE], orjson.dumps({"dropped": dropped}))
        except ApiError as error:
            await send_error(send, error, [])

    async def _batch(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer many requests; each is counted, booked and refused on its own."""
        sent = dict(scope["headers"])
        try:
            if self._state.refusing:
                raise leaving()
            self._reader.tenant(sent.get(b"authorization", b""))
            items = parse_batch(await self._reader.body(receive, sent.get(b"content-length", b"")), OPERATIONS)
        except ApiError as error:
            await send_error(send, error, [])
            return
        await send_body(send, 200, [JSON, NO_STORE], await answer_batch(self, scope, items))

    async def _purge(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Make every agent of the pool forget the caller's answers, of one model or all."""
        sent = dict(scope["headers"])
        try:
            tenant = self._reader.tenant(sent.get(b"authorization", b""))
            model = parse_purge(await self._reader.body(receive, sent.get(b"content-length", b"")), self._models)
            await self._purger.purge(tenant, model)
            await send_body(send, 200, [JSON, NO_STORE], b'{"purged":true}')
        except ApiError as error:
            await send_error(send, error, [])


def _unexpected(request_id: str) -> ApiError:
    message = f"the runtime failed on this request; its log has the reason under {request_id}"
    return ApiError(500, "internal_error", message, kind="server_error")
