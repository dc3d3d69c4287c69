"""Writes seeded synthetic traffic in the replay simulator's format: how would a rule do where nobody has looked?

    python -m benchmarks.traffic --seeds 1,2 --out FOLDER

One trace per shape and seed. A shape is a law, not a series: its figures (levels, moments, lengths, service times,
history) are drawn from the seed. Seeds below 100 are for development, from 100 on they are held out: nothing was ever
chosen by looking at their results. Sizes follow the simulator's mechanical rule for real traces: the 99th percentile of
a minute's offered load is 12 agents. Six hours are scored.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Chance = np.random.Generator

BIN_S = 10
DAY_S = 86_400
SCORED_S = 6 * 3600
PEAK_AGENTS = 12.0
QUANTILES = (0, 5, 25, 50, 75, 90, 95, 99, 100)
_NORMAL = (-2.6, -1.645, -0.674, 0.0, 0.674, 1.282, 1.645, 2.326, 2.8)


@dataclass(frozen=True, slots=True)
class Shape:
    """A law of arrivals: relative rate in each bin, from the bins' times of day in seconds since Monday."""

    rate: Callable[[Chance, Floats], Floats]
    history_days: tuple[int, ...] = (1, 3, 8)
    scored_s: int = SCORED_S
    service_s: tuple[float, float] = (1.0, 12.0)
    peak_agents: float = PEAK_AGENTS
    service_growth: float = 1.0
    """Factor by which service times grow, evenly, over the scored hours."""


def _daily(chance: Chance, at_s: Floats) -> Floats:
    turn = 2 * math.pi * (at_s / DAY_S - chance.random())
    return 1.0 + chance.uniform(0.4, 0.8) * np.sin(turn) + chance.uniform(0.0, 0.2) * np.sin(2 * turn + chance.random())


def _noise(chance: Chance, at_s: Floats, *, sigma: float, memory_s: float) -> Floats:
    """Log-normal noise that forgets within `memory_s` (an AR(1) process in the logarithm)."""
    keep = math.exp(-BIN_S / memory_s)
    shocks = chance.normal(0, sigma * math.sqrt(1 - keep * keep), len(at_s))
    level, values = chance.normal(0, sigma), np.empty(len(at_s))
    for step, shock in enumerate(shocks):
        level = keep * level + shock
        values[step] = level
    return np.exp(values)


def diurnal(chance: Chance, at_s: Floats) -> Floats:
    """A day's wave with noise of minutes."""
    return _daily(chance, at_s) * _noise(chance, at_s, sigma=chance.uniform(0.1, 0.3), memory_s=600)


def weekly(chance: Chance, at_s: Floats) -> Floats:
    """Working days and quiet weekends."""
    weekend = (at_s // DAY_S) % 7 >= 5
    return _daily(chance, at_s) * np.where(weekend, chance.uniform(0.1, 0.4), 1.0)


def office(chance: Chance, at_s: Floats) -> Floats:
    """Two humps, a lunch break, next to nothing at night."""
    hour = at_s / 3600 % 24 + chance.uniform(-4, 4)
    humps = np.exp(-(((hour - 10) / 1.5) ** 2)) + np.exp(-(((hour - 15) / 2) ** 2))
    return (0.03 + humps) * _noise(chance, at_s, sigma=0.1, memory_s=900)


def bursts(chance: Chance, at_s: Floats) -> Floats:
    """Bursts of heavy-tailed size and length over a low level."""
    rate = np.full(len(at_s), 1.0)
    for start in np.flatnonzero(chance.random(len(at_s)) < BIN_S / 900):
        length = int(min(chance.pareto(1.5) + 1, 60) * 60 / BIN_S)
        rate[start : start + length] += min(chance.pareto(1.5) + 0.5, 8)
    return rate


def flash_crowds(chance: Chance, at_s: Floats) -> Floats:
    """A few times a day the load rises manifold within minutes and fades over half an hour."""
    rate = _daily(chance, at_s)
    for start in np.flatnonzero(chance.random(len(at_s)) < BIN_S / (4 * 3600)):
        age_s = (np.arange(len(at_s) - start)) * BIN_S
        rise, fade = chance.uniform(120, 400), chance.uniform(900, 2400)
        rate[start:] += chance.uniform(2, 7) * np.minimum(age_s / rise, 1) * np.exp(-np.maximum(age_s - rise, 0) / fade)
    return rate


def on_off(chance: Chance, at_s: Floats) -> Floats:
    """Either much or nothing, for a quarter of an hour on average each."""
    return _switching(chance, at_s, levels=(0.0, 1.0), stay_s=900)


def modulated(chance: Chance, at_s: Floats) -> Floats:
    """Three levels, each for minutes (a Markov-modulated Poisson process)."""
    return _switching(chance, at_s, levels=(0.3, 1.0, 2.0), stay_s=600)


def steps(chance: Chance, at_s: Floats) -> Floats:
    """Levels that hold for two hours on average and jump by any factor between a quarter and four."""
    return _switching(chance, at_s, levels=tuple(np.exp(chance.uniform(-1.4, 1.4, 9))), stay_s=7200)


def _switching(chance: Chance, at_s: Floats, *, levels: tuple[float, ...], stay_s: float) -> Floats:
    changes = np.cumsum(chance.random(len(at_s)) < BIN_S / stay_s)
    order = chance.integers(1, max(len(levels), 2), int(changes[-1]) + 1).cumsum() % len(levels)
    return np.asarray(levels)[order[changes]]


def ramps(chance: Chance, at_s: Floats) -> Floats:
    """Straight lines between random levels half an hour to three hours apart."""
    knots = np.cumsum(chance.uniform(1800, 10_800, len(at_s) * BIN_S // 1800 + 2)) + at_s[0]
    return np.interp(at_s, knots, chance.uniform(0.1, 2.0, len(knots)))


def cron(chance: Chance, at_s: Floats) -> Floats:
    """A job every hour or half an hour throws one or two minutes of work on a day's wave."""
    every_s, length_s = chance.choice([1800, 3600]), chance.choice([60, 120])
    return _daily(chance, at_s) + chance.uniform(1, 3) * (at_s % every_s < length_s)


def cold_hour(chance: Chance, at_s: Floats) -> Floats:
    """An hour without any history, uneven and with short spikes."""
    spikes = 1 + 1.5 * (np.convolve(chance.random(len(at_s)) < BIN_S / 400, np.ones(3))[: len(at_s)] > 0)
    return _noise(chance, at_s, sigma=0.25, memory_s=300) * spikes


def nothing(_chance: Chance, at_s: Floats) -> Floats:
    """No task at all."""
    return np.zeros(len(at_s))


def sparse(chance: Chance, at_s: Floats) -> Floats:
    """Few tasks, each of minutes: agents that work through something long."""
    return _daily(chance, at_s)


def hundredfold(chance: Chance, at_s: Floats) -> Floats:
    """A hundred times the load within a minute, for some time, once in the scored hours."""
    start_s = at_s[-1] - SCORED_S * chance.uniform(0.3, 0.8)
    surge = np.clip((at_s - start_s) / 60, 0, 1) * (at_s < start_s + chance.uniform(1800, 5400))
    return _daily(chance, at_s) * (1 + 99 * surge)


def drifting(chance: Chance, at_s: Floats) -> Floats:
    """A day's wave whose tasks become slower and slower."""
    return _daily(chance, at_s)


def wandering(chance: Chance, at_s: Floats) -> Floats:
    """A level without a season that forgets over hours."""
    return _noise(chance, at_s, sigma=0.6, memory_s=3 * 3600)


def outage(chance: Chance, at_s: Floats) -> Floats:
    """A day's wave, nothing for a quarter of an hour, then everybody who was turned away."""
    start_s = at_s[-1] - SCORED_S * chance.uniform(0.2, 0.8)
    away, back = (at_s >= start_s) & (at_s < start_s + 900), (at_s >= start_s + 900) & (at_s < start_s + 1500)
    return _daily(chance, at_s) * np.where(away, 0.0, np.where(back, 2.5, 1.0))


SHAPES: Mapping[str, Shape] = {
    "diurnal": Shape(diurnal, (8,)),
    "weekly": Shape(weekly, (8, 13)),
    "office": Shape(office, (3, 8)),
    "bursts": Shape(bursts),
    "flash_crowds": Shape(flash_crowds),
    "on_off": Shape(on_off),
    "modulated": Shape(modulated),
    "steps": Shape(steps),
    "ramps": Shape(ramps),
    "cron": Shape(cron),
    "cold_hour": Shape(cold_hour, (0,), 3600),
    "nothing": Shape(nothing),
    "sparse": Shape(sparse, service_s=(90.0, 200.0), peak_agents=6.0),
    "hundredfold": Shape(hundredfold),
    "drifting": Shape(drifting, service_s=(1.0, 4.0), service_growth=3.0),
    "wandering": Shape(wandering),
    "outage": Shape(outage, (3, 8)),
}


def make_trace(name: str, seed: int) -> tuple[NDArray[np.int64], dict[str, object]]:
    """Arrivals in each bin, and what the simulator must know beside them. The same for the same name and seed."""
    shape = SHAPES[name]
    chance = np.random.default_rng([seed, *name.encode()])
    history_s = int(chance.choice(shape.history_days)) * DAY_S
    at_s = np.arange(0, history_s + shape.scored_s, BIN_S) + chance.integers(0, 7 * 24) * 3600.0
    rate = shape.rate(chance, at_s)
    completion = _completion_tokens(chance, shape)
    mean_service_s = _mean_service_s(completion)
    concurrency = int(chance.choice([1, 2, 4, 8]))
    minutes = rate[: len(rate) // 6 * 6].reshape(-1, 6).mean(1)[-DAY_S // 60 :]
    peak = float(np.percentile(minutes, 99))
    per_s = rate / peak * shape.peak_agents * concurrency / mean_service_s if peak else rate
    facts: dict[str, object] = {
        "bin_s": BIN_S,
        "bins": len(rate),
        "eval_from_s": history_s,
        "eval_to_s": history_s + shape.scored_s,
        "concurrency": concurrency,
        "scale": 1.0,
        "q": list(QUANTILES),
        "prompt_q": [0.0] * len(QUANTILES),
        "completion_q": completion,
        "mean_service_s": mean_service_s,
        "service_growth": shape.service_growth,
    }
    return chance.poisson(np.maximum(per_s, 0.0) * BIN_S), facts


def _completion_tokens(chance: Chance, shape: Shape) -> list[float]:
    """Quantiles of a log-normal law; the simulator takes 0.5 s and 0.03 s for each token."""
    mean_s, sigma = chance.uniform(*shape.service_s), chance.uniform(0.2, 1.0)
    tokens = max(mean_s - 0.5, 0.3) / 0.03
    return [round(tokens * math.exp(sigma * z - sigma * sigma / 2), 1) for z in _NORMAL]


def _mean_service_s(completion: list[float]) -> float:
    tokens = np.interp(np.linspace(0, 100, 100_001), QUANTILES, completion)
    return float(np.minimum(0.5 + 0.03 * tokens, 300.0).mean())


def write_traces(folder: Path, seeds: list[int], names: list[str]) -> None:
    """One file per trace and `meta.json`, as the simulator reads them."""
    folder.mkdir(parents=True, exist_ok=True)
    meta = {}
    for seed in seeds:
        for name in names:
            counts, facts = make_trace(name, seed)
            title = f"{name}_{seed}"
            meta[title] = facts
            with gzip.open(folder / f"{title}.csv.gz", "wt", compresslevel=1) as file:
                rows = csv.writer(file)
                rows.writerow(("t_s", "count"))
                rows.writerows((int(i) * BIN_S, int(counts[i])) for i in np.flatnonzero(counts))
    (folder / "meta.json").write_text(json.dumps(meta, indent=1))


def main() -> None:
    """Writes the traces of all shapes, or of those named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", default="1,2", help="below 100 for development, from 100 on held out")
    parser.add_argument("--only", default="", help="shapes, separated by commas")
    options = parser.parse_args()
    names = [name for name in SHAPES if not options.only or name in options.only.split(",")]
    write_traces(options.out, [int(seed) for seed in options.seeds.split(",")], names)


if __name__ == "__main__":
    main()
