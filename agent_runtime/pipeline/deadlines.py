"""What does a caller get when its answer is not there in time?

The fallback: a faster model's answer, a text, or the word that it will be there later. The answer itself goes on being
made for nobody in particular: it is paid for, so it is stored and booked like any other. A fallback is never stored as
the answer to what was asked.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, replace

from agent_runtime.cache.entry import Entry
from agent_runtime.cache.flights import Caller
from agent_runtime.errors import ApiError
from agent_runtime.models.assembly import completion_of
from agent_runtime.models.endpoints import rewrite
from agent_runtime.pipeline.forms import Reply, in_form, ready_reply
from agent_runtime.pipeline.pipeline import Pipeline
from agent_runtime.requests import Request, Told
from agent_runtime.telemetry.instruments import Instruments
from agent_runtime.telemetry.logs import log
from agent_runtime.usage import Usage


@dataclass(frozen=True, slots=True)
class Fallback:
    """What is answered when the deadline is over; both None: an error."""

    model: str | None = None
    text: str | None = None


class _Answer:
    """One answer in the making. It ends with its caller as long as that waits for it, and goes on once it is late."""

    def __init__(self, caller: Caller) -> None:
        self.inner = Caller()
        self.late = False
        self._leave = caller.on_leave
        self._caller = caller
        self._cancel: Callable[[], object] | None = None

    def made_by(self, task: asyncio.Task[Reply | None]) -> None:
        """While the caller waits its leaving ends the task, unless others follow the same call."""
        self._cancel = task.cancel
        self.inner.on_leave = self._end
        self._caller.on_leave = self.inner.leave

    def hand_over(self) -> None:
        """The caller has the answer: its leaving ends its own request."""
        self._cancel = self._leave

    def let_go(self) -> None:
        """The caller has something else: its leaving means nothing to this answer."""
        self.late = True
        self._caller.on_leave = self._leave

    def _end(self) -> None:
        if self._cancel is not None:
            self._cancel()


class Deadlines:
    """Answers chat requests in time."""

    def __init__(
        self,
        pipeline: Pipeline,
        fallback: Fallback,
        instruments: Instruments,
        *,
        clock: Callable[[], float],
        unix_time: Callable[[], float],
    ) -> None:
        self._pipeline = pipeline
        self._fallback = fallback
        self._instruments = instruments
        self._clock = clock
        self._unix_time = unix_time
        self._tasks: set[asyncio.Task[Reply | None]] = set()

    async def answer(self, request: Request, caller: Caller, deadline_s: float) -> Reply:
        """The answer, or what is given in its place after ``deadline_s``. Of a stream the beginning counts.

        Raises ApiError; 504 ``deadline_exceeded`` when there is nothing to give.
        """
        reply = await self._within(request, caller, deadline_s - (self._clock() - request.started_s))
        if reply is not None:
            return reply
        reply = await self._fall_back(request, caller, deadline_s)
        self._instruments.fell_back(reply.told.fallback.partition("=")[0] if reply is not None else "none")
        if reply is None:
            raise _too_late(deadline_s)
        reply.told.fallback += f", deadline-ms={deadline_s * 1000:.0f}"
        return reply

    async def stop(self) -> None:
        """End the answers nobody waits for; what they used so far is booked."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _within(self, request: Request, caller: Caller, seconds: float) -> Reply | None:
        """The pipeline's answer; None when it is late, and then it goes on by itself."""
        answer = _Answer(caller)
        task = asyncio.get_running_loop().create_task(self._make(request, answer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        answer.made_by(task)
        try:
            await asyncio.wait({task}, timeout=max(seconds, 0.0))
            if not task.done() and caller.gone:  # others follow this call, nobody is there for a fallback
                await asyncio.wait({task})
        except asyncio.CancelledError:
            answer.late = True
            task.cancel()
            await _close(task)
            raise
        if task.done():
            answer.hand_over()
            return task.result()
        answer.let_go()
        return None

    async def _make(self, request: Request, answer: _Answer) -> Reply | None:
        try:
            reply = await self._pipeline.answer(request, answer.inner)
            if not answer.late:
                return reply
            if reply.frames is not None:
                async with aclosing(reply.frames) as frames:  # type: ignore[type-var]
                    async for _ in frames:
                        pass
        except Exception as error:
            if not answer.late:
                raise
            self._instruments.late("failed")
            if not isinstance(error, ApiError):
                log(logging.ERROR, "unexpected error", request_id=request.request_id, error=repr(error))
        else:
            self._instruments.late("whole")
        return None

    async def _fall_back(self, request: Request, caller: Caller, deadline_s: float) -> Reply | None:
        reply = await self._other_model(request, caller, deadline_s)
        return reply if reply is not None else self._text(request)

    async def _other_model(self, request: Request, caller: Caller, deadline_s: float) -> Reply | None:
        """The faster model's answer to the same request; None when it is late, too, or fails."""
        model = self._fallback.model
        if model is None or model == request.model:
            return None
        asked = replace(
            request,
            model=model,
            fields={**request.fields, "model": model},
            body=rewrite(request.body, {"model": model}),
            request_id=request.request_id + "-f",
            instead_of=None,
            trace=None,  # its call span is the late answer's
        )
        try:
            reply = await self._within(asked, caller, deadline_s)
        except ApiError:
            return None
        if reply is not None:
            reply.told.fallback = f'model="{model}"'
        return reply

    def _text(self, request: Request) -> Reply | None:
        """The pool's text; None where there is none, or the request wants another form than text."""
        text, model, now_s = self._fallback.text, request.model, self._unix_time()
        wanted = request.fields.get("response_format")
        if text is None or (isinstance(wanted, dict) and wanted.get("type") != "text"):
            return None
        body = completion_of(text, model, now_s, "chatcmpl-fallback")
        usage = Usage(0, 0, 0)
        entry = Entry(
            body=body, streamed=False, model=model, usage=usage, cost_nanousd=0, stored_s=now_s, expires_s=now_s
        )
        told = Told(model=model, cache="fallback", usage=usage, cost_nanousd=0, fallback="text")
        return ready_reply(request, in_form(request, entry) or body, told)


async def _close(task: asyncio.Task[Reply | None]) -> None:
    """End a stream that was begun in the very moment in which its caller was lost."""
    if task.done() and not task.cancelled() and task.exception() is None:
        reply = task.result()
        if reply is not None and reply.frames is not None:
            async with aclosing(reply.frames) as frames:  # type: ignore[type-var]
                await anext(frames, None)


def _too_late(deadline_s: float) -> ApiError:
    return ApiError(
        504,
        "deadline_exceeded",
        f"no answer within the deadline of {deadline_s * 1000:.0f} ms; it is still being made: ask again, or allow "
        "more by x-agentpool-deadline-ms or responseTime.deadline",
        kind="server_error",
        retry_after_s=1.0,
    )
