"""How does the runtime use Redis without ever waiting for it?

Two connections, one for requests and one for background work, and a breaker: after the first failure all calls are
refused at once until a background PING succeeds. A frozen Redis thus costs the requests of one moment 50 ms and later
ones nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

from agent_runtime.redis.wire import Address, RedisUnavailable, UnknownScript, Wire, connect
from agent_runtime.telemetry.logs import log

REQUEST_PATIENCE_S = 0.05
"""Longest wait of a request for Redis."""

BACKGROUND_PATIENCE_S = 1.0
"""Longest wait of background work for Redis, and for a connection."""


class RedisLink:
    """Redis, as far as it is there."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._requests: Wire | None = None
        self._background: Wire | None = None
        self.available = False
        self.failures_total = 0
        self.before_return: Callable[[Wire], Awaitable[None]] | None = None
        """Called with a connection when Redis answers again, before anything else uses it."""
        self._probing = asyncio.Lock()

    async def probe(self) -> bool:
        """See whether Redis is there, connecting where needed; opens or closes the breaker and tells the outcome."""
        async with self._probing:
            try:
                self._requests = await self._alive(self._requests, REQUEST_PATIENCE_S)
                self._background = await self._alive(self._background, BACKGROUND_PATIENCE_S)
                if not self.available and self.before_return is not None:
                    await self.before_return(self._background)
            except RedisUnavailable as error:
                self._failed(error)
                return False
            if not self.available:
                self.available = True
                log(logging.INFO, "Redis answers")
            return True

    async def get(self, key: str) -> bytes | None:
        """Value of a key, within the bound of a request. Raises RedisUnavailable."""
        value: bytes | None = await self._call(self._requests, "GET", key)
        return value

    async def read(self, key: str) -> bytes | None:
        """Value of a key, for background work. Raises RedisUnavailable."""
        value: bytes | None = await self._call(self._background, "GET", key)
        return value

    async def store_many(self, entries: Iterable[tuple[str, bytes, int]]) -> None:
        """Set keys to values for so many milliseconds each. Raises RedisUnavailable."""
        wire = self._background
        if wire is None or not self.available:
            raise RedisUnavailable("Redis is away")
        answers = [wire.call("SET", key, value, "PX", life_ms) for key, value, life_ms in entries]
        results = await asyncio.gather(*answers, return_exceptions=True)
        for result in results:
            if isinstance(result, RedisUnavailable):
                self._failed(result)
                raise result

    async def delete_many(self, keys: Sequence[str]) -> None:
        """DEL. Raises RedisUnavailable."""
        await self._call(self._background, "DEL", *keys)

    async def hash_set(self, key: str, field: str, value: str | bytes) -> None:
        """HSET. Raises RedisUnavailable."""
        await self._call(self._background, "HSET", key, field, value)

    async def hash_delete(self, key: str, *fields: str) -> None:
        """HDEL. Raises RedisUnavailable."""
        await self._call(self._background, "HDEL", key, *fields)

    async def run(
        self,
        script: str,
        digest: str,
        keys: Sequence[str],
        args: Sequence[str | bytes | int],
        *,
        request: bool = False,
    ) -> Any:
        """Run a Lua script by its SHA-1, sending its text only when Redis does not know it. Raises RedisUnavailable.

        ``request``: within the bound of a request.
        """
        wire = self._requests if request else self._background
        try:
            return await self._call(wire, "EVALSHA", digest, len(keys), *keys, *args)
        except UnknownScript:
            return await self._call(wire, "EVAL", script, len(keys), *keys, *args)

    async def prolong(self, keys: Sequence[str], life_ms: int) -> None:
        """PEXPIRE of each key. Raises RedisUnavailable."""
        for key in keys:
            await self._call(self._background, "PEXPIRE", key, life_ms)

    async def announce(self, key: str, values: Mapping[str, str], life_s: int) -> None:
        """Keep values in a hash for so long and tell everybody who listens to it. Raises RedisUnavailable."""
        flat = [part for field_and_value in values.items() for part in field_and_value]
        await self._call(self._background, "HSET", key, *flat)
        await self._call(self._background, "EXPIRE", key, life_s)
        for field, value in values.items():
            await self._call(self._background, "PUBLISH", key, f"{field} {value}")

    async def publish(self, channel: str, message: str) -> None:
        """PUBLISH. Raises RedisUnavailable."""
        await self._call(self._background, "PUBLISH", channel, message)

    async def append(self, key: str, item: bytes, life_ms: int) -> None:
        """RPUSH to a list that lives for so long after it. Raises RedisUnavailable."""
        await self._call(self._background, "RPUSH", key, item)
        await self._call(self._background, "PEXPIRE", key, life_ms)

    async def list_from(self, key: str, position: int) -> list[bytes]:
        """LRANGE to the end. Raises RedisUnavailable."""
        items: list[bytes] = await self._call(self._background, "LRANGE", key, position, -1)
        return items

    async def listen(self, channels: Mapping[str, Callable[[bytes], None]]) -> Wire:
        """A connection that brings the channels' messages until it breaks. Raises RedisUnavailable."""

        def pushed(reply: list[Any]) -> None:
            if isinstance(reply, list) and len(reply) == 3 and reply[0] == b"message":
                channels[reply[1].decode()](reply[2])

        wire = await connect(
            self._address, timeout_s=BACKGROUND_PATIENCE_S, patience_s=BACKGROUND_PATIENCE_S, on_message=pushed
        )
        wire.subscribe(*channels)
        return wire

    async def hash_all(self, key: str) -> dict[str, str]:
        """HGETALL. Raises RedisUnavailable."""
        return _as_dict(await self._call(self._background, "HGETALL", key))

    def close(self) -> None:
        """Close the connections."""
        self.available = False
        for wire in (self._requests, self._background):
            if wire is not None:
                wire.break_off("closed")

    async def _call(self, wire: Wire | None, *command: str | bytes | int) -> Any:
        if wire is None or not self.available:
            raise RedisUnavailable("Redis is away")
        try:
            return await wire.call(*command)
        except UnknownScript:
            raise
        except RedisUnavailable as error:
            self._failed(error)
            raise

    async def _alive(self, wire: Wire | None, patience_s: float) -> Wire:
        """This connection if it still works, else a new one. Raises RedisUnavailable."""
        if wire is not None and not wire.broken:
            try:
                await wire.call("PING")
                return wire
            except RedisUnavailable:
                wire.break_off("no sign of life")
        return await connect(self._address, timeout_s=BACKGROUND_PATIENCE_S, patience_s=patience_s)

    def _failed(self, error: RedisUnavailable) -> None:
        self.failures_total += 1
        if self.available:
            self.available = False
            log(logging.WARNING, "Redis does not answer; going on without it", reason=str(error))


async def hash_of(wire: Wire, key: str) -> dict[str, str]:
    """HGETALL on this connection. Raises RedisUnavailable."""
    return _as_dict(await wire.call("HGETALL", key))


def _as_dict(flat: list[bytes]) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in zip(flat[::2], flat[1::2], strict=True)}
