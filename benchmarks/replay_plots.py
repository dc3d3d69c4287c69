"""Draws what the product and a HorizontalPodAutoscaler did on each trace: demand, and agents asked for.

    python -m benchmarks.replay_plots --traces FOLDER --out docs/images [--startup 45] [--only NAME,NAME]

One small PNG per trace, the same bytes for the same trace. Needs matplotlib and the replay simulator's modules.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import scalers
from matplotlib.figure import Figure
from replay import simulate

from benchmarks.replay_adapter import factory
from benchmarks.replay_table import OURS, read_trace

POINTS = 360
DEMAND, PRODUCT, PEER = "#4a5568", "#2b6cb0", "#dd6b20"


class Recorded:
    """A rule that remembers the size it asked for at each look, and when."""

    def __init__(self, rule: Any) -> None:
        self._rule = rule
        self.period, self.name = rule.period, rule.name
        self.at_s: list[float] = []
        self.agents: list[int] = []

    def observe(self, metrics: Mapping[str, Any]) -> int:
        """What the rule wants."""
        wanted = int(self._rule.observe(metrics))
        self.at_s.append(metrics["now"])
        self.agents.append(min(max(wanted, metrics["min"]), metrics["max"]))
        return wanted


def demand_agents(trace: Any, span_s: int) -> np.ndarray:
    """Agents that the work of each span keeps busy, were every task served as it arrives."""
    change = np.zeros(trace.duration + 2)
    np.add.at(change, np.minimum(trace.arrivals.astype(int), trace.duration), 1)
    np.add.at(change, np.minimum((trace.arrivals + trace.service).astype(int), trace.duration + 1), -1)
    busy = np.cumsum(change)[: trace.duration // span_s * span_s].reshape(-1, span_s).mean(1)
    return busy / trace.concurrency


def draw(folder: Path, name: str, startup_s: int, out: Path) -> Path:
    """Replay both rules on a trace and write the plot."""
    trace = read_trace(folder, name)
    span_s = max(trace.duration // POINTS, 10)
    demand = demand_agents(trace, span_s)
    figure = Figure(figsize=(8, 2.4), layout="constrained")
    axes = figure.subplots()
    axes.fill_between(
        np.arange(len(demand)) * span_s / 3600,
        demand,
        step="post",
        color=DEMAND,
        alpha=0.25,
        linewidth=0,
        label="demand",
    )
    for make, color, label, options in ((scalers.HPA, PEER, "HPA 80 %", {}), (factory, PRODUCT, "agentpool", OURS)):
        rule = Recorded(make())
        row = simulate(trace, rule, startup_s, **options)
        every = max(span_s // rule.period, 1)
        hours = (np.array(rule.at_s[::every]) - trace.eval_from) / 3600
        told = f"{label}: {100 * row['violations']:.2f} % late, {row['agent_hours']:.0f} agent hours"
        axes.step(hours, rule.agents[::every], where="post", color=color, linewidth=1.0, label=told)
    axes.set(xlabel="hours", ylabel="agents", xlim=(0, trace.duration / 3600))
    axes.set_ylim(bottom=0)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper left", ncols=3, frameon=False, fontsize=8, title=f"{name}, {startup_s} s to start")
    path = out / f"replay-{name.replace('_', '-')}.png"
    figure.savefig(path, dpi=90, metadata={"Software": None})
    return path


def main() -> None:
    """Draws the traces one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--traces", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--startup", type=int, default=45)
    parser.add_argument("--only", default="", help="parts of names, separated by commas")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for name in sorted(json.loads((options.traces / "meta.json").read_text())):
        if any(part in name for part in options.only.split(",")):
            path = draw(options.traces, name, options.startup, options.out)
            print(f"{path} {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
