"""Prints what one decision costs: processor time of each call, and memory of what is kept per pool.

    python -m benchmarks.decide_cost [--hours 6] [--pools 200]

A pool with 14 days of daily traffic decides every five seconds. Processor time of this process is measured, so other
work on the machine does not count. The first pass of a process, in which libraries load, is told apart.
"""

from __future__ import annotations

import argparse
import gc
import time
import tracemalloc
from dataclasses import replace

import numpy as np

from agentpool_operator.decide.history import MINUTES
from agentpool_operator.decide.load import PoolLoad
from agentpool_operator.decide.policy import ScalingPolicy
from agentpool_operator.decide.scaling import decide
from agentpool_operator.decide.state import PoolState

PERIOD_S = 5
BEGINS_S = 1_800_000_000
POLICY = ScalingPolicy(max_agents=100)


def daily_minutes(chance: np.random.Generator) -> list[float]:
    """Arrivals of each of 14 days' minutes: a day's wave around ten a second."""
    turn = 2 * np.pi * np.arange(MINUTES) / 1440
    return [float(count) for count in chance.poisson(600 + 400 * np.sin(turn))]


def passes(state: PoolState, chance: np.random.Generator, count: int) -> tuple[PoolState, list[float]]:
    """The state after so many passes, and the processor time of each in ms."""
    load = PoolLoad(ready=30, concurrency=1, in_flight=22, queued=0, utilization=0.8, service_s=2.2, startup_s=45.0)
    took_ms = []
    for step in range(count):
        counts = tuple(float(count) for count in chance.poisson(10, 2 * PERIOD_S))
        seen = replace(load, arrivals_per_s=counts)
        if not len(state.history.minutes):
            seen = replace(seen, arrivals_per_min=daily_minutes(chance))
        started = time.process_time_ns()
        decision = decide(POLICY, seen, state, now_s=BEGINS_S + PERIOD_S * step)
        took_ms.append((time.process_time_ns() - started) / 1e6)
        state = decision.state
    return state, took_ms


def kept_bytes(pools: int) -> float:
    """Memory that the state of one pool holds after half an hour, on average."""
    chance = np.random.default_rng(2)
    passes(PoolState(), chance, 10)
    gc.collect()
    tracemalloc.start()
    states = [passes(PoolState(), chance, 400)[0] for _ in range(pools)]
    gc.collect()
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return held / len(states)


def main() -> None:
    """Prints two lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=6.0)
    parser.add_argument("--pools", type=int, default=20)
    options = parser.parse_args()
    _, took = passes(PoolState(), np.random.default_rng(1), int(options.hours * 3600 / PERIOD_S))
    first, rest = took[0], np.array(took[1:])
    print(
        f"decide, ms of processor time over {len(rest):,} calls: mean {rest.mean():.2f}, median {np.median(rest):.2f}, "
        f"p99 {np.percentile(rest, 99):.2f}, longest {rest.max():.2f}, first of the process {first:.1f}"
    )
    print(f"state of a pool with 14 days of history: {kept_bytes(options.pools) / 1000:.1f} kB")


if __name__ == "__main__":
    main()
