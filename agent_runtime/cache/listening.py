"""What do the pool's other agents tell? One connection that brings their announcements, and reads what it missed.

An announcement is a field and a value, written to a hash in Redis and published on the channel of the same name. Each
arrives as ``<field> <value>``, once when it is published and again with every reading of the hash: hearing twice must
do no harm. After an outage the hashes are read before Redis counts as there again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial

from agent_runtime.redis.link import RedisLink, hash_of
from agent_runtime.redis.wire import RedisUnavailable, Wire

CATCH_UP_S = 5.0
"""How often the hashes are read, for announcements that were missed."""

LOOK_EVERY_S = 1.0
"""How often the connection is looked at, to make a broken one anew."""


class Listener:
    """Hears announcements. ``heard``: what to do with those of each key."""

    def __init__(self, link: RedisLink, heard: Mapping[str, Callable[[bytes], None]]) -> None:
        self._link = link
        self._heard = heard
        self._wire: Wire | None = None

    async def listen_forever(self) -> None:
        """Hear until cancelled."""
        loop = asyncio.get_running_loop()
        read_s = -CATCH_UP_S
        try:
            while True:
                if self._link.available and (self._is_deaf() or loop.time() >= read_s + CATCH_UP_S):
                    with suppress(RedisUnavailable):
                        await self._catch_up()
                        read_s = loop.time()
                await asyncio.sleep(LOOK_EVERY_S)
        finally:
            self._hang_up()

    async def before_return(self, wire: Wire) -> None:
        """Read what was announced while Redis was away. Raises RedisUnavailable."""
        self._hang_up()  # after an outage it may be dead without knowing
        self._wire = await self._link.listen(self._heard)
        await self._read(partial(hash_of, wire))

    async def _catch_up(self) -> None:
        """Listen, then read the hashes: announcements before the subscription are in them."""
        if self._is_deaf():
            self._wire = await self._link.listen(self._heard)
        await self._read(self._link.hash_all)

    async def _read(self, fetch: Callable[[str], Awaitable[dict[str, str]]]) -> None:
        hashes = await asyncio.gather(*(fetch(key) for key in self._heard))
        for heard, announced in zip(self._heard.values(), hashes, strict=True):
            for field, value in announced.items():
                heard(f"{field} {value}".encode())

    def _is_deaf(self) -> bool:
        return self._wire is None or self._wire.broken

    def _hang_up(self) -> None:
        if self._wire is not None:
            self._wire.break_off("closed")
