"""What may be done with a response that an endpoint keeps? What the endpoint itself allows, by the key it was made for.

All callers of a pool share its account at the endpoint. So only the key a response was made for may name it; the
endpoint that has it is asked, and no other. Nothing of it is kept here, and nothing is charged: its tokens were when it
was made.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import replace
from urllib.parse import quote

from agent_runtime.errors import ApiError
from agent_runtime.models.answers import NotJson, incomplete, invalid, read_answer
from agent_runtime.models.endpoints import Resource, Route, operations_of
from agent_runtime.models.exchange import Answer
from agent_runtime.models.responses import ResponsesReader
from agent_runtime.models.sse import FrameTooLarge
from agent_runtime.models.upstream import Upstream
from agent_runtime.pipeline.conversations import Conversations, unknown_response
from agent_runtime.pipeline.forms import Reply
from agent_runtime.pipeline.slots import Slots
from agent_runtime.requests import RESPONSES, Kept, Request, Told


class StoredResponses:
    """Reads, lists, ends and deletes responses where they are kept."""

    def __init__(
        self,
        conversations: Conversations,
        routes: Iterable[Route],
        upstream: Upstream,
        slots: Slots,
        clock: Callable[[], float],
    ) -> None:
        self._conversations = conversations
        self._places = {
            place.account: replace(route, endpoints=(place,))
            for model in routes
            for route in operations_of(model)
            if route.kind == RESPONSES
            for place in route.endpoints
        }
        self._upstream = upstream
        self._slots = slots
        self._clock = clock

    async def answer(self, request: Request, kept: Kept) -> Reply:
        """What the endpoint answers. Raises ApiError; 404 when the response is not the caller's, or nobody has it."""
        account = await self._conversations.account_of(request.tenant, kept.response)
        if account is None:
            raise unknown_response("response_not_found", "use an id that POST /v1/responses has given to it")
        route = self._places.get(account)
        if route is None:
            raise ApiError(404, "response_not_found", "the endpoint that keeps this response has left the pool")
        waited_s = await self._slots.acquire()
        began_s = self._clock()
        streamed = False
        try:
            answer = await self._ask(request, route, kept)
            upstream_s = self._clock() - began_s
            streamed = answer.streamed
            told = Told(model=route.model, cache="bypass", endpoint=answer.endpoint.name)
            told.overhead_s = self._clock() - request.started_s - waited_s - upstream_s
            if streamed:
                return Reply(told, frames=self._relay(answer, began_s))
            return Reply(told, body=_whole(answer))
        finally:
            if not streamed:
                self._slots.release(self._clock() - began_s)

    async def _ask(self, request: Request, route: Route, kept: Kept) -> Answer:
        resource = Resource(kept.method, f"/{quote(kept.response, safe='')}{kept.path}")
        call = self._upstream.new_call(
            route, lambda _: b"", request.forwarded, streaming=request.stream, resource=resource
        )
        answer = await self._upstream.call(call)
        if kept.method == "DELETE":
            await self._conversations.forget(request.tenant, kept.response)
        return answer

    async def _relay(self, answer: Answer, began_s: float) -> AsyncIterator[bytes]:
        """Pass events on while they arrive."""
        reader, failure = ResponsesReader(), incomplete(answer.endpoint.model)
        try:
            chunk = answer.first
            while chunk:
                frames, _ = reader.feed(chunk)
                if frames:
                    yield frames
                chunk = await answer.more()
        except FrameTooLarge:
            pass
        except ApiError as error:
            failure = error
        finally:
            answer.close()
            self._slots.release(self._clock() - began_s)
        if not reader.complete and not reader.failed:
            yield reader.failure_frame(failure.payload())


def _whole(answer: Answer) -> bytes:
    answer.close()
    try:
        read_answer(answer.first, RESPONSES)
    except NotJson:
        raise invalid(answer.endpoint, "no JSON") from None
    return answer.first
