"""What does a budget allow, given what was spent?

Spend over limit of the fullest window gives a level (Normal, ScaleDown, EmergencyShutdown) for the size of pools, and
actions for their agents. Each is entered at its threshold and left only when the share has fallen below the threshold
less the hysteresis, which happens when the window resets or the limit is raised.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from agentpool_api.agentpool import PriorityClass
from agentpool_api.periods import WindowName
from agentpool_api.wire import BudgetAction


class BudgetLevel(StrEnum):
    """What is in force, mildest first."""

    NORMAL = "Normal"
    SCALE_DOWN = "ScaleDown"
    EMERGENCY_SHUTDOWN = "EmergencyShutdown"


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetPolicy:
    """Thresholds in whole per cent of a limit."""

    alert_percents: Sequence[int] = (50, 80, 90, 100)
    scale_down_percent: int = 95
    shutdown_percent: int = 100
    hysteresis_percent: int = 5
    action_percents: Mapping[BudgetAction, int] = field(default_factory=dict)
    """Where each action begins; 0 and absent: never."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowSpend:
    """What was spent in one window. Money is nano-USD."""

    name: WindowName
    key: str
    resets_at: datetime
    limit_nanousd: int
    agents_nanousd: int
    tokens_nanousd: int
    carried_nanousd: int = 0
    """Spent in this window as last written down, but no longer found in Redis."""
    burn_nanousd_per_h: int = 0

    @property
    def spent_nanousd(self) -> int:
        return self.agents_nanousd + self.tokens_nanousd + self.carried_nanousd

    def reaches(self, percent: int) -> bool:
        """Whether the spend is this share of the limit or more. A limit of nothing is reached by anything."""
        return self.spent_nanousd * 100 >= percent * self.limit_nanousd

    @property
    def percent(self) -> int:
        """Whole per cent spent, rounded down; a limit of nothing counts as full."""
        return self.spent_nanousd * 100 // self.limit_nanousd if self.limit_nanousd else 100


@dataclass(frozen=True, slots=True)
class PoolCeiling:
    """What the budgets allow one pool: the tightest of those that select it. ``agents`` None: no budget acts."""

    agents: int | None
    level: str = BudgetLevel.NORMAL
    budget: str = ""


def decide_level(policy: BudgetPolicy, windows: Iterable[WindowSpend], before: BudgetLevel) -> BudgetLevel:
    """The level in force. The fullest window rules."""
    spends = tuple(windows)
    if _in_force(spends, policy.shutdown_percent, policy, before is BudgetLevel.EMERGENCY_SHUTDOWN):
        return BudgetLevel.EMERGENCY_SHUTDOWN
    if _in_force(spends, policy.scale_down_percent, policy, before is not BudgetLevel.NORMAL):
        return BudgetLevel.SCALE_DOWN
    return BudgetLevel.NORMAL


def decide_actions(
    policy: BudgetPolicy, windows: Iterable[WindowSpend], before: Collection[BudgetAction]
) -> frozenset[BudgetAction]:
    """What agents do to save money; ``before`` is what they did until now."""
    spends = tuple(windows)
    return frozenset(
        action
        for action, percent in policy.action_percents.items()
        if percent and _in_force(spends, percent, policy, action in before)
    )


def _in_force(windows: tuple[WindowSpend, ...], threshold: int, policy: BudgetPolicy, was_in_force: bool) -> bool:
    leave_below = max(threshold - policy.hysteresis_percent, 1)
    return any(window.reaches(leave_below if was_in_force else threshold) for window in windows)


def alerts_reached(policy: BudgetPolicy, window: WindowSpend) -> tuple[int, ...]:
    """Alert thresholds the window has reached, rising. It grows within a window and starts anew with the next, or
    when the limit is raised."""
    return tuple(percent for percent in policy.alert_percents if window.reaches(percent))


def tightest(windows: Iterable[WindowSpend]) -> WindowSpend | None:
    """The window with the highest share spent; of equals the one that resets last."""
    return max(windows, key=lambda window: (window.percent, window.resets_at), default=None)


def ceiling_for(level: str, priority: PriorityClass, min_agents: int) -> int | None:
    """Agents a level leaves a pool; None when it leaves it alone."""
    if level == BudgetLevel.EMERGENCY_SHUTDOWN:
        return 0
    if level != BudgetLevel.SCALE_DOWN or priority is PriorityClass.CRITICAL:
        return None
    return 0 if priority is PriorityClass.NON_ESSENTIAL else min_agents


def tightest_ceiling(levels: Iterable[tuple[str, str]], priority: PriorityClass, min_agents: int) -> PoolCeiling | None:
    """What several budgets allow together; ``levels`` pairs a budget's name with its level. None: no budget at all."""
    found: PoolCeiling | None = None
    for name, level in sorted(levels):
        agents = ceiling_for(level, priority, min_agents)
        ceiling = PoolCeiling(agents, level or BudgetLevel.NORMAL, name)
        if found is None or (agents is not None and (found.agents is None or agents < found.agents)):
            found = ceiling
    return found
