"""Which requests wait for others, and how does a batch of them get its answers?

One call to ``POST /v1/batch`` where the endpoint has it, and one slot for all of it; elsewhere the requests go on
alone, at the same time. A request that fails fails alone, and one that may do better is tried alone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from agent_runtime.budget.notice import BudgetView
from agent_runtime.errors import ApiError
from agent_runtime.models.backoff import RETRYABLE
from agent_runtime.models.endpoints import Endpoint, Route
from agent_runtime.models.failures import refusal
from agent_runtime.models.upstream import Upstream
from agent_runtime.pipeline.slots import Slots
from agent_runtime.pipeline.windows import Windows
from agent_runtime.requests import CHAT, Request
from agent_runtime.routing.batch_lines import make_batch, read_batch
from agent_runtime.telemetry.instruments import Instruments
from agent_runtime.telemetry.logs import log
from agentpool_api.quantity import duration_s
from agentpool_api.serving import Batching as Settings
from agentpool_api.wire import BudgetAction

NO_BATCHES = frozenset({404, 405, 501})
"""What an endpoint answers that has no /v1/batch after all."""

Body = Callable[[str], bytes]
"""A request's body for an endpoint that knows the model by this name."""


class Waiting:
    """A request in a batch."""

    __slots__ = ("body", "sent")

    def __init__(self, body: Body) -> None:
        self.body = body
        self.sent = False


@dataclass(frozen=True, slots=True)
class BatchedAnswer:
    """A whole JSON answer that came in a batch; has the form of an endpoint's own."""

    first: bytes
    endpoint: Endpoint
    size: int
    """Requests in the batch."""
    discount_percent: int
    streamed = False

    def close(self) -> None:
        """Nothing is held."""


class Batching:
    """Batches the chat requests of one agent. ``routes`` and ``discounts`` (per cent): of batch endpoints, by model."""

    def __init__(
        self,
        settings: Settings,
        routes: Mapping[str, Route],
        discounts: Mapping[str, int],
        upstream: Upstream,
        slots: Slots,
        budget: BudgetView,
        instruments: Instruments,
        *,
        endpoint_key: Callable[[int], str | None],
        clock: Callable[[], float],
    ) -> None:
        self._always = settings.mode == "Always"
        self._routes = routes
        self._discounts = discounts
        self._upstream = upstream
        self._slots = slots
        self._budget = budget
        self._instruments = instruments
        self._endpoint_key = endpoint_key
        self._clock = clock
        self._windows = Windows(self._send, size=settings.size, window_s=duration_s(settings.window))

    def wants(self, request: Request) -> bool:
        """Does this request wait for others? The caller's word rules."""
        if request.stream or request.operation != CHAT:
            return False
        if request.wishes.batch is not None:
            return request.wishes.batch
        return self._always or (request.model in self._routes and self._budget.asks(BudgetAction.BATCH_REQUESTS))

    async def answer(self, model: str, waiting: Waiting) -> BatchedAnswer | None:
        """The answer to a request that went with others; None when it is to go on alone. Raises ApiError."""
        try:
            found = await self._windows.join(model, waiting)
        except ApiError as error:
            raise error.copy() from None
        if isinstance(found, ApiError):
            raise found
        return found

    async def _send(self, model: str, items: Sequence[Waiting]) -> list[BatchedAnswer | ApiError | None]:
        route = self._routes.get(model)
        found = None if route is None else await self._call(route, items)
        self._instruments.batched(model, "single" if found is None else "batch", len(items))
        return [None] * len(items) if found is None else found

    async def _call(self, route: Route, items: Sequence[Waiting]) -> list[BatchedAnswer | ApiError | None] | None:
        """One call for all; None when the endpoint knows no batches."""
        await self._slots.acquire()
        began_s = self._clock()
        try:
            for item in items:
                item.sent = True
            call = self._upstream.new_call(
                route, lambda name: make_batch([item.body(name) for item in items]), {}, streaming=False
            )
            answer = await self._upstream.call(call)
            answer.close()
        except ApiError as error:
            if error.status not in NO_BATCHES:
                raise
            for item in items:
                item.sent = False
            log(logging.WARNING, "the endpoint has no /v1/batch; leave models[].batch out", model=route.model)
            return None
        finally:
            self._slots.release(self._clock() - began_s)
        return self._results(answer.first, answer.endpoint, len(items))

    def _results(self, body: bytes, endpoint: Endpoint, count: int) -> list[BatchedAnswer | ApiError | None]:
        results: list[BatchedAnswer | ApiError | None] = []
        for line in read_batch(body, count):
            if line is None or line.status in RETRYABLE:
                results.append(None)
            elif line.status == 200:
                results.append(BatchedAnswer(line.body, endpoint, count, self._discounts[endpoint.model]))
            else:
                key = self._endpoint_key(endpoint.number)
                failure = refusal(endpoint, line.status, line.body, key=key, wait_s=None, hopeless=True)
                results.append(failure.error)
        return results
