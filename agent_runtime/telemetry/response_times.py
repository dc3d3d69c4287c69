"""How long do answers take, how many are in time, and what is in time? Pure; time is an argument.

Quantiles come from a histogram with buckets that grow by 5 %: a quantile is off by at most 2.5 %, an answer costs one
logarithm, and memory does not depend on traffic. The window slides in ten steps.
"""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass

GROWTH = 1.05
LOWEST_S, HIGHEST_S = 0.0001, 600.0
"""Shorter and longer answers count as these."""

BUCKETS = math.ceil(math.log(HIGHEST_S / LOWEST_S) / math.log(GROWTH)) + 1
SLICES = 10
ENOUGH = 20
"""Answers without which a target is not tuned."""

QUANTILES = (0.5, 0.9, 0.95, 0.99)

_SCALE = 1 / math.log(GROWTH)


@dataclass(frozen=True, slots=True)
class Tuning:
    """How a target follows the share of answers that met it."""

    lower_above: float
    lower_by: float
    raise_below: float
    raise_by: float


GENERAL, GENERAL_TARGET_S = Tuning(0.90, 0.90, 0.50, 1.20), 2.0
DATA, DATA_TARGET_S = Tuning(0.95, 0.85, 0.60, 1.15), 1.5
"""The two profiles and where they begin."""


def tune(target_s: float, met: float, tuning: Tuning) -> float:
    """The next target, given the share of answers in [0, 1] that met this one."""
    if met > tuning.lower_above:
        return target_s * tuning.lower_by
    return target_s * tuning.raise_by if met < tuning.raise_below else target_s


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The window as it stands."""

    answers: int
    quantiles: dict[float, float] | None
    """Seconds by quantile; None without answers."""
    met: float | None
    """Share of answers that met the target in force when they came; None without answers."""
    target_s: float


class _Slice:
    """A tenth of the window."""

    __slots__ = ("counts", "met", "number", "total")

    def __init__(self) -> None:
        self.number = -1
        self.clear(-1)

    def clear(self, number: int) -> None:
        self.number = number
        self.counts = array("L", bytes(BUCKETS * array("L").itemsize))
        self.total = self.met = 0


class ResponseTimes:
    """Response times of a sliding window, and a target that tunes itself once per window."""

    def __init__(self, *, target_s: float, low_s: float, high_s: float, tuning: Tuning, window_s: float) -> None:
        self._low_s, self._high_s = low_s, high_s
        self._tuning = tuning
        self._slice_s = window_s / SLICES
        self._window_s = window_s
        self._slices = [_Slice() for _ in range(SLICES)]
        self._tuned_s: float | None = None
        self._since_total = self._since_met = 0
        self.target_s = self._bounded(target_s)

    def add(self, seconds: float, now_s: float) -> None:
        """Count an answer. ``now_s`` is monotonic."""
        number = int(now_s / self._slice_s)
        place = self._slices[number % SLICES]
        if place.number != number:
            place.clear(number)
            self._tune(now_s)
        place.counts[bucket_of(seconds)] += 1
        place.total += 1
        self._since_total += 1
        if seconds <= self.target_s:
            place.met += 1
            self._since_met += 1

    def snapshot(self, now_s: float) -> Snapshot:
        """What the window shows."""
        oldest = int(now_s / self._slice_s) - SLICES + 1
        live = [one for one in self._slices if one.number >= oldest]
        total = sum(one.total for one in live)
        if total == 0:
            return Snapshot(0, None, None, self.target_s)
        counts = [sum(column) for column in zip(*(one.counts for one in live), strict=True)]
        quantiles = dict(zip(QUANTILES, _quantiles(counts, total), strict=True))
        return Snapshot(total, quantiles, sum(one.met for one in live) / total, self.target_s)

    def _tune(self, now_s: float) -> None:
        """Answers since the last change decide: they were measured against the target that is now in force."""
        if self._tuned_s is None:
            self._tuned_s = now_s
        if now_s - self._tuned_s < self._window_s or self._since_total < ENOUGH:
            return
        self.target_s = self._bounded(tune(self.target_s, self._since_met / self._since_total, self._tuning))
        self._tuned_s = now_s
        self._since_total = self._since_met = 0

    def _bounded(self, target_s: float) -> float:
        return min(max(target_s, self._low_s), self._high_s)


def bucket_of(seconds: float) -> int:
    """Bucket of a duration."""
    if seconds <= LOWEST_S:
        return 0
    return min(int(math.log(seconds / LOWEST_S) * _SCALE), BUCKETS - 1)


def _quantiles(counts: list[int], total: int) -> list[float]:
    """The nearest-rank quantiles, each as the middle of its bucket."""
    found: list[float] = []
    seen = 0
    ranks = [max(math.ceil(quantile * total), 1) for quantile in QUANTILES]
    for bucket, count in enumerate(counts):
        seen += count
        while len(found) < len(ranks) and seen >= ranks[len(found)]:
            found.append(LOWEST_S * GROWTH ** (bucket + 0.5))
    return found
