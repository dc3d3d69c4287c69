"""How many requests arrived in each of the last seconds?

Agents report counters, each at its own moment. A difference of two is spread over the time between them. Seconds are
shown `LAG_S` late, when every agent has had the time to report about them; what is reported later still counts, in the
first second that was not shown. So no request is lost or told twice, and the beat of the reports is not mistaken for
one of the traffic.
"""

from __future__ import annotations

import math
from array import array

LAG_S = 2
"""A heartbeat comes every second; one may be late."""

FEWEST_S = 10
"""The shortest span a rate is measured on."""

KEPT_S = 120
"""Longer than passes are apart: a reader recognises by the time what it has seen."""


class ArrivalSeconds:
    """Counts by second of one pool."""

    def __init__(self) -> None:
        self._counts = array("d")
        self._counts_from_s = 0
        """The second the counts begin with."""
        self._first_s: int | None = None
        self._open_s = 0
        """First second that was not shown yet."""

    def add(self, count: int, begin_s: float, end_s: float) -> None:
        """Take in a difference of two counters and the Unix times they were reported at."""
        begin_s = min(begin_s, end_s)
        length_s = max(end_s - begin_s, 1e-3)
        begin_s = max(begin_s, float(self._open_s))
        end_s = begin_s + length_s
        for second in range(int(begin_s), math.ceil(end_s)):
            share = (min(end_s, second + 1.0) - max(begin_s, float(second))) / length_s
            if count and share > 0:
                self._keep(second, second + 1)
                self._counts[second - self._counts_from_s] += count * share

    def show(self, now_s: float) -> array[float] | None:
        """Arrivals of each second since the first reading, at most `KEPT_S`, oldest first, told as if ending now.

        None until `FEWEST_S` are known: a rate of less would be chance, and whoever restarts would act on it.
        """
        end_s = int(now_s) - LAG_S
        if self._first_s is not None and end_s < self._first_s:  # a clock that went back
            self._first_s = None
            del self._counts[:]
        if self._first_s is None:
            self._first_s = self._open_s = end_s
        self._open_s = max(self._open_s, end_s)
        first_s = max(self._first_s, end_s - KEPT_S)
        if end_s - self._first_s < FEWEST_S:
            return None
        self._keep(first_s, end_s)
        del self._counts[: first_s - self._counts_from_s]
        self._counts_from_s = first_s
        return self._counts[: end_s - first_s]

    def _keep(self, first_s: int, end_s: int) -> None:
        """Have room for these seconds, none of them counted yet."""
        if not self._counts:
            self._counts_from_s = first_s
        before = max(self._counts_from_s - first_s, 0)
        after = max(end_s - self._counts_from_s - len(self._counts), 0)
        if before or after:
            self._counts = array("d", bytes(8 * before)) + self._counts + array("d", bytes(8 * after))
            self._counts_from_s -= before
