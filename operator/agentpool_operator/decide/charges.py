"""What is to be charged for the agents' time since it was charged last?

A pod costs from the moment a node takes it until it is gone. How far it is charged is written down with each charge, so
that a restart neither forgets nor repeats. Money is nano-USD, instants are Unix milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from agentpool_api.keys import SPEND_BUCKET_S, SPEND_RETENTION_S

MS_PER_HOUR = 3_600_000
BUCKET_MS = SPEND_BUCKET_S * 1000

LEAST_MS = 500
"""Less time than this waits for the next charge."""

FORGET_MS = 600_000
"""A pod is forgotten when nothing was heard of it for so long; until then a late report is still charged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PodTime:
    """What is known of one pod's time."""

    uid: str
    name: str
    price_nanousd_per_h: int
    begins_ms: int
    ends_ms: int
    """As far as it is known to have run; now for one that runs."""
    runs: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """One pod's charge. It counts only if what is written down is still ``charged_ms``."""

    uid: str
    name: str
    charged_ms: int | None
    """As far as it was charged before; None: never."""
    until_ms: int | None
    """As far as it is charged now; None: forget the pod."""
    amounts: tuple[tuple[int, int], ...]
    """Bucket (its first Unix second) and nano-USD."""


def plan_charges(times: Iterable[PodTime], charged_ms: Mapping[str, int], *, now_ms: int) -> list[Charge]:
    """What to charge now. Pods that are charged, but of which nothing is known any more, are forgotten."""
    charges = []
    unknown = dict(charged_ms)
    for time in times:
        unknown.pop(time.uid, None)
        before = charged_ms.get(time.uid)
        begin = max(time.begins_ms if before is None else before, now_ms - SPEND_RETENTION_S * 1000)
        end = min(time.ends_ms, now_ms)
        if not time.runs and now_ms - time.ends_ms > FORGET_MS:
            amounts = bucket_amounts(time.price_nanousd_per_h, begin, end)
            charges.append(Charge(uid=time.uid, name=time.name, charged_ms=before, until_ms=None, amounts=amounts))
        elif end - begin >= LEAST_MS:
            amounts = bucket_amounts(time.price_nanousd_per_h, begin, end)
            charges.append(Charge(uid=time.uid, name=time.name, charged_ms=before, until_ms=end, amounts=amounts))
    for uid, until_ms in unknown.items():
        if now_ms - until_ms > FORGET_MS:
            charges.append(Charge(uid=uid, name="", charged_ms=until_ms, until_ms=None, amounts=()))
    return charges


def bucket_amounts(price_nanousd_per_h: int, begin_ms: int, end_ms: int) -> tuple[tuple[int, int], ...]:
    """Cost of a stretch of time, by bucket.

    Rounded so that neighbouring stretches add up: cost(a, b) + cost(b, c) is cost(a, c), however often it is cut.
    """
    amounts = []
    while begin_ms < end_ms:
        bucket = begin_ms // BUCKET_MS
        stop_ms = min((bucket + 1) * BUCKET_MS, end_ms)
        amount = price_nanousd_per_h * stop_ms // MS_PER_HOUR - price_nanousd_per_h * begin_ms // MS_PER_HOUR
        if amount:
            amounts.append((bucket * SPEND_BUCKET_S, amount))
        begin_ms = stop_ms
    return tuple(amounts)
