"""What does a caller get whose answer is being made for somebody else already?"""

from __future__ import annotations

from collections.abc import AsyncIterator

from agent_runtime.accounting import Accounts
from agent_runtime.cache.entry import Entry
from agent_runtime.cache.flights import Flight, Part
from agent_runtime.errors import ApiError
from agent_runtime.forms import Reply, in_form
from agent_runtime.models.sse import data_frame, with_usage
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

    async def _frames(
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
            self._book(request, flight.entry)

    def _book(self, request: Request, entry: Entry) -> None:
        self._instruments.cache_result("coalesced")
        self._accounts.book_saving(request, entry, "coalesced")
