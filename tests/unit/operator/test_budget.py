from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentpool_api.agentpool import PriorityClass
from agentpool_api.periods import WindowName
from agentpool_api.wire import BudgetAction
from agentpool_operator.decide.budget import (
    BudgetLevel,
    BudgetPolicy,
    WindowSpend,
    alerts_reached,
    ceiling_for,
    decide_actions,
    decide_level,
    tightest,
    tightest_ceiling,
)

POLICY = BudgetPolicy()
USD = 1_000_000_000
NORMAL, DOWN, SHUT = BudgetLevel.NORMAL, BudgetLevel.SCALE_DOWN, BudgetLevel.EMERGENCY_SHUTDOWN


def window(spent_usd, limit_usd=100, name=WindowName.DAILY):
    return WindowSpend(
        name=name,
        key=str(name),
        resets_at=datetime(2026, 11, 22, tzinfo=UTC),
        limit_nanousd=limit_usd * USD,
        agents_nanousd=0,
        tokens_nanousd=round(spent_usd * USD),
    )


@pytest.mark.parametrize(
    ("spent", "before", "after"),
    [
        (94.99, NORMAL, NORMAL),
        (95, NORMAL, DOWN),
        (99.99, DOWN, DOWN),
        (100, DOWN, SHUT),
        (100, NORMAL, SHUT),
        (95, SHUT, SHUT),
        (94.99, SHUT, DOWN),
        (90, DOWN, DOWN),
        (89.99, DOWN, NORMAL),
        (89.99, SHUT, NORMAL),
        (0, SHUT, NORMAL),
        (250, NORMAL, SHUT),
    ],
)
def test_a_level_is_entered_at_its_threshold_and_left_below_the_hysteresis(spent, before, after):
    assert decide_level(POLICY, [window(spent)], before) is after


CACHING, CHEAPER, BATCH = BudgetAction.AGGRESSIVE_CACHING, BudgetAction.CHEAPER_MODELS, BudgetAction.BATCH_REQUESTS
SAVING = BudgetPolicy(action_percents={CACHING: 80, CHEAPER: 3, BATCH: 0})


@pytest.mark.parametrize(
    ("spent", "before", "after"),
    [
        pytest.param(0, set(), set(), id="nothing-spent"),
        pytest.param(79.99, {CHEAPER}, {CHEAPER}, id="just-below"),
        pytest.param(80, {CHEAPER}, {CHEAPER, CACHING}, id="reached"),
        pytest.param(75, {CHEAPER, CACHING}, {CHEAPER, CACHING}, id="held-by-the-hysteresis"),
        pytest.param(74.99, {CHEAPER, CACHING}, {CHEAPER}, id="left-below-the-hysteresis"),
        pytest.param(0.99, {CHEAPER}, set(), id="a-threshold-below-the-hysteresis-is-left-too"),
        pytest.param(200, set(), {CHEAPER, CACHING}, id="nothing-at-zero-per-cent"),
    ],
)
def test_each_action_has_its_own_threshold(spent, before, after):
    assert decide_actions(SAVING, [window(0.5), window(spent, name=WindowName.MONTHLY)], before) == after


def test_the_fullest_window_rules():
    windows = [window(10), window(96, name=WindowName.MONTHLY)]
    assert decide_level(POLICY, windows, NORMAL) is DOWN
    assert tightest(windows).name is WindowName.MONTHLY


def test_raising_the_limit_undoes_an_action():
    assert decide_level(POLICY, [window(100, limit_usd=200)], SHUT) is NORMAL


def test_a_limit_of_nothing_allows_nothing():
    assert decide_level(POLICY, [window(0, limit_usd=0)], NORMAL) is SHUT
    assert window(0, limit_usd=0).percent == 100


def test_alerts_are_those_reached():
    assert alerts_reached(POLICY, window(49.99)) == ()
    assert alerts_reached(POLICY, window(90)) == (50, 80, 90)
    assert alerts_reached(POLICY, window(500)) == (50, 80, 90, 100)


@pytest.mark.parametrize(
    ("level", "priority", "ceiling"),
    [
        (NORMAL, PriorityClass.NON_ESSENTIAL, None),
        (DOWN, PriorityClass.CRITICAL, None),
        (DOWN, PriorityClass.STANDARD, 2),
        (DOWN, PriorityClass.DEFERRABLE, 2),
        (DOWN, PriorityClass.NON_ESSENTIAL, 0),
        (SHUT, PriorityClass.CRITICAL, 0),
        (SHUT, PriorityClass.STANDARD, 0),
        ("", PriorityClass.STANDARD, None),
    ],
)
def test_what_a_level_leaves_a_pool(level, priority, ceiling):
    assert ceiling_for(level, priority, 2) == ceiling


def test_of_several_budgets_the_tightest_holds_and_is_named():
    levels = [("a", NORMAL), ("b", SHUT), ("c", DOWN)]
    found = tightest_ceiling(levels, PriorityClass.STANDARD, 2)
    assert (found.agents, found.budget, found.level) == (0, "b", SHUT)
    assert tightest_ceiling([], PriorityClass.STANDARD, 2) is None
    assert tightest_ceiling([("a", "")], PriorityClass.STANDARD, 2).agents is None


spends = st.integers(0, 10**15)
limits = st.integers(0, 10**12)
levels = st.sampled_from(BudgetLevel)
thresholds = st.builds(
    lambda down, more, under: BudgetPolicy(
        scale_down_percent=down, shutdown_percent=min(down + more, 100), hysteresis_percent=min(under, down - 1)
    ),
    st.integers(1, 99),
    st.integers(1, 50),
    st.integers(0, 50),
)
ORDER = {NORMAL: 0, DOWN: 1, SHUT: 2}


def raw(spent, limit):
    return replace(window(0), tokens_nanousd=spent, limit_nanousd=limit)


@given(thresholds, spends, spends, limits, levels)
def test_more_spend_never_gives_a_milder_level(policy, one, other, limit, before):
    low, high = sorted((one, other))
    found = [ORDER[decide_level(policy, [raw(s, limit)], before)] for s in (low, high)]
    assert found[0] <= found[1]


@given(thresholds, spends, limits, limits, levels)
def test_a_higher_limit_never_gives_a_harsher_level(policy, spent, one, other, before):
    low, high = sorted((one, other))
    found = [ORDER[decide_level(policy, [raw(spent, limit)], before)] for limit in (low, high)]
    assert found[0] >= found[1]


@given(thresholds, spends, limits, levels)
def test_a_level_once_decided_stays_while_nothing_changes(policy, spent, limit, before):
    first = decide_level(policy, [raw(spent, limit)], before)
    assert decide_level(policy, [raw(spent, limit)], first) is first


@given(thresholds, st.lists(st.tuples(spends, limits), max_size=3), levels)
def test_the_order_of_windows_does_not_matter(policy, pairs, before):
    windows = [raw(*pair) for pair in pairs]
    assert decide_level(policy, windows, before) is decide_level(policy, windows[::-1], before)
