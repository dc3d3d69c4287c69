"""How often does the cache in the process hit, beside LRU?

    .venv/bin/python benchmarks/hit_ratio.py [--prefixes FILE.jsonl.gz] [--seeds 3] [--percents 1 10] [--phases 6]

Plays traces against the runtime's own tier (``MemoryTier``) and against LRU of the same number of entries, at
``--percents`` of the keys: Zipf (exponent 0.99), Zipf with scans (40 % of the requests are bursts of 4,000 keys that
never return), and Zipf in ``--phases`` without a common key. ``--prefixes`` adds a trace of prompts' block hashes,
one request with a list ``h`` a line (the format of the Mooncake traces). *learnt* is the second half of a trace.
"""

from __future__ import annotations

import argparse
import gzip
import json
import statistics
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from agent_runtime.cache.entry import Entry
from agent_runtime.cache.memory import MemoryTier
from agent_runtime.usage import Usage

KEYS, REQUESTS, BURST = 100_000, 600_000, 4_000
EMPTY = Entry(
    body=b"", streamed=False, model="m", usage=Usage(0, 0, 0), cost_nanousd=0, stored_s=0.0, expires_s=float("inf")
)
Ask = Callable[[str], bool]


def lru(capacity: int) -> Ask:
    held: OrderedDict[str, None] = OrderedDict()

    def ask(key: str) -> bool:
        if key in held:
            held.move_to_end(key)
            return True
        held[key] = None
        if len(held) > capacity:
            held.popitem(last=False)
        return False

    return ask


def runtime(capacity: int) -> Ask:
    tier = MemoryTier(capacity, 1 << 50)

    def ask(key: str) -> bool:
        if tier.get(key, 0.0) is not None:
            return True
        tier.put(key, EMPTY, 0.0)
        return False

    return ask


def zipf_ranks(requests: int, chance: np.random.Generator) -> list[int]:
    weights = 1 / np.arange(1, KEYS + 1) ** 0.99
    ranks: list[int] = np.searchsorted(np.cumsum(weights / weights.sum()), chance.random(requests)).tolist()
    return ranks


def zipf(chance: np.random.Generator) -> Iterator[str]:
    return (f"{rank:x}" for rank in zipf_ranks(REQUESTS, chance))


def scan(chance: np.random.Generator) -> Iterator[str]:
    wanted, passing = iter(zipf_ranks(REQUESTS, chance)), KEYS
    for _ in range(REQUESTS // (BURST * 10 // 4)):
        for _ in range(BURST * 6 // 4):
            yield f"{next(wanted):x}"
        for _ in range(BURST):
            passing += 1
            yield f"{passing:x}"


def shift(chance: np.random.Generator, phases: int) -> Iterator[str]:
    for phase in range(phases):
        yield from (f"{phase}-{rank:x}" for rank in zipf_ranks(REQUESTS // phases, chance))


def prefixes(path: str) -> list[str]:
    with gzip.open(path, "rt") as lines:
        return [f"{block:x}" for line in lines for block in json.loads(line)["h"]]


def hits(ask: Ask, trace: list[str]) -> tuple[float, float, float]:
    """Hit ratio of the whole trace and of its second half, and microseconds of CPU per request."""
    half, began_s = len(trace) // 2, time.process_time()
    first = sum(map(ask, trace[:half]))
    second = sum(map(ask, trace[half:]))
    took_s = time.process_time() - began_s
    return (first + second) / len(trace), second / (len(trace) - half), took_s / len(trace) * 1e6


def compare(name: str, traces: list[list[str]], keys: int, percents: list[int]) -> None:
    for percent in percents:
        capacity = keys * percent // 100
        ours = [hits(runtime(capacity), trace) for trace in traces]
        theirs = [hits(lru(capacity), trace) for trace in traces]
        leads = [(one[0] - other[0]) * 100 for one, other in zip(ours, theirs, strict=True)]
        columns = [f"{statistics.mean(one[place] for one in side):.4f}" for place in (0, 1) for side in (ours, theirs)]
        cost_us = statistics.mean(one[2] for one in ours)
        print(
            f"| {name} | {percent} % | {' | '.join(columns)} | {min(leads):+.2f} … {max(leads):+.2f} | {cost_us:.1f} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prefixes", help="trace of block hashes, *.jsonl.gz")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--percents", type=int, nargs="+", default=[1, 10], help="capacities, of the keys")
    parser.add_argument("--phases", type=int, default=6, help="of the trace whose keys all change")
    args = parser.parse_args()
    print("| trace | capacity | runtime | LRU | runtime, learnt | LRU, learnt | lead in points, by seed | µs/request |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|")
    makers = {"zipf": zipf, "scan": scan, "shift": partial(shift, phases=args.phases)}
    for name, make in makers.items():
        traces = [list(make(np.random.default_rng(seed))) for seed in range(args.seeds)]
        compare(name, traces, KEYS, args.percents)
    if args.prefixes:
        trace = prefixes(args.prefixes)
        compare("prefixes", [trace], len(set(trace)), args.percents)


if __name__ == "__main__":
    main()
