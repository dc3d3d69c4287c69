"""How is an endpoint called, and what does each of its failures mean for the caller?

One pool of connections for all endpoints, with limits in all and per host. A call is repeated while nothing of its
answer has been passed on. Vendor errors are translated here, once.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping
from typing import NoReturn

import aiohttp
import orjson

from agent_runtime.errors import ApiError
from agent_runtime.models.backoff import RETRYABLE, backoff_s, retry_after_s
from agent_runtime.models.endpoints import Endpoint
from agent_runtime.telemetry.instruments import Instruments
from agentpool_api.quantity import duration_s
from agentpool_api.runtime_settings import Connections

MAX_ANSWER_BYTES = 64 * 1024 * 1024
"""Largest whole answer taken from an endpoint."""

MAX_ERROR_BYTES = 64 * 1024
DNS_TTL_S = 30
USER_AGENT = "agentpool-runtime"


class Answer:
    """A successful answer of an endpoint: its first bytes are there, more may follow."""

    def __init__(self, response: aiohttp.ClientResponse, first: bytes, host: str) -> None:
        self._response = response
        self._host = host
        self.first = first
        """The whole body of a JSON answer, or the first chunk of a stream."""
        self.streamed = _is_stream(response)

    async def more(self) -> bytes:
        """Next chunk of a stream; empty at its end. Raises ApiError."""
        try:
            return await self._response.content.readany()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise failure_of(error, self._host).error from None

    def close(self) -> None:
        """Give the connection back when the answer was read to its end, else close it: the endpoint may stop."""
        self._response.release() if self._response.content.at_eof() else self._response.close()


class Failure(Exception):  # noqa: N818
    """Raised when one attempt failed; ``retryable`` tells whether another may succeed."""

    def __init__(self, error: ApiError, reason: str, *, retryable: bool) -> None:
        super().__init__(reason)
        self.error = error
        self.reason = reason
        self.retryable = retryable


class Upstream:
    """The endpoints, behind one pool of connections."""

    def __init__(
        self,
        connections: Connections,
        endpoint_key: Callable[[int], str | None],
        instruments: Instruments,
        *,
        field_prefix: str,
        chance: Callable[[], float],
        unix_time: Callable[[], float],
    ) -> None:
        self._endpoint_key = endpoint_key
        self._instruments = instruments
        self._field_prefix = field_prefix
        self._chance = chance
        self._unix_time = unix_time
        self._retries = connections.retries
        self._connect_timeout_s = duration_s(connections.connect_timeout)
        self._timeout_s = duration_s(connections.timeout)
        self._timeout = aiohttp.ClientTimeout(total=self._timeout_s, sock_connect=self._connect_timeout_s)
        self._connector = aiohttp.TCPConnector(
            limit=connections.total,
            limit_per_host=connections.per_host,
            keepalive_timeout=duration_s(connections.keep_alive),
            ttl_dns_cache=DNS_TTL_S,
        )
        self._session = aiohttp.ClientSession(
            connector=self._connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity", "Content-Type": "application/json"},
            read_bufsize=2**17,
        )

    async def call(self, endpoint: Endpoint, body: bytes, headers: Mapping[str, str]) -> Answer:
        """POST a request and return its answer, repeating failed attempts. Raises ApiError.

        A JSON answer is whole when this returns; of a stream the first chunk is there, so a stream that breaks before
        it is repeated too.
        """
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + self._timeout_s
        timeout = self._timeout
        attempt = 0
        while True:
            try:
                answer = await self._attempt(endpoint, body, headers, timeout)
            except Failure as failure:
                self._instruments.upstream_outcome(endpoint.host, failure.reason)
                await self._wait_to_repeat(endpoint, failure, attempt, deadline_s - loop.time())
            else:
                self._instruments.upstream_outcome(endpoint.host, "ok")
                return answer
            attempt += 1
            left_s = deadline_s - loop.time()
            timeout = aiohttp.ClientTimeout(total=left_s, sock_connect=min(self._connect_timeout_s, left_s))

    async def _wait_to_repeat(self, endpoint: Endpoint, failure: Failure, attempt: int, left_s: float) -> None:
        """Sleep before the next attempt, or raise the failure's error when there is none."""
        wait_s = backoff_s(attempt, failure.error.retry_after_s, self._chance())
        if not failure.retryable or attempt >= self._retries or wait_s is None or wait_s >= left_s:
            raise failure.error from None
        self._instruments.upstream_retries.labels(endpoint.host, failure.reason).inc()
        await asyncio.sleep(wait_s)

    async def _attempt(
        self,
        endpoint: Endpoint,
        body: bytes,
        headers: Mapping[str, str],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109
    ) -> Answer:
        key = self._endpoint_key(endpoint.index)
        if key is not None:
            headers = {**headers, "Authorization": f"Bearer {key}"}
        try:
            response = await self._session.post(
                endpoint.url, data=body, headers=headers, timeout=timeout, allow_redirects=False
            )
            try:
                if response.status != 200:
                    await self._refused(endpoint, response, key)
                if _is_stream(response):
                    return Answer(response, await response.content.readany(), endpoint.host)
                return Answer(response, await _read_whole(response, endpoint.host), endpoint.host)
            except BaseException:
                response.close()
                raise
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise failure_of(error, endpoint.host) from None

    async def _refused(self, endpoint: Endpoint, response: aiohttp.ClientResponse, key: str | None) -> NoReturn:
        """Raise what an answer other than 200 means."""
        content = await response.content.read(MAX_ERROR_BYTES)
        wait_s = retry_after_s(response.headers.get("Retry-After"), self._unix_time())
        retryable = response.status in RETRYABLE and response.headers.get("x-should-retry") != "false"
        error = self._error_of(endpoint, response.status, content, key, wait_s)
        raise Failure(error, f"http_{response.status}", retryable=retryable)

    def _error_of(
        self, endpoint: Endpoint, status: int, content: bytes, key: str | None, wait_s: float | None
    ) -> ApiError:
        if status in (401, 403):
            field = f"{self._field_prefix}models[{endpoint.index}].apiKeySecretRef"
            return ApiError(
                502,
                "upstream_credential_refused",
                f"the endpoint of model {endpoint.model} refused the pool's credential (HTTP {status}): check {field}",
                kind="server_error",
                should_retry=False,
            )
        if 400 <= status < 500:
            body = content.replace(key.encode(), b"***") if key else content
            return ApiError(
                status,
                "upstream_refused",
                f"the endpoint of model {endpoint.model} refused the request (HTTP {status})",
                kind="rate_limit_error" if status == 429 else "invalid_request_error",
                retry_after_s=wait_s,
                body=body if _is_error_object(body) else None,
            )
        return ApiError(
            503 if status == 503 else 502,
            "upstream_error",
            f"the endpoint of model {endpoint.model} failed (HTTP {status}); it was tried again without success",
            kind="server_error",
            retry_after_s=wait_s,
            should_retry=False,
        )

    def connections_in_use(self) -> tuple[int, int]:
        """Connections with a call on them, and idle ones."""
        idle = sum(len(waiting) for waiting in self._connector._conns.values())
        return len(self._connector._acquired), idle

    async def aclose(self) -> None:
        await self._session.close()


def _is_stream(response: aiohttp.ClientResponse) -> bool:
    """Reads the header itself: aiohttp's ``content_type`` goes through the e-mail parser."""
    return response.headers.get("Content-Type", "")[:17].lower() == "text/event-stream"


async def _read_whole(response: aiohttp.ClientResponse, host: str) -> bytes:
    if response.content_length is not None and response.content_length <= MAX_ANSWER_BYTES:
        return await response.read()
    parts, size = [], 0
    while chunk := await response.content.readany():
        size += len(chunk)
        if size > MAX_ANSWER_BYTES:
            error = _server_error(502, "upstream_answer_too_large", f"{host} sent more than {MAX_ANSWER_BYTES} bytes")
            raise Failure(error, "too_large", retryable=False)
        parts.append(chunk)
    return b"".join(parts)


def _is_error_object(content: bytes) -> bool:
    try:
        parsed = orjson.loads(content)
    except orjson.JSONDecodeError:
        return False
    return isinstance(parsed, dict) and isinstance(parsed.get("error"), dict)


def _server_error(status: int, code: str, message: str) -> ApiError:
    return ApiError(status, code, message, kind="server_error", should_retry=False)


def failure_of(error: Exception, host: str) -> Failure:
    """What a failure of the connection means: whom to tell what, and whether another attempt may succeed."""
    match error:
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientConnectorSSLError() | ssl.SSLError():
            text = f"the endpoint {host} shows no certificate that is trusted here: check its URL and certificate"
            return Failure(_server_error(502, "upstream_tls_error", text), "tls", retryable=False)
        case aiohttp.ConnectionTimeoutError():
            text = f"the endpoint {host} did not accept a connection in time"
            return Failure(_server_error(504, "upstream_timeout", text), "connect_timeout", retryable=True)
        case TimeoutError():
            text = f"the endpoint {host} did not answer within connections.timeout"
            return Failure(_server_error(504, "upstream_timeout", text), "timeout", retryable=False)
        case aiohttp.ClientConnectorError():
            text = f"the endpoint {host} cannot be reached: check models[].endpoint and the network"
            return Failure(_server_error(502, "upstream_unreachable", text), "unreachable", retryable=True)
        case aiohttp.ClientResponseError() | aiohttp.InvalidURL():
            text = f"the endpoint {host} does not speak HTTP as expected"
            return Failure(_server_error(502, "upstream_invalid_answer", text), "invalid", retryable=False)
        case _:
            text = f"the endpoint {host} closed the connection before its answer was whole"
            return Failure(_server_error(502, "upstream_disconnected", text), "disconnected", retryable=True)
