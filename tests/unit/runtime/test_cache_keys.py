import json
import random

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_runtime.cache.keys import cache_key, wants_samples

BASE = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "temperature": 0, "top_p": 0.5}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5).filter(str.isprintable),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=3), inner, max_size=3),
    max_leaves=8,
)


def key(text: str, scope: bytes = b"s") -> str:
    return cache_key(scope, orjson.loads(text))


@given(st.dictionaries(st.text("abcdef", min_size=1, max_size=4), JSON, max_size=5), st.randoms())
def test_order_and_whitespace_do_not_matter(fields: dict, chance: random.Random) -> None:
    shuffled = list(fields.items())
    chance.shuffle(shuffled)
    assert key(json.dumps(fields)) == key(json.dumps(dict(shuffled), indent=3))


@pytest.mark.parametrize("forms", [("1", "1.0", "1e0", "10e-1"), ("0.5", "5e-1"), ("-2", "-2.00"), ("0", "-0.0")])
def test_the_form_of_a_number_does_not_matter(forms: tuple[str, ...]) -> None:
    text = '{"tools": [{"parameters": {"maximum": %s}}], "top_p": %s}'
    assert len({key(text % (form, form)) for form in forms}) == 1


def test_how_the_answer_is_delivered_does_not_matter() -> None:
    streamed = BASE | {"stream": True, "stream_options": {"include_usage": True}}
    assert cache_key(b"s", BASE) == cache_key(b"s", streamed)


@pytest.mark.parametrize(
    "change",
    [
        {"model": "n"},
        {"messages": [{"role": "user", "content": "hi "}]},
        {"messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}]},
        {"tools": [{"type": "function", "function": {"name": "f"}}]},
        {"temperature": 0.1},
        {"top_p": True},
        {"seed": 1},
        {"user": "u"},
        {"unknown": None},
        {"max_tokens": 1},
    ],
)
def test_what_can_change_the_answer_changes_the_key(change: dict) -> None:
    assert cache_key(b"s", BASE) != cache_key(b"s", BASE | change)


def test_tenants_and_endpoints_are_kept_apart() -> None:
    assert cache_key(b"one", BASE) != cache_key(b"two", BASE)


@pytest.mark.parametrize(
    ("fields", "samples"),
    [
        ({}, False),
        ({"temperature": 0}, False),
        ({"temperature": None}, False),
        ({"temperature": 0.0}, False),
        ({"temperature": 0.2}, True),
        ({"temperature": 1}, True),
        ({"n": 1}, False),
        ({"n": 2}, True),
        ({"n": None}, False),
        ({"n": "2"}, False),
        ({"best_of": 3}, True),
    ],
)
def test_a_request_for_samples_is_not_answered_twice_with_one(fields: dict, samples: bool) -> None:
    assert wants_samples(fields) is samples
