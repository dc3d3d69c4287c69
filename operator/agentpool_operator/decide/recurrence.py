"""Does a rise come back at the same minute of every hour, so that agents can be there before it?

A job that starts on the clock throws minutes of work on a pool: too short for the forecast of the day, and over
before an agent that is asked for then would serve. A rise is announced where, in the median of the same minute of the
last three hours, clearly more came than had been measured one start-up before. Announcements count only while most
of the rises of the last day came true, so traffic without such jobs is never raised by chance.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

PERIOD_MIN = 60
SCORED_MIN = 24 * 60
KNOWN_MIN = SCORED_MIN + 3 * PERIOD_MIN
"""Minutes of history that announcements are made from."""
_RISE = 0.5
_CAME_TRUE = 0.7
_FEWEST = 4
_TRUSTED_SHARE = 0.8


def announced_minutes(arrivals: Floats, measured: Floats, *, lag: int) -> Floats:
    """Tasks announced for each of the last `SCORED_MIN` minutes of `arrivals` (of fewer where there are fewer) and for
    the `lag` + 1 minutes after them; 0 where nothing is.

    `measured` are tasks per minute as known at the end of each of those minutes. NaN is unknown, and announces nothing.
    """
    count = len(arrivals)
    length = min(count, SCORED_MIN)
    known = np.nan_to_num(arrivals)
    before = np.concatenate([np.zeros(lag), measured, measured[-1:]])
    rose = known - before[:count]
    start = max(3 * PERIOD_MIN, count - length)
    announced = np.zeros(length + lag + 1)
    if start >= count:
        return announced
    usual = _median3([_part(rose, start - back * PERIOD_MIN, count + lag + 1 - start) for back in (1, 2, 3)])
    level = before[start:]
    expected = np.where(usual > _RISE * level + 2.0 * np.sqrt(level + 1.0), level + usual, 0.0)
    told = expected[: count - start]
    true = np.count_nonzero((told > 0) & (known[start:] >= _CAME_TRUE * told))
    if true >= max(_FEWEST, _TRUSTED_SHARE * np.count_nonzero(told)):
        announced[-len(expected) :] = expected
    return announced


def _median3(values: Sequence[Floats]) -> Floats:
    one, two, three = values
    result: Floats = np.maximum(np.minimum(one, two), np.minimum(np.maximum(one, two), three))
    return result


def _part(values: Floats, first: int, count: int) -> Floats:
    """`count` values from `first` on; those that are not known yet are 0."""
    part = values[first : first + count]
    return np.pad(part, (0, count - len(part)))
