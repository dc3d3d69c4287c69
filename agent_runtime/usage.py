"""How many tokens did an answer take? Pure.

The endpoint's own count rules. Where it is missing or nonsense the count is estimated and says so; a zero the endpoint
states stays zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

CHARS_PER_TOKEN = 4
"""Mean of English text in the common tokenizers, the rule of thumb OpenAI publishes."""

MOST_TOKENS = 1_000_000_000
"""A count above is nonsense."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one answer."""

    input_tokens: int
    """All input, cached included."""
    cached_input_tokens: int
    """Part of the input the endpoint read from its own prompt cache."""
    output_tokens: int
    estimated: bool = False


def usage_from(answer: object) -> Usage | None:
    """Usage an answer or a stream's frame states; None when it states none or something impossible."""
    block = answer.get("usage") if isinstance(answer, Mapping) else None
    if not isinstance(block, Mapping):
        return None
    total_in = _count(block.get("prompt_tokens", block.get("input_tokens")))
    total_out = _count(block.get("completion_tokens", block.get("output_tokens", 0)))
    if total_in is None or total_out is None:
        return None
    details = block.get("prompt_tokens_details", block.get("input_tokens_details"))
    cached = _count(details.get("cached_tokens", 0)) if isinstance(details, Mapping) else 0
    return Usage(total_in, min(cached or 0, total_in), total_out)


def estimate(request_fields: Mapping[str, Any], output_characters: int, output_frames: int = 0) -> Usage:
    """Rough usage: four characters a token, and no fewer output tokens than frames with content."""
    characters = sum(_length(request_fields.get(name)) for name in ("messages", "instructions", "input", "tools"))
    tokens_out = max(-(-output_characters // CHARS_PER_TOKEN), output_frames)
    return Usage(-(-characters // CHARS_PER_TOKEN), 0, tokens_out, estimated=True)


def _count(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST_TOKENS:
        return None
    return value


def _length(value: object) -> int:
    """Characters of all strings within a JSON value."""
    total, rest = 0, [value]
    while rest:
        part = rest.pop()
        if isinstance(part, str):
            total += len(part)
        elif isinstance(part, list):
            rest.extend(part)
        elif isinstance(part, dict):
            rest.extend(part.values())
    return total
