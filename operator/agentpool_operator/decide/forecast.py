"""How much work do the next 24 hours bring, and how good was this forecast lately?

Four members in steps of five minutes: a daily profile (mean of the same time on up to seven past days, smoothed) times
the recent level (last hour over its own profile, fading with the distance), the profile alone (an hour's spike is no
level), the value of yesterday plus today's difference from it, and no change at all. They are weighted by their errors
of the last day. The upper bound is the forecast plus a quantile of its own past errors, tracked online so that it
covers what it states whatever the errors' shape: quantile tracking of conformal prediction (A. Angelopoulos, E. Candès,
R. Tibshirani, "Conformal PID control for time series prediction", 2023). Everything follows from the history, so a
restart changes nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agentpool_operator.decide.history import History

Floats = NDArray[np.float64]

STEP_MIN = 5
DAY = 24 * 60 // STEP_MIN
LEAD = 60 // STEP_MIN
"""Steps ahead at which the quality is measured: one hour."""
COVERAGE = 0.9
_LEVEL_STEPS = 12
_LEVEL_FADE_STEPS = 6 * 12
_DAYS = 7
_TRACKING_RATE = 0.1
_WEIGHT_POWER = 4.0
_SCORED = 2 * DAY


@dataclass(frozen=True, slots=True, eq=False)
class Forecast:
    """Arrivals per second expected in each five minutes of the next 24 hours, and the forecast's measured quality."""

    minute: int
    """Unix minute at which it begins."""
    expected_per_s: NDArray[np.float32]
    upper_per_s: NDArray[np.float32]
    """What is exceeded in one step of ten."""
    wape: float
    """Weighted absolute percentage error one hour ahead, last two days, as a share."""
    naive_wape: float
    """The same for the seasonal-naive forecast (the same time yesterday)."""
    last_wape: float
    """The same for "it stays as it is"."""
    coverage: float
    """Share of the steps that the upper bound covered; 0.9 is stated."""
    pinball: float
    naive_pinball: float
    """Pinball loss at the .9 quantile, in arrivals per second, of both with the same online calibration."""

    @property
    def ready(self) -> bool:
        """Whether it may raise the floor: better than yesterday's values and than no change, and well calibrated."""
        return self.wape < min(self.naive_wape, self.last_wape) and abs(self.coverage - COVERAGE) <= 0.05

    def growth(self, ahead_s: float) -> float:
        """Factor, at least 1 and at most 3, by which the load should be higher after `ahead_s` than now."""
        position = np.arange(len(self.expected_per_s)) * STEP_MIN * 60.0
        now, then = np.interp([0.0, max(ahead_s, 0.0)], position, self.expected_per_s)
        return float(min(max(then / now, 1.0), 3.0)) if now > 0 else 1.0


def make_forecast(history: History) -> Forecast | None:
    """The forecast from the minutes known, or ``None`` with less than two and a half days of them."""
    series = _five_minutes(history)
    if len(series) < 2 * DAY + DAY // 2 or history.end_s is None:
        return None
    profile = _profiles(series)
    ahead = np.arange(1.0, DAY + 1.0)
    level = _levels(series, profile)
    # profile[i] is for step i, known from the days before it; the last DAY entries are the coming day.
    future = profile[len(series) : len(series) + DAY]
    expected = future * _faded(level[-1], ahead)
    origins = np.arange(DAY, len(series))
    profiled = profile[origins + LEAD] * _faded(level[origins], LEAD)
    shifted = np.maximum(series[origins + LEAD - DAY] + _recent(series)[origins] - _recent(series)[origins - DAY], 0.0)
    members = np.stack([profiled, profile[origins + LEAD], shifted, _recent(series)[origins]])
    combined = _combined(members, series, origins)
    expected *= np.power(_ratio(combined[-1], profiled[-1]), np.exp(-np.maximum(ahead - LEAD, 0) / _LEVEL_FADE_STEPS))
    past = origins[:-LEAD][-(_SCORED + DAY // 2) :]
    truth = series[past + LEAD]
    model = combined[past - DAY]
    naive = series[past + LEAD - DAY]
    upper, quantile = _track(truth, model)
    naive_upper, _ = _track(truth, naive)
    scored = slice(-_SCORED, None)
    return Forecast(
        minute=history.end_s // 60,
        expected_per_s=expected.astype(np.float32),
        upper_per_s=np.maximum(expected + quantile * _scale(expected), 0.0).astype(np.float32),
        wape=_wape(truth[scored], model[scored]),
        naive_wape=_wape(truth[scored], naive[scored]),
        last_wape=_wape(truth[scored], series[past][scored]),
        coverage=float(np.mean(truth[scored] <= upper[scored])),
        pinball=_pinball(truth[scored], upper[scored]),
        naive_pinball=_pinball(truth[scored], naive_upper[scored]),
    )


def _five_minutes(history: History) -> Floats:
    """Mean arrivals per second in steps that end on the clock's five minutes; gaps take the day before's value."""
    if history.end_s is None:
        return np.zeros(0)
    minutes = history.minutes.astype(np.float64)
    over = (history.end_s // 60) % STEP_MIN
    minutes = minutes[: len(minutes) - over] if over else minutes
    steps = len(minutes) // STEP_MIN
    blocks = minutes[len(minutes) - steps * STEP_MIN :].reshape(steps, STEP_MIN)
    known = np.isfinite(blocks)
    counts = known.sum(1)
    series = np.where(counts > 0, np.where(known, blocks, 0.0).sum(1) / np.maximum(counts, 1), np.nan)
    for start in range(0, steps, DAY):
        part = slice(start, min(start + DAY, steps))
        before = series[part.start - DAY : part.stop - DAY] if start else np.zeros(part.stop - part.start)
        series[part] = np.where(np.isfinite(series[part]), series[part], before)
    return series


def _profiles(series: Floats) -> Floats:
    """For each step of the series and of the day after it, the smoothed mean of the same step on the days before."""
    kernel = np.array([1.0, 2.0, 3.0, 2.0, 1.0]) / 9.0
    smooth = np.convolve(np.pad(series, 2, mode="edge"), kernel, mode="valid")
    # A step's neighbours must be over before the step is forecast; one day back they always are.
    total = np.zeros(len(series) + DAY)
    weight = np.zeros_like(total)
    for day in range(1, _DAYS + 1):
        if day * DAY >= len(total):
            break
        share = 0.8 ** (day - 1)
        known = min(len(series), len(total) - day * DAY)
        total[day * DAY : day * DAY + known] += share * smooth[:known]
        weight[day * DAY : day * DAY + known] += share
    return total / np.maximum(weight, 1e-12)


def _levels(series: Floats, profile: Floats) -> Floats:
    """At each step, the last hour over its profile, within 1/4 and 4."""

    def last_hour(values: Floats) -> Floats:
        total = np.concatenate([[0.0], np.cumsum(values)])
        end = np.arange(1, len(total))
        result: Floats = total[end] - total[np.maximum(end - _LEVEL_STEPS, 0)]
        return result

    floor = 1e-3 * max(float(series.mean()), 1e-9)
    ratio = (last_hour(series) + floor) / (last_hour(profile[: len(series)]) + floor)
    result: Floats = np.clip(ratio, 0.25, 4.0)
    return result


def _recent(series: Floats) -> Floats:
    """Mean of the last quarter of an hour at each step."""
    result: Floats = np.convolve(np.pad(series, (2, 0), mode="edge"), np.ones(3) / 3, mode="valid")
    return result


def _combined(members: Floats, series: Floats, origins: NDArray[np.int64]) -> Floats:
    """The members' mean at each origin, weighted by 1/error⁴ over the day of errors that are known by then."""
    known = np.abs(members[:, :-LEAD] - series[origins[:-LEAD] + LEAD])
    total = np.cumsum(np.pad(known, ((0, 0), (LEAD + 1, 0))), axis=1)
    end = np.arange(members.shape[1]) + 1
    error = total[:, end] - total[:, np.maximum(end - DAY, 0)]
    weight = np.power(error / np.maximum(error.sum(0), 1e-12) + 0.01, -_WEIGHT_POWER)
    result: Floats = (weight * members).sum(0) / weight.sum(0)
    return result


def _ratio(value: float, base: float) -> float:
    return min(max(value / base, 0.25), 4.0) if base > 0 and value > 0 else 1.0


def _faded(level: Floats | float, ahead: Floats | int) -> Floats:
    result: Floats = np.power(level, np.exp(-np.asarray(ahead) / _LEVEL_FADE_STEPS))
    return result


def _scale(expected: Floats) -> Floats:
    """The size of an error that is normal at this level: counting noise and a share of the level."""
    result: Floats = np.sqrt(np.maximum(expected, 0.0) / (60.0 * STEP_MIN)) + 0.03 * np.maximum(expected, 0.0) + 1e-6
    return result


def _track(truth: Floats, expected: Floats) -> tuple[Floats, float]:
    """Upper bounds that were stated in turn, and the multiple of the error scale that holds next.

    After a step above the bound the multiple grows by 0.9 of a stride, after one below it shrinks by 0.1 of one; in the
    long run one step of ten lies above, whatever the errors are. A step counts one lead later, when it is known.
    """
    scale = _scale(expected)
    scores = (truth - expected) / scale
    start = min(DAY // 2, len(scores))
    multiple = float(np.quantile(scores[:start], COVERAGE)) if start else 1.0
    stride = _TRACKING_RATE * max(float(np.quantile(np.abs(scores[:start]), COVERAGE)) if start else 1.0, 0.1)
    came, sizes, means = truth.tolist(), scale.tolist(), expected.tolist()
    bound: list[float] = []
    for step, size in enumerate(sizes):
        seen = step - LEAD
        if seen >= 0:
            multiple += stride * ((1.0 if came[seen] > bound[seen] else 0.0) - (1.0 - COVERAGE))
        bound.append(max(means[step] + multiple * size, 0.0))
    return np.array(bound), multiple


def _wape(truth: Floats, expected: Floats) -> float:
    total = float(np.abs(truth).sum())
    return float(np.abs(truth - expected).sum()) / total if total > 0 else math.inf


def _pinball(truth: Floats, bound: Floats) -> float:
    gap = truth - bound
    return float(np.mean(np.maximum(COVERAGE * gap, (COVERAGE - 1.0) * gap)))
