"""How do the rules follow the demand? Agents of each and tasks waiting, over the trace."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from agentpool_operator.plan.outcome import Outcome
from agentpool_operator.plan.tasks import Floats, Tasks, offered_agents

DEMAND, COLORS = "#4a5568", ("#2b6cb0", "#90cdf4", "#c53030", "#b7791f")
POINTS = 720


def draw(tasks: Tasks, outcomes: Sequence[Outcome], *, concurrency: int, title: str, folder: Path) -> list[Path]:
    """Write plan.svg and plan.png into the folder, the same bytes for the same plan, and return their paths."""
    span_s = max(-(-tasks.duration_s // POINTS), 1)
    unit, unit_s = ("days", 86_400) if tasks.duration_s > 4 * 86_400 else ("hours", 3600)
    unit, unit_s = (unit, unit_s) if tasks.duration_s > 2 * 3600 else ("minutes", 60)
    figure = Figure(figsize=(11, 7), layout="constrained")
    agents, waiting = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    demand = offered_agents(tasks, concurrency=concurrency, span_s=span_s)
    at = np.arange(len(demand)) * span_s / unit_s
    agents.fill_between(at, demand, step="post", color=DEMAND, alpha=0.25, linewidth=0, label="demand")
    for outcome, color in zip(outcomes, COLORS, strict=False):
        for axes, values in ((agents, outcome.agents_by_s), (waiting, outcome.waiting_by_s)):
            axes.step(at, _highest(values, span_s), where="post", color=color, linewidth=1.3, label=outcome.rule)
    _label(agents, "agents")
    _label(waiting, "tasks waiting")
    agents.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=5, frameon=False, fontsize=9)
    waiting.set_xlabel(f"{unit} from the start")
    figure.suptitle(title, fontsize=11)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / "plan.svg", folder / "plan.png"]
    with matplotlib.rc_context({"svg.hashsalt": "plan"}):
        figure.savefig(paths[0], metadata={"Date": None})
        figure.savefig(paths[1], dpi=110)
    return paths


def _highest(values: array[int], span_s: int) -> Floats:
    """The highest value of each span: a short queue should not vanish between two points."""
    padded = np.asarray(values, np.float64)
    padded = np.pad(padded, (0, -len(padded) % span_s), mode="edge")
    result: Floats = padded.reshape(-1, span_s).max(1)
    return result


def _label(axes: Axes, name: str) -> None:
    axes.set_ylabel(name)
    axes.set_ylim(bottom=0)
    axes.margins(x=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e2e8f0", linewidth=0.8)
    axes.set_axisbelow(True)
