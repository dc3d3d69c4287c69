"""How long, and where, is an answer kept? That depends on what was asked for. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

RESPONSE = "response"
"""What a model said."""
MODEL_OUTPUT = "model_output"
"""What a model computed and would compute again: embeddings."""
TOOL_RESULT = "tool_result"
"""What a model made of a tool's result, which may be another one soon."""


@dataclass(frozen=True, slots=True)
class Policy:
    """Of one kind of answers."""

    ttl_s: float
    tiers: frozenset[str]
    """Of l1, l2 and l3."""


def kind_of(operation: str, fields: Mapping[str, Any]) -> str:
    """Which kind of answer a request asks for."""
    if operation == "embeddings":
        return MODEL_OUTPUT
    messages = fields.get("messages")
    last = messages[-1] if isinstance(messages, list) and messages else None
    return TOOL_RESULT if isinstance(last, dict) and last.get("role") in ("tool", "function") else RESPONSE
