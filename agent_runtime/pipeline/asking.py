"""What is a model asked, and what does asking it twice cost?"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import replace

from agent_runtime.models.answers import NotJson, read_answer
from agent_runtime.models.endpoints import Route, rewrite
from agent_runtime.models.exchange import Answer
from agent_runtime.models.hedging import Hedging
from agent_runtime.models.upstream import Call, Upstream
from agent_runtime.pipeline.accounting import Accounts
from agent_runtime.pipeline.shortening import Shortened
from agent_runtime.requests import RESPONSES, Request
from agent_runtime.telemetry.instruments import Instruments
from agent_runtime.usage import estimate


class Asking:
    """Sends requests to models, a second time where that is allowed and the first answer is late."""

    def __init__(
        self, upstream: Upstream, hedging: Hedging | None, accounts: Accounts, instruments: Instruments
    ) -> None:
        self._upstream = upstream
        self._hedging = hedging
        self._accounts = accounts
        self._instruments = instruments

    async def ask(
        self, request: Request, route: Route, shortened: Shortened | None, headers: Mapping[str, str]
    ) -> Answer:
        """The model's answer: whole, or with the first frame of a stream. Raises ApiError.

        Cancelled on its way, the call is booked for what was sent.
        """
        call = self._upstream.new_call(
            route, lambda name: body_for(request, shortened, name), headers, streaming=request.stream
        )
        try:
            if self._hedging is None:
                return await self._upstream.call(call)
            return await self._hedging.call(call, lambda lost, answer: self._book_lost(request, lost, answer))
        except asyncio.CancelledError:
            if call.endpoint is not None:
                self._accounts.book_call(request, estimate(request.fields, 0), call.endpoint)
            raise

    def _book_lost(self, request: Request, call: Call, answer: Answer | None) -> None:
        """Account for a call that another one was faster than: by its own count, or by what it was sent at least."""
        if call.endpoint is None:  # it waited for one that may be called, and was never sent
            return
        usage = None
        if answer is not None and not answer.streamed:
            with contextlib.suppress(NotJson):
                usage, _ = read_answer(answer.first, request.operation)
        lost = replace(request, request_id=f"{request.request_id}-hedge", instead_of=None)
        cost_nanousd = self._accounts.book_call(lost, usage or estimate(request.fields, 0), call.endpoint)
        self._instruments.upstreams.hedge_cost(request.model, cost_nanousd or 0)


def body_for(request: Request, shortened: Shortened | None, name: str) -> bytes:
    """What an endpoint gets: the caller's fields, with its name of the model and the wish for usage."""
    changes = dict[str, object]()
    if name != request.model:
        changes["model"] = name
    if request.stream and not request.include_usage:
        changes["stream_options"] = {**(request.fields.get("stream_options") or {}), "include_usage": True}
    if shortened is not None and shortened.messages is not None:
        changes["messages"] = shortened.messages
    if request.operation == RESPONSES and isinstance(request.fields.get("input"), list):
        changes["input"] = request.fields["input"]  # as it was checked: within its items too a name may stand twice
    return rewrite(request.body, changes)
