"""HPA v2 behavior: tolerance, stabilization per direction, rate policies."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentpool_operator.decide.behavior import (
    Change,
    DirectionRules,
    PolicyKind,
    RatePolicy,
    SelectPolicy,
    Wish,
    rate_limit,
    stabilize,
    within_tolerance,
)

FREE = DirectionRules()
HPA_UP = DirectionRules(
    policies=(
        RatePolicy(kind=PolicyKind.PERCENT, value=100, period_s=15),
        RatePolicy(kind=PolicyKind.PODS, value=4, period_s=15),
    )
)


@pytest.mark.parametrize(
    ("total", "wished", "wishes", "up_s", "down_s", "expected"),
    [
        pytest.param(10, 4, [Wish(90, 8)], 0, 300, 8, id="shrinking-stops-at-the-highest-wish-of-the-window"),
        pytest.param(10, 4, [Wish(90, 12)], 0, 300, 10, id="a-higher-old-wish-keeps-but-never-grows"),
        pytest.param(10, 4, [Wish(-201, 9)], 0, 300, 4, id="an-older-wish-has-expired"),
        pytest.param(10, 20, [Wish(90, 12)], 60, 300, 12, id="growth-stops-at-the-lowest-wish-of-the-window"),
        pytest.param(10, 20, [Wish(90, 3)], 60, 300, 10, id="a-lower-old-wish-keeps-but-never-shrinks"),
        pytest.param(10, 20, [], 0, 300, 20, id="no-window-no-delay"),
        pytest.param(10, 4, [Wish(500, 9)], 0, 300, 4, id="wishes-from-the-future-are-left-out"),
    ],
)
def test_stabilize_table(total, wished, wishes, up_s, down_s, expected):
    assert stabilize(total, wished, wishes, up_s=up_s, down_s=down_s, now_s=100.0) == expected


@pytest.mark.parametrize(
    ("total", "wished", "changes", "up", "down", "expected"),
    [
        pytest.param(10, 50, [], HPA_UP, FREE, 20, id="doubling-wins-for-large-pools"),
        pytest.param(2, 50, [], HPA_UP, FREE, 6, id="four-pods-win-for-small-pools"),
        pytest.param(20, 50, [Change(95, 10)], HPA_UP, FREE, 20, id="the-period-counts-what-was-added"),
        pytest.param(20, 50, [Change(80, 10)], HPA_UP, FREE, 40, id="the-period-has-passed"),
        pytest.param(10, 2, [], FREE, DirectionRules(select=SelectPolicy.DISABLED), 10, id="disabled-forbids"),
        pytest.param(
            10,
            2,
            [],
            FREE,
            DirectionRules(policies=(RatePolicy(kind=PolicyKind.PERCENT, value=10, period_s=60),)),
            9,
            id="ten-per-cent-down",
        ),
        pytest.param(
            10,
            2,
            [],
            FREE,
            DirectionRules(
                select=SelectPolicy.MIN,
                policies=(
                    RatePolicy(kind=PolicyKind.PERCENT, value=50, period_s=60),
                    RatePolicy(kind=PolicyKind.PODS, value=1, period_s=60),
                ),
            ),
            9,
            id="min-takes-the-slower",
        ),
    ],
)
def test_rate_limit_table(total, wished, changes, up, down, expected):
    assert rate_limit(total, wished, changes, up=up, down=down, now_s=100.0) == expected


def test_tolerance_is_per_direction():
    up, down = DirectionRules(tolerance=0.0), DirectionRules(tolerance=0.1)
    assert not within_tolerance(20, 21, up=up, down=down)
    assert within_tolerance(20, 18, up=up, down=down)
    assert not within_tolerance(20, 17, up=up, down=down)
    assert not within_tolerance(0, 1, up=up, down=down)


wishes = st.lists(st.builds(Wish, st.floats(-1e4, 1e4), st.integers(0, 100)), max_size=20)


@given(st.integers(0, 100), st.integers(0, 100), wishes, st.randoms())
def test_the_order_of_old_wishes_does_not_matter(total, wished, old, chance):
    shuffled = list(old)
    chance.shuffle(shuffled)
    first = stabilize(total, wished, old, up_s=60, down_s=300, now_s=0.0)
    assert first == stabilize(total, wished, shuffled, up_s=60, down_s=300, now_s=0.0)


@given(st.integers(0, 100), st.integers(0, 100), wishes)
def test_stabilization_never_moves_against_the_wish(total, wished, old):
    result = stabilize(total, wished, old, up_s=60, down_s=300, now_s=0.0)
    assert min(total, wished) <= result <= max(total, wished)


@given(st.integers(0, 100), st.integers(0, 100), st.integers(0, 100), wishes)
def test_a_larger_wish_never_gives_fewer_agents(total, first, second, old):
    low, high = sorted((first, second))
    assert stabilize(total, low, old, up_s=60, down_s=300, now_s=0.0) <= stabilize(
        total, high, old, up_s=60, down_s=300, now_s=0.0
    )
