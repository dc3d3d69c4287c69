"""Which stored answers may no longer be served, in any agent?

A purge deletes nothing: it is a moment, and answers stored up to it are not served again. It costs the same for one
answer and for a million, reaches each tier of each agent, and an agent that missed the announcement reads it later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from agent_runtime.errors import ApiError
from agent_runtime.redis_link import RedisLink
from agent_runtime.redis_wire import RedisUnavailable, Wire

CLOCK_MARGIN_S = 1.0
"""Clocks of the agents differ: a purge also covers what is stored within the next second."""

CATCH_UP_S = 5.0
"""How often the list of purges is read, for announcements that were missed."""


class Purges:
    """Moments of purges by tenant, and by tenant and model."""

    def __init__(self) -> None:
        self._cuts_s: dict[str, float] = {}
        self.news = asyncio.Event()
        """Set with every new purge."""

    def cut_s(self, tenant: str, model: str) -> float:
        """Answers stored up to this Unix second may not be served; 0 when nothing was purged."""
        if not self._cuts_s:
            return 0.0
        return max(self._cuts_s.get(tenant, 0.0), self._cuts_s.get(f"{tenant} {model}", 0.0))

    def add(self, scope: str, cut_s: float) -> None:
        """Take a purge in; an older one than is known changes nothing."""
        if cut_s > self._cuts_s.get(scope, 0.0):
            self._cuts_s[scope] = cut_s
            self.news.set()

    def merge(self, known: Mapping[str, str]) -> None:
        """Take in what Redis holds; what is no number is left out."""
        for scope, text in known.items():
            try:
                self.add(scope, float(text))
            except ValueError:
                continue


class Purger:
    """Purges for all agents of a pool, and learns of theirs."""

    def __init__(
        self,
        purges: Purges,
        link: RedisLink | None,
        key: str,
        *,
        life_s: float,
        unix_time: Callable[[], float],
    ) -> None:
        self._purges = purges
        self._link = link
        self._key = key
        self._life_s = max(int(life_s + CLOCK_MARGIN_S) + 1, 60)
        self._unix_time = unix_time

    async def purge(self, tenant: str, model: str | None) -> None:
        """Let no agent serve a tenant's answers, of one model or all, that were stored until now.

        Raises ApiError 503 when the other agents could not be told; this one forgets them in any case.
        """
        scope = tenant if model is None else f"{tenant} {model}"
        cut_s = self._unix_time() + CLOCK_MARGIN_S
        self._purges.add(scope, cut_s)
        if self._link is None:
            return
        try:
            await self._link.announce(self._key, scope, f"{cut_s:.6f}", self._life_s)
        except RedisUnavailable:
            raise ApiError(
                503,
                "purge_not_shared",
                "only this agent has purged its cache, since Redis is away; send the purge again",
                kind="server_error",
                retry_after_s=1,
            ) from None

    async def follow_forever(self) -> None:
        """Learn of other agents' purges until cancelled."""
        wire: Wire | None = None
        try:
            while True:
                wire = await self._catch_up(wire)
                await asyncio.sleep(CATCH_UP_S if wire is not None else 1.0)
        finally:
            if wire is not None:
                wire.break_off("closed")

    async def _catch_up(self, wire: Wire | None) -> Wire | None:
        """Listen, and read the whole list: announcements before the subscription are in it."""
        if self._link is None or not self._link.available:
            return wire
        try:
            if wire is None or wire.broken:
                wire = await self._link.listen(self._key, self._heard)
            self._purges.merge(await self._link.hash_all(self._key))
        except RedisUnavailable:
            return None
        return wire

    def _heard(self, message: bytes) -> None:
        scope, _, moment = message.decode(errors="replace").rpartition(" ")
        self._purges.merge({scope: moment})
