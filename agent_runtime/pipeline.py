"""What happens to one request? Look up, follow, admit, call, account, store.

The only module that knows the cache, the endpoints and the money at once. It speaks no HTTP towards the caller: it
gives a body or frames, and what is to be told about them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, replace

from agent_runtime.accounting import Accounts
from agent_runtime.cache.control import CacheControl
from agent_runtime.cache.entry import Entry
from agent_runtime.cache.flights import Caller, Flight, Part
from agent_runtime.cache.keys import cache_key, wants_samples
from agent_runtime.cache.responses import Found, Lookup, ResponseCache
from agent_runtime.cache.shared import Turn
from agent_runtime.errors import ApiError
from agent_runtime.models.answers import NotJson, read_answer
from agent_runtime.models.assembly import stream_of, whole_answer
from agent_runtime.models.endpoints import Endpoint, rewrite
from agent_runtime.models.sse import FrameTooLarge, StreamReader, data_frame, with_usage
from agent_runtime.models.upstream import Answer, Upstream
from agent_runtime.paraphrases import Asked, Paraphrases
from agent_runtime.requests import CHAT, Request, Told
from agent_runtime.shortening import Shortened, Shortening
from agent_runtime.sizing import Sizing
from agent_runtime.slots import Slots
from agent_runtime.telemetry.instruments import Instruments
from agent_runtime.usage import Usage, estimate

FOLLOW_EVERY_S = 0.02
"""How often an agent looks whether another one has finished the same answer."""

LONGEST_FOLLOWING_S = 60.0
"""After that an agent makes the answer itself."""

STALE_IF_ERROR = frozenset({500, 502, 503, 504})
"""Errors a stale answer may stand in for (RFC 5861 section 4)."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer for the caller: a body, or the frames of a stream."""

    told: Told
    body: bytes | None = None
    frames: AsyncIterator[bytes] | None = None


class _Work:
    """One request that holds a slot while its endpoint works."""

    __slots__ = (
        "asked",
        "began_s",
        "endpoint",
        "flight",
        "key",
        "leased",
        "request",
        "shortened",
        "upstream_s",
        "waited_s",
    )

    def __init__(self, request: Request, endpoint: Endpoint, key: str | None, flight: Flight | None) -> None:
        self.request = request
        self.endpoint = endpoint
        self.key = key
        self.flight = flight
        self.leased = False
        self.asked: Asked | None = None
        self.shortened: Shortened | None = None
        self.waited_s = 0.0
        self.upstream_s = 0.0
        self.began_s = 0.0


class Pipeline:
    """Answers requests."""

    def __init__(
        self,
        *,
        endpoints: Mapping[str, Endpoint],
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
        self._shortening = shortening
        self._paraphrases = paraphrases
        self._endpoints = endpoints
        self._upstream = upstream
        self._cache = cache
        self._slots = slots
        self._accounts = accounts
        self._instruments = instruments
        self._clock = clock
        self._unix_time = unix_time
        self._flights: dict[tuple[str, bool], Flight] = {}
        self._revalidating: set[str] = set()
        self._background: set[asyncio.Task[None]] = set()
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
            return await self._call(_Work(request, endpoint, None, None), "bypass")
        control = request.control
        if control.may_read:
            ask = Lookup(key, request.tenant, control, control.stale_while_revalidate_s)
            found = cache.lookup(ask, self._unix_time())
            if found is not None and (body := self._in_form(request, found.entry)) is not None:
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
            if found is None or (body := self._in_form(request, found.entry)) is None:
                raise
            return self._hit(request, found, body)

    async def _make(
        self, cache: ResponseCache, request: Request, endpoint: Endpoint, key: str, caller: Caller
    ) -> Reply:
        """Share a call in flight, or make one."""
        flight = self._flights.get((key, request.stream)) if request.control.may_read else None
        if flight is not None and flight.open:
            return await self._follow(request, flight)
        flight = Flight()
        return await self._lead(cache, _Work(request, endpoint, key, flight), key, flight, caller)

    def _revalidate(self, cache: ResponseCache, request: Request, endpoint: Endpoint, key: str) -> None:
        """Make a new answer in the background, once however many callers got the stale one."""
        if key not in self._revalidating:
            self._revalidating.add(key)
            again = replace(request, control=CacheControl(no_cache=True), request_id=request.request_id + "-r")
            task = asyncio.get_running_loop().create_task(self._renew(cache, again, endpoint, key))
            self._background.add(task)
            task.add_done_callback(self._background.discard)

    async def _renew(self, cache: ResponseCache, request: Request, endpoint: Endpoint, key: str) -> None:
        try:
            reply = await self._make(cache, request, endpoint, key, Caller())
            if reply.frames is not None:
                async for _ in reply.frames:
                    pass
        except ApiError:
            return  # counted as the endpoint's failure; the next caller tries again
        finally:
            self._revalidating.discard(key)

    async def stop(self) -> None:
        """End what runs for no caller."""
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)

    async def forget_near(self, tenant: str, statement: str, similarity: float) -> int:
        """Drop a tenant's answers to questions near a statement; gives their number. Raises ApiError."""
        if self._paraphrases is None:
            raise ApiError(404, "semantic_cache_off", "this pool has no semantic cache: set cache.semantic.enabled")
        return await self._paraphrases.drop_near(tenant, statement, similarity)

    def _endpoint_of(self, request: Request) -> Endpoint:
        endpoint = self._endpoints.get(request.model)
        if endpoint is None or endpoint.kind != request.operation:
            known = ", ".join(name for name, other in self._endpoints.items() if other.kind == request.operation)
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
        if self._cache is None or control.no_store:
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
        return self._ready(
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

    def _in_form(self, request: Request, entry: Entry) -> bytes | None:
        """The stored answer as the caller wants it: frames or JSON; None when it cannot be had from the other form."""
        if request.stream:
            frames = (entry.body, entry.usage_frame) if entry.streamed else stream_of(entry.body)
            return None if frames is None else with_usage(frames[0], frames[1] if request.include_usage else b"")
        return whole_answer(entry.body, entry.usage_frame) if entry.streamed else entry.body

    def _ready(self, request: Request, body: bytes, told: Told) -> Reply:
        return Reply(told, frames=_one(body)) if request.stream else Reply(told, body=body)

    async def _follow(self, request: Request, flight: Flight) -> Reply:
        """Wait for the answer of an identical request."""
        if request.stream:
            parts = flight.stream()
            first = await anext(parts, None)  # a call that fails before its first frame raises here
            told = Told(model=request.model, cache="coalesced", overhead_s=0.0)
            return Reply(told, frames=self._followed(request, flight, first, parts))
        entry = await flight.follow()
        body = self._in_form(request, entry) if entry is not None else None
        if entry is None or body is None:
            raise ApiError(502, "upstream_disconnected", "the shared call ended without an answer; try again")
        self._book_follower(request, entry)
        told = Told(model=entry.model, cache="coalesced", cost_nanousd=0, saved_nanousd=entry.cost_nanousd)
        return Reply(told, body=body)

    async def _followed(
        self, request: Request, flight: Flight, first: Part | None, parts: AsyncIterator[Part]
    ) -> AsyncIterator[bytes]:
        part = first
        try:
            while part is not None:
                out = with_usage(part[0], part[1] if request.include_usage else b"")
                if out:
                    yield out
                part = await anext(parts, None)
        except ApiError as error:
            yield data_frame(error.payload())
        if flight.entry is not None:
            self._book_follower(request, flight.entry)

    def _book_follower(self, request: Request, entry: Entry) -> None:
        self._instruments.cache_result("coalesced")
        self._accounts.book_saving(request, entry, "coalesced")

    # --- answers that must be made ---

    async def _lead(self, cache: ResponseCache, work: _Work, key: str, flight: Flight, caller: Caller) -> Reply:
        """Make the answer, for this caller and for those who come while it is made."""
        request = work.request
        name = (key, request.stream)
        if request.control.may_read and not request.control.only_if_cached:
            self._flights[name] = flight
            flight.led_by(caller)
        try:
            if request.control.may_read:
                found = await self._find(cache, work, key)
                if found is not None and found.stale:
                    self._revalidate(cache, request, work.endpoint, key)
                if found is None and self._paraphrases is not None:
                    found, work.asked = await self._paraphrases.find(request, work.endpoint.scope)
                if found is not None and (body := self._in_form(request, found.entry)) is not None:
                    flight.push(body, b"") if request.stream else None
                    flight.finish(found.entry)
                    return self._hit(request, found, body)
            self._refuse_if_only_cached(request)
            reply = await self._call(work, "miss")
        except ApiError as error:
            flight.fail(error)
            raise
        except BaseException:
            flight.fail(ApiError(502, "upstream_disconnected", "the shared call was ended; try again"))
            raise
        finally:
            if not request.stream or flight.entry is not None or flight.error is not None:
                self._land(name, flight)
                self._release(work)
        return reply

    async def _find(self, cache: ResponseCache, work: _Work, key: str) -> Found | None:
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

    def _release(self, work: _Work) -> None:
        """Let another agent make the answer, if this one did not store it."""
        if work.leased and work.key is not None and self._cache is not None:
            work.leased = False
            self._cache.release(work.key)

    def _land(self, name: tuple[str, bool], flight: Flight) -> None:
        if self._flights.get(name) is flight:
            del self._flights[name]

    async def _call(self, work: _Work, cache: str) -> Reply:
        """Take a slot, call the endpoint, and give its answer on."""
        request = work.request
        work.waited_s = await self._slots.acquire()
        work.began_s = self._clock()
        streaming = False
        sent = False
        try:
            if self._shortening is not None and request.operation == CHAT:
                work.shortened = await self._shortening.shorten(request.model, request.fields)
            body = self._body_for(work)
            sent = True
            called_s = self._clock()
            answer = await self._upstream.call(work.endpoint, body, request.forwarded)
            work.upstream_s = self._clock() - called_s
            self._instruments.cache_result(cache)
            self._instruments.queue_wait.observe(work.waited_s)
            told = Told(model=request.model, cache=cache)
            if work.shortened is not None:
                told.compression = work.shortened.told
            if request.stream and answer.streamed:
                streaming = True
                told.overhead_s = self._overhead_s(work)
                return Reply(told, frames=self._relay(work, answer))
            return self._whole(work, answer, told)
        except asyncio.CancelledError:
            if sent:
                self._accounts.book_call(request, estimate(request.fields, 0))
            raise
        finally:
            if not streaming:
                self._slots.release(self._clock() - work.began_s)

    def _body_for(self, work: _Work) -> bytes:
        """What the endpoint gets: the caller's bytes, with the endpoint's name of the model and the wish for usage."""
        request, changes = work.request, dict[str, object]()
        if work.endpoint.upstream_model != request.model:
            changes["model"] = work.endpoint.upstream_model
        if request.stream and not request.include_usage:
            changes["stream_options"] = {**(request.fields.get("stream_options") or {}), "include_usage": True}
        if work.shortened is not None and work.shortened.messages is not None:
            changes["messages"] = work.shortened.messages
        return rewrite(request.body, changes)

    def _purged(self, work: _Work) -> bool:
        """Was the cache purged while this answer was made? Then it may be what the purge was about."""
        request = work.request
        began_unix_s = self._unix_time() - (self._clock() - request.started_s)
        return self._cache is not None and began_unix_s <= self._cache.purges.cut_s(request.tenant, request.model)

    def _overhead_s(self, work: _Work) -> float:
        """The runtime's own part of the time so far."""
        own_s = self._clock() - work.request.started_s - work.waited_s - work.upstream_s
        self._instruments.overhead.observe(own_s)
        return own_s

    def _whole(self, work: _Work, answer: Answer, told: Told) -> Reply:
        """Give on a JSON answer."""
        request = work.request
        answer.close()
        if answer.streamed:
            raise _invalid(work.endpoint, "a stream where JSON was asked for")
        try:
            usage, finished = read_answer(answer.first, request.operation)
        except NotJson:
            raise _invalid(work.endpoint, "no JSON") from None
        usage = usage or estimate(request.fields, len(answer.first) if request.operation == "chat" else 0)
        entry = self._book(work, told, answer.first, b"", usage, streamed=False, finished=finished)
        if work.flight is not None:
            work.flight.finish(entry)
        body = self._in_form(request, entry)
        if body is None:
            raise _invalid(work.endpoint, "JSON that is no chat completion where a stream was asked for")
        told.overhead_s = self._overhead_s(work)
        return self._ready(request, body, told)

    async def _relay(self, work: _Work, answer: Answer) -> AsyncIterator[bytes]:
        """Pass a stream on while it arrives, and book it when it ends, however it ends."""
        request, flight = work.request, work.flight
        reader = StreamReader()
        failure: ApiError | None = _LEFT
        self._instruments.first_token(request.model, self._clock() - request.started_s)
        try:
            chunk = answer.first
            while chunk:
                frames, usage_frame = reader.feed(chunk)
                if flight is not None:
                    flight.push(frames, usage_frame)
                out = with_usage(frames, usage_frame) if request.include_usage else frames
                if out:
                    yield out
                chunk = await answer.more()
            failure = None if reader.complete else _incomplete(work.endpoint)
        except FrameTooLarge:
            failure = _incomplete(work.endpoint)
        except ApiError as error:
            failure = error
        finally:
            answer.close()
            self._slots.release(self._clock() - work.began_s)
            self._end_stream(work, reader, failure)
        if failure is not None and not reader.failed:
            yield data_frame(failure.payload())

    def _end_stream(self, work: _Work, reader: StreamReader, failure: ApiError | None) -> None:
        request, flight = work.request, work.flight
        usage = reader.usage or estimate(request.fields, 0, reader.frames)
        kept = flight.frames if flight is not None and flight.keeps_all else []
        body = b"".join(frames for frames, _ in kept)
        usage_frame = b"".join(frame for _, frame in kept)
        finished = failure is None and bool(body)
        told = Told(model=request.model, cache="miss")
        entry = self._book(work, told, body, usage_frame, usage, streamed=True, finished=finished)
        if flight is not None:
            flight.finish(entry) if failure is None else flight.fail(failure)
            self._land((work.key or "", True), flight)
        self._release(work)

    def _book(
        self,
        work: _Work,
        told: Told,
        body: bytes,
        usage_frame: bytes,
        usage: Usage,
        *,
        streamed: bool,
        finished: bool,
    ) -> Entry:
        """Account for an answer and store it when it may be served again."""
        told.usage = usage
        told.cost_nanousd = self._accounts.book_call(work.request, usage)
        now_s = self._unix_time()
        entry = Entry(
            body=body,
            usage_frame=usage_frame,
            streamed=streamed,
            model=work.request.model,
            usage=usage,
            cost_nanousd=told.cost_nanousd or 0,
            stored_s=now_s,
            expires_s=now_s + (self._cache.ttl_s if self._cache is not None else 0.0),
        )
        if work.key is not None and finished and self._cache is not None and not self._purged(work):
            self._cache.store(work.key, entry, now_s)
            told.stored = True
            if work.asked is not None and self._paraphrases is not None:
                self._paraphrases.learn(work.asked, work.request, work.key, entry)
        return entry


_LEFT = ApiError(502, "upstream_disconnected", "the shared stream was ended; try again", kind="server_error")


async def _one(body: bytes) -> AsyncIterator[bytes]:
    yield body


def _invalid(endpoint: Endpoint, what: str) -> ApiError:
    return ApiError(
        502,
        "upstream_invalid_answer",
        f"the endpoint of model {endpoint.model} sent {what}: check models[{endpoint.index}].endpoint",
        kind="server_error",
        should_retry=False,
    )


def _incomplete(endpoint: Endpoint) -> ApiError:
    return ApiError(
        502,
        "upstream_incomplete",
        f"the endpoint of model {endpoint.model} ended its stream before the answer was whole; try again",
        kind="server_error",
    )
