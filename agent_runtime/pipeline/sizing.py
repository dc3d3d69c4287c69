"""Which model does a request go to when its caller leaves the choice to the pool, and how is that said?

Joins the settings, the prices, the wishes of a request and the pure rules of ``routing``. The choice is made before
the cache is asked: the same request is answered by the same model, and its stored answer serves those who ask for that
model by name.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

from agent_runtime.budget.notice import BudgetView
from agent_runtime.errors import ApiError
from agent_runtime.models.endpoints import rewrite
from agent_runtime.requests import CHAT, Request
from agent_runtime.routing.complexity import classify, score_complexity
from agent_runtime.routing.rightsizing import Candidate, Rules, Task, Weights, choose_model
from agent_runtime.routing.wishes import Wishes
from agent_runtime.telemetry.instruments import Instruments
from agent_runtime.usage import Usage, estimate
from agentpool_api.money import usd_exact
from agentpool_api.quantity import duration_s
from agentpool_api.runtime_settings import RuntimeSettings
from agentpool_api.upstreams import ModelProfile
from agentpool_api.wire import BudgetAction

AUTO = "auto"
"""The model to ask for when the pool shall choose."""

USUAL_OUTPUT_TOKENS = 300
"""Expected length of an answer whose request sets no limit; for comparing prices only."""

CostOf = Callable[[str, Usage], int | None]
"""Nano-USD of an answer by a model; None when nobody knows its price."""


class Sizing:
    """Chooses the models of one pool."""

    def __init__(
        self, settings: RuntimeSettings, cost_of: CostOf, instruments: Instruments, budget: BudgetView
    ) -> None:
        sizing = settings.right_sizing
        self._always = sizing.mode == "Always"
        self._min_quality = sizing.min_quality_percent / 100
        self._rules = Rules(
            weights=Weights(sizing.weights.cost, sizing.weights.quality, sizing.weights.speed),
            simple_tokens=sizing.simple_tokens,
            simple_complexity=sizing.simple_complexity_percent / 100,
        )
        self._profiles = {
            model.name: model.profile for model in settings.models if model.kind == CHAT and model.profile is not None
        }
        self._auto_is_a_model = any(model.name == AUTO for model in settings.models)
        self._cost_of = cost_of
        self._instruments = instruments
        self._budget = budget

    def choose(self, request: Request) -> tuple[Request, str]:
        """The request for the model that fits, and the value of ``x-agentpool-right-sizing``.

        The value is empty when nothing was chosen. Raises ApiError 400 when the pool was to choose and no model fits.
        """
        left_to_us = request.model == AUTO and not self._auto_is_a_model
        asked_for_known = self._always and request.model in self._profiles
        if request.operation != CHAT or not (left_to_us or asked_for_known):
            return request, ""
        task = self._task(request, request.wishes)
        candidates = self._candidates(Usage(task.input_tokens, 0, task.output_tokens))
        if not left_to_us:
            candidates = self._no_dearer_than(request.model, candidates)
        budget = self._budget
        cheapest = budget.asks(BudgetAction.CHEAPER_MODELS)
        choice = choose_model(candidates, task, self._rules, budget_left=budget.left, cheapest=cheapest)
        if choice is None:
            if left_to_us:
                raise _nobody_fits()
            return request, ""
        cost = {candidate.model: candidate.cost_nanousd for candidate in candidates}
        instead_of = (
            max(candidates, key=lambda one: (one.quality, -one.cost_nanousd)).model if left_to_us else request.model
        )
        told = (
            f'model="{choice.model}", reason={choice.reason}, complexity={task.complexity:.3f}, '
            f'class={classify(task.complexity)}, instead-of="{instead_of}", '
            f"saved-usd={usd_exact(cost[instead_of] - cost[choice.model])}"
        )
        self._instruments.right_sized(choice.model, choice.reason)
        return _sent_to(request, choice.model, instead_of), told

    def _task(self, request: Request, wishes: Wishes) -> Task:
        fields = request.fields
        limit = fields.get("max_completion_tokens") or fields.get("max_tokens")
        scored = wishes.complexity if wishes.complexity is not None else score_complexity(fields)
        return Task(
            input_tokens=estimate(fields, 0).input_tokens,
            output_tokens=limit if isinstance(limit, int) and limit > 0 else USUAL_OUTPUT_TOKENS,
            complexity=scored,
            tools=bool(fields.get("tools")),
            vision=_has_part(fields, _IMAGES),
            audio=_has_part(fields, _SOUNDS),
            min_accuracy=wishes.min_accuracy,
            min_quality=max(self._min_quality, wishes.min_quality or 0.0),
            max_latency_ms=wishes.max_latency_ms,
        )

    def _candidates(self, usage: Usage) -> list[Candidate]:
        """The models with a profile and a price."""
        priced = ((name, profile, self._cost_of(name, usage)) for name, profile in self._profiles.items())
        return [_candidate(name, profile, cost) for name, profile, cost in priced if cost is not None]

    def _no_dearer_than(self, model: str, candidates: list[Candidate]) -> list[Candidate]:
        own = next((candidate for candidate in candidates if candidate.model == model), None)
        return [] if own is None else [one for one in candidates if one.cost_nanousd <= own.cost_nanousd]


def _candidate(name: str, profile: ModelProfile, cost_nanousd: int) -> Candidate:
    return Candidate(
        model=name,
        cost_nanousd=cost_nanousd,
        accuracy=profile.accuracy_percent / 100,
        quality=profile.quality_percent / 100,
        response_ms=duration_s(profile.response_time) * 1000,
        context_tokens=profile.context_tokens,
        tools=profile.tools,
        vision=profile.vision,
        audio=profile.audio,
    )


_IMAGES = ("image_url", "input_image")
_SOUNDS = ("input_audio",)


def _has_part(fields: Mapping[str, Any], types: Collection[str]) -> bool:
    """Is there a part of one of these types in a message?"""
    contents = [message.get("content") for message in fields["messages"] if isinstance(message, dict)]
    parts = [part for content in contents if isinstance(content, list) for part in content if isinstance(part, dict)]
    return any(part.get("type") in types for part in parts)


def _sent_to(request: Request, model: str, instead_of: str) -> Request:
    if model == request.model:
        return request
    return replace(
        request,
        model=model,
        fields={**request.fields, "model": model},
        body=rewrite(request.body, {"model": model}),
        instead_of=instead_of if instead_of != model else None,
    )


def _nobody_fits() -> ApiError:
    return ApiError(
        400,
        "no_model_fits",
        "no model of this pool meets what the request needs (context, tools, images, sound) and what its x-agentpool- "
        "headers ask for: lower min-quality or accuracy, raise max-latency-ms, or name a model",
        param="model",
    )


def make_sizing(
    settings: RuntimeSettings, cost_of: CostOf, instruments: Instruments, budget: BudgetView
) -> Sizing | None:
    """The chooser of a pool; None when right-sizing is off."""
    return None if settings.right_sizing.mode == "Off" else Sizing(settings, cost_of, instruments, budget)


def model_names(settings: RuntimeSettings) -> list[str]:
    """What a request may ask for."""
    names = [model.name for model in settings.models]
    return names if settings.right_sizing.mode == "Off" or AUTO in names else [*names, AUTO]
