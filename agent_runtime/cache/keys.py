"""When are two requests the same, and may their answer be served twice?

Pure. Two requests are the same when every field that can change the answer is equal: the order of JSON keys,
whitespace and the form of numbers (``1``, ``1.0``, ``1e0``) do not count, not in the arguments of tool calls either,
nor do the ids that only join a tool's call with its result, nor whether the answer is streamed. Tenant, operation,
endpoint and the endpoint's name for the model are part of the key.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import orjson

_DELIVERY = frozenset({"stream", "stream_options"})
"""How an answer is delivered, not what it says."""

_TEXT = frozenset({"input"})
"""Without numbers that count: left as parsed, since walking long texts costs more than hashing them."""

_DISTINCT = frozenset({"n", "best_of"})


def cache_key(scope: bytes, fields: Mapping[str, Any]) -> str:
    """Digest (40 hex digits) of a request within a scope: its tenant, operation, endpoint and model.

    Raises ValueError when the request is nested too deeply (above 200 levels or so).
    """
    digest = blake2b(scope, digest_size=20)
    try:
        canonical = {
            name: value if name in _TEXT else _messages(value) if name == "messages" else _plain(value)
            for name, value in fields.items()
            if name not in _DELIVERY
        }
        digest.update(orjson.dumps(canonical, option=orjson.OPT_SORT_KEYS))
    except (orjson.JSONEncodeError, RecursionError):
        raise ValueError("nested too deeply") from None
    return digest.hexdigest()


def wants_samples(fields: Mapping[str, Any], max_temperature: float = 0.0) -> bool:
    """Does the request ask for chance? Several choices, or a temperature above the pool's bound that it names itself.

    Such an answer is one sample of many: served twice it would be no sample. A request that names no temperature leaves
    the choice to us (docs/decisions/0004).
    """
    if any(_number(fields.get(name), 1) > 1 for name in _DISTINCT):
        return True
    return _number(fields.get("temperature"), 0) > max_temperature


def _number(value: object, default: float) -> float:
    return value if isinstance(value, int | float) else default


def _plain(value: Any) -> Any:
    """The same value with whole floats as integers, in every depth."""
    kind = type(value)
    if kind is str or kind is int or kind is bool:
        return value
    if kind is float:
        return int(value) if value.is_integer() and abs(value) < 2**53 else value
    if kind is dict:
        return {name: _plain(part) for name, part in value.items()}
    if kind is list:
        return [_plain(part) for part in value]
    return value


def _messages(messages: Any) -> Any:
    """A conversation as parsed, like other texts, but for its tool calls."""
    if not isinstance(messages, list):
        return messages
    numbers: dict[str, int] = {}
    return [
        _tool_message(message, numbers)
        if isinstance(message, dict) and ("tool_calls" in message or "tool_call_id" in message)
        else message
        for message in messages
    ]


def _tool_message(message: dict[str, Any], numbers: dict[str, int]) -> dict[str, Any]:
    """The message with its ids of tool calls numbered as they first occur, and arguments as the values they hold."""
    changed = dict(message)
    if isinstance(message.get("tool_call_id"), str):
        changed["tool_call_id"] = numbers.setdefault(message["tool_call_id"], len(numbers))
    if isinstance(message.get("tool_calls"), list):
        changed["tool_calls"] = [_tool_call(call, numbers) for call in message["tool_calls"]]
    return changed


def _tool_call(call: Any, numbers: dict[str, int]) -> Any:
    if not isinstance(call, dict):
        return call
    changed = dict(call)
    if isinstance(call.get("id"), str):
        changed["id"] = numbers.setdefault(call["id"], len(numbers))
    function = call.get("function")
    if isinstance(function, dict) and isinstance(function.get("arguments"), str):
        changed["function"] = function | {"arguments": _arguments(function["arguments"])}
    return changed


def _arguments(text: str) -> Any:
    try:
        return [_plain(orjson.loads(text))]  # in a list, so that no text is taken for a value
    except orjson.JSONDecodeError:
        return text
