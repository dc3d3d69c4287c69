"""What happens to one request? It is answered from the cache, by a call in flight, or by a call of its own.

It speaks no HTTP towards the caller: it gives a body or frames, and what is to be told about them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from agent_runtime.cache.addresses import address, etag
from agent_runtime.cache.flights import Caller
from agent_runtime.cache.keys import cache_key, wants_samples
from agent_runtime.cache.refusals import Refusals
from agent_runtime.cache.responses import TIERS, Found, Lookup, ResponseCache
from agent_runtime.errors import ApiError
from agent_runtime.models.endpoints import Route
from agent_runtime.pipeline.accounting import Accounts
from agent_runtime.pipeline.asking import Asking
from agent_runtime.pipeline.batching import Batching
from agent_runtime.pipeline.calls import Calls
from agent_runtime.pipeline.following import Following
from agent_runtime.pipeline.forms import Reply, in_form, ready_reply
from agent_runtime.pipeline.leading import Leading, refuse_if_only_cached
from agent_runtime.pipeline.paraphrases import Paraphrases
from agent_runtime.pipeline.revalidation import Revalidations
from agent_runtime.pipeline.shortening import Shortening
from agent_runtime.pipeline.sizing import Sizing
from agent_runtime.pipeline.slots import Slots
from agent_runtime.pipeline.work import Work
from agent_runtime.requests import RESPONSES, Request, Told
from agent_runtime.telemetry.instruments import Instruments

STALE_IF_ERROR = frozenset({500, 502, 503, 504})
"""Errors a stale answer may stand in for (RFC 5861 section 4)."""


class Pipeline:
    """Answers requests."""

    def __init__(
        self,
        *,
        routes: Mapping[tuple[str, str], Route],
        asking: Asking,
        cache: ResponseCache | None,
        slots: Slots,
        accounts: Accounts,
        instruments: Instruments,
        clock: Callable[[], float],
        unix_time: Callable[[], float],
        refusals_s: float = 0.0,
        max_temperature: float = 0.0,
        paraphrases: Paraphrases | None = None,
        sizing: Sizing | None = None,
        shortening: Shortening | None = None,
        batching: Batching | None = None,
    ) -> None:
        self._sizing = sizing
        self._paraphrases = paraphrases
        self._routes = routes
        self._max_temperature = max_temperature
        self._cache = cache
        self._refusals = Refusals(refusals_s, cache.purges.cut_s) if cache is not None else None
        self._accounts = accounts
        self._instruments = instruments
        self._clock = clock
        self._unix_time = unix_time
        self._calls = Calls(
            asking=asking,
            cache=cache,
            slots=slots,
            accounts=accounts,
            instruments=instruments,
            clock=clock,
            unix_time=unix_time,
            on_end=lambda work: self._leading.end(cache, work),
            paraphrases=paraphrases,
            shortening=shortening,
            batching=batching,
        )
        self.revalidations = Revalidations()
        self._leading = Leading(
            calls=self._calls,
            following=Following(accounts, instruments),
            paraphrases=paraphrases,
            clock=clock,
            unix_time=unix_time,
            hit=self._hit,
            revalidate=self._revalidate,
        )
        if cache is not None and cache.broadcast is not None:
            cache.broadcast.stream_of = self._leading.stream_of
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
        route = self._route_of(request)
        key = self._key_of(request, route)
        cache = self._cache
        if key is None or cache is None:
            refuse_if_only_cached(request)
            return await self._calls.call(Work(request, route, None, None), "bypass")
        reply = await self._answer_by_key(cache, request, route, key, caller)
        told = reply.told
        if cache.addressed and told.stored_s is not None and reply.body is not None:
            told.address, told.etag = address(key, request.tenant), etag(key, told.stored_s)
        return reply

    async def _answer_by_key(
        self, cache: ResponseCache, request: Request, route: Route, key: str, caller: Caller
    ) -> Reply:
        control = request.control
        if control.may_read:
            ask = Lookup(key, request.tenant, control, control.stale_while_revalidate_s)
            found = cache.lookup(ask, self._unix_time())
            if found is not None and (body := in_form(request, found.entry)) is not None:
                if found.stale:
                    self._revalidate(cache, Work(request, route, key, None), key)
                return self._hit(request, found, body)
            self._refuse_again(ask, request.model)
        try:
            return await self._leading.make(cache, Work(request, route, key, None), key, caller)
        except ApiError as error:
            if self._refusals is not None:
                self._refusals.note(key, error, self._unix_time())
            if not control.may_read or control.stale_if_error_s <= 0 or error.status not in STALE_IF_ERROR:
                raise
            ask = Lookup(key, request.tenant, control, control.stale_if_error_s)
            now_s = self._unix_time()
            found = cache.lookup(ask, now_s) or await cache.lookup_shared(ask, now_s)
            if found is None or (body := in_form(request, found.entry)) is None:
                raise
            return self._hit(request, found, body)

    def _refuse_again(self, ask: Lookup, model: str) -> None:
        """Raises the ApiError with which the endpoint has just refused the same request."""
        refusal = self._refusals.find(ask, model, self._unix_time()) if self._refusals is not None else None
        if refusal is not None:
            self._instruments.cache_result("refused")
            raise refusal

    def _revalidate(self, cache: ResponseCache, work: Work, key: str) -> None:
        def make(request: Request) -> Awaitable[Reply]:
            return self._leading.make(cache, Work(request, work.route, key, None), key, Caller())

        self.revalidations.start(key, work.request, make)

    async def stop(self) -> None:
        """End what runs for no caller."""
        await self.revalidations.stop()

    async def forget_near(self, tenant: str, statement: str, similarity: float) -> int:
        """Drop a tenant's answers to questions near a statement; gives their number. Raises ApiError."""
        if self._paraphrases is None:
            raise ApiError(404, "semantic_cache_off", "this pool has no semantic cache: set cache.semantic.enabled")
        return await self._paraphrases.drop_near(tenant, statement, similarity)

    def _route_of(self, request: Request) -> Route:
        route = self._routes.get((request.operation, request.model))
        if route is None:
            known = ", ".join(model for operation, model in self._routes if operation == request.operation)
            raise ApiError(
                404,
                "model_not_found",
                f"this pool has no {request.operation} model of that name; ask for one of: {known or '(none)'}",
                param="model",
            )
        return route if not request.account else route.kept_at(request.account)

    def _key_of(self, request: Request, route: Route) -> str | None:
        """Key of the request in the cache; None when its answer must not be shared."""
        control = request.control
        if self._cache is None or control.no_store or request.operation == RESPONSES:
            return None
        chance = wants_samples(request.fields, self._max_temperature)
        if chance and control.max_age_s is None and not control.only_if_cached:
            return None
        try:
            return cache_key(request.tenant.encode() + b"\n" + route.scope, request.fields)
        except ValueError:
            raise ApiError(400, "invalid_json", "the body is nested too deeply; 200 levels are enough") from None

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
                stored_s=entry.stored_s if found.tier in TIERS else None,
                age_s=found.age_s,
                life_left_s=entry.expires_s - entry.stored_s - found.age_s,
                overhead_s=self._clock() - request.started_s,
            ),
        )
