"""The choice of a model: the specified rules as a table, and what holds for any pool."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_runtime.routing.rightsizing import Candidate, Choice, Reason, Rules, Task, Weights, choose_model, misfit

LARGE = Candidate(
    model="large", cost_nanousd=30_000, accuracy=0.98, quality=0.95, response_ms=2000, context_tokens=128_000
)
MEDIUM = Candidate(
    model="medium", cost_nanousd=10_000, accuracy=0.96, quality=0.90, response_ms=1500, context_tokens=32_000
)
SMALL = Candidate(
    model="small", cost_nanousd=1_500, accuracy=0.92, quality=0.85, response_ms=1000, context_tokens=16_000
)
POOL = (LARGE, MEDIUM, SMALL)

ORDINARY = Task(input_tokens=1000, output_tokens=300, complexity=0.4)


@pytest.mark.parametrize(
    ("task", "budget_left", "expected"),
    [
        pytest.param(ORDINARY, None, Choice("medium", Reason.SCORE), id="ordinary"),
        pytest.param(ORDINARY, 0.5, Choice("medium", Reason.SCORE), id="half-the-budget"),
        pytest.param(ORDINARY, 0.49, Choice("small", Reason.SCORE), id="under-half-cost-leads"),
        pytest.param(ORDINARY, 0.1, Choice("small", Reason.SCORE), id="scarce"),
        pytest.param(
            replace(ORDINARY, input_tokens=499, complexity=0.29),
            None,
            Choice("small", Reason.SHORT_AND_SIMPLE),
            id="simple",
        ),
        pytest.param(
            replace(ORDINARY, input_tokens=500, complexity=0.29),
            None,
            Choice("medium", Reason.SCORE),
            id="simple-but-long",
        ),
        pytest.param(
            replace(ORDINARY, input_tokens=499, complexity=0.3),
            None,
            Choice("medium", Reason.SCORE),
            id="short-but-harder",
        ),
        pytest.param(replace(ORDINARY, complexity=0.75), None, Choice("large", Reason.REASONING), id="reasoning"),
        pytest.param(
            replace(ORDINARY, complexity=0.9), 0.3, Choice("small", Reason.SCORE), id="reasoning-on-a-tight-budget"
        ),
        pytest.param(
            replace(ORDINARY, min_accuracy=0.95, max_latency_ms=3000),
            None,
            Choice("medium", Reason.TOLERANT),
            id="slow-is-fine-and-accuracy-is-said",
        ),
        pytest.param(replace(ORDINARY, min_accuracy=0.97), None, Choice("large", Reason.ONLY_ONE), id="accuracy"),
        pytest.param(replace(ORDINARY, min_quality=0.95), None, Choice("large", Reason.ONLY_ONE), id="quality"),
        pytest.param(replace(ORDINARY, max_latency_ms=1000), None, Choice("small", Reason.ONLY_ONE), id="latency"),
        pytest.param(replace(ORDINARY, input_tokens=40_000), None, Choice("large", Reason.ONLY_ONE), id="context"),
        pytest.param(replace(ORDINARY, vision=True), None, None, id="nobody-sees"),
        pytest.param(replace(ORDINARY, max_latency_ms=10), None, None, id="nobody-is-fast-enough"),
    ],
)
def test_the_rules(task: Task, budget_left: float | None, expected: Choice | None) -> None:
    assert choose_model(POOL, task, Rules(), budget_left=budget_left) == expected


def test_a_budget_that_asks_for_cheap_models_gets_the_cheapest_that_fits() -> None:
    for task in (ORDINARY, replace(ORDINARY, complexity=0.9)):
        choice = choose_model(POOL, task, Rules(), budget_left=0.9, cheapest=True)
        assert choice == Choice("small", Reason.BUDGET)
    floor = replace(ORDINARY, min_quality=0.9)
    assert choose_model(POOL, floor, Rules(), budget_left=0.9, cheapest=True) == Choice("medium", Reason.BUDGET)


def test_sound_goes_only_to_models_that_can_take_it() -> None:
    hears = replace(MEDIUM, audio=True)
    assert choose_model((LARGE, hears), replace(ORDINARY, audio=True), Rules(), budget_left=None) == Choice(
        "medium", Reason.ONLY_ONE
    )


def test_a_thousandfold_price_does_not_silence_quality_and_speed() -> None:
    dear = replace(LARGE, cost_nanousd=30_000_000, quality=1.0, response_ms=100)
    cheap = replace(SMALL, cost_nanousd=1)
    assert choose_model((dear, cheap), ORDINARY, Rules(), budget_left=None) == Choice("large", Reason.SCORE)


def test_a_tie_goes_to_the_cheaper_model_then_to_the_name() -> None:
    even = replace(LARGE, model="even", cost_nanousd=0, quality=0.0)
    twin = replace(LARGE, model="best", cost_nanousd=10, quality=0.6)  # .5 × 1 for quality is .5 × 1 for cost
    weights = Rules(weights=Weights(50, 50, 0))
    assert choose_model((twin, even), ORDINARY, weights, budget_left=None) == Choice("even", Reason.SCORE)
    same = [replace(LARGE, model=name) for name in ("b", "a")]
    assert choose_model(same, ORDINARY, weights, budget_left=None) == Choice("a", Reason.SCORE)


SHARE = st.floats(0, 1, allow_nan=False)
CANDIDATES = st.lists(
    st.builds(
        Candidate,
        model=st.sampled_from("abcdefgh"),
        cost_nanousd=st.integers(0, 10**12),
        accuracy=SHARE,
        quality=SHARE,
        response_ms=st.floats(1, 1e5),
        context_tokens=st.none() | st.integers(1, 10**6),
        tools=st.booleans(),
        vision=st.booleans(),
    ),
    min_size=1,
    max_size=6,
    unique_by=lambda candidate: candidate.model,
)
TASKS = st.builds(
    Task,
    input_tokens=st.integers(0, 10**6),
    output_tokens=st.integers(0, 10_000),
    complexity=SHARE,
    tools=st.booleans(),
    vision=st.booleans(),
    min_accuracy=st.none() | SHARE,
    min_quality=SHARE,
    max_latency_ms=st.none() | st.floats(1, 1e5),
)
LEFT = st.none() | SHARE


@given(CANDIDATES, TASKS, LEFT, st.randoms(use_true_random=False))
def test_the_order_of_the_models_does_not_matter(models, task, left, chance) -> None:  # type: ignore[no-untyped-def]
    shuffled = chance.sample(models, len(models))
    assert choose_model(shuffled, task, Rules(), budget_left=left) == choose_model(
        models, task, Rules(), budget_left=left
    )


@given(CANDIDATES, TASKS, LEFT)
def test_what_is_chosen_can_do_the_task_and_none_means_nobody_can(models, task, left) -> None:  # type: ignore[no-untyped-def]
    choice = choose_model(models, task, Rules(), budget_left=left)
    able = {model.model for model in models if not misfit(model, task)}
    assert choice.model in able if choice else not able


@given(CANDIDATES, TASKS.filter(lambda task: task.complexity < 0.75), SHARE, SHARE)
def test_less_budget_never_makes_a_request_dearer(models, task, one, other) -> None:  # type: ignore[no-untyped-def]
    """With models of one speed: the weight of speed falls as well when money is scarce."""
    even = [replace(model, response_ms=1000.0) for model in models]
    cost = {model.model: model.cost_nanousd for model in even}
    rich = choose_model(even, task, Rules(), budget_left=max(one, other))
    poor = choose_model(even, task, Rules(), budget_left=min(one, other))
    if rich is not None and poor is not None:
        assert cost[poor.model] <= cost[rich.model]
