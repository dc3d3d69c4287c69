"""The cheap modes: words in common, keywords of a domain, precomputed answers; and which requests are questions."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_runtime.semantic.matcher import WordMatcher
from agent_runtime.semantic.question import LONGEST_QUESTION, single_question
from agent_runtime.semantic.words import domain_match, domain_score, fuzzy_match, overlap, words


@pytest.mark.parametrize(
    ("shared", "each", "matches"),
    [pytest.param(7, 10, False, id="exactly .7"), pytest.param(8, 11, True, id="just above"), (0, 0, False)],
)
def test_fuzzy_needs_more_than_seventy_percent_of_the_words(shared, each, matches):
    a = frozenset(f"w{number}" for number in range(each))
    b = frozenset(f"w{number}" for number in range(shared))
    assert fuzzy_match(a, b) is matches


def test_the_domain_score_weighs_keywords_sixty_to_forty():
    keywords = frozenset({"pipeline", "schema"})
    a, b = words("validate the schema"), words("check schema of pipeline")
    assert domain_score(a, b, keywords) == pytest.approx(0.6 * 1 / 2 + 0.4 * 1 / 6)
    assert domain_match(words("validate the schema now"), words("validate this schema now"), keywords)
    assert not domain_match(words("validate the schema"), words("drop a pipeline"), keywords)


@given(st.frozensets(st.sampled_from("abcdefgh")), st.frozensets(st.sampled_from("abcdefgh")))
def test_overlap_is_symmetric_and_a_share(a, b):
    assert overlap(a, b) == overlap(b, a)
    assert 0 <= overlap(a, b) <= 1


def filled(keywords=None, **questions: str) -> WordMatcher:
    matcher = WordMatcher(keywords=keywords, max_entries=100)
    for key, text in questions.items():
        matcher.add("scope", "tenant", text, key, expires_s=100.0)
    return matcher


def test_the_best_match_is_found_in_its_scope_while_it_lives():
    matcher = filled(
        near="how do i reset my password", nearer="how do i reset my password please", far="what time is it"
    )
    asked = "please how do i reset my password"
    assert matcher.find("scope", asked, now_s=0) == ("nearer", 1.0)
    assert matcher.find("other", asked, now_s=0) is None
    assert matcher.find("scope", asked, now_s=100) is None


def test_numbers_and_negation_must_agree_in_the_cheap_modes_too():
    matcher = filled(known="can i transfer 50 usd to my own account today")
    assert matcher.find("scope", "can i transfer 500 usd to my own account today", now_s=0) is None
    assert matcher.find("scope", "can i not transfer 50 usd to my own account today", now_s=0) is None
    assert matcher.find("scope", "can i transfer 50 usd to my own account today?", now_s=0) is not None


def test_the_oldest_question_makes_room():
    matcher = WordMatcher(keywords=None, max_entries=2)
    for number in range(3):
        matcher.add("s", "t", f"question number {'abc'[number]}", str(number), expires_s=math.inf)
    assert len(matcher) == 2
    assert matcher.find("s", "question number a", now_s=0) is None


def test_dropping_near_a_statement_keeps_other_tenants_and_other_subjects():
    matcher = filled(hours="what are your opening hours", weather="how is the weather")
    matcher.add("scope", "other", "what are your opening hours", "theirs", expires_s=100.0)
    assert matcher.drop_near("tenant", "your opening hours", 0.5) == ["hours"]
    assert len(matcher) == 2


ASKED = {"role": "user", "content": "how are you"}


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"messages": [ASKED], "tools": [{"type": "function"}]}, id="tools"),
        pytest.param({"messages": [ASKED, {"role": "assistant", "content": "x"}, ASKED]}, id="several turns"),
        pytest.param({"messages": [ASKED, ASKED]}, id="two user messages"),
        pytest.param({"messages": [{"role": "system", "content": "x"}]}, id="no question"),
        pytest.param({"messages": [{"role": "tool", "content": "x"}, ASKED]}, id="tool result"),
        pytest.param({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, id="image"),
        pytest.param({"messages": [{"role": "user", "content": " "}]}, id="blank"),
        pytest.param({"messages": [{"role": "user", "content": "x" * (LONGEST_QUESTION + 1)}]}, id="too long"),
        pytest.param({"messages": ["x"]}, id="nonsense"),
    ],
)
def test_what_is_no_single_question_is_left_alone(fields):
    assert single_question(fields) is None


def test_everything_but_the_question_belongs_to_the_rest():
    system = {"role": "system", "content": "be brief"}
    question = single_question({"model": "m", "messages": [system, ASKED], "seed": 1})
    assert question.text == "how are you"
    assert question.rest == {"model": "m", "messages": [system, {"role": "user", "content": None}], "seed": 1}
