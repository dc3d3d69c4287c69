"""Which requests does the demo send, when, and how long are they?

The trace (examples/trace) says how many requests arrived in each ten seconds and how long they were; it holds no text.
Times within a bin and the lengths of single requests are drawn from it with a fixed seed: arrivals uniformly, tokens
from the log-normal distribution that has the bin's mean and 95th percentile. The texts are made up: numbered questions,
padded to length. A share of the requests repeats one of a few frequent questions, the k-th most frequent 1/k as often
as the first (Zipf); that share is the demo's assumption, not the trace's. Pure.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

CHARACTERS_PER_TOKEN = 4
"""How the simulated endpoint counts, a common rule of thumb for English."""

BIN_S = 10.0
_PADDING = "Please answer in plain words and say what you are not sure about. "
_Z95 = 1.645
_MOST_TOKENS = 8000


@dataclass(frozen=True, slots=True)
class Bin:
    """Arrivals of ten seconds of the trace; tokens per request."""

    at_s: float
    count: int
    prompt_mean: float
    prompt_p95: float
    completion_mean: float
    completion_p95: float


@dataclass(frozen=True, slots=True)
class Request:
    """One request: ``at_s`` seconds after the replay begins."""

    at_s: float
    question: int
    prompt_tokens: int
    completion_tokens: int
    stream: bool

    @property
    def prompt(self) -> str:
        """The text; equal for equal questions."""
        head = f"Question {self.question}: "
        size = self.prompt_tokens * CHARACTERS_PER_TOKEN
        padding = _PADDING * (size // len(_PADDING) + 1)
        return (head + padding)[: max(size, len(head))]


def read_trace(path: Path) -> list[Bin]:
    """The bins of a CSV file, in order. Raises ValueError naming the line that is none."""
    with path.open(newline="", encoding="utf-8") as file:
        return [_bin(number, row) for number, row in enumerate(csv.DictReader(file), start=2)]


def _bin(number: int, row: dict[str, str]) -> Bin:
    try:
        columns = ("prompt_mean", "prompt_p95", "completion_mean", "completion_p95")
        return Bin(float(row["t_s"]), int(row["count"]), *(float(row[name]) for name in columns))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"line {number} of the trace is no bin ({error})") from None


def plan_requests(
    bins: Sequence[Bin], *, speed: float, share: float, repeated: float, frequent: int = 40, seed: int = 2023
) -> list[Request]:
    """Requests in the order of their arrival.

    ``speed``: trace seconds per second of the replay; ``share``: part of the arrivals that is sent; ``repeated``: part
    of those that asks one of ``frequent`` questions, each with the length it had when it was first asked. Shares are in
    [0, 1]. Half of the requests are streamed.
    """
    draw = Random(seed)
    asked: dict[int, Request] = {}
    return [_as_first_asked(request, asked) for request in _arrivals(bins, draw, speed, share, repeated, frequent)]


def _arrivals(
    bins: Sequence[Bin], draw: Random, speed: float, share: float, repeated: float, frequent: int
) -> Iterator[Request]:
    ranks = range(1, frequent + 1)
    weights = [1 / rank for rank in ranks]
    fresh = frequent
    for bin_ in bins:
        chosen = sum(draw.random() < share for _ in range(bin_.count))
        for offset in sorted(draw.uniform(0, BIN_S) for _ in range(chosen)):
            again = draw.uniform(0, 1) < repeated
            if not again:
                fresh += 1
            yield Request(
                at_s=(bin_.at_s + offset) / speed,
                question=draw.choices(ranks, weights)[0] if again else fresh,
                prompt_tokens=_tokens(draw, bin_.prompt_mean, bin_.prompt_p95),
                completion_tokens=_tokens(draw, bin_.completion_mean, bin_.completion_p95),
                stream=draw.uniform(0, 1) < 0.5,
            )


def _as_first_asked(request: Request, asked: dict[int, Request]) -> Request:
    first = asked.setdefault(request.question, request)
    return Request(request.at_s, request.question, first.prompt_tokens, first.completion_tokens, request.stream)


def _tokens(draw: Random, mean: float, p95: float) -> int:
    """A length from the log-normal distribution with this mean and 95th percentile.

    p95 / mean = exp(1.645 σ - σ²/2), so σ = 1.645 - √(1.645² - 2 ln(p95 / mean)); the root is real up to
    p95 / mean = 3.87, and a bin of few requests may lie above.
    """
    if p95 <= mean:
        return max(1, round(mean))
    inner = max(0.0, _Z95**2 - 2 * math.log(p95 / mean))
    sigma = _Z95 - math.sqrt(inner)
    return min(_MOST_TOKENS, max(1, round(mean * math.exp(sigma * draw.gauss(0, 1) - sigma**2 / 2))))
