"""How does the demo look while it runs? A live table on a terminal, a line every ten seconds elsewhere."""

from __future__ import annotations

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from demo.observation import Snapshot
from demo.story import Event
from demo.traffic import Tally

LINE_EVERY_S = 10.0
SHOWN_CONDITIONS = ("WithinBudget", "ScaleDown", "EmergencyShutdown", "LedgerAvailable")
SHOWN_EVENTS = 5


class Display:
    """Shows snapshots as they come. Use as a context manager."""

    def __init__(self, console: Console, title: str, length_s: float) -> None:
        self._console = console
        self._title = title
        self._length_s = length_s
        self._live = Live(console=console, refresh_per_second=4) if console.is_terminal else None
        self._line_at_s = 0.0
        self._before: tuple[float, int] = (0.0, 0)

    def __enter__(self) -> Display:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def show(self, snapshot: Snapshot, tally: Tally, events: list[Event]) -> None:
        """Show the state of now; ``events`` are all so far."""
        if self._live:
            self._live.update(self._panel(snapshot, tally, events))
        elif snapshot.at_s >= self._line_at_s:
            self._line_at_s = snapshot.at_s + LINE_EVERY_S
            self._console.print(line(snapshot, tally), soft_wrap=True, highlight=False)
        self._before = (snapshot.at_s, snapshot.sent)

    def tell(self, text: str) -> None:
        """A line that stays, above the live table."""
        self._console.print(text, soft_wrap=True, highlight=False)

    def _panel(self, snapshot: Snapshot, tally: Tally, events: list[Event]) -> Panel:
        grid = Table.grid(padding=(0, 2))
        grid.add_column(style="dim", justify="right")
        grid.add_column()
        seconds = snapshot.at_s - self._before[0]
        rate = (snapshot.sent - self._before[1]) / seconds if seconds > 0 else 0.0
        grid.add_row("demand", f"{snapshot.in_flight} requests in flight, {rate:.0f} new per second")
        grid.add_row("agents", _agents(snapshot))
        grid.add_row("requests", f"{tally.sent} sent, {tally.answered} answered, {_errors(tally)}")
        grid.add_row("cache", f"{tally.hits} hits ({tally.hit_ratio:.0%}), {tally.saved_usd:.4f} USD saved")
        for window in snapshot.windows:
            grid.add_row(window.name, _bar(window.percent, f"{window.spent:.3f} of {window.limit} USD"))
        grid.add_row("budget", _conditions(snapshot))
        grid.add_row("last decision", Text(snapshot.decision or "none yet", overflow="fold"))
        story = [Text(f"{event.at_s:4.0f} s  {event.text}", style="yellow") for event in events[-SHOWN_EVENTS:]]
        title = f"{self._title}   {snapshot.at_s:.0f} of {self._length_s:.0f} s"
        return Panel(Group(grid, *story), title=title, title_align="left")


def line(snapshot: Snapshot, tally: Tally) -> str:
    """The same in one line."""
    daily = snapshot.daily
    spend = f"{daily.spent:.3f}/{daily.limit} USD ({daily.percent} %)" if daily else "no spend yet"
    in_force = [name for name in SHOWN_CONDITIONS if snapshot.budget_conditions.get(name) == "True"]
    return (
        f"{snapshot.at_s:4.0f} s  demand {snapshot.in_flight:3}  agents {snapshot.ready}/{snapshot.desired}"
        f" (on-demand {snapshot.on_demand_ready}/{snapshot.on_demand_desired},"
        f" spot {snapshot.spot_ready}/{snapshot.spot_desired})"
        f"  requests {tally.answered}/{tally.sent}, {tally.failed} errors, {tally.hits} hits"
        f"  today {spend}  {' '.join(in_force)}  [{snapshot.decision[:70]}]"
    )


def _agents(snapshot: Snapshot) -> str:
    on_demand = _dots("█", snapshot.on_demand_ready, snapshot.on_demand_desired)
    spot = _dots("▒", snapshot.spot_ready, snapshot.spot_desired)
    return (
        f"{snapshot.ready} of {snapshot.desired} ready:"
        f"  on-demand {snapshot.on_demand_ready}/{snapshot.on_demand_desired} {on_demand}"
        f"  spot {snapshot.spot_ready}/{snapshot.spot_desired} {spot}"
    )


def _dots(sign: str, ready: int, desired: int) -> str:
    """A sign for each agent that serves, a dot for each that is still to come."""
    return sign * ready + "·" * max(0, desired - ready)


def _bar(percent: int, text: str) -> Text:
    style = "red" if percent >= 95 else "yellow" if percent >= 50 else "green"
    filled = min(20, percent // 5)
    return Text.assemble(("█" * filled, style), ("░" * (20 - filled), "dim"), f" {percent:3} %  {text}")


def _conditions(snapshot: Snapshot) -> Text:
    parts: list[tuple[str, str]] = []
    for name in SHOWN_CONDITIONS:
        status = snapshot.budget_conditions.get(name, "?")
        good = name in ("WithinBudget", "LedgerAvailable")
        style = "dim" if status not in ("True", "False") else "green" if (status == "True") == good else "bold red"
        parts.append((f"{name}={status}  ", style))
    return Text.assemble(*parts)


def _errors(tally: Tally) -> str:
    kinds = ", ".join(f"{count} × {kind}" for kind, count in tally.errors.most_common(3))
    return f"{tally.failed} failed" + (f" ({kinds})" if kinds else "")
