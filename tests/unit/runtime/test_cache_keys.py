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


PARTS = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.floats(-1e6, 1e6) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=8,
)


def rewritten(value, chance):
    """The same JSON, written in another way: order of keys, form of whole numbers."""
    if isinstance(value, dict):
        names = list(value)
        chance.shuffle(names)
        return {name: rewritten(value[name], chance) for name in names}
    if isinstance(value, list):
        return [rewritten(part, chance) for part in value]
    if type(value) is int and chance.random() < 0.5:
        return float(value)
    if type(value) is float and value.is_integer():
        return int(value)
    return value


@given(PARTS, PARTS, st.randoms(use_true_random=False))
def test_how_a_request_is_written_does_not_matter(parameters, arguments, chance) -> None:
    def request(parameters, arguments, call_id: str, indent: int | None) -> dict:
        call = {"id": call_id, "function": {"name": "f", "arguments": json.dumps(arguments, indent=indent)}}
        messages = [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": call_id, "content": "x"},
        ]
        tools = [{"type": "function", "function": {"name": "f", "parameters": parameters}}]
        written = json.dumps({"model": "m", "messages": messages, "tools": tools, "temperature": 0}, indent=indent)
        return orjson.loads(written)

    one = request(parameters, arguments, "call_a", None)
    other = request(rewritten(parameters, chance), rewritten(arguments, chance), "call_b", 2)
    assert cache_key(b"t", one) == cache_key(b"t", rewritten(other, chance))


@given(PARTS, PARTS)
def test_arguments_that_differ_are_told_apart(one, other) -> None:
    def key(arguments: str) -> str:
        call = {"id": "a", "function": {"name": "f", "arguments": arguments}}
        return cache_key(b"t", {"messages": [{"role": "assistant", "tool_calls": [call]}]})

    assert (key(json.dumps(one)) == key(json.dumps(other))) == same(one, other)
    assert key("not JSON") != key(json.dumps("not JSON"))


def same(one, other) -> bool:
    """Equal as JSON: numbers by value, and true is no 1."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def test_results_that_belong_to_other_calls_are_told_apart() -> None:
    def key(first: str, second: str) -> str:
        calls = [{"id": name, "function": {"name": "f", "arguments": "{}"}} for name in ("a", "b")]
        results = [
            {"role": "tool", "tool_call_id": first, "content": "one"},
            {"role": "tool", "tool_call_id": second, "content": "two"},
        ]
        return cache_key(b"t", {"messages": [{"role": "assistant", "tool_calls": calls}, *results]})

    assert key("a", "b") != key("b", "a")


@pytest.mark.parametrize("field", ["tools", "messages", "input"])
@pytest.mark.parametrize("depth", [300, 900])
def test_a_request_nested_too_deeply_has_no_key(field: str, depth: int) -> None:
    fields = orjson.loads(b'{"%s": %s1%s}' % (field.encode(), b"[" * depth, b"]" * depth))
    with pytest.raises(ValueError, match="deeply"):
        cache_key(b"t", fields)
