"""What is written into a budget's status, and when is it worth a write?

| condition         | True                                      | False                                     |
|-------------------|-------------------------------------------|-------------------------------------------|
| Ready             | pools are selected and their spend counted | nothing is selected, or the zone is unknown |
| WithinBudget      | every window is under its limit           | a limit is reached                        |
| AggressiveCaching, CheaperModels, BatchRequests | agents save that way | they do not           |
| ScaleDown         | pools are held at their minimum           | they are not                              |
| EmergencyShutdown | pools run no agents                       | they do                                   |
| LedgerAvailable   | spend can be read                         | Redis does not answer: levels hold        |
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from agentpool_api.conditions import BudgetCondition, Condition, rfc3339, set_condition
from agentpool_api.costbudget import CostBudgetStatus, WindowStatus
from agentpool_api.money import NANO_PER_USD, usd
from agentpool_api.wire import BudgetAction
from agentpool_operator.decide.budget import (
    BudgetLevel,
    BudgetPolicy,
    WindowSpend,
    alerts_reached,
    tightest,
)

PLACES = 4
WRITE_PERIOD_S = 60.0
"""Spend that moves by less than a per cent of its limit is written this often."""


ACTION_EFFECTS = {
    BudgetAction.AGGRESSIVE_CACHING: "agents answer from the cache up to cache.keepStale after an answer's life",
    BudgetAction.CHEAPER_MODELS: "right-sizing takes the cheapest model that fits",
    BudgetAction.BATCH_REQUESTS: "requests to models with a batch endpoint go in batches",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetFacts:
    """What one pass over a budget found."""

    generation: int
    pools: int
    level: BudgetLevel
    actions: frozenset[BudgetAction] = frozenset()
    windows: Sequence[WindowSpend] | None
    """None: the ledger cannot be read, all stays as it was."""
    restored: bool = False
    """Redis lost its data in one of the windows, which were restored from the status."""
    invalid: str = ""
    """Why the spec cannot be served."""


def decide_budget_status(
    before: CostBudgetStatus, facts: BudgetFacts, policy: BudgetPolicy, *, now: datetime
) -> CostBudgetStatus:
    """The status after a pass."""
    update: dict[str, object] = {
        "observed_generation": facts.generation,
        "pools": facts.pools,
        "level": str(facts.level),
    }
    if facts.windows is not None:
        update |= _money(facts.windows, policy)
    status = before.model_copy(update=update)
    return status.model_copy(update={"conditions": _conditions(before.conditions, facts, status, now)})


def is_worth_writing(
    before: CostBudgetStatus, after: CostBudgetStatus, *, written_s: float | None, now_s: float
) -> bool:
    """Facts are written at once, money when it moved by a per cent, and else once a minute."""
    if before == after:
        return False
    if _without_amounts(before) != _without_amounts(after):
        return True
    return written_s is None or not 0 <= now_s - written_s < WRITE_PERIOD_S


def _without_amounts(status: CostBudgetStatus) -> CostBudgetStatus:
    plain = {"spent": "", "agents": "", "tokens": "", "carried": "", "burn_rate_per_hour": ""}
    windows = [window.model_copy(update=plain) for window in status.windows]
    return status.model_copy(update={"windows": windows, "spent": ""})


def _money(windows: Sequence[WindowSpend], policy: BudgetPolicy) -> dict[str, object]:
    fullest = tightest(windows)
    return {
        "window": str(fullest.name) if fullest else "",
        "spent": f"{usd(fullest.spent_nanousd)} / {usd(fullest.limit_nanousd)}" if fullest else "",
        "percent": fullest.percent if fullest else None,
        "windows": [_window(window, policy) for window in windows],
    }


def _window(window: WindowSpend, policy: BudgetPolicy) -> WindowStatus:
    return WindowStatus(
        name=window.name,
        limit=usd(window.limit_nanousd),
        spent=_amount(window.spent_nanousd),
        agents=_amount(window.agents_nanousd),
        tokens=_amount(window.tokens_nanousd),
        carried=_amount(window.carried_nanousd),
        percent=window.percent,
        burn_rate_per_hour=usd(window.burn_nanousd_per_h),
        resets_at=rfc3339(window.resets_at),
        alerted_percent=max(alerts_reached(policy, window), default=0),
    )


def _amount(amount_nanousd: int) -> str:
    step = NANO_PER_USD // 10**PLACES
    return usd(amount_nanousd // step * step, PLACES)


def _conditions(
    before: Iterable[Condition], facts: BudgetFacts, status: CostBudgetStatus, now: datetime
) -> list[Condition]:
    verdicts = {
        BudgetCondition.READY: _ready(facts),
        BudgetCondition.WITHIN_BUDGET: _within(status),
        **{
            BudgetCondition(action): _in_force(action in facts.actions, effect)
            for action, effect in ACTION_EFFECTS.items()
        },
        BudgetCondition.SCALE_DOWN: _in_force(
            facts.level is not BudgetLevel.NORMAL, "pools are held at minAgents; Critical ones are left alone"
        ),
        BudgetCondition.EMERGENCY_SHUTDOWN: _in_force(
            facts.level is BudgetLevel.EMERGENCY_SHUTDOWN, "pools run no agents"
        ),
        BudgetCondition.LEDGER_AVAILABLE: _ledger(facts),
    }
    conditions = [condition for condition in before if condition.type in verdicts]
    for type_, (state, reason, message) in verdicts.items():
        conditions = set_condition(
            conditions, type_, state, reason, message, observed_generation=facts.generation, now=now
        )
    order = list(verdicts)
    return sorted(conditions, key=lambda condition: order.index(BudgetCondition(condition.type)))


def _ready(facts: BudgetFacts) -> tuple[bool, str, str]:
    if facts.invalid:
        return False, "InvalidSpec", facts.invalid
    if facts.pools == 0:
        return (
            False,
            "NoPoolsSelected",
            "no AgentPool of the namespace carries the labels of spec.selector.matchLabels: "
            "label a pool, or correct the selector",
        )
    return True, "PoolsSelected", "the spend of the selected pools is counted"


def _within(status: CostBudgetStatus) -> tuple[bool | None, str, str]:
    if status.percent is None:
        return None, "NotCounted", "nothing was counted yet"
    full = [window.name for window in status.windows if window.percent >= 100]
    if full:
        return (
            False,
            "LimitReached",
            f"limit reached: {', '.join(full)}; raise it in spec.limits, or wait for its reset",
        )
    return True, "WithinLimits", "every window is under its limit"


def _in_force(active: bool, effect: str) -> tuple[bool, str, str]:
    if active:
        return True, "ThresholdReached", f"{effect}; undone when the window resets or the limit is raised"
    return False, "BelowThreshold", "not in force"


def _ledger(facts: BudgetFacts) -> tuple[bool, str, str]:
    if facts.windows is None:
        return False, "RedisUnavailable", "Redis does not answer: levels and sizes hold until it does"
    if facts.restored:
        return True, "RestoredFromStatus", "Redis had lost its data; what was spent before is taken from this status"
    return True, "LedgerReadable", "spend is read from Redis"
