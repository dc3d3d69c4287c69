"""How hard a request looks, without asking a model."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_runtime.routing.complexity import Complexity, classify, score_complexity


def ask(text: Any, **fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], **fields}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        pytest.param(ask("where is the closest gas station"), Complexity.SIMPLE, id="question"),
        pytest.param(ask("why must I prove ID"), Complexity.SIMPLE, id="a-word-with-two-meanings"),
        pytest.param(ask("compare prices of malt-o-meal to kelloggs"), Complexity.MODERATE, id="comparison"),
        pytest.param(ask("fix this:\n```py\nprint(1)\n```"), Complexity.MODERATE, id="code"),
        pytest.param(
            ask("Jan buys 5 boxes of 12 pens for $3 each and sells 40 pens. How many are left?"),
            Complexity.COMPLEX,
            id="sum",
        ),
        pytest.param(
            ask("Design an algorithm, analyze its cost and prove that it ends:\n```py\ndef f(x):\n```"),
            Complexity.REASONING,
            id="several-kinds-of-thinking",
        ),
        pytest.param(ask("word " * 400), Complexity.COMPLEX, id="long"),
        pytest.param(ask([{"type": "text", "text": "hello"}, {"type": "image_url"}]), Complexity.SIMPLE, id="parts"),
    ],
)
def test_classes(fields: dict[str, Any], expected: Complexity) -> None:
    assert classify(score_complexity(fields)) is expected


def test_tools_schema_and_depth_make_a_request_harder() -> None:
    plain = score_complexity(ask("hello"))
    tools = [{"type": "function"}]
    assert score_complexity(ask("hello", tools=tools)) > plain
    assert score_complexity(ask("hello", response_format={"type": "json_schema"})) > plain
    assert score_complexity({"messages": [{"role": "user", "content": "hello"}] * 20}) > plain


@pytest.mark.parametrize(
    ("score", "expected"), [(0, "simple"), (0.3, "moderate"), (0.5, "complex"), (0.75, "reasoning"), (1, "reasoning")]
)
def test_the_classes_begin_where_documented(score: float, expected: str) -> None:
    assert classify(score) == expected


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=40),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["role", "content", "text", "messages", "tools", "type"]), inner, max_size=4)
    ),
)


@given(st.dictionaries(st.sampled_from(["messages", "tools", "response_format"]), JSON))
def test_any_request_has_a_score_between_0_and_1(fields: dict[str, Any]) -> None:
    assert 0.0 <= score_complexity(fields) <= 1.0
