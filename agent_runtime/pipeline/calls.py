"""How is an answer made? Wait for a slot, call the endpoint, pass its answer on, account for it and store it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping

from agent_runtime.cache.entry import Entry
from agent_runtime.cache.policies import kind_of
from agent_runtime.cache.responses import ResponseCache
from agent_runtime.errors import ApiError
from agent_runtime.models.answers import NotJson, incomplete, invalid, read_answer
from agent_runtime.models.exchange import Answer
from agent_runtime.models.responses import reader_of
from agent_runtime.models.sse import FrameTooLarge, StreamReader, with_cost, with_usage
from agent_runtime.pipeline.accounting import Accounts
from agent_runtime.pipeline.asking import Asking, body_for
from agent_runtime.pipeline.batching import BatchedAnswer, Batching, Waiting
from agent_runtime.pipeline.forms import Reply, in_form, ready_reply
from agent_runtime.pipeline.paraphrases import Paraphrases
from agent_runtime.pipeline.shortening import Shortening
from agent_runtime.pipeline.slots import Slots
from agent_runtime.pipeline.work import Work
from agent_runtime.requests import CHAT, EMBEDDINGS, Told
from agent_runtime.telemetry.instruments import Instruments
from agent_runtime.usage import Usage, estimate


class Calls:
    """Calls endpoints for requests. ``on_end`` is called when a stream that was begun has ended, however it ended."""

    def __init__(
        self,
        *,
        asking: Asking,
        cache: ResponseCache | None,
        slots: Slots,
        accounts: Accounts,
        instruments: Instruments,
        clock: Callable[[], float],
        unix_time: Callable[[], float],
        on_end: Callable[[Work], None],
        paraphrases: Paraphrases | None = None,
        shortening: Shortening | None = None,
        batching: Batching | None = None,
    ) -> None:
        self._asking = asking
        self._cache = cache
        self._slots = slots
        self._accounts = accounts
        self._instruments = instruments
        self._clock = clock
        self._unix_time = unix_time
        self._on_end = on_end
        self._paraphrases = paraphrases
        self._shortening = shortening
        self._batching = batching

    async def call(self, work: Work, cache: str) -> Reply:
        """Take a slot, call the endpoint, and give its answer on. Raises ApiError.

        ``cache`` is what the caller is told about the cache: miss or bypass.
        """
        request = work.request
        if self._batching is not None and self._batching.wants(request):
            reply = await self._batched(self._batching, work, cache)
            if reply is not None:
                return reply
        work.waited_s += await self._slots.acquire()
        work.began_s = self._clock()
        streaming = False
        try:
            if self._shortening is not None and work.shortened is None and request.operation == CHAT:
                work.shortened = await self._shortening.shorten(request.model, request.fields)
            called_s = self._clock()
            answer = await self._asking.ask(request, work.route, work.shortened, _headers(work))
            work.upstream_s = self._clock() - called_s
            if request.trace is not None:
                request.trace.served_by(answer.endpoint.url.host, answer.endpoint.url.port, answer.endpoint.name)
            self._instruments.cache_result(cache)
            self._instruments.queue_wait.observe(work.waited_s)
            told = self._told(work, answer, cache)
            if work.shortened is not None:
                told.compression = work.shortened.told
            if request.stream and answer.streamed:
                streaming = True
                told.overhead_s = self._overhead_s(work)
                return Reply(told, frames=self._relay(work, answer))
            return self._whole(work, answer, told)
        finally:
            if not streaming:
                self._slots.release(self._clock() - work.began_s)

    async def _batched(self, batching: Batching, work: Work, cache: str) -> Reply | None:
        """The answer of a batch with others; None when the request is to go on alone."""
        request, began_s = work.request, self._clock()
        if self._shortening is not None:
            work.shortened = await self._shortening.shorten(request.model, request.fields)
        waiting = Waiting(lambda name: body_for(request, work.shortened, name))
        try:
            answer = await batching.answer(request.model, waiting)
        except asyncio.CancelledError:
            if waiting.sent:
                self._accounts.book_call(request, estimate(request.fields, 0), None)
            raise
        finally:
            work.waited_s = self._clock() - began_s
        if answer is None:
            return None
        work.discount_percent = answer.discount_percent
        self._instruments.cache_result(cache)
        told = self._told(work, answer, cache)
        told.batch = f"size={answer.size}"
        if work.shortened is not None:
            told.compression = work.shortened.told
        return self._whole(work, answer, told)

    @staticmethod
    def _told(work: Work, answer: Answer | BatchedAnswer, cache: str) -> Told:
        work.endpoint = answer.endpoint
        return Told(
            model=work.request.model, cache=cache, endpoint=answer.endpoint.name, account=answer.endpoint.account
        )

    def _purged(self, work: Work) -> bool:
        """Was the cache purged while this answer was made? Then it may be what the purge was about."""
        request, key = work.request, work.key or ""
        began_unix_s = self._unix_time() - (self._clock() - request.started_s)
        return self._cache is not None and began_unix_s <= self._cache.purges.cut_s(request.tenant, request.model, key)

    def _overhead_s(self, work: Work) -> float:
        """The runtime's own part of the time so far."""
        own_s = self._clock() - work.request.started_s - work.waited_s - work.upstream_s
        self._instruments.overhead.observe(own_s)
        return own_s

    def _whole(self, work: Work, answer: Answer | BatchedAnswer, told: Told) -> Reply:
        """Give on a JSON answer."""
        request = work.request
        answer.close()
        if answer.streamed:
            raise invalid(answer.endpoint, "a stream where JSON was asked for")
        try:
            usage, finished = read_answer(answer.first, request.operation)
        except NotJson:
            raise invalid(answer.endpoint, "no JSON") from None
        usage = usage or estimate(request.fields, 0 if request.operation == EMBEDDINGS else len(answer.first))
        entry = self._book(work, told, answer.first, b"", usage, streamed=False, finished=finished)
        if work.flight is not None:
            work.flight.finish(entry)
        body = in_form(request, entry, told.cost_nanousd)
        if body is None:
            raise invalid(answer.endpoint, "JSON that is no chat completion where a stream was asked for")
        told.overhead_s = self._overhead_s(work)
        return ready_reply(request, body, told)

    async def _relay(self, work: Work, answer: Answer) -> AsyncIterator[bytes]:
        """Pass a stream on while it arrives, and book it when it ends, however it ends."""
        request, flight = work.request, work.flight
        reader = reader_of(request.operation)
        failure: ApiError | None = _LEFT
        self._instruments.first_token(request.model, self._clock() - request.started_s)
        try:
            chunk = answer.first
            while chunk:
                frames, usage_frame = reader.feed(chunk)
                if flight is not None:
                    flight.push(frames, usage_frame)
                out = frames
                if usage_frame and request.include_usage and reader.usage is not None:
                    cost_nanousd = self._accounts.cost_at(answer.endpoint, reader.usage)
                    out = with_usage(frames, with_cost(usage_frame, cost_nanousd))
                if out:
                    yield out
                chunk = await answer.more()
            failure = None if reader.complete else incomplete(work.request.model)
        except FrameTooLarge:
            failure = incomplete(work.request.model)
        except ApiError as error:
            failure = error
        finally:
            answer.close()
            self._slots.release(self._clock() - work.began_s)
            self._end_stream(work, reader, failure)
        if failure is not None and not reader.failed:
            yield reader.failure_frame(failure.payload())

    def _end_stream(self, work: Work, reader: StreamReader, failure: ApiError | None) -> None:
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
        self._on_end(work)

    def _book(
        self,
        work: Work,
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
        told.cost_nanousd = self._accounts.book_call(
            work.request, usage, work.endpoint, discount_percent=work.discount_percent
        )
        now_s, kind = self._unix_time(), kind_of(work.request.operation, work.request.fields)
        if work.request.trace is not None:
            work.request.trace.end_call(
                usage, told.cost_nanousd, body, streamed=streamed, first_chunk_s=work.upstream_s
            )
        entry = Entry(
            body=body,
            usage_frame=usage_frame,
            streamed=streamed,
            model=work.request.model,
            kind=kind,
            usage=usage,
            cost_nanousd=told.cost_nanousd or 0,
            stored_s=now_s,
            expires_s=now_s + (self._cache.ttl_s(kind) if self._cache is not None else 0.0),
        )
        if work.key is not None and finished and self._cache is not None and not self._purged(work):
            self._cache.store(work.key, entry, now_s, work.request.tenant)
            told.stored, told.stored_s = True, now_s
            if work.asked is not None and self._paraphrases is not None:
                self._paraphrases.learn(work.asked, work.request, work.key, entry)
        return entry


def _headers(work: Work) -> Mapping[str, str]:
    """What the endpoint gets beside the body: the trace's context."""
    trace = work.request.trace
    return work.request.forwarded if trace is None else trace.begin_call(work.route.endpoints[0].upstream_model)


_LEFT = ApiError(502, "upstream_disconnected", "the shared stream was ended; try again", kind="server_error")
