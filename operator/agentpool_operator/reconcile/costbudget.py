"""One pass over one budget: count, decide what is in force, say so. The pools' own passes act on the status."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfoNotFoundError

import structlog
from pydantic import ValidationError

from agentpool_api.costbudget import CostBudgetSpec, CostBudgetStatus
from agentpool_api.money import nanousd
from agentpool_api.periods import WindowName
from agentpool_api.wire import BudgetAction
from agentpool_operator import metrics
from agentpool_operator.act.events import budget_occurrences, post_events
from agentpool_operator.act.ledger import carry_command
from agentpool_operator.act.status import patch_status
from agentpool_operator.decide.budget import BudgetLevel, BudgetPolicy, WindowSpend, decide_actions, decide_level
from agentpool_operator.decide.budget_status import BudgetFacts, decide_budget_status, is_worth_writing
from agentpool_operator.decide.budget_windows import CarriedRecord, carry
from agentpool_operator.errors import RedisUnavailableError
from agentpool_operator.kinds import COST_BUDGET
from agentpool_operator.manifests.values import digest
from agentpool_operator.observe.budget_spend import observe_windows
from agentpool_operator.observe.cluster import ObjectKey, PoolKey
from agentpool_operator.reconcile import budget_metrics
from agentpool_operator.reconcile.context import Context
from agentpool_operator.reconcile.selection import actions_of, selects

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Count:
    """What was counted; ``windows`` None: it could not be. ``restored``: from the status, after a loss."""

    windows: tuple[WindowSpend, ...] | None
    restored: bool = False
    invalid: str = ""


async def reconcile_budget(context: Context, key: ObjectKey) -> None:
    """Make a budget's status say what was spent and what is in force. Raises OperatorError when a retry may help."""
    body = context.store.get(*key)
    if body is None:
        context.budgets_written_s.pop(key, None)
        metrics.forget_budget(key.namespace, key.name)
        return
    before = _status_of(body)
    # The moment up to which spend is known, by the clock it is counted by: a jump must not end a window.
    now_s = context.clock() if context.readings.spend_read_s is None else context.readings.spend_read_s
    now = datetime.fromtimestamp(now_s, UTC)
    try:
        spec = CostBudgetSpec.model_validate(body.get("spec") or {})
    except ValidationError as error:
        await _report_unreadable(context, body, before, str(error.errors(include_url=False)[0]["msg"]), now)
        return
    policy = budget_policy(spec)
    pools = [
        pool
        for pool in context.store.metadata_of_kind("AgentPool", key.namespace)
        if selects(body, pool.get("labels") or {})
    ]
    count = await _count(context, key, spec, before, pools, now)
    if count is None:
        return  # the next pulse reads it
    level, actions = _level_of(before), _actions_of(before)
    if count.windows is not None:
        level = decide_level(policy, count.windows, level)
        actions = decide_actions(policy, count.windows, actions)
    facts = BudgetFacts(
        generation=int(body["metadata"].get("generation", 0)),
        pools=len(pools),
        level=level,
        actions=actions,
        windows=count.windows,
        restored=count.restored,
        invalid=count.invalid,
    )
    after = decide_budget_status(before, facts, policy, now=now)
    budget_metrics.show(key, after, count.windows or ())
    if not is_worth_writing(before, after, written_s=context.budgets_written_s.get(key), now_s=now_s):
        return
    await post_events(
        context.api, body, budget_occurrences(before, after, policy), instance=context.settings.identity, now=now
    )
    written = await patch_status(context.api, COST_BUDGET, body, after)
    context.budgets_written_s[key] = now_s
    if written is not None:
        context.store.put(written)


def budget_policy(spec: CostBudgetSpec) -> BudgetPolicy:
    """The thresholds of a spec."""
    return BudgetPolicy(
        alert_percents=tuple(spec.alert_percents),
        scale_down_percent=spec.scale_down_percent,
        shutdown_percent=spec.shutdown_percent,
        hysteresis_percent=spec.hysteresis_percent,
        action_percents={
            BudgetAction.AGGRESSIVE_CACHING: spec.aggressive_caching_percent,
            BudgetAction.CHEAPER_MODELS: spec.cheaper_models_percent,
            BudgetAction.BATCH_REQUESTS: spec.batch_requests_percent,
        },
    )


def limits_of(spec: CostBudgetSpec) -> dict[WindowName, int]:
    """Limits in nano-USD by window, those that are set."""
    limits = {
        WindowName.DAILY: spec.limits.daily,
        WindowName.WEEKLY: spec.limits.weekly,
        WindowName.MONTHLY: spec.limits.monthly,
    }
    return {name: nanousd(limit) for name, limit in limits.items() if limit is not None}


async def _count(
    context: Context,
    key: ObjectKey,
    spec: CostBudgetSpec,
    before: CostBudgetStatus,
    pools: Sequence[dict[str, Any]],
    now: datetime,
) -> Count | None:
    """The windows as they stand, with what has to be carried; None while a pool's spend is yet to be read."""
    readings = context.readings
    if readings.spend_read_s is None:
        return Count(None)
    books = [readings.book(PoolKey(key.namespace, pool["name"])) for pool in pools]
    if any(book.read_s is None for book in books):
        return None
    try:
        windows = observe_windows(limits_of(spec), spec.time_zone, books, now=now)
    except (ZoneInfoNotFoundError, ValueError):
        return Count(None, invalid=f"spec.timeZone: {spec.time_zone} is not known here; make the budget with another")
    held = readings.carried.get(key, CarriedRecord())
    outcome = carry(windows, held, before.windows, selector=digest(spec.selector.match_labels))
    if outcome.record != held:
        try:
            await context.link.run([carry_command(key.namespace, key.name, outcome.record)])
        except RedisUnavailableError:
            return Count(None)
        readings.carried[key] = outcome.record
    is_restored = now.timestamp() < outcome.record.lost_until_s
    return Count(outcome.windows, is_restored)


async def _report_unreadable(
    context: Context, body: dict[str, Any], before: CostBudgetStatus, message: str, now: datetime
) -> None:
    facts = BudgetFacts(
        generation=int(body["metadata"].get("generation", 0)),
        pools=before.pools,
        level=_level_of(before),
        actions=_actions_of(before),
        windows=None,
        invalid=f"{message}; are the resource definitions of the operator's version installed?",
    )
    written = await patch_status(
        context.api, COST_BUDGET, body, decide_budget_status(before, facts, BudgetPolicy(), now=now)
    )
    if written is not None:
        context.store.put(written)


def _status_of(body: dict[str, Any]) -> CostBudgetStatus:
    try:
        return CostBudgetStatus.model_validate(body.get("status") or {})
    except ValidationError:
        log.warning("status unreadable, written anew", budget=body["metadata"]["name"])
        return CostBudgetStatus()


def _level_of(status: CostBudgetStatus) -> BudgetLevel:
    return {str(level): level for level in BudgetLevel}.get(status.level, BudgetLevel.NORMAL)


def _actions_of(status: CostBudgetStatus) -> frozenset[BudgetAction]:
    return actions_of(condition.model_dump() for condition in status.conditions)
