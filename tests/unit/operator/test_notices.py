"""What a pool's agents are told about its budgets."""

from __future__ import annotations

from typing import Any

from agentpool_api import keys
from agentpool_api.wire import NOTICE_LIFE_S, BudgetNotice
from agentpool_operator.act.notices import NO_BUDGET, RENEW_S, Told, notice_commands
from agentpool_operator.observe.store import Store
from agentpool_operator.reconcile.selection import budget_notice

KEY = keys.budget_notice("team", "research")
NOTICE = BudgetNotice(left_percent=15, actions=["CheaperModels"])


def budget(name: str, percent: int | None, *actions: str, **labels: str) -> dict[str, Any]:
    return {
        "kind": "CostBudget",
        "metadata": {"namespace": "team", "name": name, "uid": name, "resourceVersion": "1"},
        "spec": {"selector": {"matchLabels": labels}},
        "status": {
            "percent": percent,
            "conditions": [{"type": action, "status": "True"} for action in actions]
            + [{"type": "BatchRequests", "status": "False"}, {"type": "Ready", "status": "True"}],
        },
    }


def told(*budgets: dict[str, Any]) -> BudgetNotice:
    store = Store()
    for one in budgets:
        store.put(one)
    return budget_notice(store, {"namespace": "team", "name": "research", "labels": {"tier": "a"}})


def test_the_least_that_is_left_and_all_actions_are_told() -> None:
    notice = told(budget("one", 40, "AggressiveCaching"), budget("two", 85, "CheaperModels", tier="a"))
    assert notice == BudgetNotice(left_percent=15, actions=["AggressiveCaching", "CheaperModels"])


def test_a_budget_of_others_is_none_of_ours() -> None:
    assert told(budget("other", 99, "CheaperModels", tier="b")) == NO_BUDGET


def test_what_was_not_counted_is_not_told_as_nothing_left() -> None:
    assert told(budget("new", None)) == BudgetNotice(left_percent=None)
    assert told(budget("new", None), budget("old", 250)) == BudgetNotice(left_percent=0)


def test_a_notice_is_written_when_it_changes_and_renewed_before_it_expires() -> None:
    state = Told()
    written = [("SET", KEY, NOTICE.model_dump_json(), "EX", NOTICE_LIFE_S)]
    assert notice_commands("team", "research", NOTICE, state, now_s=100.0) == written
    assert notice_commands("team", "research", NOTICE, state, now_s=100.0 + RENEW_S - 1) == []
    assert notice_commands("team", "research", NOTICE, state, now_s=100.0 + RENEW_S) == written
    assert notice_commands("team", "research", BudgetNotice(left_percent=14), state, now_s=161.0) != []
    assert RENEW_S < NOTICE_LIFE_S / 2


def test_a_pool_that_no_budget_covers_any_more_is_told_so_once() -> None:
    state = Told(NOTICE, 100.0)
    written = [("SET", KEY, NO_BUDGET.model_dump_json(), "EX", NOTICE_LIFE_S)]
    assert notice_commands("team", "research", NO_BUDGET, state, now_s=101.0) == written
    assert notice_commands("team", "research", NO_BUDGET, state, now_s=1000.0) == []


def test_an_operator_that_has_just_begun_undoes_what_another_one_left() -> None:
    written = [("SET", KEY, NO_BUDGET.model_dump_json(), "EX", NOTICE_LIFE_S)]
    assert notice_commands("team", "research", NO_BUDGET, Told(), now_s=1.0) == written
