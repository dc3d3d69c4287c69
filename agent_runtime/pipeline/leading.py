"""Who makes an answer that nobody has? One caller of one agent; the others follow, here and in the pool's other agents.

The caller leads who finds no identical call in flight. It looks in the slower tiers, takes the answer's turn among the
agents or follows the one that has it, and makes the call if all of that brought nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from agent_runtime.cache.broadcast import RemoteStream
from agent_runtime.cache.flights import Caller, Flight
from agent_runtime.cache.responses import Found, Lookup, ResponseCache
from agent_runtime.cache.shared import Turn
from agent_runtime.errors import ApiError
from agent_runtime.pipeline.calls import Calls
from agent_runtime.pipeline.following import Following
from agent_runtime.pipeline.forms import Reply, in_form
from agent_runtime.pipeline.paraphrases import Paraphrases
from agent_runtime.pipeline.work import Work
from agent_runtime.requests import Request

FOLLOW_EVERY_S = 0.02
"""How often an agent looks whether another one has finished the same answer."""

LONGEST_FOLLOWING_S = 60.0
"""After that an agent makes the answer itself."""


class Leading:
    """Lets one caller make each answer. ``hit`` gives on a stored answer, ``revalidate`` renews a stale one."""

    def __init__(
        self,
        *,
        calls: Calls,
        following: Following,
        paraphrases: Paraphrases | None,
        clock: Callable[[], float],
        unix_time: Callable[[], float],
        hit: Callable[[Request, Found, bytes], Reply],
        revalidate: Callable[[ResponseCache, Work, str], None],
    ) -> None:
        self._calls = calls
        self._following = following
        self._paraphrases = paraphrases
        self._clock = clock
        self._unix_time = unix_time
        self._hit = hit
        self._revalidate = revalidate
        self._flights: dict[tuple[str, bool], Flight] = {}

    def stream_of(self, key: str) -> Flight | None:
        """The stream that is being made for an answer's key."""
        return self._flights.get((key, True))

    async def make(self, cache: ResponseCache, work: Work, key: str, caller: Caller) -> Reply:
        """Share a call in flight, or make one. Raises ApiError."""
        request = work.request
        flight = self._flights.get((key, request.stream)) if request.control.may_read else None
        if flight is not None and flight.open:
            return await self._following.follow(request, flight)
        flight = work.flight = Flight()
        if request.control.may_read and not request.control.only_if_cached:
            self._flights[(key, request.stream)] = flight
            flight.led_by(caller)
        try:
            reply = await self._lead(cache, work, key, flight)
        except ApiError as error:
            flight.fail(error)
            raise
        except BaseException:
            flight.fail(ApiError(502, "upstream_disconnected", "the shared call was ended; try again"))
            raise
        finally:
            if not request.stream or flight.entry is not None or flight.error is not None:
                self.end(cache, work)
        return reply

    def end(self, cache: ResponseCache | None, work: Work) -> None:
        """Nobody joins the call any more; another agent may make the answer, if this one did not store it."""
        name = (work.key or "", work.request.stream)
        if work.flight is not None and self._flights.get(name) is work.flight:
            del self._flights[name]
        if work.leased and work.key is not None and cache is not None:
            work.leased = False
            cache.release(work.key)

    async def _lead(self, cache: ResponseCache, work: Work, key: str, flight: Flight) -> Reply:
        """Make the answer, for this caller and for those who come while it is made."""
        request = work.request
        if request.control.may_read:
            found = await self._find(cache, work, key, flight)
            if isinstance(found, Reply):
                return found
            if found is not None and found.stale:
                self._revalidate(cache, work, key)
            if found is None and self._paraphrases is not None:
                found, work.asked = await self._paraphrases.find(request, work.route.scope)
            if found is not None and (body := in_form(request, found.entry)) is not None:
                flight.push(body, b"") if request.stream else None
                flight.finish(found.entry)
                return self._hit(request, found, body)
        refuse_if_only_cached(request)
        return await self._calls.call(work, "miss")

    async def _find(self, cache: ResponseCache, work: Work, key: str, flight: Flight) -> Found | Reply | None:
        """An answer from the slower tiers, or from another agent that is just making it: whole, or as it streams.

        None: it has to be made here.
        """
        request, control = work.request, work.request.control
        ask = Lookup(key, request.tenant, control, control.stale_while_revalidate_s)
        if control.only_if_cached:
            return await cache.lookup_shared(ask, self._unix_time())
        give_up_s = self._clock() + LONGEST_FOLLOWING_S
        remote: RemoteStream | None = None
        followed = False
        while True:
            found, turn, name = await cache.claim(ask, self._unix_time())
            work.leased = turn is Turn.MINE
            if turn is not Turn.TAKEN or self._clock() > give_up_s:
                return replace(found, tier="coalesced") if found is not None and followed else found
            followed = True
            if request.stream and cache.broadcast is not None:
                if remote is None or remote.turn != name:
                    remote = RemoteStream(cache.broadcast, key, name, self._clock)
                reply = await self._following.follow_remote(
                    request, flight, remote, on_end=lambda: self.end(cache, work)
                )
                if reply is not None:
                    return reply
            await asyncio.sleep(FOLLOW_EVERY_S)


def refuse_if_only_cached(request: Request) -> None:
    """Raises ApiError 504 when the caller wants no call of the model."""
    if request.control.only_if_cached:
        raise ApiError(
            504,
            "not_cached",
            "only-if-cached was asked for and no fresh answer is stored; repeat without it to ask the model",
            should_retry=False,
        )
