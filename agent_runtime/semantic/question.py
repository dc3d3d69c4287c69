"""Is this request a single question whose answer may be given for the same question in other words? Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

LONGEST_QUESTION = 800
"""Characters. The encoder reads 256 tokens: what it does not read it cannot compare."""

_AGENTS = ("tools", "functions", "tool_choice", "function_call", "web_search_options", "audio", "modalities")
_INSTRUCTING = ("system", "developer")


@dataclass(frozen=True, slots=True)
class Question:
    """The words asked, and the rest of the request, which must be equal."""

    text: str
    rest: Mapping[str, Any]


def single_question(fields: Mapping[str, Any]) -> Question | None:
    """The question of a chat request: instructions, then one user message of plain text, no tools.

    None for everything else: an agent's loop repeats itself almost word for word and must get new answers.
    """
    if any(fields.get(name) for name in _AGENTS):
        return None
    messages = fields.get("messages")
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        return None
    *before, last = messages
    text = last.get("content")
    if last.get("role") != "user" or not isinstance(text, str) or not 0 < len(text.strip()) <= LONGEST_QUESTION:
        return None
    if any(message.get("role") not in _INSTRUCTING for message in before):
        return None
    return Question(text, {**fields, "messages": [*before, {**last, "content": None}]})
