"""How fast may a pool grow or shrink, and how long does an older wish hold?

The semantics of HorizontalPodAutoscaler v2 ``behavior``: a tolerance, a stabilization window and rate policies per
direction, combined by ``selectPolicy``. Source: the Kubernetes documentation, "Horizontal Pod Autoscaling", sections
"Configurable scaling behavior" and "Algorithm details"; per-direction tolerance: KEP-4951.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class SelectPolicy(StrEnum):
    """Which of several rate policies binds: the one that allows most change, least change, or none at all."""

    MAX = "Max"
    MIN = "Min"
    DISABLED = "Disabled"


class PolicyKind(StrEnum):
    """Unit of a rate policy."""

    PODS = "Pods"
    PERCENT = "Percent"


@dataclass(frozen=True, slots=True, kw_only=True)
class RatePolicy:
    """At most `value` agents, or per cent of the size at the period's start, within `period_s` seconds."""

    kind: PolicyKind
    value: int
    period_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectionRules:
    """Rules of one direction. `stabilization_s` ``None`` lets the scaling policy choose (see `scaling`)."""

    stabilization_s: float | None = None
    tolerance: float = 0.0
    select: SelectPolicy = SelectPolicy.MAX
    policies: tuple[RatePolicy, ...] = ()


class Wish(NamedTuple):
    """A size the load asked for, and when."""

    at_s: float
    agents: int


class Change(NamedTuple):
    """A change of the asked size, positive or negative, and when."""

    at_s: float
    delta: int


def stabilize(total: int, wished: int, wishes: Iterable[Wish], *, up_s: float, down_s: float, now_s: float) -> int:
    """The wish after both stabilization windows.

    Growth goes no higher than the lowest wish of the last `up_s` seconds, shrinking no lower than the highest of the
    last `down_s`. Between the two the size stays. Wishes from the future (the clock went back) are left out.
    """
    lowest = highest = wished
    for wish in wishes:
        age = now_s - wish.at_s
        if 0 <= age < up_s:
            lowest = min(lowest, wish.agents)
        if 0 <= age < down_s:
            highest = max(highest, wish.agents)
    return min(max(total, lowest), max(highest, lowest))


def within_tolerance(total: int, wished: int, *, up: DirectionRules, down: DirectionRules) -> bool:
    """Whether the wish differs too little from the size to act, as a share of the size. An empty pool always acts."""
    if total <= 0 or wished == total:
        return wished == total
    rules = up if wished > total else down
    return abs(wished / total - 1.0) <= rules.tolerance


def rate_limit(
    total: int, wished: int, changes: Iterable[Change], *, up: DirectionRules, down: DirectionRules, now_s: float
) -> int:
    """The part of a change that the rate policies allow now.

    Each policy counts from the size at the start of its period, that is the present size less what was changed in this
    direction within the period. Without policies a direction is free; ``Disabled`` forbids it.
    """
    if wished == total:
        return total
    rules = up if wished > total else down
    if rules.select is SelectPolicy.DISABLED:
        return total
    if not rules.policies:
        return wished
    changes = tuple(changes)
    limits = [_limit(total, policy, changes, now_s, growing=wished > total) for policy in rules.policies]
    if wished > total:
        limit = max(limits) if rules.select is SelectPolicy.MAX else min(limits)
        return min(wished, max(limit, total))
    limit = min(limits) if rules.select is SelectPolicy.MAX else max(limits)
    return max(wished, min(limit, total))


def _limit(total: int, policy: RatePolicy, changes: tuple[Change, ...], now_s: float, *, growing: bool) -> int:
    sign = 1 if growing else -1
    recent = (c.delta for c in changes if 0 <= now_s - c.at_s < policy.period_s and c.delta * sign > 0)
    start = total - sum(recent)
    if policy.kind is PolicyKind.PODS:
        return start + sign * policy.value
    if growing:
        return math.ceil(start * (100 + policy.value) / 100)
    return math.floor(start * (100 - policy.value) / 100)
