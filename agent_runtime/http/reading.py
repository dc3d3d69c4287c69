"""What does a caller want? Its key, its headers and its body, checked before anything is done for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from itertools import count
from typing import Any

from agent_runtime.cache.control import PLAIN, parse_cache_control
from agent_runtime.errors import ApiError
from agent_runtime.http.replies import Headers
from agent_runtime.pod.secrets import Secrets
from agent_runtime.pod.state import State
from agent_runtime.requests import STORED_RESPONSES, Request, parse_fields, parse_kept, wants_stream
from agent_runtime.routing.wishes import NO_WISHES, WISHES, parse_wishes

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

FORWARDED = {b"traceparent": "traceparent", b"tracestate": "tracestate", b"baggage": "baggage"}
"""W3C trace context: the only headers of a caller that an endpoint gets."""

RETRY_AFTER_S = 1.0
MAX_REQUEST_ID = 200


class Reader:
    """Reads requests."""

    def __init__(self, secrets: Secrets, state: State, max_body_bytes: int, clock: Callable[[], float]) -> None:
        self._secrets = secrets
        self._state = state
        self._max_body_bytes = max_body_bytes
        self._clock = clock

    async def request(
        self, operation: str, scope: Scope, receive: Receive, request_id: str, reply_headers: Headers
    ) -> Request:
        """The request, checked. Raises ApiError.

        What the reply has to repeat of its headers is added to ``reply_headers``.
        """
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
            elif name == b"content-encoding" and value.lower() != b"identity":
                raise _encoded(value)
            elif name == b"x-request-id" and len(value) <= MAX_REQUEST_ID:
                reply_headers.append((name, value))
        if self._state.refusing:
            raise leaving()
        tenant = self.tenant(authorization)
        body = await self.body(receive, length)
        started_s = self._clock()
        kept, fields, include_usage = None, dict[str, Any](), False
        if operation == STORED_RESPONSES:
            kept, stream = parse_kept(scope["method"], scope["path"], scope["query_string"])
        else:
            fields = parse_fields(operation, body)
            stream, include_usage = wants_stream(operation, fields)
        self._state.touch()
        return Request(
            operation=operation,
            body=body,
            fields=fields,
            model=fields.get("model", ""),
            kept=kept,
            stream=stream,
            include_usage=include_usage,
            tenant=tenant,
            control=parse_cache_control(cache_control.decode("latin-1")) if cache_control else PLAIN,
            forwarded=forwarded,
            wishes=parse_wishes(wishes) if wishes else NO_WISHES,
            request_id=request_id,
            started_s=started_s,
        )

    def tenant(self, authorization: bytes) -> str:
        """Whose key this is. Raises ApiError 401."""
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

    async def body(self, receive: Receive, length: bytes) -> bytes:
        """The whole body. Raises ApiError 413, which ends the connection, or 503."""
        said_bytes = int(length[:19]) if length.isdigit() else 0
        if said_bytes > self._max_body_bytes:
            raise self._too_large()
        if not self._state.admits(said_bytes):
            raise _memory_short()
        try:
            return await self._receive(receive)
        finally:
            self._state.arrived(said_bytes)

    async def _receive(self, receive: Receive) -> bytes:
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
                if not self._state.admits(0):  # many slow or chunked bodies may have been let in
                    raise _memory_short()
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


def _encoded(encoding: bytes) -> ApiError:
    return ApiError(
        415,
        "unsupported_encoding",
        f"bodies encoded with {encoding[:40].decode('latin-1')!r} are not read: send the body as it is",
        close=True,
    )


def leaving() -> ApiError:
    """The refusal of an agent that drains."""
    return ApiError(
        503,
        "shutting_down",
        "this agent is leaving; send the request again to reach another one",
        kind="server_error",
        retry_after_s=RETRY_AFTER_S,
        should_retry=True,
        close=True,
    )


def _memory_short() -> ApiError:
    """The rest of the body is read and thrown away: closed on it, the caller would see a reset instead of this."""
    return ApiError(
        503,
        "memory_short",
        "this agent is short of memory; send the request again, or give the runtime more (agent.runtimeResources)",
        kind="server_error",
        retry_after_s=RETRY_AFTER_S,
        should_retry=True,
    )


def request_ids(process: str) -> Callable[[], str]:
    """Ids that never repeat: ``process`` is chance, and each request has its number.

    They are the runtime's own because the ledger counts each once: with a caller's ids a repeated one would be free.
    """
    numbers = count()
    return lambda: f"req-{process}-{next(numbers):x}"
