"""Which endpoint comes next."""

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_runtime.models.endpoints import Endpoint, make_routes, operations_of
from agent_runtime.models.selection import choose
from agentpool_api.upstreams import Model, ModelEndpoint


def places(*ranks: tuple[int, int]) -> tuple[Endpoint, ...]:
    """Endpoints with these priorities and weights."""
    made = [ModelEndpoint(url=f"http://h{n}/v1", priority=p, weight=w) for n, (p, w) in enumerate(ranks)]
    return make_routes([Model(name="m", endpoints=made)])[0].endpoints


def everybody(endpoint: Endpoint) -> bool:
    return True


@pytest.mark.parametrize(
    ("ranks", "ready", "tries", "expected"),
    [
        pytest.param([(0, 1)], {0}, [0], 0, id="the-only-one"),
        pytest.param([(0, 1)], {0}, [3], 0, id="the-only-one-again"),
        pytest.param([(0, 1)], set(), [0], None, id="none-ready"),
        pytest.param([(1, 1), (0, 1)], {0, 1}, [0, 0], 1, id="lower-priority-first"),
        pytest.param([(1, 1), (0, 1)], {0}, [0, 0], 0, id="higher-priority-when-the-lower-is-away"),
        pytest.param([(0, 1), (1, 1)], {0, 1}, [1, 0], 1, id="another-one-before-the-same-again"),
        pytest.param([(0, 1), (1, 1)], {0, 1}, [1, 1], 0, id="round-again-by-priority"),
    ],
)
def test_the_next_endpoint(ranks, ready, tries, expected) -> None:
    chosen = choose(places(*ranks), lambda at: at.number in ready, tries, lambda: 0.5)
    assert (chosen.number if chosen else None) == expected


def test_weights_share_the_calls() -> None:
    endpoints, chance = places((0, 3), (0, 1), (1, 100)), Random(1).random
    seen = Counter(found.number for _ in range(4000) if (found := choose(endpoints, everybody, [0, 0, 0], chance)))
    assert seen[2] == 0
    assert 2.6 < seen[0] / seen[1] < 3.4


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 9)), min_size=1, max_size=6),
    st.data(),
    st.floats(0, 1, exclude_max=True),
)
def test_only_one_that_is_ready_and_tried_least_is_chosen(ranks, data, chance) -> None:
    endpoints = places(*ranks)
    ready = data.draw(st.sets(st.sampled_from(range(len(ranks)))))
    tries = data.draw(st.lists(st.integers(0, 3), min_size=len(ranks), max_size=len(ranks)))
    chosen = choose(endpoints, lambda at: at.number in ready, tries, lambda: chance)
    assert (chosen is None) == (not ready)
    if chosen is not None:
        best = min((tries[number], endpoints[number].priority) for number in ready)
        assert (tries[chosen.number], chosen.priority) == best


def test_endpoints_are_numbered_through_and_told_apart() -> None:
    two = [ModelEndpoint(url="http://h/a"), ModelEndpoint(url="http://h/b", upstream_model="x")]
    routes = make_routes([Model(name="one", endpoint="http://h/v1"), Model(name="two", endpoints=two)], "spec.")
    numbered = [(at.number, at.label, at.upstream_model) for route in routes for at in route.endpoints]
    assert numbered == [(0, "h:80", "one"), (1, "h:80", "two"), (2, "h:80#2", "x")]
    assert [at.url_field for at in routes[1].endpoints] == [f"spec.models[1].endpoints[{n}].url" for n in (0, 1)]
    assert routes[0].endpoints[0].key_field == "spec.models[0].apiKeySecretRef"


def test_the_order_of_endpoints_does_not_change_what_the_cache_knows() -> None:
    made = [ModelEndpoint(url="http://a/v1"), ModelEndpoint(url="http://b/v1")]
    one, other = (make_routes([Model(name="m", endpoints=e)])[0] for e in (made, made[::-1]))
    assert one.scope == other.scope
    assert one.scope != make_routes([Model(name="m", endpoint="http://a/v1")])[0].scope


def test_a_chat_model_answers_the_responses_api_at_the_same_endpoints() -> None:
    (route,) = make_routes([Model(name="m", endpoint="http://h/chat/completions/v1/")])
    chat, responses = operations_of(route)
    assert str(responses.endpoints[0].url) == "http://h/chat/completions/v1/responses"
    assert (responses.kind, responses.endpoints[0].number) == ("responses", chat.endpoints[0].number)
