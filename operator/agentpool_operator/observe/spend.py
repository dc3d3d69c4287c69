"""What has each pool spent, by quarter of an hour?

Buckets that lie behind do not change any more, so a pulse reads only the newest; all of them are read at first and once
per quarter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from agentpool_api.keys import SPEND_BUCKET_S, SPEND_RETENTION_S, spend_bucket
from agentpool_api.wire import whole_number

LIVE_BEFORE, LIVE_AFTER = 2, 1
"""Buckets around now that may still change: agents settle late, and their clocks differ from ours."""

FULL_READ_S = SPEND_BUCKET_S

AGENTS, TOKENS = "agents", "tokens"


@dataclass(frozen=True, slots=True)
class Spend:
    """Nano-USD for agents' time and for tokens."""

    agents: int = 0
    tokens: int = 0

    def plus(self, other: Spend) -> Spend:
        """Both together."""
        return Spend(self.agents + other.agents, self.tokens + other.tokens)


@dataclass(slots=True)
class SpendBook:
    """One pool's spend, as last read."""

    read_s: float | None = None
    """When all of it was last read; None: never."""
    buckets: dict[int, Spend] = field(default_factory=dict)
    old_fields: list[str] = field(default_factory=list)
    """Fields older than is kept, to be dropped."""
    _closed: dict[int, Spend] = field(default_factory=dict)
    _live_from: int = 0

    def is_due(self, now_s: float) -> bool:
        """Whether everything is to be read, and not the newest only."""
        return self.read_s is None or not 0 <= now_s - self.read_s < FULL_READ_S

    def take_all(self, raw: Mapping[bytes, bytes], *, now_s: float) -> list[str]:
        """Take in the whole hash; returns fields that are older than is kept."""
        parsed = {key: value for key, value in map(_entry, raw.items()) if key is not None}
        oldest = spend_bucket(now_s) - SPEND_RETENTION_S
        self.buckets.clear()
        self._closed.clear()
        for (bucket, kind), amount in parsed.items():
            if bucket >= oldest:
                self._put(bucket, kind, amount)
        self.read_s = now_s
        return [f"{bucket}:{kind}" for bucket, kind in parsed if bucket < oldest]

    def take_live(self, fields: Sequence[str], values: Sequence[bytes | None], *, now_s: float) -> None:
        """Take in the newest buckets."""
        live_from = spend_bucket(now_s) - LIVE_BEFORE * SPEND_BUCKET_S
        if live_from != self._live_from:
            self._live_from = live_from
            self._closed.clear()
        for name, value in zip(fields, values, strict=True):
            key, amount = _entry((name.encode(), value or b"0"))
            if key is not None:
                self._put(*key, amount)

    def between(self, start_s: int, end_s: int) -> Spend:
        """Spend of the buckets with ``start_s`` ≤ first second < ``end_s``."""
        closed = self._closed.get(start_s)
        if closed is None:
            closed = self._closed[start_s] = self._sum(start_s, self._live_from)
        return closed.plus(self._sum(max(start_s, self._live_from), end_s))

    def _sum(self, start_s: int, end_s: int) -> Spend:
        chosen = [spend for bucket, spend in self.buckets.items() if start_s <= bucket < end_s]
        return Spend(sum(spend.agents for spend in chosen), sum(spend.tokens for spend in chosen))

    def _put(self, bucket: int, kind: str, amount: int) -> None:
        known = self.buckets.get(bucket, Spend())
        if kind == AGENTS:
            self.buckets[bucket] = Spend(amount, known.tokens)
        else:
            self.buckets[bucket] = Spend(known.agents, amount)


def live_fields(now_s: float) -> list[str]:
    """Fields of the buckets that may still change."""
    now = spend_bucket(now_s)
    buckets = range(now - LIVE_BEFORE * SPEND_BUCKET_S, now + (LIVE_AFTER + 1) * SPEND_BUCKET_S, SPEND_BUCKET_S)
    return [f"{bucket}:{kind}" for bucket in buckets for kind in (AGENTS, TOKENS)]


def burn_nanousd_per_h(current: Spend, previous: Spend, *, into_bucket_s: float) -> int:
    """Spend per hour over the last quarter of an hour: the current bucket, and the rest of the one before."""
    share = max(0.0, 1.0 - into_bucket_s / SPEND_BUCKET_S)
    # Nano-USD of one quarter fit a float exactly up to nine million dollars.
    spent = current.agents + current.tokens + int((previous.agents + previous.tokens) * share)
    return spent * 3600 // SPEND_BUCKET_S


def _entry(item: tuple[bytes, bytes]) -> tuple[tuple[int, str] | None, int]:
    """Bucket and kind of a field, with its amount; None for a field that is none of ours."""
    name, value = item
    bucket, _, kind = name.decode("utf-8", "replace").partition(":")
    begins_s, amount = whole_number(bucket), whole_number(value)
    if begins_s is None or amount is None or kind not in (AGENTS, TOKENS):
        return None, 0
    return (begins_s, kind), amount
