"""How do a pool's agents learn what its budgets leave them?

One key per pool, written when something changed and renewed long before it expires.
"""

from __future__ import annotations

from dataclasses import dataclass

from agentpool_api import keys
from agentpool_api.wire import NOTICE_LIFE_S, BudgetNotice
from agentpool_operator.redis_link import Command

RENEW_S = 60.0

NO_BUDGET = BudgetNotice()
"""What is told when no budget covers a pool (any more). It is written, for a key that is gone tells nothing (a full
Redis lets keys go); it need not be renewed."""


@dataclass(slots=True)
class Told:
    """What a pool's agents were last told, and when; ``at_s`` None: nothing by this process."""

    notice: BudgetNotice | None = None
    at_s: float | None = None


def notice_commands(namespace: str, pool: str, notice: BudgetNotice, told: Told, *, now_s: float) -> list[Command]:
    """Commands that tell what is new; notes in ``told`` that it is told."""
    is_known = told.at_s is not None and told.notice == notice
    if is_known and (notice == NO_BUDGET or 0 <= now_s - (told.at_s or 0.0) < RENEW_S):
        return []
    told.notice, told.at_s = notice, now_s
    return [("SET", keys.budget_notice(namespace, pool), notice.model_dump_json(), "EX", NOTICE_LIFE_S)]
