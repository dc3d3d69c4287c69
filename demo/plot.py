"""What did the run look like? Three panels over one time axis: demand, agents, spend against the limit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from demo.observation import Snapshot
from demo.story import Event

ON_DEMAND, SPOT, DEMAND, SPEND, LIMIT, MARK = "#2b6cb0", "#90cdf4", "#4a5568", "#2f855a", "#c53030", "#b7791f"
SAME_MOMENT_S = 5.0


def draw(
    snapshots: Sequence[Snapshot], events: Sequence[Event], *, concurrency: int, scale_down_percent: int, folder: Path
) -> list[Path]:
    """Write demo.svg and demo.png into the folder and return their paths."""
    figure, (demand, agents, spend) = plt.subplots(
        3, 1, sharex=True, figsize=(11, 9), height_ratios=(2, 3, 3), layout="constrained"
    )
    times = [snapshot.at_s for snapshot in snapshots]
    _demand(demand, times, snapshots)
    _agents(agents, times, snapshots, concurrency)
    _spend(spend, times, snapshots, scale_down_percent)
    for axes in (demand, agents, spend):
        axes.margins(x=0)
        axes.set_ylim(bottom=0)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="#e2e8f0", linewidth=0.8)
        axes.set_axisbelow(True)
        for event in events:
            axes.axvline(event.at_s, color=MARK, linewidth=0.9, linestyle=":")
    groups = same_moments(events)
    _number_events(demand, groups)
    spend.set_xlabel("seconds since the replay began\n\n" + _list_events(groups), loc="left", linespacing=1.5)
    figure.suptitle(
        "A pool of agents under a daily budget: replay of the Azure LLM conversation trace 2023 "
        "against a simulated model endpoint",
        fontsize=11,
    )
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / "demo.svg", folder / "demo.png"]
    for path in paths:
        figure.savefig(path, dpi=110)
    plt.close(figure)
    return paths


def _demand(axes: Axes, times: list[float], snapshots: Sequence[Snapshot]) -> None:
    axes.plot(times, [s.in_flight for s in snapshots], color=DEMAND, linewidth=1.6)
    axes.set_ylabel("requests in flight")


def _agents(axes: Axes, times: list[float], snapshots: Sequence[Snapshot], concurrency: int) -> None:
    on_demand = [s.on_demand_ready for s in snapshots]
    spot = [s.spot_ready for s in snapshots]
    axes.stackplot(
        times,
        on_demand,
        spot,
        labels=["ready, on-demand", "ready, spot"],
        colors=[ON_DEMAND, SPOT],
        step="post",
    )
    axes.step(times, [s.desired for s in snapshots], where="post", color="black", linewidth=1.4, label="desired")
    most = max([1, *(s.desired for s in snapshots), *(s.ready for s in snapshots)])
    wanted = [
        s.in_flight / concurrency if s.in_flight <= 1.15 * most * concurrency else float("nan") for s in snapshots
    ]
    axes.plot(times, wanted, color=DEMAND, linewidth=1.0, linestyle="--", label=f"demand ÷ {concurrency} per agent")
    axes.set_ylabel("agents")
    axes.legend(loc="upper left", ncols=4, frameon=False, fontsize=9)
    axes.set_ylim(top=1.35 * most)  # room for the legend; a demand far above what there is leaves the panel


def _spend(axes: Axes, times: list[float], snapshots: Sequence[Snapshot], scale_down_percent: int) -> None:
    daily = [s.daily for s in snapshots]
    limits = [float(window.limit) if window else float("nan") for window in daily]
    axes.fill_between(times, [float(w.spent) if w else 0.0 for w in daily], color=SPEND, alpha=0.25, linewidth=0)
    axes.plot(times, [float(w.spent) if w else 0.0 for w in daily], color=SPEND, linewidth=1.6, label="spent today")
    axes.step(times, limits, where="post", color=LIMIT, linewidth=1.6, label="daily limit")
    axes.step(
        times,
        [limit * scale_down_percent / 100 for limit in limits],
        where="post",
        color=LIMIT,
        linewidth=0.9,
        linestyle="--",
        label=f"scale-down from {scale_down_percent} %",
    )
    axes.set_ylabel("US dollars")
    axes.set_ylim(top=1.2 * max([0.01, *(float(window.limit) for window in daily if window)]))
    axes.legend(loc="upper left", ncols=3, frameon=False, fontsize=9)


def same_moments(events: Sequence[Event]) -> list[list[Event]]:
    """Events in order; those within a few seconds of the first share a group, and so a number in the plot."""
    groups: list[list[Event]] = []
    for event in events:
        if groups and event.at_s - groups[-1][0].at_s < SAME_MOMENT_S:
            groups[-1].append(event)
        else:
            groups.append([event])
    return groups


def _number_events(axes: Axes, groups: Sequence[Sequence[Event]]) -> None:
    for number, group in enumerate(groups, start=1):
        axes.annotate(
            str(number),
            (group[0].at_s, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(0, 4),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=9,
            color="white",
            bbox={"boxstyle": "circle,pad=0.25", "facecolor": MARK, "edgecolor": "none"},
        )


def _list_events(groups: Sequence[Sequence[Event]]) -> str:
    return "\n".join(
        f"{number}   at {group[0].at_s:.0f} s   " + ",  ".join(event.text for event in group)
        for number, group in enumerate(groups, start=1)
    )
