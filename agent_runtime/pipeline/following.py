"""What does a caller get whose answer is being made for somebody else already?"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from agent_runtime.cache.broadcast import RemoteStream
from agent_runtime.cache.entry import Entry
from agent_runtime.cache.flights import Flight, Part
from agent_runtime.errors import ApiError
from agent_runtime.models.sse import data_frame, with_cost, with_usage
from agent_runtime.pipeline.accounting import Accounts
from agent_runtime.pipeline.forms import Reply, in_form
from agent_runtime.requests import Request, Told
from agent_runtime.telemetry.instruments import Instruments


class Following:
    """Answers callers from calls in flight; they pay nothing, and what they saved is booked."""

    def __init__(self, accounts: Accounts, instruments: Instruments) -> None:
        self._accounts = accounts
        self._instruments = instruments

    async def follow(self, request: Request, flight: Flight) -> Reply:
        """Wait for the answer of an identical request. Raises ApiError."""
        if request.stream:
            parts = flight.stream()
            first = await anext(parts, None)  # a call that fails before its first frame raises here
            told = Told(model=request.model, cache="coalesced", overhead_s=0.0)
            return Reply(told, frames=self._frames(request, flight, first, parts))
        entry = await flight.follow()
        body = in_form(request, entry) if entry is not None else None
        if entry is None or body is None:
            raise ApiError(502, "upstream_disconnected", "the shared call ended without an answer; try again")
        self._book(request, entry)
        told = Told(model=entry.model, cache="coalesced", cost_nanousd=0, saved_nanousd=entry.cost_nanousd)
        return Reply(told, body=body)

    async def follow_remote(
        self, request: Request, flight: Flight, remote: RemoteStream, on_end: Callable[[], None]
    ) -> Reply | None:
        """Pass on the stream another agent makes, also to those who follow ``flight`` here.

        None while nothing has come of it, also when it broke before. ``on_end`` is called when it has ended.
        """
        if not await remote.has_begun():
            return None
        parts = remote.parts()
        try:
            first = await anext(parts)
        except (ApiError, StopAsyncIteration):
            return None
        told = Told(model=request.model, cache="coalesced", overhead_s=0.0)
        return Reply(told, frames=self._relay(request, flight, remote, first, parts, on_end))

    async def _relay(
        self,
        request: Request,
        flight: Flight,
        remote: RemoteStream,
        first: Part,
        parts: AsyncIterator[Part],
        on_end: Callable[[], None],
    ) -> AsyncIterator[bytes]:
        part: Part | None = first
        failure: ApiError | None = ApiError(502, "upstream_disconnected", "the shared stream was ended; try again")
        try:
            while part is not None:
                flight.push(*part)
                if out := _shared(request, part):
                    yield out
                part = await anext(parts, None)
            failure = None
        except ApiError as error:
            failure = error
        finally:
            flight.finish(remote.entry) if failure is None else flight.fail(failure)
            on_end()
        if failure is not None:
            yield data_frame(failure.payload())
        elif remote.entry is not None:
            self._book(request, remote.entry)

    async def _frames(
        self, request: Request, flight: Flight, first: Part | None, parts: AsyncIterator[Part]
    ) -> AsyncIterator[bytes]:
        part = first
        try:
            while part is not None:
                if out := _shared(request, part):
                    yield out
                part = await anext(parts, None)
        except ApiError as error:
            yield data_frame(error.payload())
        if flight.entry is not None:
            self._book(request, flight.entry)

    def _book(self, request: Request, entry: Entry) -> None:
        self._instruments.cache_result("coalesced")
        self._accounts.book_saving(request, entry, "coalesced")


def _shared(request: Request, part: Part) -> bytes:
    """Part of a stream for a caller who pays nothing for it."""
    return with_usage(part[0], with_cost(part[1], 0)) if part[1] and request.include_usage else part[0]
