"""Exact split into capacity types, and what it costs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentpool_operator.decide.split import (
    AgentPrices,
    CapacitySplit,
    SpotPolicy,
    affordable_agents,
    hourly_cost_nanousd,
    share_ppm,
    split_capacity,
)

policies = st.builds(
    SpotPolicy, enabled=st.booleans(), spot_share_ppm=st.integers(0, 1_000_000), on_demand_base=st.integers(0, 30)
)
prices = st.builds(AgentPrices, on_demand_nanousd=st.integers(1, 10**10), spot_nanousd=st.integers(0, 10**10))


@pytest.mark.parametrize(
    ("total", "share", "base", "on_demand", "spot"),
    [
        pytest.param(10, "0.7", 0, 3, 7, id="seven-of-ten-exactly"),
        pytest.param(5, "0.7", 0, 2, 3, id="a-half-agent-goes-to-on-demand"),
        pytest.param(1, "0.7", 0, 1, 0, id="a-single-agent-is-on-demand"),
        pytest.param(10, "0.7", 4, 6, 4, id="the-base-comes-first"),
        pytest.param(3, "1", 4, 3, 0, id="fewer-than-the-base-are-all-on-demand"),
        pytest.param(100, "0.29", 0, 71, 29, id="no-binary-rounding"),
        pytest.param(0, "0.7", 2, 0, 0, id="nothing-is-nothing"),
    ],
)
def test_split_table(total, share, base, on_demand, spot):
    policy = SpotPolicy(spot_share_ppm=share_ppm(share), on_demand_base=base)
    assert split_capacity(total, policy) == CapacitySplit(on_demand, spot)


def test_without_spot_capacity_every_agent_is_on_demand():
    assert split_capacity(10, SpotPolicy(), spot_limit=0) == CapacitySplit(10, 0)
    assert split_capacity(10, SpotPolicy(enabled=False)) == CapacitySplit(10, 0)


@pytest.mark.parametrize("share", ["-0.1", "1.01", "NaN", "Infinity"])
def test_a_share_outside_zero_to_one_is_refused(share):
    with pytest.raises(ValueError, match="between 0 and 1"):
        share_ppm(share)


@given(total=st.integers(0, 5000), policy=policies)
def test_split_loses_no_agent_and_misses_the_share_by_less_than_one(total, policy):
    split = split_capacity(total, policy)
    assert split.total == total
    assert min(split.on_demand, split.spot) >= 0
    above = max(total - policy.on_demand_base, 0)
    exact = above * policy.spot_share_ppm / 1_000_000 if policy.enabled else 0
    assert exact - 1 < split.spot <= exact + 1e-9


@given(total=st.integers(0, 5000), policy=policies)
def test_one_agent_more_never_shrinks_a_part(total, policy):
    before, after = split_capacity(total, policy), split_capacity(total + 1, policy)
    assert after.on_demand >= before.on_demand
    assert after.spot >= before.spot


@given(money=st.integers(0, 10**12), policy=policies, price=prices, limit=st.integers(0, 300))
def test_affordable_is_the_largest_size_within_the_target(money, policy, price, limit):
    agents = affordable_agents(money, policy, price, limit=limit)
    assert 0 <= agents <= limit
    assert hourly_cost_nanousd(split_capacity(agents, policy), price) <= money or agents == 0
    if agents < limit:
        assert hourly_cost_nanousd(split_capacity(agents + 1, policy), price) > money


@given(a=st.integers(0, 10**12), b=st.integers(0, 10**12), policy=policies, price=prices)
def test_more_money_never_affords_fewer_agents(a, b, policy, price):
    low, high = sorted((a, b))
    assert affordable_agents(low, policy, price, limit=300) <= affordable_agents(high, policy, price, limit=300)


def test_the_default_target_of_ten_dollars_pays_twenty_on_demand_agents():
    assert affordable_agents(10_000_000_000, SpotPolicy(enabled=False), AgentPrices(), limit=40) == 20
