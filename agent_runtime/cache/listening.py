"""What do the pool's other agents tell? One connection that brings their announcements, and reads what it missed.

An announcement is a field and a value, written to a hash in Redis and published on the channel of the same name. Each
arrives as ``<field> <value>``, once when it is published and again with every reading of the hash: hearing twice must
do no harm.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from agent_runtime.redis.link import RedisLink
from agent_runtime.redis.wire import RedisUnavailable, Wire

CATCH_UP_S = 5.0
"""How often the hashes are read, for announcements that were missed."""

RETRY_S = 1.0


class Listener:
    """Hears announcements. ``heard``: what to do with those of each key."""

    def __init__(self, link: RedisLink, heard: Mapping[str, Callable[[bytes], None]]) -> None:
        self._link = link
        self._heard = heard

    async def listen_forever(self) -> None:
        """Hear until cancelled."""
        wire: Wire | None = None
        try:
            while True:
                wire = await self._catch_up(wire)
                await asyncio.sleep(CATCH_UP_S if wire is not None else RETRY_S)
        finally:
            if wire is not None:
                wire.break_off("closed")

    async def _catch_up(self, wire: Wire | None) -> Wire | None:
        """Listen, then read the hashes: announcements before the subscription are in them."""
        if not self._link.available:
            return wire
        try:
            if wire is None or wire.broken:
                wire = await self._link.listen(self._heard)
            for key, heard in self._heard.items():
                for field, value in (await self._link.hash_all(key)).items():
                    heard(f"{field} {value}".encode())
        except RedisUnavailable:
            return None
        return wire
