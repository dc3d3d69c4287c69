"""How hard is a request, 0 to 1?

Signals that can be read off the request itself, put together as independent reasons: one strong signal is enough, and
several weak ones add up without ever passing 1. No model is asked: a classifier that costs a call costs more than it
saves. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any


class Complexity(StrEnum):
    """Classes of tasks by score."""

    SIMPLE = "simple"
    MODERATE = "moderate"
    COMPLEX = "complex"
    REASONING = "reasoning"


FROM = {Complexity.SIMPLE: 0.0, Complexity.MODERATE: 0.3, Complexity.COMPLEX: 0.5, Complexity.REASONING: 0.75}
"""Lowest score of each class."""

_WEIGHTS = {
    "calculation": 0.55,
    "thinking": 0.6,
    "code": 0.4,
    "length": 0.5,
    "demands": 0.3,
    "tools": 0.2,
    "schema": 0.15,
    "depth": 0.2,
}
"""How hard a request is when one signal alone is at its full strength."""

_NUMBER = re.compile(
    r"(?<![\w.])[$€£]?\d[\d,.]*|\b(?:half|twice|double|triple|third|dozen|two|three|four|five|six|ten)\b"
)
_QUANTITY = re.compile(
    r"\bhow (?:many|much|long|far|old|often)\b|[%=^∑∫√]"
    r"|\b(?:total|sum|average|percent(?:age)?|ratio|probability|remain|left over|altogether|each)\b"
)
_THINKING = re.compile(
    r"\b(?:pro(?:ve|of) that|deriv(?:e|ation)|theorem|step[- ]by[- ]step|reason(?:ing)? (?:through|about)"
    r"|think (?:carefully|hard)|analy[sz]e|evaluate|compare|contrast|trade-?offs?|pros and cons|design|architecture"
    r"|optimi[sz]e|algorithm|strategy|refactor|debug|diagnose|root cause|implement|critique|justify|hypothes[ie]s"
    r"|simulat(?:e|ion))\b"
)
_CODE = re.compile(
    r"```|\bdef \w+\(|\bclass \w+[:({]|\bfunction \w*\(|^(?:import|from) \w+|\bconst \w+ =|\bSELECT\b.+\bFROM\b"
    r"|\bTraceback\b|[;{}]\s*$",
    re.MULTILINE,
)
_DEMAND = re.compile(r"\?|^\s*(?:\d+[.)]|[-*])\s", re.MULTILINE)

LONG_WORDS, DEEP_MESSAGES, MANY_TOOLS = 400, 20, 10
"""Where length, depth of the conversation and number of tools count in full."""


def score_complexity(fields: Mapping[str, Any]) -> float:
    """Score of a chat request, 0 to 1. What is not understood counts as absent."""
    easy = 1.0
    for name, strength in _signals(fields):
        easy *= 1.0 - _WEIGHTS[name] * min(max(strength, 0.0), 1.0)
    return round(1.0 - easy, 3)


def classify(score: float) -> Complexity:
    """Class of a score."""
    return max((kind for kind in Complexity if score >= FROM[kind]), key=FROM.__getitem__)


def _signals(fields: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Each signal with its strength; 1 is full."""
    messages = fields.get("messages")
    messages = messages if isinstance(messages, list) else []
    asked = _text(next((one for one in reversed(messages) if _role(one) == "user"), None))
    lower = asked.lower()
    numbers = len(_NUMBER.findall(lower))
    if numbers >= 2 and _QUANTITY.search(lower):
        yield "calculation", 0.5 + numbers / 8
    yield "thinking", len(set(_THINKING.findall(lower))) / 2
    yield "code", float(bool(_CODE.search(asked)))
    yield "length", len(asked.split()) / LONG_WORDS
    yield "demands", (len(_DEMAND.findall(asked)) - 1) / 4
    tools = fields.get("tools")
    yield "tools", 0.5 + len(tools) / MANY_TOOLS / 2 if isinstance(tools, list) and tools else 0.0
    form = fields.get("response_format")
    yield "schema", float(isinstance(form, Mapping) and form.get("type") == "json_schema")
    yield "depth", (len(messages) - 2) / DEEP_MESSAGES


def _role(message: object) -> object:
    return message.get("role") if isinstance(message, Mapping) else None


def _text(message: object) -> str:
    content = message.get("content") if isinstance(message, Mapping) else None
    parts = content if isinstance(content, list) else [{"text": content}]
    texts = [part.get("text") for part in parts if isinstance(part, Mapping)]
    return "\n".join(text for text in texts if isinstance(text, str))
