"""What happens to one request? It is answered from the cache, by a call in flight, or by a call of its own.

It speaks no HTTP towards the caller: it gives a body or frames, and what is to be told about them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace

from agent_runtime.accounting import Accounts
from agent_runtime.cache.flights import Caller, Flight
from agent_runtime.cache.keys import cache_key, wants_samples
from agent_runtime.cache.responses import Found, Lookup, ResponseCache
from agent_runtime.cache.shared import Turn
from agent_runtime.calls import Calls, Work
from agent_runtime.errors import ApiError
from agent_runtime.following import Following
from agent_runtime.forms import Reply, in_form, ready_reply
from agent_runtime.models.endpoints import Endpoint
from agent_runtime.models.upstream import Upstream
from agent_runtime.paraphrases import Paraphrases
from agent_runtime.requests import RESPONSES, Request, Told
from agent_runtime.revalidation import Revalidations
from agent_runtime.shortening import Shortening
from agent_runtime.sizing import Sizing
from agent_runtime.slots import Slots
from agent_runtime.telemetry.instruments import Instruments

FOLLOW_EVERY_S = 0.02
"""How often an agent looks whether another one has finished the same answer."""

LONGEST_FOLLOWING_S = 60.0
"""After that an agent makes the answer itself."""

STALE_IF_ERROR = frozenset({500, 502, 503, 504})
"""Errors a stale answer may stand in for (RFC 5861 section 4)."""


class Pipeline:
    """Answers requests."""

    def __init__(
        self,
        *,
        endpoints: Mapping[tuple[str, str], Endpoint],
        upstream: Upstream,
        cache: ResponseCache | None,
        slots: Slots,
        accounts: Accounts,
        instruments: Instruments,
        clock: Callable[[], float],
        unix_time: Callable[[], float],
        paraphrases: Paraphrases | None = None,
        sizing: Sizing | None = None,
        shortening: Shortening | None = None,
    ) -> None:
        self._sizing = sizing
        self._paraphrases = paraphrases
        self._endpoints = endpoints
        self._cache = cache
        self._accounts = accounts
        self._instruments = instruments
        self._clock = clock
        self._unix_time = unix_time
        self._following = Following(accounts, instruments)
        self._calls = Calls(
            upstream=upstream,
            cache=cache,
            slots=slots,
            accounts=accounts,
            instruments=instruments,
            clock=clock,
            unix_time=unix_time,
            on_end=self._end,
            paraphrases=paraphrases,
            shortening=shortening,
        )
        self.revalidations = Revalidations()
        self._flights: dict[tuple[str, bool], Flight] = {}
        self.cache_hits_total = 0

    async def answer(self, request: Request, caller: Caller) -> Reply:
        """Answer a request. Raises ApiError; cancelled when the caller leaves and nobody else waits."""
        if self._sizing is None:
            return await self._answer(request, caller)
        request, sized = self._sizing.choose(request)
        reply = await self._answer(request, caller)
        reply.told.right_sizing = sized
        return reply

    async def _answer(self, request: Request, caller: Caller) -> Reply:
        endpoint = self._endpoint_of(request)
        key = self._key_of(request, endpoint)
        cache = self._cache
        if key is None or cache is None:
            self._refuse_if_only_cached(request)
            return await self._calls.call(Work(request, endpoint, None, None), "bypass")
        control = request.control
        if control.may_read:
            ask = Lookup(key, request.tenant, control, control.stale_while_revalidate_s)
            found = cache.lookup(ask, self._unix_time())
            if found is not None and (body := in_form(request, found.entry)) is not None:
                if found.stale:
                    self._revalidate(cache, request, endpoint, key)
                return self._hit(request, found, body)
        try:
            return await self._make(cache, request, endpoint, key, caller)
        except ApiError as error:
            if not control.may_read or control.stale_if_error_s <= 0 or error.status not in STALE_IF_ERROR:
                raise
            ask = Lookup(key, request.tenant, control, control.stale_if_error_s)
            now_s = self._unix_time()
            found = cache.lookup(ask, now_s) or await cache.lookup_shared(ask, now_s)
            if found is None or (body := in_form(request, found.entry)) is None:
                raise
            return self._hit(request, found, body)

    async def _make(
        self, cache: ResponseCache, request: Request, endpoint: Endpoint, key: str, caller: Caller
    ) -> Reply:
        """Share a call in flight, or make one."""
        flight = self._flights.get((key, request.stream)) if request.control.may_read else None
        if flight is not None and flight.open:
            return await self._following.follow(request, flight)
        flight = Flight()
        return await self._lead(cache, Work(request, endpoint, key, flight), key, flight, caller)

    def _revalidate(self, cache: ResponseCache, request: Request, endpoint: Endpoint, key: str) -> None:
        self.revalidations.start(key, request, lambda again: self._make(cache, again, endpoint, key, Caller()))

    async def stop(self) -> None:
        """End what runs for no caller."""
        await self.revalidations.stop()

    async def forget_near(self, tenant: str, statement: str, similarity: float) -> int:
        """Drop a tenant's answers to questions near a statement; gives their number. Raises ApiError."""
        if self._paraphrases is None:
            raise ApiError(404, "semantic_cache_off", "this pool has no semantic cache: set cache.semantic.enabled")
        return await self._paraphrases.drop_near(tenant, statement, similarity)

    def _endpoint_of(self, request: Request) -> Endpoint:
        endpoint = self._endpoints.get((request.operation, request.model))
        if endpoint is None:
            known = ", ".join(model for operation, model in self._endpoints if operation == request.operation)
            raise ApiError(
                404,
                "model_not_found",
                f"this pool has no {request.operation} model of that name; ask for one of: {known or '(none)'}",
                param="model",
            )
        return endpoint

    def _key_of(self, request: Request, endpoint: Endpoint) -> str | None:
        """Key of the request in the cache; None when its answer must not be shared."""
        control = request.control
        if self._cache is None or control.no_store or request.operation == RESPONSES:
            return None
        if wants_samples(request.fields) and control.max_age_s is None and not control.only_if_cached:
            return None
        return cache_key(request.tenant.encode() + b"\n" + endpoint.scope, request.fields)

    def _refuse_if_only_cached(self, request: Request) -> None:
        if request.control.only_if_cached:
            raise ApiError(
                504,
                "not_cached",
                "only-if-cached was asked for and no fresh answer is stored; repeat without it to ask the model",
                should_retry=False,
            )

    # --- answers that are there already ---

    def _hit(self, request: Request, found: Found, body: bytes) -> Reply:
        entry = found.entry
        self.cache_hits_total += 1
        self._instruments.cache_result(found.tier)
        self._accounts.book_saving(request, entry, found.tier)
        return ready_reply(
            request,
            body,
            Told(
                model=entry.model,
                cache=found.tier,
                usage=entry.usage,
                cost_nanousd=0,
                saved_nanousd=entry.cost_nanousd,
                age_s=found.age_s,
                life_left_s=entry.expires_s - entry.stored_s - found.age_s,
                overhead_s=self._clock() - request.started_s,
            ),
        )

    # --- answers that must be made ---

    async def _lead(self, cache: ResponseCache, work: Work, key: str, flight: Flight, caller: Caller) -> Reply:
        """Make the answer, for this caller and for those who come while it is made."""
        request = work.request
        if request.control.may_read and not request.control.only_if_cached:
            self._flights[(key, request.stream)] = flight
            flight.led_by(caller)
        try:
            if request.control.may_read:
                found = await self._find(cache, work, key)
                if found is not None and found.stale:
                    self._revalidate(cache, request, work.endpoint, key)
                if found is None and self._paraphrases is not None:
                    found, work.asked = await self._paraphrases.find(request, work.endpoint.scope)
                if found is not None and (body := in_form(request, found.entry)) is not None:
                    flight.push(body, b"") if request.stream else None
                    flight.finish(found.entry)
                    return self._hit(request, found, body)
            self._refuse_if_only_cached(request)
            reply = await self._calls.call(work, "miss")
        except ApiError as error:
            flight.fail(error)
            raise
        except BaseException:
            flight.fail(ApiError(502, "upstream_disconnected", "the shared call was ended; try again"))
            raise
        finally:
            if not request.stream or flight.entry is not None or flight.error is not None:
                self._end(work)
        return reply

    async def _find(self, cache: ResponseCache, work: Work, key: str) -> Found | None:
        """An answer from the slower tiers, also one that another agent is just making; None: it has to be made here."""
        request, control = work.request, work.request.control
        ask = Lookup(key, request.tenant, control, control.stale_while_revalidate_s)
        if control.only_if_cached:
            return await cache.lookup_shared(ask, self._unix_time())
        give_up_s = self._clock() + LONGEST_FOLLOWING_S
        followed = False
        while True:
            found, turn = await cache.claim(ask, self._unix_time())
            work.leased = turn is Turn.MINE
            if turn is not Turn.TAKEN or self._clock() > give_up_s:
                return replace(found, tier="coalesced") if found is not None and followed else found
            followed = True
            await asyncio.sleep(FOLLOW_EVERY_S)

    def _end(self, work: Work) -> None:
        """Nobody joins the call any more; another agent may make the answer, if this one did not store it."""
        name = (work.key or "", work.request.stream)
        if work.flight is not None and self._flights.get(name) is work.flight:
            del self._flights[name]
        if work.leased and work.key is not None and self._cache is not None:
            work.leased = False
            self._cache.release(work.key)
