"""When are two requests the same, and may their answer be served twice?

Pure. Two requests are the same when every field that can change the answer is equal: the order of JSON keys,
whitespace and the form of numbers (``1``, ``1.0``, ``1e0``) do not count, and neither does whether the answer is
streamed. Tenant, operation, endpoint and the endpoint's name for the model are part of the key.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import orjson

_DELIVERY = frozenset({"stream", "stream_options"})
"""How an answer is delivered, not what it says."""

_TEXT = frozenset({"messages", "input"})
"""Fields without numbers that count: left as parsed, since walking a long conversation costs more than hashing it."""

_DISTINCT = frozenset({"n", "best_of"})


def cache_key(scope: bytes, fields: Mapping[str, Any]) -> str:
    """Digest (40 hex digits) of a request within a scope: its tenant, operation, endpoint and model."""
    canonical = {
        name: value if name in _TEXT else _plain(value) for name, value in fields.items() if name not in _DELIVERY
    }
    digest = blake2b(scope, digest_size=20)
    digest.update(orjson.dumps(canonical, option=orjson.OPT_SORT_KEYS))
    return digest.hexdigest()


def wants_samples(fields: Mapping[str, Any]) -> bool:
    """Does the request ask for chance? Several choices, or a temperature above zero that it names itself.

    Such an answer is one sample of many: served twice it would be no sample. A request that names no temperature leaves
    the choice to us (docs/decisions/0004).
    """
    if any(_number(fields.get(name), 1) > 1 for name in _DISTINCT):
        return True
    return _number(fields.get("temperature"), 0) > 0


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
