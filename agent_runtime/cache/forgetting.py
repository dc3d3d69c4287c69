"""How does every agent drop its answers near a statement? Each knows only the questions that it was asked itself.

The statement goes to all of them, with an id: an agent hears it when it is said, or later from Redis, and drops once.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable

import orjson

from agent_runtime.errors import ApiError
from agent_runtime.redis.link import RedisLink
from agent_runtime.redis.wire import RedisUnavailable
from agent_runtime.telemetry.logs import log

KEPT_S = 600
"""For so long an agent that was cut off from Redis can still learn of a statement."""

Drop = Callable[[str, str, float], Awaitable[int]]
"""Of a tenant, what is near a statement, from a similarity on; gives the number of dropped answers."""


class Forgetting:
    """Forgets statements here and in the pool's other agents."""

    def __init__(self, link: RedisLink | None, key: str, drop: Drop, clock: Callable[[], float]) -> None:
        self._link = link
        self.key = key
        """Hash and channel of the announcements."""
        self._drop = drop
        self._clock = clock
        self._known: dict[str, float] = {}
        """Ids of statements, and when they were heard (monotonic)."""
        self._tasks: set[asyncio.Task[None]] = set()

    async def forget(self, tenant: str, statement: str, similarity: float) -> int:
        """Drop the tenant's answers near a statement in all agents; gives the number of those known to this one.

        Raises ApiError 503 when the other agents could not be told; this one has forgotten in any case.
        """
        dropped = await self._drop(tenant, statement, similarity)
        if self._link is None:
            return dropped
        name = secrets.token_hex(8)
        over = self._outlived()
        self._known[name] = self._clock()
        told = orjson.dumps({"tenant": tenant, "near": statement, "similarity": similarity}).decode()
        try:
            if over:
                await self._link.hash_delete(self.key, *over)
            await self._link.announce(self.key, {name: told}, KEPT_S)
        except RedisUnavailable:
            raise ApiError(
                503,
                "purge_not_shared",
                "only this agent has forgotten, since Redis is away; send the statement again",
                kind="server_error",
                retry_after_s=1,
            ) from None
        return dropped

    def heard(self, message: bytes) -> None:
        """Another agent, or this one, was told to forget."""
        name, _, told = message.decode(errors="replace").partition(" ")
        if name in self._known:
            return
        self._known[name] = self._clock()
        try:
            fields = orjson.loads(told)
            work = self._drop_quietly(str(fields["tenant"]), str(fields["near"]), float(fields["similarity"]))
        except (ValueError, KeyError, TypeError):
            return  # not from an agent
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _outlived(self) -> list[str]:
        """Statements that every agent has heard by now."""
        over = [name for name, heard_s in self._known.items() if heard_s < self._clock() - KEPT_S]
        for name in over:
            del self._known[name]
        return over

    async def _drop_quietly(self, tenant: str, statement: str, similarity: float) -> None:
        try:
            await self._drop(tenant, statement, similarity)
        except ApiError as error:  # Redis left again: the others have heard the statement themselves
            log(logging.WARNING, "forgot a statement in this agent only", reason=error.message)
