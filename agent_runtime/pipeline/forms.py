"""How does an answer reach the caller in the form that was asked for, JSON or a stream, whichever it was made in?"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from agent_runtime.cache.entry import Entry
from agent_runtime.models.assembly import stream_of, whole_answer
from agent_runtime.models.sse import with_cost, with_usage
from agent_runtime.requests import Request, Told


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer for the caller: a body, or the frames of a stream."""

    told: Told
    body: bytes | None = None
    frames: AsyncIterator[bytes] | None = None


def in_form(request: Request, entry: Entry, cost_nanousd: int | None = 0) -> bytes | None:
    """The answer as the caller wants it: frames or JSON; None when it cannot be had from the other form.

    ``cost_nanousd`` is what this caller is told in a stream: a stored answer costs nothing.
    """
    if request.stream:
        frames = (entry.body, entry.usage_frame) if entry.streamed else stream_of(entry.body)
        if frames is None or not request.include_usage:
            return frames[0] if frames is not None else None
        return with_usage(frames[0], with_cost(frames[1], cost_nanousd))
    return whole_answer(entry.body, entry.usage_frame) if entry.streamed else entry.body


def ready_reply(request: Request, body: bytes, told: Told) -> Reply:
    """A reply whose bytes are all there; a stream is sent in one piece."""
    return Reply(told, frames=_one(body)) if request.stream else Reply(told, body=body)


async def _one(body: bytes) -> AsyncIterator[bytes]:
    yield body
