"""How is an answer written as HTTP? Headers that tell what happened, error objects, and nothing of the endpoint's."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import aclosing
from typing import Any

from agent_runtime.errors import ApiError
from agent_runtime.pipeline.forms import Reply
from agent_runtime.requests import Told
from agentpool_api.money import usd_exact

Headers = list[tuple[bytes, bytes]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

CLOSE = (b"connection", b"close")
JSON = (b"content-type", b"application/json")
EVENTS = (b"content-type", b"text/event-stream; charset=utf-8")
NO_STORE = (b"cache-control", b"no-store")
"""Answers are private to their caller; only the runtime's own cache may keep them."""


def error_headers(error: ApiError) -> Headers:
    """Headers of an error object."""
    headers: Headers = [JSON, NO_STORE]
    if error.retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % max(math.ceil(error.retry_after_s), 0)))
    if error.should_retry is not None:
        headers.append((b"x-should-retry", b"true" if error.should_retry else b"false"))
    if error.allow is not None:
        headers.append((b"allow", error.allow.encode()))
    if error.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if error.age_s is not None:
        headers += [(b"x-agentpool-cache", b"refused"), (b"age", b"%d" % int(error.age_s))]
        headers.append((b"cache-status", b"agentpool; hit; detail=refused"))
    if error.close:
        headers.append(CLOSE)
    return headers


def told_headers(told: Told) -> Headers:
    """``x-agentpool-*``, ``Cache-Status`` (RFC 9211) and ``Age`` (RFC 9111) of an answer."""
    headers: Headers = [
        NO_STORE,
        (b"x-agentpool-cache", told.cache.encode()),
        (b"x-agentpool-model", _ascii(told.model)),
        (b"x-agentpool-overhead-ms", b"%.3f" % (told.overhead_s * 1000)),
        (b"cache-status", _cache_status(told)),
    ]
    if told.endpoint:
        headers.append((b"x-agentpool-endpoint", told.endpoint.encode()))
    if told.cost_nanousd is not None:
        headers.append((b"x-agentpool-cost-usd", usd_exact(told.cost_nanousd).encode()))
    if told.saved_nanousd:
        headers.append((b"x-agentpool-saved-usd", usd_exact(told.saved_nanousd).encode()))
    if told.address:
        headers += [(b"content-location", told.address.encode()), (b"etag", told.etag.encode())]
    if told.right_sizing:
        headers.append((b"x-agentpool-right-sizing", _ascii(told.right_sizing)))
    if told.batch:
        headers.append((b"x-agentpool-batch", told.batch.encode()))
    if told.fallback:
        headers.append((b"x-agentpool-fallback", _ascii(told.fallback)))
    if told.compression:
        headers.append((b"x-agentpool-compression", _ascii(told.compression)))
    if told.age_s is not None:
        headers.append((b"age", b"%d" % int(told.age_s)))
    return headers


def _cache_status(told: Told) -> bytes:
    match told.cache:
        case "l1" | "l2" | "l3" | "semantic" | "precomputed":
            return b"agentpool; hit; ttl=%d; detail=%s" % (int(told.life_left_s), told.cache.encode())
        case "coalesced":
            return b"agentpool; fwd=miss; collapsed"
        case "bypass":
            return b"agentpool; fwd=bypass"
        case _:
            return b"agentpool; fwd=miss; stored" if told.stored else b"agentpool; fwd=miss"


def _ascii(text: str) -> bytes:
    """A header's value: what is not printable ASCII becomes a question mark."""
    return bytes(code if 32 <= (code := ord(sign)) < 127 else 63 for sign in text)


async def send_reply(send: Send, reply: Reply, headers: Headers) -> None:
    """Send an answer, a stream frame by frame."""
    headers += told_headers(reply.told)
    if reply.frames is None:
        await send_body(send, 200, [*headers, JSON], reply.body or b"")
        return
    async with aclosing(reply.frames) as frames:  # type: ignore[type-var]
        headers += [EVENTS, (b"x-accel-buffering", b"no")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        async for part in frames:
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def send_error(send: Send, error: ApiError, headers: Headers) -> None:
    """Send an error object."""
    await send_body(send, error.status, headers + error_headers(error), error.payload())


async def send_body(send: Send, status: int, headers: Headers, body: bytes) -> None:
    """Send a body that is all there."""
    length = [(b"content-length", b"%d" % len(body))] if status != 304 else []
    await send({"type": "http.response.start", "status": status, "headers": [*headers, *length]})
    await send({"type": "http.response.body", "body": body, "more_body": False})
