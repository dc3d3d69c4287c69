"""What must agree between two questions is found and compared."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_runtime.semantic.facets import differing, read_facets

DIFFERENT = [
    pytest.param("Transfer 50 USD to Berlin", "Transfer 500 USD to Berlin", "numbers", id="number"),
    pytest.param("Is two enough?", "Is three enough?", "numbers", id="number word"),
    pytest.param("Is it allowed?", "Is it not allowed?", "negation", id="not"),
    pytest.param("Why did the payment go through?", "Why didn't the payment go through?", "negation", id="n't"),
    pytest.param("Flights to Berlin", "Flights to Madrid", "entities", id="place"),
    pytest.param("What does HTTP mean?", "What does HTTPS mean?", "entities", id="acronym"),
    pytest.param("How many miles is it?", "How many kilometers or km is it?", "units", id="unit"),
    pytest.param("Price in $?", "Price in €?", "units", id="currency sign"),
    pytest.param("Open on monday?", "Open on friday?", "dates", id="day"),
    pytest.param("How is it today?", "How was it yesterday?", "dates", id="relative day"),
    pytest.param("What does `a()` do?", "What does `b()` do?", "code", id="quoted code"),
    pytest.param("why is my_variable undefined", "why is your_variable undefined", "code", id="identifier"),
    pytest.param("run it with --force", "run it with --dry-run", "code", id="option"),
]

SAME = [
    pytest.param("Transfer 1,000 USD", "transfer 1000.0 usd please", id="number forms"),
    pytest.param("It costs $5", "It costs 5 dollars", id="currency forms"),
    pytest.param("I didn't get it", "I didn’t get it", id="apostrophes"),
    pytest.param("What about two?", "What about 2?", id="number words"),
    pytest.param("How do I top-up?", "how can i top up", id="hyphen is no option"),
    pytest.param("Hello. Where is it?", "Where is it?", id="capital at a sentence's start"),
]


@pytest.mark.parametrize(("a", "b", "facet"), DIFFERENT)
def test_a_difference_that_changes_the_answer_is_seen(a, b, facet):
    assert differing(read_facets(a), [read_facets(b)]) == facet
    assert differing(read_facets(b), [read_facets(a)]) == facet


@pytest.mark.parametrize(("a", "b"), SAME)
def test_spelling_makes_no_difference(a, b):
    assert differing(read_facets(a), [read_facets(b)]) is None


def test_a_facet_in_which_the_known_questions_differ_does_not_count():
    known = [read_facets("transfer 50 usd"), read_facets("transfer 70 usd")]
    assert differing(read_facets("transfer 90 usd"), known) is None
    assert differing(read_facets("transfer 90 eur"), known) == "units"


def test_without_a_known_question_nothing_agrees():
    assert differing(read_facets("a"), []) is not None


@given(st.text(max_size=300))
def test_every_text_agrees_with_itself(text):
    facets = read_facets(text)
    assert facets == read_facets(text)
    assert differing(facets, [facets]) is None
