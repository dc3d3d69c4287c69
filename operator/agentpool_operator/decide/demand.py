"""How much work will arrive by the time an agent that is asked for now would serve?

Three figures from the arrivals alone. The *rate* over the longest recent window in which it did not change. The
*peakedness* of the arrivals: variance over mean of their counts, in short spans for the queue, in long ones to tell a
change from noise. The *drift*: by what factor the rate of past moments was missed one start-up later, taken
from moments whose rate was like today's, so that a night's noise does not size the day.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from agentpool_operator.decide.history import History
from agentpool_operator.decide.recurrence import KNOWN_MIN, announced_minutes

Floats = NDArray[np.float64]

CHANGE_SIGMAS = 3.5
"""Two neighbouring windows whose counts differ by more than this many standard deviations have different rates."""
SHORTEST_WINDOW_S = 10
ORDER_S = 15.0
"""From a rise to the decision that sees it, and from there to an agent that is created."""
DRIFT_MINUTES = 2 * 24 * 60
LEVEL_BANDWIDTH = 0.35
"""Width, in natural logarithms, of what counts as a rate like today's."""
DRIFT_POINTS = 48
SURPRISE_SHARE = 0.02
FEWEST_MINUTES = 240
"""Minutes that a share of surprises is told of at least: a short history needs as many surprises as four hours."""
_POINTS = (np.arange(DRIFT_POINTS) + 0.5) / DRIFT_POINTS
_PRIOR = np.quantile([-0.5, -0.3, -0.2, -0.1, -0.05, 0.0, 0.05, 0.1, 0.2, 0.3, 0.5], _POINTS)
_PRIOR_WEIGHT = 30.0
_MAX_PEAKEDNESS = 6.0
_QUEUE_SPAN_S = 2
_CHANGE_SPAN_S = 20
_NORMAL_POINTS = np.array([-1.5, -0.5, 0.5, 1.5])


@dataclass(frozen=True, slots=True)
class Rate:
    """Arrivals per second, and the tasks and seconds they were measured on."""

    per_s: float
    tasks: float
    window_s: int


@dataclass(frozen=True, slots=True, eq=False)
class Drift:
    """Past errors: natural logarithm of what came over what was measured, sorted; with the level and age of each."""

    minute: int
    lag_min: int
    peakedness: float
    """Of counts in 2 s, the time a task may wait: for the queueing formula."""
    noise: float
    """Of counts in 20 s: how much a rate differs by chance alone."""
    errors: NDArray[np.float16]
    levels: NDArray[np.float16]
    weights: NDArray[np.float16]
    surprise: float = 1.0
    """Factor, at least 1, by which more came than was measured in one minute of fifty."""
    announced: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    """Tasks per minute that come back at this time, from `minute` on; 0 where none is known."""

    def announced_per_s(self, end_s: float, ahead_s: float) -> float:
        """The highest announced rate between now and `ahead_s` later."""
        first, last = int(end_s // 60) - self.minute, int((end_s + ahead_s) // 60) - self.minute
        return float(self.announced[max(first, 0) : last + 1].max(initial=0.0)) / 60.0


def current_rate(history: History, noise: float) -> Rate | None:
    """The rate over the longest window, doubled from 10 s on, whose two halves agree; ``None`` without any second."""
    seconds = history.recent
    if not len(seconds):
        return None
    counts = np.cumsum(seconds[::-1], dtype=np.float64)
    window = min(SHORTEST_WINDOW_S, len(seconds))
    while 2 * window <= len(seconds):
        newer = counts[window - 1]
        older = counts[2 * window - 1] - newer
        if abs(newer - older) > CHANGE_SIGMAS * math.sqrt(noise * (newer + older) + 1.0):
            break
        window *= 2
    return Rate(float(counts[window - 1]) / window, float(counts[window - 1]), window)


def measure_drift(history: History, *, startup_s: float) -> Drift:
    """Errors of the last two days, measured as the live rate is, one start-up (in whole minutes) ahead.

    The counting noise of both figures is taken out of each error: the queueing formula adds it again at the size of
    the pool, and twice would be paid for twice.
    """
    lag = max(1, round((startup_s + ORDER_S) / 60.0))
    peakedness, noise = (_peakedness(history.recent, span) for span in (_QUEUE_SPAN_S, _CHANGE_SPAN_S))
    arrivals = history.per_minute(max(DRIFT_MINUTES, KNOWN_MIN) + lag)
    minute = -1 if history.end_s is None else history.end_s // 60
    if len(arrivals) < lag + 3:
        empty = np.zeros(0, np.float16)
        return Drift(minute, lag, peakedness, noise, empty, empty, empty)
    tasks, window = _steady_windows(np.nan_to_num(arrivals), noise)
    announced = announced_minutes(arrivals, tasks / window, lag=lag)
    arrivals, tasks, window = (values[-DRIFT_MINUTES - lag :] for values in (arrivals, tasks, window))
    measured, came = (tasks / window)[:-lag], arrivals[lag:]
    foretold = announced[: -lag - 1][-len(measured) :]
    measured[len(measured) - len(foretold) :] = np.maximum(measured[len(measured) - len(foretold) :], foretold)
    errors = np.log((came + 0.5) / (measured + 0.5))
    chance = noise * (1.0 / (tasks[:-lag] + 1.0) + 1.0 / ((came + measured) / 2.0 + 0.5))
    errors = np.sign(errors) * np.sqrt(np.maximum(errors**2 - chance, 0.0))
    known = np.isfinite(errors) & np.isfinite(arrivals[:-lag])
    age = np.arange(len(errors))[::-1]
    order = np.argsort(errors[known], kind="stable")
    levels, recency = np.log(measured + 0.5), np.exp(-age / DRIFT_MINUTES)
    return Drift(
        minute,
        lag,
        peakedness,
        noise,
        errors[known][order].astype(np.float16),
        levels[known][order].astype(np.float16),
        recency[known][order].astype(np.float16),
        _surprise(errors[known][order]),
        announced[-lag - 1 :].astype(np.float32),
    )


def expected_rates(rate: Rate, drift: Drift) -> Floats:
    """Equally likely rates (per second) one start-up ahead: drift × what the count leaves open about today's rate."""
    prior = _PRIOR * math.sqrt(drift.lag_min)
    away = (drift.levels.astype(np.float32) - np.float32(math.log(rate.per_s * 60 + 0.5))) / np.float32(LEVEL_BANDWIDTH)
    ranks = np.cumsum(drift.weights * np.exp(away * away * np.float32(-0.5)), dtype=np.float64)
    total = float(ranks[-1]) if len(ranks) else 0.0
    errors = prior
    if total > 0:
        own = drift.errors[np.minimum(np.searchsorted(ranks, _POINTS * total), len(ranks) - 1)]
        share = min(total / _PRIOR_WEIGHT, 1.0)
        errors = share * own + (1.0 - share) * prior
    open_ = _NORMAL_POINTS * math.sqrt(drift.peakedness / (rate.tasks + 1.0))
    base = rate.per_s + 0.3 / max(rate.window_s, SHORTEST_WINDOW_S)
    result: Floats = base * np.exp((errors[:, None] + open_[None, :]).ravel())
    return result


def _peakedness(seconds: NDArray[np.float32], span_s: int) -> float:
    """Variance over mean of the arrivals in spans of single minutes, so that a slow change does not count."""
    minutes = len(seconds) // 60
    if minutes < 2:
        return 1.0
    counts = seconds[len(seconds) - minutes * 60 :].reshape(minutes, 60 // span_s, span_s).sum(2, dtype=np.float64)
    ratio = (counts.var(1, ddof=1).sum() + 10.0) / (counts.mean(1).sum() + 10.0)
    return float(min(max(ratio, 1.0), _MAX_PEAKEDNESS))


def _surprise(errors: Floats) -> float:
    """The factor that one of fifty sorted errors exceeds; 1 where too few are known."""
    beyond = int(SURPRISE_SHARE * max(len(errors), FEWEST_MINUTES))
    return max(math.exp(errors[-1 - beyond]), 1.0) if beyond < len(errors) else 1.0


def _steady_windows(arrivals: Floats, noise: float) -> tuple[Floats, Floats]:
    """For each minute the tasks in, and the minutes of, the longest steady window that ends with it."""
    total = np.concatenate([[0.0], np.cumsum(arrivals)])
    end = np.arange(1, len(total))
    window = np.ones(len(arrivals), np.int64)
    steady = np.ones(len(arrivals), bool)
    width = 1
    while width <= 16:
        first, middle = np.maximum(end - 2 * width, 0), np.maximum(end - width, 0)
        newer, older = total[end] - total[middle], total[middle] - total[first]
        agree = np.abs(newer - older) <= CHANGE_SIGMAS * np.sqrt(noise * (newer + older) + 1.0)
        steady = steady & agree & (end >= 2 * width)
        width *= 2
        window[steady] = width
    return total[end] - total[end - window], window.astype(np.float64)
