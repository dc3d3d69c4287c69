"""Does a rise come back at the same minute of every hour or day, so that agents can be there before it?

A job that starts on the clock throws minutes of work on a pool: too short for the forecast of the day, and over before
an agent that is asked for then would serve. A rise is announced where the median of the same minute of the last five
hours (or days) is well above the rate measured one start-up before it. A period's announcements count only while most
of its rises of the last day came true, so traffic without such jobs is never raised by chance.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

PERIODS_MIN = (60, 24 * 60)
REPEATS = 5
SCORED_MIN = 24 * 60
LONGEST_MIN = PERIODS_MIN[-1] * REPEATS
"""Minutes of history before the first that can be announced."""
_RISE = 1.5
_CAME_TRUE = 0.7
_FEWEST = 4
_TRUSTED_SHARE = 0.8


def announced_minutes(arrivals: Floats, measured: Floats, *, lag: int) -> Floats:
    """Tasks announced for each minute of `arrivals` and for the `lag` + 1 minutes after them; 0 where nothing is.

    `measured` are tasks per minute as known at the end of each of those minutes. NaN is unknown, and announces nothing.
    """
    after = lag + 1
    announced = np.zeros(len(arrivals) + after)
    known = np.nan_to_num(arrivals)
    before = np.concatenate([np.zeros(lag), measured])[: len(arrivals)]
    for period in PERIODS_MIN:
        start = period * REPEATS
        if start >= len(arrivals):
            break
        ends = [len(announced) - back * period for back in range(1, REPEATS + 1)]
        past = np.stack([_shifted(known, end - (len(announced) - start), len(announced) - start) for end in ends])
        usual = np.median(past, axis=0)
        seen = slice(max(start, len(arrivals) - SCORED_MIN), len(arrivals))
        expected = usual[seen.start - start : seen.stop - start]
        rises = expected > _RISE * before[seen] + 2.0 * np.sqrt(before[seen] + 1.0)
        true = rises & (known[seen] >= _CAME_TRUE * expected)
        if rises.sum() >= _FEWEST and true.sum() >= _TRUSTED_SHARE * rises.sum():
            announced[start:] = np.maximum(announced[start:], usual)
    return announced


def _shifted(values: Floats, first: int, count: int) -> Floats:
    """`count` values from `first` on; those that are not known yet are 0."""
    part = values[first : first + count]
    return np.pad(part, (0, count - len(part)))
