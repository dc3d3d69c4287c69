"""How does the runtime talk to Redis without ever waiting for it?

One client, a bound on every call and a breaker: after the first failure all calls are refused at once until a
background PING succeeds. A frozen Redis thus costs the requests of one moment 50 ms and later ones nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Iterable
from typing import Any, TypeVar

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError

from agent_runtime.telemetry.logs import log

REQUEST_TIMEOUT_S = 0.05
"""Longest wait of a request for Redis."""

BACKGROUND_TIMEOUT_S = 1.0
"""Longest wait of background work for Redis."""

T = TypeVar("T")


class RedisUnavailable(Exception):  # noqa: N818  (a state, expected by every caller)
    """Raised when Redis did not answer in time, refused, or is known to be away. A retry helps after it is back."""


class RedisLink:
    """A connection to Redis with a breaker."""

    def __init__(self, url: str) -> None:
        self._client: Redis = Redis.from_url(
            url,
            retry=Retry(NoBackoff(), 0),
            socket_connect_timeout=BACKGROUND_TIMEOUT_S,
            socket_keepalive=True,
            health_check_interval=0,
            max_connections=64,
        )
        self.available = False
        self.failures_total = 0

    async def probe(self) -> bool:
        """Ask Redis for a sign of life, open or close the breaker accordingly, and tell whether it is there."""
        try:
            async with asyncio.timeout(BACKGROUND_TIMEOUT_S):
                await self._client.ping()
        except (RedisError, OSError, TimeoutError) as error:
            self._failed(error)
            return False
        if not self.available:
            self.available = True
            log(logging.INFO, "Redis answers")
        return True

    async def get(self, key: str) -> bytes | None:
        """Value of a key, within the bound of a request. Raises RedisUnavailable."""
        value: bytes | None = await self._bounded(_awaitable(self._client.get(key)), REQUEST_TIMEOUT_S)
        return value

    async def store_many(self, entries: Iterable[tuple[str, bytes, int]]) -> None:
        """Set keys to values for so many milliseconds each. Raises RedisUnavailable."""
        pipe = self._client.pipeline(transaction=False)
        for key, value, life_ms in entries:
            pipe.set(key, value, px=life_ms)
        await self._bounded(pipe.execute(), BACKGROUND_TIMEOUT_S)

    async def hash_set(self, key: str, field: str, value: str | bytes) -> None:
        """HSET. Raises RedisUnavailable."""
        await self._bounded(_awaitable(self._client.hset(key, field, value)), BACKGROUND_TIMEOUT_S)

    async def hash_delete(self, key: str, field: str) -> None:
        """HDEL. Raises RedisUnavailable."""
        await self._bounded(_awaitable(self._client.hdel(key, field)), BACKGROUND_TIMEOUT_S)

    async def run(self, script: str, digest: str, keys: list[str], args: list[Any]) -> Any:
        """Run a Lua script by its SHA-1, sending its text only when Redis does not know it. Raises RedisUnavailable."""
        try:
            return await self._bounded(
                _awaitable(self._client.evalsha(digest, len(keys), *keys, *args)), BACKGROUND_TIMEOUT_S
            )
        except NoScriptError:
            return await self._bounded(
                _awaitable(self._client.eval(script, len(keys), *keys, *args)), BACKGROUND_TIMEOUT_S
            )

    async def aclose(self) -> None:
        """Close the connections; never waits for Redis."""
        try:
            async with asyncio.timeout(BACKGROUND_TIMEOUT_S):
                await self._client.aclose()
        except (RedisError, OSError, TimeoutError):
            return

    async def _bounded(self, call: Awaitable[T], timeout_s: float) -> T:
        if not self.available:
            _discard(call)
            raise RedisUnavailable("Redis is away")
        try:
            async with asyncio.timeout(timeout_s):
                return await call
        except NoScriptError:
            raise
        except (RedisError, OSError, TimeoutError) as error:
            self._failed(error)
            raise RedisUnavailable(_reason(error)) from None

    def _failed(self, error: Exception) -> None:
        self.failures_total += 1
        if self.available:
            self.available = False
            log(logging.WARNING, "Redis does not answer; going on without it", reason=_reason(error))


def _awaitable(call: Any) -> Awaitable[Any]:
    """redis-py types its commands as answer or awaitable; the asyncio client's are awaitable."""
    result: Awaitable[Any] = call
    return result


def _discard(call: Awaitable[Any]) -> None:
    close = getattr(call, "close", None)
    if close is not None:
        close()


def _reason(error: Exception) -> str:
    """What happened, without the URL: it may hold a password."""
    return "no answer in time" if isinstance(error, TimeoutError) else type(error).__name__
