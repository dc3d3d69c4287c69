"""What happened, and is it what the demo promises? Pure: from the snapshots and the tally."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from statistics import quantiles

from demo.observation import Snapshot
from demo.traffic import Tally

HELD_DOWN_S = 12.0
"""How long the budget holds the pool down before the demo raises the limit."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something worth a mark in the plot."""

    at_s: float
    text: str


@dataclass(frozen=True, slots=True)
class Check:
    """One promise of the demo."""

    promise: str
    kept: bool
    seen: str


def should_raise_limit(snapshots: Sequence[Snapshot]) -> bool:
    """Has the budget held the pool at its smallest for long enough to be seen?"""
    held = 0.0
    for snapshot in reversed(snapshots):
        if not snapshot.scale_down:
            break
        held = snapshots[-1].at_s - snapshot.at_s
    return held >= HELD_DOWN_S


def new_events(before: Snapshot | None, now: Snapshot) -> list[Event]:
    """Crossings and actions between two snapshots."""
    if before is None:
        return []
    events = []
    if now.daily and before.daily and now.daily.alerted_percent > before.daily.alerted_percent:
        events.append(f"alert: {now.daily.alerted_percent} % of the daily limit")
    for condition in ("ScaleDown", "EmergencyShutdown"):
        was, is_ = (one.budget_conditions.get(condition) == "True" for one in (before, now))
        if was != is_:
            events.append(f"{condition} {'acts' if is_ else 'is undone'}")
    return [Event(now.at_s, text) for text in events]


def checks(
    snapshots: Sequence[Snapshot], tally: Tally, raised_at_s: float | None, replay_s: float, min_agents: int
) -> list[Check]:
    """The demo's promises, in the order of the story."""
    acted = next((snapshot.at_s for snapshot in snapshots if snapshot.scale_down), None)
    before = [s for s in snapshots if acted is None or s.at_s < acted]
    held = [s for s in snapshots if acted is not None and acted <= s.at_s < (raised_at_s or float("inf"))]
    after = [s for s in snapshots if raised_at_s is not None and s.at_s > raised_at_s]
    recovered = next((s.at_s for s in after if not s.scale_down), None)
    peak = max((s.ready for s in before), default=0)
    lowest = min((s.ready for s in held), default=0)
    regrown = max((s.ready for s in after), default=0)
    tail = [s.ready for s in snapshots if s.at_s > replay_s]
    alerts = max((s.daily.alerted_percent for s in before if s.daily), default=0)
    return [
        Check("agents follow the demand up", peak > min_agents, f"{min_agents} → {peak} ready"),
        Check("an alert threshold is crossed", alerts > 0, f"{alerts} % alerted before the scale-down"),
        Check(
            "the budget scales the pool down",
            bool(held) and lowest < peak,
            f"{peak} → {lowest} ready, from {_at(acted)}",
        ),
        Check(
            "raising the limit undoes it",
            recovered is not None and regrown > lowest,
            f"raised at {_at(raised_at_s)}, undone at {_at(recovered)}, {regrown} ready again",
        ),
        Check(
            "agents go when the work is done",
            bool(tail) and tail[-1] < regrown,
            f"{regrown} → {tail[-1] if tail else '?'} ready",
        ),
        Check("repeated questions come from the cache", tally.hits > 0, f"{tally.hits} of {tally.answered} answers"),
        Check(
            "requests are answered",
            tally.answered >= 0.95 * tally.sent > 0,
            f"{tally.answered} of {tally.sent}" + (f", errors: {_errors(tally)}" if tally.failed else ", no error"),
        ),
    ]


def summary(snapshots: Sequence[Snapshot], tally: Tally) -> list[str]:
    """Figures of the whole run, one a line."""
    lines = [
        f"{tally.sent} requests, {tally.answered} answered ({tally.streamed} streamed), {tally.failed} failed",
        f"{tally.hits} answers from the cache ({tally.hit_ratio:.0%}), which saved {tally.saved_usd:.4f} USD",
    ]
    lines += [f"  {count} × {kind}: {tally.first_words.get(kind, '')}" for kind, count in tally.errors.most_common()]
    if len(tally.latency_s) > 1:
        cuts = quantiles(tally.latency_s, n=100)
        lines.append(f"latency of the others: median {cuts[49]:.2f} s, 95th percentile {cuts[94]:.2f} s")
    if snapshots:
        lines.append(f"agents: {min(s.ready for s in snapshots)} to {max(s.ready for s in snapshots)} ready")
        lines += [f"{w.name}: {_usd(w.spent)} of {_usd(w.limit)} USD spent" for w in snapshots[-1].windows]
    return lines


def _usd(amount: Decimal) -> str:
    return f"{amount:.3f}"


def _at(moment_s: float | None) -> str:
    return "never" if moment_s is None else f"{moment_s:.0f} s"


def _errors(tally: Tally) -> str:
    return ", ".join(f"{count} × {kind}" for kind, count in tally.errors.most_common(4))
