"""What is done for a request around the way it is answered? It keeps to a deadline, and to what a budget asks for."""

from __future__ import annotations

from dataclasses import replace

from agent_runtime.budget.notice import BudgetView
from agent_runtime.cache.control import PLAIN, CacheControl
from agent_runtime.cache.flights import Caller
from agent_runtime.pipeline.deadlines import Deadlines, Fallback
from agent_runtime.pipeline.forms import Reply
from agent_runtime.pipeline.pipeline import Pipeline
from agent_runtime.requests import CHAT, Request
from agent_runtime.telemetry.response_times import (
    DATA,
    DATA_TARGET_S,
    GENERAL,
    GENERAL_TARGET_S,
    ResponseTimes,
)
from agentpool_api.quantity import duration_s
from agentpool_api.serving import ResponseTime
from agentpool_api.wire import BudgetAction


class Answering:
    """Answers requests as the pool's settings and budgets want them answered.

    ``deadline_s`` None: only for requests that bring one. ``keep_stale_s``: how long after its life an answer is
    still there.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        deadlines: Deadlines,
        budget: BudgetView,
        *,
        deadline_s: float | None,
        keep_stale_s: float,
    ) -> None:
        self._pipeline = pipeline
        self._deadlines = deadlines
        self._budget = budget
        self._deadline_s = deadline_s
        self._saving = CacheControl(max_stale_s=keep_stale_s)

    async def answer(self, request: Request, caller: Caller) -> Reply:
        """Answer a request. Raises ApiError; cancelled when the caller leaves and nobody else waits."""
        if request.control is PLAIN and self._budget.asks(BudgetAction.AGGRESSIVE_CACHING):
            request = replace(request, control=self._saving)
        deadline_s = request.wishes.deadline_s or self._deadline_s
        if deadline_s is None or request.operation != CHAT:
            return await self._pipeline.answer(request, caller)
        return await self._deadlines.answer(request, caller, deadline_s)

    async def stop(self) -> None:
        """End what runs for no caller."""
        await self._deadlines.stop()
        await self._pipeline.stop()


def fallback_of(settings: ResponseTime) -> Fallback:
    """What a pool gives when a deadline is over."""
    return Fallback(settings.fallback_model, settings.fallback_text)


def deadline_of(settings: ResponseTime) -> float | None:
    """The pool's deadline in seconds. Off unless set: something else than the model's answer must be asked for.

    To set a fallback is to ask for it, and the profile then says when.
    """
    if settings.deadline is not None:
        return duration_s(settings.deadline)
    if settings.fallback_model is None and settings.fallback_text is None:
        return None
    return DATA_TARGET_S if settings.profile == "Data" else GENERAL_TARGET_S


def make_response_times(settings: ResponseTime) -> ResponseTimes:
    """The window and the target a pool's settings ask for."""
    data = settings.profile == "Data"
    target_s = duration_s(settings.target) if settings.target else DATA_TARGET_S if data else GENERAL_TARGET_S
    return ResponseTimes(
        target_s=target_s,
        low_s=duration_s(settings.min_target),
        high_s=duration_s(settings.max_target),
        tuning=DATA if data else GENERAL,
        window_s=duration_s(settings.window),
    )
