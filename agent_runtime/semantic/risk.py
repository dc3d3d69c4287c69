"""How likely is it that the voted answer is wrong, and how much risk may be taken?

Every true call tells whether the vote before it was right: all misses do, and a small random share of the hits that
were given up for it. Whether a call is made depends on the vote alone, so that what is learned from the calls holds
for the hits as well (missing at random given the margin).

- ``RiskModel``: P(wrong | margin), logistic regression in sqrt(margin) with a prior, and a correction per answer,
  observed over expected wrongs, shrunk towards 1. Together they give each entry a similarity threshold of its own,
  which depends on the rivals around it and on its answer's record.
- ``RiskBudget``: answers are served up to the risk at which the mean over what is served stays below δ.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

PRIOR_WEIGHTS = (2.5, -9.0)
"""Log odds of a wrong vote: constant, and per sqrt(margin). Fitted on the development halves of two public streams,
which gave (2.0, -8.0) and (3.2, -11.5) alone."""

PRIOR_STRENGTH = 30.0
"""Observations the prior is worth; 5 to 100 gave the same."""

EVIDENCE = 4096
"""Latest true calls the model is fitted to, so that it follows the traffic."""

REFIT_AFTER = 32
NEWTON_STEPS = 12
SMALLEST_STEP = 1e-4
ANSWER_SHRINKAGE = 3.0
"""Expected wrongs the prior of an answer's own record is worth."""
LOWEST_CORRECTION = 0.5

SAFETY = 0.7
"""Share of δ that is spent: the estimate of a rate of one in a hundred is itself uncertain."""

HIGHEST_RISK = 1.5
"""Most risk of a single answer, in δ."""

WINDOW = 1000
"""Latest questions the mean risk is taken over."""

RECUT_AFTER = 16


class RiskModel:
    """Learns from true calls how often a vote is wrong."""

    def __init__(self) -> None:
        self._prior = np.array(PRIOR_WEIGHTS)
        self._information = _prior_information(self._prior)
        self._weights = self._prior.copy()
        self._margins: deque[float] = deque(maxlen=EVIDENCE)
        self._wrong: deque[float] = deque(maxlen=EVIDENCE)
        self._records: dict[int, tuple[int, float]] = {}
        self._unfitted = 0

    def risk(self, margin: float, answer: int) -> float:
        """Probability in [0, 1] that this vote is wrong."""
        wrong, expected = self._records.get(answer, (0, 0.0))
        correction = (ANSWER_SHRINKAGE + wrong) / (ANSWER_SHRINKAGE + expected)
        return min(self._base(margin) * max(correction, LOWEST_CORRECTION), 1.0)

    def observe(self, margin: float, answer: int, *, wrong: bool) -> None:
        """A true call has shown whether this vote was wrong."""
        failures, expected = self._records.get(answer, (0, 0.0))
        self._records[answer] = (failures + wrong, expected + self._base(margin))
        self._margins.append(margin)
        self._wrong.append(float(wrong))
        self._unfitted += 1
        if self._unfitted >= REFIT_AFTER:
            self._unfitted = 0
            self._fit()

    def forget(self, answer: int) -> None:
        """The answer is no longer held."""
        self._records.pop(answer, None)

    def _base(self, margin: float) -> float:
        return float(_logistic(np.array([1.0, margin**0.5]) @ self._weights))

    def _fit(self) -> None:
        """The posterior's mode by Newton's method; a step that would overshoot is halved until it gains."""
        features = np.column_stack([np.ones(len(self._margins)), np.sqrt(self._margins)])
        wrong = np.array(self._wrong)

        def loss(weights: NDArray[np.float64]) -> float:
            odds, away = features @ weights, weights - self._prior
            return float(np.logaddexp(0, odds).sum() - wrong @ odds + away @ self._information @ away / 2)

        for _ in range(NEWTON_STEPS):
            chance = _logistic(features @ self._weights)
            slope = features.T @ (chance - wrong) + self._information @ (self._weights - self._prior)
            curve = (features * (chance * (1 - chance))[:, None]).T @ features + self._information
            step, now = np.linalg.solve(curve, slope), loss(self._weights)
            while loss(self._weights - step) > now and np.abs(step).max() > SMALLEST_STEP:
                step = step / 2
            if np.abs(step).max() <= SMALLEST_STEP:
                break
            self._weights = self._weights - step


class RiskBudget:
    """Keeps the mean risk of what is served below ``SAFETY`` · δ."""

    def __init__(self, delta: float) -> None:
        self.delta = delta
        self._recent: deque[float] = deque(maxlen=WINDOW)
        self._cut = delta * SAFETY
        self._since = 0

    @property
    def highest(self) -> float:
        """No answer of a higher risk is ever served."""
        return self.delta * HIGHEST_RISK

    def allows(self, risk: float) -> bool:
        """May an answer of this risk be served? Every question asked counts, served or not."""
        self._recent.append(risk)
        self._since += 1
        if self._since >= RECUT_AFTER:
            self._since = 0
            self._cut = highest_risk(np.array(self._recent), self.delta)
        return risk <= self._cut


def highest_risk(risks: NDArray[np.float64], delta: float) -> float:
    """The highest single risk that may be served so that the mean over all risks up to it is at most SAFETY · δ.

    At least SAFETY · δ (an answer below the mean allowed never raises the mean above it), at most HIGHEST_RISK · δ.
    """
    ordered = np.sort(risks)
    ends = np.flatnonzero(np.append(ordered[1:] > ordered[:-1], True))  # equal risks are served together or not at all
    within = ends[np.cumsum(ordered)[ends] <= SAFETY * delta * (ends + 1)]
    reached = float(ordered[within[-1]]) if len(within) else 0.0
    return max(min(reached, HIGHEST_RISK * delta), SAFETY * delta)


def _prior_information(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fisher information of PRIOR_STRENGTH observations spread evenly over the margins."""
    margins = np.linspace(0.0, 1.0, 21)
    features = np.column_stack([np.ones(21), np.sqrt(margins)])
    chance = _logistic(features @ weights)
    information: NDArray[np.float64] = (
        (features * (chance * (1 - chance))[:, None]).T @ features * (PRIOR_STRENGTH / 21)
    )
    return information


def _logistic(value: NDArray[np.float64]) -> NDArray[np.float64]:
    result: NDArray[np.float64] = 1.0 / (1.0 + np.exp(-np.clip(value, -30.0, 30.0)))
    return result
