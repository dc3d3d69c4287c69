"""Whatever a conversation says, its facts survive, and nothing a caller may send breaks the compressor."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_runtime.compression.compress import PROFILES, Policy, compress

PROSE = st.sampled_from(
    [
        "Hello there!",
        "I would like to know the price of it, please.",
        "Could you please help me with that?",
        "Thank you for your help!",
        "Thank you for confirming order 77.",
        "It is important to note that the refund is not possible.",
        "If you have any more questions about case A17, feel free to ask!",
        "The total is",
        "There are",
        "Yes.",
        "- Origin:",
        "1. First of all",
        "**Bold** words are in the text.",
        "You're welcome!",
        "If there's anything else I can help you with, such as order 77, let me know!",
        "The insurance covers storms, strikes and lost luggage, but not change fees.",
        "The insurance also covers storms, strikes and lost luggage, but not any change fees.",
        "- Flight A\n - Gate: 7\n - Seats left: 12\n- Flight B\n - Gate: 9\n - Seats left: 3\n",
        "The flight that you have booked has been cancelled due to the fact that it is late.",
        "\n\n",
        "   ",
    ]
)
NUMBER = st.one_of(
    st.integers(-(10**9), 10**9).map(str),
    st.floats(0, 10**6, allow_nan=False).map(lambda value: f"${value:.2f}"),
    st.sampled_from(["2024-05-20", "10:30", "15%", "1,299.00", "3rd", "+49-30-1234", "v1.2.3"]),
)
IDENTIFIER = st.sampled_from(
    ["user_id", "getName()", "HTTPServer", "mia_li_3668", "HAT136", "a.b.c", "--force", "$HOME", "x1"]
)
QUOTED = st.text(
    st.characters(codec="utf-8", exclude_characters='"“”\n\r\\`', exclude_categories=["C", "Z"]),
    min_size=1,
    max_size=12,
).map(lambda text: f'"{text}"')
LETTERS = st.text("abcXYZ019 ", max_size=6)
JSON = st.dictionaries(LETTERS, st.one_of(st.integers(), st.booleans(), LETTERS), min_size=1, max_size=3).map(
    json.dumps
)
CODE = st.sampled_from(
    [
        "```python\ntotal_9 = 5  # five of them\n\n# nothing\nname = 'a # b'\n```",
        "```js\nconst port = 8080; // default 8080\n```",
        "`inline_code(7)`",
    ]
)
PIECE = st.one_of(PROSE, PROSE, NUMBER, IDENTIFIER, QUOTED, JSON, CODE)
TEXT = st.lists(st.tuples(PIECE, st.sampled_from([" ", " ", "\n", ". ", "  "])), max_size=14).map(
    lambda pieces: "".join(piece + gap for piece, gap in pieces)
)
MESSAGES = st.lists(st.tuples(st.sampled_from(["system", "user", "assistant"]), TEXT), max_size=8).map(
    lambda talk: [{"role": role, "content": text} for role, text in [*talk, ("user", "And the  other one?")]]
)


def stated(text: str) -> set[str]:
    """Facts by rules that are not the compressor's."""
    found = set(re.findall(r"\d+(?:[.,:/-]\d+)*", text))
    found |= set(re.findall(r"\b[A-Za-z]+_\w+|\b[a-z]+[A-Z]\w*|\b[A-Za-z]+\d\w*|\b[A-Z]{2,}", text))
    found |= set(re.findall(r'"[^"\n]*"', text))
    return found


def count(text: str) -> int:
    return len(re.findall(r"\w+|[^\w\s]", text))


@settings(max_examples=150, deadline=None)
@given(MESSAGES, st.sampled_from(sorted(PROFILES)), st.booleans())
def test_every_fact_survives(messages: list[dict[str, Any]], profile: str, system_prompt: bool) -> None:
    policy = Policy(profile=PROFILES[profile], max_tokens=0, system_prompt=system_prompt)
    result = compress({"messages": messages}, policy, count)
    before = "\n".join(message["content"] for message in messages)
    after = "\n".join(message["content"] for message in result.messages)
    assert stated(before) <= stated(after)
    assert [message["role"] for message in result.messages] == [message["role"] for message in messages]
    assert result.messages[-1] == messages[-1]
    assert result.tokens_after == sum(count(message["content"]) for message in result.messages) <= result.tokens_before
    for old, new in zip(messages, result.messages, strict=True):
        assert bool(new["content"].strip()) == bool(old["content"].strip())


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=30),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["role", "content", "type", "text", "x"]), inner, max_size=3)
    ),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(ANYTHING | st.lists(ANYTHING, max_size=4), st.sampled_from(sorted(PROFILES)))
def test_messages_of_any_shape_pass(messages: Any, profile: str) -> None:
    result = compress(
        {"messages": messages}, Policy(profile=PROFILES[profile], system_prompt=True, with_tools=True), count
    )
    if isinstance(messages, list):
        assert len(result.messages) == len(messages)


@pytest.mark.timeout(100)
@pytest.mark.parametrize(
    "text",
    [
        pytest.param("[" * 20_000, id="open-brackets"),
        pytest.param('{"a":' * 5_000, id="open-objects"),
        pytest.param("a." * 20_000, id="dotted"),
        pytest.param("'" * 20_000, id="quotes"),
        pytest.param('" ' * 20_000, id="spaced-quotes"),
        pytest.param("<a " * 20_000, id="open-tags"),
        pytest.param("**a " * 20_000, id="open-bold"),
        pytest.param("if you " * 10_000, id="courtesy-without-end"),
        pytest.param("`" * 20_000, id="back-quotes"),
        pytest.param("```\n" * 10_000, id="fences"),
        pytest.param("| " * 20_000, id="bars"),
        pytest.param(" " * 40_000 + "a", id="blanks"),
        pytest.param("\n" * 40_000 + "a", id="lines"),
        pytest.param("x" * 100_000, id="one-word"),
        pytest.param("If you need any help " + "with a, " * 2_000, id="an-offer-without-end"),
        pytest.param("thank you " * 2_000, id="thanks-without-end"),
        pytest.param("A: b\nC: d\n\n" * 700, id="records"),
        pytest.param("A:" + " " * 40_000 + "b;", id="a-field-of-blanks"),
        pytest.param(" so I can check" * 2_000, id="purposes"),
        pytest.param("".join(f"The old grey boat {n} leaves a harbour. " for n in range(400)), id="near-duplicates"),
        pytest.param("\U000f0000 the a", id="placeholder"),
        pytest.param("\ud800 the house is a house", id="half-a-surrogate"),
    ],
)
def test_hostile_texts_take_linear_time(text: str) -> None:
    messages = [
        {"role": "user", "content": text},
        {"role": "assistant", "content": text},
        {"role": "user", "content": "ok"},
    ]
    for profile in PROFILES.values():
        compress({"messages": messages}, Policy(profile=profile, max_tokens=1000), count)
