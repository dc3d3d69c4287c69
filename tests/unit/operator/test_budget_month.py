"""A month under a budget with three windows: what is overspent, told and undone."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from agentpool_api.agentpool import PriorityClass
from agentpool_api.periods import WindowName, window_at
from agentpool_operator.decide.budget import (
    BudgetLevel,
    BudgetPolicy,
    WindowSpend,
    alerts_reached,
    ceiling_for,
    decide_level,
)

BEGIN, END = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC)
STEP = timedelta(minutes=20)
"""From spending to acting on it; the operator takes seconds."""
ZONE = "Europe/Berlin"  # where a day of this month has 23 hours
USD = 1_000_000_000
POLICY = BudgetPolicy()
ORDER = list(BudgetLevel)


@dataclass
class Month:
    """What one pool spends, and what its budget says of it."""

    limits: dict[WindowName, int]
    rate_usd_per_h: int
    spent: Counter = field(default_factory=Counter)
    alerts: Counter = field(default_factory=Counter)
    levels: dict[str, list[BudgetLevel]] = field(default_factory=dict)

    def run(self, priority: PriorityClass) -> None:
        level, now, told = BudgetLevel.NORMAL, BEGIN, {}
        while now < END:
            ceiling = ceiling_for(level, priority, 2)
            share = 10 if ceiling is None else min(ceiling, 10)
            amount = self.rate_usd_per_h * USD * share // 10 // (timedelta(hours=1) // STEP)
            windows = []
            for name, limit in self.limits.items():
                window = window_at(name, ZONE, now)
                self.spent[window.key] += amount
                windows.append(
                    WindowSpend(
                        name=name,
                        key=window.key,
                        resets_at=window.resets_at,
                        limit_nanousd=limit * USD,
                        agents_nanousd=self.spent[window.key],
                        tokens_nanousd=0,
                    )
                )
            for seen in windows:
                reached = set(alerts_reached(POLICY, seen))
                self.alerts.update((seen.key, percent) for percent in reached - told.get(seen.key, set()))
                told[seen.key] = told.get(seen.key, set()) | reached
            level = decide_level(POLICY, windows, level)
            for seen in windows:
                self.levels.setdefault(seen.key, []).append(level)
            now += STEP


@pytest.mark.parametrize("priority", PriorityClass)
def test_a_month_overspends_by_no_more_than_one_reaction_and_tells_each_threshold_once(priority):
    limits = {WindowName.DAILY: 100, WindowName.WEEKLY: 500, WindowName.MONTHLY: 1500}
    month = Month(limits, rate_usd_per_h=13)
    month.run(priority)
    one_reaction = month.rate_usd_per_h * USD // (timedelta(hours=1) // STEP)
    by_name = {name: [spent for key, spent in month.spent.items() if key.startswith(name)] for name in limits}
    over = {name: max(found) - limits[name] * USD for name, found in by_name.items()}
    assert max(over.values()) <= one_reaction, "the operator reacts within seconds, here within a step"
    assert max(found for found in by_name[WindowName.MONTHLY]) > 1400 * USD, "it ran into its limit"
    assert set(month.alerts.values()) == {1}


def test_within_a_day_a_level_only_rises():
    month = Month({WindowName.DAILY: 100}, rate_usd_per_h=13)
    month.run(PriorityClass.STANDARD)
    assert len(month.levels) >= 31
    for seen in month.levels.values():
        ranks = [ORDER.index(level) for level in seen[1:]]  # the first step still knows the day before
        assert ranks == sorted(ranks)
    assert all(seen[1] is BudgetLevel.NORMAL for seen in month.levels.values()), "a new day begins anew"
