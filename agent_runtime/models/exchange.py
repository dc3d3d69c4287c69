"""How is one request sent to one endpoint, and its answer read? With a limit for each part of the way.

A try ends with an answer whose first bytes are there, or with a Failure. Waiting for a connection counts against the
deadline alone; a stream then has to begin, and go on, in time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NoReturn

import aiohttp

from agent_runtime.models.backoff import retry_after_s
from agent_runtime.models.circuit import Circuit
from agent_runtime.models.endpoints import Endpoint, Resource
from agent_runtime.models.failures import (
    FirstTokenTimeout,
    PoolExhausted,
    TokenTimeout,
    broken_stream,
    failure_of,
    refusal,
    too_large,
)
from agent_runtime.models.pool import CONNECTED, Pool
from agent_runtime.models.sse import MAX_FRAME_BYTES, begins_with_error
from agent_runtime.models.wire import Response

MAX_ANSWER_BYTES = 64 * 1024 * 1024
"""Largest whole answer taken from an endpoint."""

MAX_ERROR_BYTES = 64 * 1024


class Answer:
    """A successful answer of an endpoint: its first bytes are there, more may follow until the deadline."""

    __slots__ = ("_circuit", "_deadline_s", "_loop", "_read_s", "_response", "_timer", "_token_s", "endpoint", "first")

    def __init__(
        self,
        response: Response,
        first: bytes,
        endpoint: Endpoint,
        circuit: Circuit,
        *,
        token_timeout_s: float,
        deadline_s: float,
    ) -> None:
        self._response = response
        self._circuit = circuit
        self._loop = asyncio.get_running_loop()
        self._token_s = token_timeout_s
        self._deadline_s = deadline_s
        self._timer: asyncio.TimerHandle | None = None
        self._read_s: float | None = None
        """Since when a read waits."""
        self.endpoint = endpoint
        self.first = first
        """The whole body of a JSON answer, or the first chunks of a stream."""

    @property
    def streamed(self) -> bool:
        """Is it a stream?"""
        return self._response.streamed

    async def more(self) -> bytes:
        """Next chunk of a stream; empty at its end. Raises ApiError."""
        self._read_s = self._loop.time()
        if self._timer is None:
            self._timer = self._loop.call_at(min(self._read_s + self._token_s, self._deadline_s), self._check)
        try:
            return await self._response.content.readany()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            failure = failure_of(error, self.endpoint)
            if type(error) is not TimeoutError:  # the deadline: whoever reads slowly meets it too
                self._circuit.fail(self._loop.time())
            raise failure.error from None
        finally:
            self._read_s = None

    def close(self) -> None:
        """Let go of the connection; the endpoint may stop."""
        if self._timer is not None:
            self._timer.cancel()
        self._response.close()

    def _check(self) -> None:
        """One timer for a whole stream: it looks since when a read waits, instead of being set for each."""
        now_s = self._loop.time()
        ends_s = (now_s if self._read_s is None else self._read_s) + self._token_s
        if now_s >= min(ends_s, self._deadline_s):
            self._response.content.set_exception(TimeoutError() if now_s >= self._deadline_s else TokenTimeout())
        else:
            self._timer = self._loop.call_at(min(ends_s, self._deadline_s), self._check)


class Exchange:
    """One try: a request to one endpoint. ``deadline_s``: of the call, on the loop's clock."""

    __slots__ = ("_clock", "_deadline_s", "_endpoint", "_first_s", "_limit", "_pool", "_token_s")

    def __init__(
        self, pool: Pool, endpoint: Endpoint, *, deadline_s: float, first_token_s: float | None, token_s: float
    ) -> None:
        self._pool = pool
        self._endpoint = endpoint
        self._deadline_s = deadline_s
        self._first_s = first_token_s
        self._token_s = token_s
        self._limit: type[TimeoutError] = PoolExhausted
        """What it means when the clock runs out now."""
        self._clock = asyncio.timeout_at(deadline_s)

    async def run(
        self,
        body: bytes,
        headers: dict[str, str],
        key: str | None,
        circuit: Circuit,
        unix_time: Callable[[], float],
        resource: Resource | None = None,
    ) -> Answer:
        """Send the request. A JSON answer is whole when this returns; of a stream the first frame with data is there.

        Raises Failure.
        """
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        CONNECTED.set(self._on_connection)
        try:
            async with self._clock:
                response = await self._pool.send(self._endpoint, body, headers, resource)
                try:
                    if response.status != 200:
                        await self._refused(response, key, unix_time())
                    if response.streamed:
                        first = await self._first_frame(response)
                    else:
                        first = await self._whole(response)
                except BaseException:
                    response.close()
                    raise
        except TimeoutError as error:
            raise failure_of(self._timeout(error), self._endpoint) from None
        except (aiohttp.ClientError, OSError) as error:
            raise failure_of(error, self._endpoint) from None
        return Answer(
            response, first, self._endpoint, circuit, token_timeout_s=self._token_s, deadline_s=self._deadline_s
        )

    def _on_connection(self) -> None:
        self._limit = TimeoutError
        if self._first_s is not None:
            self._allow(self._first_s, FirstTokenTimeout)

    def _allow(self, seconds: float, limit: type[TimeoutError]) -> None:
        """So long from now on, within the deadline."""
        ends_s = asyncio.get_running_loop().time() + seconds
        if ends_s < self._deadline_s:
            self._limit = limit
            self._clock.reschedule(ends_s)
        else:
            self._limit = TimeoutError
            self._clock.reschedule(self._deadline_s)

    def _timeout(self, error: TimeoutError) -> Exception:
        """Which of the limits was it?"""
        return self._limit() if self._clock.expired() else error

    async def _first_frame(self, response: Response) -> bytes:
        """Chunks up to the first frame with data: comments that keep a connection open are no answer yet."""
        first = await response.content.readany()
        while b"data:" not in first and not response.content.at_eof() and len(first) < MAX_FRAME_BYTES:
            first += await response.content.readany()
        if not first:
            raise aiohttp.ServerDisconnectedError
        if begins_with_error(first):
            raise broken_stream(self._endpoint, first)
        return first

    async def _whole(self, response: Response) -> bytes:
        content = response.content
        first = b"" if content.at_eof() else await content.readany()
        if content.at_eof():
            return first
        parts, size = [first], len(first)
        while True:
            self._allow(self._token_s, TokenTimeout)
            chunk = await content.readany()
            if not chunk:
                return b"".join(parts)
            size += len(chunk)
            if size > MAX_ANSWER_BYTES:
                raise too_large(self._endpoint, MAX_ANSWER_BYTES)
            parts.append(chunk)

    async def _refused(self, response: Response, key: str | None, now_s: float) -> NoReturn:
        """Raise what an answer other than 200 means."""
        self._allow(self._token_s, TokenTimeout)
        content = await response.content.read(MAX_ERROR_BYTES)
        raise refusal(
            self._endpoint,
            response.status,
            content,
            key=key,
            wait_s=retry_after_s(response.headers.get("Retry-After"), now_s),
            hopeless=response.headers.get("x-should-retry") == "false",
        )
