"""Who may go on from a response that the endpoint keeps?

All callers of a pool share its account at the endpoint, which would let each of them continue, by its id, what another
one began. So each response is noted with the key it was made for: only that key may name it. And it is noted with the
endpoint that has it, since no other one could go on from it.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, suppress
from dataclasses import replace

from agent_runtime.cache.flights import Caller
from agent_runtime.errors import ApiError
from agent_runtime.models.responses import response_id
from agent_runtime.pipeline.forms import Reply
from agent_runtime.redis.link import REQUEST_PATIENCE_S, RedisLink
from agent_runtime.redis.wire import RedisUnavailable
from agent_runtime.requests import Request
from agentpool_api import keys

KEPT_S = 30 * 86400
"""How long OpenAI keeps a response ("Your data", platform documentation)."""

MAX_KNOWN = 10_000
"""Most responses noted in the process: those of agents that run without Redis, or while it is away."""


class Conversations:
    """Answers the Responses API through ``answer``, and notes whose each response is."""

    def __init__(
        self,
        answer: Callable[[Request, Caller], Awaitable[Reply]],
        link: RedisLink | None,
        *,
        namespace: str,
        pool: str,
    ) -> None:
        self._answer = answer
        self._link = link
        self._namespace = namespace
        self._pool = pool
        self._known: OrderedDict[str, str] = OrderedDict()
        self._writing: set[asyncio.Task[None]] = set()

    async def answer(self, request: Request, caller: Caller) -> Reply:
        """Answer a request. Raises ApiError, 404 when it goes on from a response that is not the caller's."""
        before = request.fields.get("previous_response_id")
        if before is not None:
            account = await self.account_of(request.tenant, before)
            if account is None:
                raise unknown_response(
                    "previous_response_not_found", "send the messages so far instead", "previous_response_id"
                )
            request = replace(request, account=account)
        reply = await self._answer(request, caller)
        if request.fields.get("store") is False:
            return reply
        account = reply.told.account
        if reply.body is not None:
            await self._note(request.tenant, account, reply.body)
        if reply.frames is None:
            return reply
        return replace(reply, frames=self._noted(request.tenant, account, reply.frames))

    async def _noted(self, tenant: str, account: str, frames: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The frames; the response is noted before the caller learns its id."""
        noted = False
        async with aclosing(frames):  # type: ignore[type-var]
            async for part in frames:
                noted = noted or await self._note(tenant, account, part)
                yield part

    async def _note(self, tenant: str, account: str, answer: bytes) -> bool:
        found = response_id(answer)
        if found is None:
            return False
        digest = _digest(tenant, found)
        self._known[digest] = account
        if len(self._known) > MAX_KNOWN:
            self._known.popitem(last=False)
        if self._link is not None:
            writing = asyncio.create_task(self._write(self._link, digest, account))
            self._writing.add(writing)
            writing.add_done_callback(self._writing.discard)
            await asyncio.wait({writing}, timeout=REQUEST_PATIENCE_S)
        return True

    async def _write(self, link: RedisLink, digest: str, account: str) -> None:
        try:
            await link.store_many([(self._key(digest), account.encode(), KEPT_S * 1000)])
        except RedisUnavailable:
            return  # this agent still knows it

    async def account_of(self, tenant: str, response: str) -> str | None:
        """Where a response is kept; None when none of that id was made for this tenant. Raises ApiError 503."""
        digest = _digest(tenant, response)
        found = self._known.get(digest)
        try:
            if found is None and self._link is not None:
                kept = await self._link.get(self._key(digest))
                found = None if kept is None else kept.decode(errors="replace")
        except RedisUnavailable:
            raise ApiError(
                503,
                "response_owner_unknown",
                "whose response that is cannot be looked up just now: try again",
                kind="server_error",
                retry_after_s=1.0,
            ) from None
        return found

    async def forget(self, tenant: str, response: str) -> None:
        """The endpoint no longer has it."""
        digest = _digest(tenant, response)
        self._known.pop(digest, None)
        if self._link is not None:
            with suppress(RedisUnavailable):  # the endpoint says 404 itself then
                await self._link.delete_many([self._key(digest)])

    def _key(self, digest: str) -> str:
        return keys.owned_response(self._namespace, self._pool, digest)


def unknown_response(code: str, advice: str, param: str | None = None) -> ApiError:
    """The error of an id that is not one of the caller's."""
    return ApiError(404, code, f"no response with that id was made for this key: {advice}", param=param)


def _digest(tenant: str, response: str) -> str:
    return hashlib.sha256(f"{tenant}\n{response}".encode()).hexdigest()[:40]
