"""Which known answer do the nearest questions speak for, and how clearly?

Kernel ridge regression (a Gaussian process's mean) on the answers of the nearest questions: every answer is a target
that is 1 at its own questions and 0 at the others'. Near duplicates share one voice, a rival answer nearby takes
voice away, and far from every question all voices fade to 0: similarity, margin and novelty in one number. Source:
Rasmussen and Williams, Gaussian Processes for Machine Learning (2006), section 2.2 and 6.5 (least-squares
classification).

It holds no state: an entry that is added, expires or is dropped counts from the next question on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NEIGHBOURS = 64
"""Nearest questions heard. On the development streams 32, 64, 128 and all gave the same."""

SHARPNESS = 3.0
"""Kernel exp(SHARPNESS·(cosine − 1)). Between 2 and 3 the streams gave the same, 6 and more gave less."""

NOISE = 0.1
"""Ridge: how far a known answer may be off. 0.03 to 0.3 gave the same."""


@dataclass(frozen=True, slots=True)
class Vote:
    """What the neighbours say."""

    answer: int
    margin: float
    """Voice of the answer less that of its strongest rival, 0 at least; about 1 when nothing speaks against it."""
    supporters: tuple[int, ...]
    """Positions of the neighbours with this answer, nearest first."""
    similarity: float
    """Cosine to the nearest supporter."""


def vote(similarities: NDArray[np.float32], gram: NDArray[np.float32], answers: Sequence[int]) -> Vote | None:
    """Vote of n neighbours, nearest first; None without neighbours.

    ``similarities`` [n] are their cosines to the question, ``gram`` [n, n] those among themselves.
    """
    if not answers:
        return None
    kernel = np.exp(SHARPNESS * (gram.astype(np.float64) - 1.0))
    kernel[np.diag_indices(len(answers))] += NOISE
    weights = np.linalg.solve(kernel, np.exp(SHARPNESS * (similarities.astype(np.float64) - 1.0)))
    known, choice = np.unique(np.asarray(answers), return_inverse=True)
    voices = np.bincount(choice, weights)
    best = int(voices.argmax())
    rival = max(float(np.delete(voices, best).max(initial=0.0)), 0.0)
    supporters = tuple(int(position) for position in np.flatnonzero(choice == best))
    margin = max(float(voices[best]) - rival, 0.0)
    return Vote(int(known[best]), margin, supporters, float(similarities[supporters[0]]))
