"""Neighbours vote, and the risk that their vote is wrong is learned and bounded."""

import random

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agent_runtime.semantic.risk import HIGHEST_RISK, SAFETY, RiskBudget, RiskModel, highest_risk
from agent_runtime.semantic.vote import vote


def voted(similarities: list[float], answers: list[int], among: float = 0.5):
    gram = np.full((len(answers), len(answers)), among, np.float32)
    np.fill_diagonal(gram, 1)
    return vote(np.array(similarities, np.float32), gram, answers)


def test_no_neighbours_no_vote():
    assert voted([], []) is None


def test_the_nearest_answer_wins_and_names_its_supporters():
    found = voted([0.9, 0.8, 0.4], [1, 2, 1])
    assert (found.answer, found.supporters) == (1, (0, 2))
    assert found.similarity == pytest.approx(0.9)


def test_two_answers_equally_near_leave_no_margin():
    assert voted([0.9, 0.9], [1, 2]).margin == pytest.approx(0)


@pytest.mark.parametrize(
    ("clear", "unclear"),
    [
        pytest.param(voted([0.95], [1]), voted([0.7], [1]), id="nearer is clearer"),
        pytest.param(voted([0.9, 0.5], [1, 2]), voted([0.9, 0.85], [1, 2]), id="a near rival takes voice away"),
        pytest.param(voted([0.8, 0.8], [1, 1]), voted([0.8], [1]), id="agreement gives voice"),
        pytest.param(
            voted([0.8, 0.8], [1, 1]), voted([0.8, 0.8], [1, 1], among=0.99), id="near duplicates share a voice"
        ),
    ],
)
def test_the_margin_orders_votes_by_clarity(clear, unclear):
    assert clear.margin > unclear.margin


@settings(deadline=None)  # the first solve loads LAPACK
@given(st.integers(1, 12), st.integers(0, 1000))
def test_the_order_of_the_neighbours_answers_numbers_does_not_matter(count, seed):
    chance = np.random.default_rng(seed)
    rows = chance.normal(size=(count + 1, 8)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    answers = chance.integers(0, 3, count).tolist()
    near, gram = rows[1:] @ rows[0], rows[1:] @ rows[1:].T
    first = vote(near, gram, answers)
    renamed = vote(near, gram, [answer + 10 for answer in answers])
    assert first.margin >= 0
    if first.margin > 1e-9:
        assert renamed.answer == first.answer + 10


def test_risk_falls_with_the_margin_and_follows_what_is_observed():
    model = RiskModel()
    before = model.risk(0.5, answer=1)
    assert model.risk(0.9, 1) < before < model.risk(0.1, 1)
    for number in range(320):
        model.observe(0.5, answer=number, wrong=number % 2 == 0)
    assert model.risk(0.5, answer=-1) > 0.3 > before
    for number in range(4000):
        model.observe(0.5, answer=number, wrong=False)
    assert model.risk(0.5, answer=-1) < 0.03


def test_an_answer_that_was_wrong_is_riskier_than_others_until_it_is_forgotten():
    model = RiskModel()
    for _ in range(3):
        model.observe(0.6, answer=7, wrong=True)
    assert model.risk(0.6, 7) > 1.5 * model.risk(0.6, 8)
    model.forget(7)
    assert model.risk(0.6, 7) == model.risk(0.6, 8)


@example([0.0, 0.0625, 0.0625], 0.05)  # equal risks
@given(st.lists(st.floats(0, 1), min_size=1, max_size=300), st.sampled_from([0.001, 0.01, 0.05]))
def test_what_is_served_up_to_the_cut_stays_below_the_budget_on_average(risks, delta):
    cut = highest_risk(np.array(risks), delta)
    served = [risk for risk in risks if risk <= cut]
    assert SAFETY * delta <= cut <= HIGHEST_RISK * delta + 1e-12
    if served:
        assert np.mean(served) <= SAFETY * delta + 1e-9


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 2**31))
def test_wrong_answers_stay_below_delta_when_the_world_is_as_modelled(seed):
    """Margins and errors drawn from a world unlike the prior; only misses and samples are seen."""
    chance, model, budget = random.Random(seed), RiskModel(), RiskBudget(0.01)
    served = wrong = 0
    for _ in range(6000):
        margin = chance.random()
        fails = chance.random() < 1 / (1 + np.exp(-(3.5 - 9.5 * margin**0.5)))
        if budget.allows(model.risk(margin, 1)) and chance.random() >= 0.03:
            served, wrong = served + 1, wrong + fails
        else:
            model.observe(margin, 1, wrong=fails)
    assert served > 500
    assert wrong <= 0.01 * served + 3 * (0.01 * served) ** 0.5
