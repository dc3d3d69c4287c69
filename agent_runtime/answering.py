"""What is done for a request around the way it is answered? It is made to save what a budget asks to be saved."""

from __future__ import annotations

from dataclasses import replace

from agent_runtime.budget.notice import BudgetView
from agent_runtime.cache.control import PLAIN, CacheControl
from agent_runtime.cache.flights import Caller
from agent_runtime.forms import Reply
from agent_runtime.pipeline import Pipeline
from agent_runtime.requests import Request
from agentpool_api.wire import BudgetAction


class Answering:
    """Answers requests as the pool's settings and budgets want them answered.

    ``keep_stale_s``: how long after its life an answer is still there.
    """

    def __init__(self, pipeline: Pipeline, budget: BudgetView, keep_stale_s: float) -> None:
        self._pipeline = pipeline
        self._budget = budget
        self._saving = CacheControl(max_stale_s=keep_stale_s)

    async def answer(self, request: Request, caller: Caller) -> Reply:
        """Answer a request. Raises ApiError; cancelled when the caller leaves and nobody else waits."""
        if request.control is PLAIN and self._budget.asks(BudgetAction.AGGRESSIVE_CACHING):
            request = replace(request, control=self._saving)
        return await self._pipeline.answer(request, caller)
