"""Which of a pool's models is the right size for a request, and why?

First what rules out (context, tools, images, sound, accuracy, quality, latency), then four rules, then a weighted score
whose terms are normalised over the models that are left, so that no term wins by its unit. Deterministic; ties go to
the cheaper model, then to the name. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from agent_runtime.routing.complexity import FROM, Complexity


class Reason(StrEnum):
    """Why a model was chosen."""

    ONLY_ONE = "only-one-fits"
    BUDGET = "budget"
    SHORT_AND_SIMPLE = "short-and-simple"
    TOLERANT = "time-and-tolerance"
    REASONING = "reasoning"
    SCORE = "score"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A model that may answer."""

    model: str
    cost_nanousd: int
    """Expected cost of this request."""
    accuracy: float
    quality: float
    """Both in [0, 1]."""
    response_ms: float
    context_tokens: int | None = None
    """None: not known, not checked."""
    tools: bool = True
    vision: bool = False
    audio: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What a request needs."""

    input_tokens: int
    output_tokens: int
    complexity: float
    """0 to 1."""
    tools: bool = False
    vision: bool = False
    audio: bool = False
    min_accuracy: float | None = None
    """None: the caller asked for none."""
    min_quality: float = 0.0
    max_latency_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Weights:
    """Weights of the score's terms."""

    cost: float
    quality: float
    speed: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What a pool may tune."""

    weights: Weights = Weights(0.3, 0.5, 0.2)
    simple_tokens: int = 500
    simple_complexity: float = 0.3


TIGHT, TIGHT_WEIGHTS = 0.5, Weights(0.5, 0.3, 0.2)
"""Share of the budget that is left, and the weights below it."""
SCARCE, SCARCE_WEIGHTS = 0.2, Weights(0.7, 0.2, 0.1)


@dataclass(frozen=True, slots=True)
class Choice:
    """The model that answers."""

    model: str
    reason: Reason


def choose_model(
    candidates: Sequence[Candidate], task: Task, rules: Rules, *, budget_left: float | None, cheapest: bool = False
) -> Choice | None:
    """The right model for the task; None when no candidate can do it.

    ``budget_left`` is the share of the tightest budget that is left; None: not known, and the weights do not move.
    ``cheapest``: a budget asks for cheap models, so the cheapest that fits is taken.
    """
    fit = [candidate for candidate in candidates if not misfit(candidate, task)]
    if not fit:
        return None
    if len(fit) == 1:
        return Choice(fit[0].model, Reason.ONLY_ONE)
    if cheapest:
        return Choice(_cheapest(fit), Reason.BUDGET)
    if task.input_tokens < rules.simple_tokens and task.complexity < rules.simple_complexity:
        return Choice(_cheapest(fit), Reason.SHORT_AND_SIMPLE)
    if task.min_accuracy is not None and task.max_latency_ms is not None:
        # every model that is left is accurate and fast enough: nothing is gained by paying more
        return Choice(_cheapest(fit), Reason.TOLERANT)
    if task.complexity >= FROM[Complexity.REASONING] and (budget_left is None or budget_left >= TIGHT):
        best = min(fit, key=lambda one: (-one.accuracy, -one.quality, one.cost_nanousd, one.model))
        return Choice(best.model, Reason.REASONING)
    weights = _weights(rules, budget_left)
    scores = _scores(fit, weights)
    best = min(fit, key=lambda one: (-scores[one.model], one.cost_nanousd, one.model))
    return Choice(best.model, Reason.SCORE)


def misfit(candidate: Candidate, task: Task) -> str:
    """Why a model cannot take the task; empty when it can."""
    if candidate.context_tokens is not None and task.input_tokens + task.output_tokens > candidate.context_tokens:
        return "context"
    if task.tools and not candidate.tools:
        return "tools"
    if task.vision and not candidate.vision:
        return "vision"
    if task.audio and not candidate.audio:
        return "audio"
    if task.min_accuracy is not None and candidate.accuracy < task.min_accuracy:
        return "accuracy"
    if candidate.quality < task.min_quality:
        return "quality"
    if task.max_latency_ms is not None and candidate.response_ms > task.max_latency_ms:
        return "latency"
    return ""


def _cheapest(fit: Sequence[Candidate]) -> str:
    return min(fit, key=lambda one: (one.cost_nanousd, -one.quality, one.model)).model


def _weights(rules: Rules, budget_left: float | None) -> Weights:
    if budget_left is None or budget_left >= TIGHT:
        return rules.weights
    return TIGHT_WEIGHTS if budget_left >= SCARCE else SCARCE_WEIGHTS


def _scores(fit: Sequence[Candidate], weights: Weights) -> dict[str, float]:
    cost = _normalised([-float(one.cost_nanousd) for one in fit])
    quality = _normalised([one.quality for one in fit])
    speed = _normalised([-one.response_ms for one in fit])
    return {
        one.model: round(weights.cost * cost[at] + weights.quality * quality[at] + weights.speed * speed[at], 9)
        for at, one in enumerate(fit)
    }


def _normalised(values: Sequence[float]) -> list[float]:
    """Values moved to [0, 1], the largest at 1; all equal: all 1, the term decides nothing."""
    low, high = min(values), max(values)
    return [(value - low) / (high - low) if high > low else 1.0 for value in values]
