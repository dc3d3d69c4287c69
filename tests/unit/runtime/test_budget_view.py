"""What an agent knows of the budgets that cover its pool."""

from __future__ import annotations

from agent_runtime.budget.notice import BudgetView
from agentpool_api.wire import NOTICE_LIFE_S, BudgetAction, BudgetNotice


def view(**notice: object) -> BudgetView:
    seen = BudgetView()
    seen.take(BudgetNotice.model_validate(notice).model_dump_json().encode(), 10.0)
    return seen


def test_nothing_is_known_at_first_and_that_is_not_nothing_left() -> None:
    seen = BudgetView()
    assert seen.left is None
    assert not any(seen.asks(action) for action in BudgetAction)


def test_a_notice_is_taken_in() -> None:
    seen = view(left_percent=15, actions=["CheaperModels", "SomethingNewer"])
    assert seen.left == 0.15
    assert seen.asks(BudgetAction.CHEAPER_MODELS)
    assert not seen.asks(BudgetAction.BATCH_REQUESTS)


def test_what_was_not_counted_is_not_known() -> None:
    assert view(left_percent=None).left is None
    assert view(left_percent=0).left == 0.0


def test_an_empty_notice_ends_what_was_in_force() -> None:
    seen = view(left_percent=15, actions=["CheaperModels"])
    seen.take(BudgetNotice().model_dump_json().encode(), 11.0)
    assert (seen.left, seen.asks(BudgetAction.CHEAPER_MODELS)) == (None, False)


def test_a_notice_that_a_full_redis_let_go_counts_on() -> None:
    seen = view(left_percent=15, actions=["CheaperModels"])
    seen.take(None, 11.0)
    assert (seen.left, seen.asks(BudgetAction.CHEAPER_MODELS)) == (0.15, True)


def test_without_redis_the_last_word_counts_for_ten_minutes() -> None:
    seen = view(left_percent=15, actions=["CheaperModels"])
    seen.miss(10.0 + NOTICE_LIFE_S)
    assert seen.left == 0.15
    seen.miss(10.1 + NOTICE_LIFE_S)
    assert (seen.left, seen.asks(BudgetAction.CHEAPER_MODELS)) == (None, False)


def test_what_cannot_be_read_changes_nothing() -> None:
    seen = view(left_percent=15, actions=["CheaperModels"])
    seen.take(b"{", 11.0)
    assert seen.left == 0.15
