"""Replays traces under the product's decision and its peers, and prints what each costs and who waits.

    python -m benchmarks.replay_table --traces FOLDER [--startup 10,45,120] [--per-trace] [--no-peers] [--csv FILE]

FOLDER holds what the replay simulator reads: its real traces, or those of `benchmarks.traffic`. The simulator's modules
`replay` and `scalers` must be importable; the peers are its own. Agent hours are told over its clairvoyant schedule's.
The product's removals are idle first with half an hour to drain, the peers' those of a Deployment with 30 s.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Sequence
from functools import partial
from multiprocessing import Pool
from pathlib import Path
from typing import Any

import numpy as np
import scalers
from replay import load_trace, simulate

from benchmarks.replay_adapter import factory

PEERS = (
    scalers.HPA,
    partial(scalers.HPA, 0.6),
    partial(scalers.KEDA, 1.0, "all"),
    partial(scalers.KEDA, 0.6, "all"),
    scalers.KPA,
    partial(scalers.PredictiveHPA, "linear"),
    partial(scalers.PredictiveHPA, "holt-winters"),
    scalers.ThresholdRule,
    scalers.ForecastRule,
)
OURS = {"grace_s": 1800, "removal": "idle-first"}

Row = dict[str, Any]


def read_trace(folder: Path, name: str) -> Any:
    """The simulator's trace, with service times that grow over it where its facts say so."""
    trace = load_trace(str(folder), name, 1, 86_400)
    growth = json.loads((folder / "meta.json").read_text())[name].get("service_growth", 1.0)
    if growth != 1.0:
        trace.service = np.minimum(trace.service * growth ** (trace.arrivals / trace.duration), 300.0)
    return trace


def replay_one(job: tuple[Path, str, int, bool]) -> list[Row]:
    """Every rule on one trace at one start-up time; the clairvoyant schedule first."""
    folder, name, startup_s, peers = job
    trace = read_trace(folder, name)
    oracle = scalers.Oracle(trace, startup_s)
    rows = [simulate(trace, oracle, startup_s, n0=oracle.n0), simulate(trace, factory(), startup_s, **OURS)]
    rows += [simulate(trace, make(), startup_s) for make in (PEERS if peers else PEERS[:1])]
    for row in rows:
        row["startup_s"] = startup_s
        row["ratio"] = row["agent_hours"] / rows[0]["agent_hours"]
        row["changes_per_hour"] = row["events"] / (trace.duration / 3600)
    return rows


def dominated(rows: Sequence[Row]) -> bool:
    """Whether the product is both later and dearer than the HPA at 80 % (the row after it)."""
    ours, hpa = rows[1], rows[2]
    return bool(ours["violations"] > hpa["violations"] and ours["ratio"] > hpa["ratio"])


def print_summary(done: Sequence[list[Row]]) -> None:
    """One line per rule: mean and worst late share, cost, changes an hour, killed tasks."""
    print(f"{'rule':26}{'late %':>8}{'worst':>8}{'hours over clairvoyant':>24}{'changes/h':>11}{'killed':>8}")
    for index, rule in enumerate(row["algorithm"] for row in done[0]):
        rows = [rows[index] for rows in done]
        late = [100 * row["violations"] for row in rows]
        ratio, changes = (sum(row[key] for row in rows) / len(rows) for key in ("ratio", "changes_per_hour"))
        killed = sum(row["killed"] for row in rows)
        print(f"{rule:26}{sum(late) / len(late):8.2f}{max(late):8.1f}{ratio:24.2f}{changes:11.1f}{killed:8d}")
    worse = [rows[0]["trace"] for rows in done if dominated(rows)]
    print(f"both later and dearer than HPA 80 %: {', '.join(worse) or 'none'} (of {len(done)})")


def print_traces(done: Sequence[list[Row]]) -> None:
    """One line per trace: the product beside the HPA."""
    print(f"\n{'trace':28}{'late %':>8}{'over':>7}{'changes/h':>11}{'HPA late %':>12}{'over':>7}{'changes/h':>11}")
    for _, ours, hpa, *_ in done:
        print(
            f"{ours['trace']:28}"
            f"{100 * ours['violations']:8.2f}{ours['ratio']:7.2f}{ours['changes_per_hour']:11.1f}"
            f"{100 * hpa['violations']:12.2f}{hpa['ratio']:7.2f}{hpa['changes_per_hour']:11.1f}"
        )


def main() -> None:
    """Replays each start-up time in turn, traces side by side."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--traces", type=Path, required=True)
    parser.add_argument("--startup", default="45")
    parser.add_argument("--only", default="", help="parts of names, separated by commas")
    parser.add_argument("--per-trace", action="store_true")
    parser.add_argument("--no-peers", action="store_true", help="HPA at 80 % only")
    parser.add_argument("--csv", type=Path)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    names = [
        name
        for name in sorted(json.loads((options.traces / "meta.json").read_text()))
        if any(part in name for part in options.only.split(","))
    ]
    everything: list[Row] = []
    with Pool(options.jobs) as pool:
        for startup_s in map(int, options.startup.split(",")):
            jobs = [(options.traces, name, startup_s, not options.no_peers) for name in names]
            done = pool.map(replay_one, jobs, chunksize=1)
            print(f"\nstart-up {startup_s} s, {len(done)} traces")
            print_summary(done)
            if options.per_trace:
                print_traces(done)
            everything += [row for rows in done for row in rows]
    if options.csv:
        with options.csv.open("w", newline="") as file:
            table = csv.DictWriter(file, everything[0].keys())
            table.writeheader()
            table.writerows(everything)


if __name__ == "__main__":
    main()
