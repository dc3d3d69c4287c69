"""What do a request's headers ask of the model that answers it, by when, and with whom? Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from agent_runtime.errors import ApiError
from agent_runtime.routing.complexity import FROM, Complexity

WISHES = frozenset(
    (
        b"x-agentpool-min-quality",
        b"x-agentpool-accuracy",
        b"x-agentpool-max-latency-ms",
        b"x-agentpool-complexity",
        b"x-agentpool-deadline-ms",
        b"x-agentpool-batch",
    )
)
"""The headers, as ASGI names them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What a request's headers ask of the model."""

    min_quality: float | None = None
    min_accuracy: float | None = None
    max_latency_ms: float | None = None
    complexity: float | None = None
    deadline_s: float | None = None
    """After so long something else is answered; None: the pool's deadline."""
    batch: bool | None = None
    """It may, or must not, wait for others to go with; None: as the pool has it."""


NO_WISHES = Wishes()


def parse_wishes(headers: Mapping[bytes, bytes]) -> Wishes:
    """The wishes in a request's headers. Raises ApiError 400 naming the header."""
    return Wishes(
        min_quality=_share(headers, b"x-agentpool-min-quality"),
        min_accuracy=_share(headers, b"x-agentpool-accuracy"),
        max_latency_ms=_number(headers, b"x-agentpool-max-latency-ms", "a number of milliseconds above 0, as in 1500"),
        complexity=_complexity(headers),
        deadline_s=_deadline(headers),
        batch=_batch(headers),
    )


def _complexity(headers: Mapping[bytes, bytes]) -> float | None:
    """A score, or the middle of a class: its lower bound decides nothing by a hair."""
    name = headers.get(b"x-agentpool-complexity", b"").decode("latin-1").strip().lower()
    if name in FROM:
        kind = Complexity(name)
        above = [score for score in FROM.values() if score > FROM[kind]]
        return (FROM[kind] + min(above, default=1.0)) / 2
    return _share(headers, b"x-agentpool-complexity", "simple, moderate, complex, reasoning, or a number from 0 to 1")


def _deadline(headers: Mapping[bytes, bytes]) -> float | None:
    name, wanted = b"x-agentpool-deadline-ms", "a number of milliseconds above 0, as in 1500"
    deadline_ms = _number(headers, name, wanted)
    if deadline_ms == 0:
        raise _bad(name, wanted)
    return None if deadline_ms is None else deadline_ms / 1000


def _batch(headers: Mapping[bytes, bytes]) -> bool | None:
    name = b"x-agentpool-batch"
    value = headers.get(name)
    if value is None:
        return None
    try:
        return {b"true": True, b"false": False}[value.strip().lower()]
    except KeyError:
        raise _bad(name, "true or false") from None


def _share(
    headers: Mapping[bytes, bytes], name: bytes, wanted: str = "a number from 0 to 1, as in 0.9"
) -> float | None:
    value = _number(headers, name, wanted)
    if value is not None and value > 1:
        raise _bad(name, wanted)
    return value


def _number(headers: Mapping[bytes, bytes], name: bytes, wanted: str) -> float | None:
    raw = headers.get(name)
    if raw is None:
        return None
    try:
        value = float(raw)
    except ValueError:
        raise _bad(name, wanted) from None
    if not math.isfinite(value) or value < 0:
        raise _bad(name, wanted)
    return value


def _bad(name: bytes, wanted: str) -> ApiError:
    header = name.decode()
    return ApiError(400, "invalid_header", f"{header} must be {wanted}", param=header)
