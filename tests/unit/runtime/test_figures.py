"""From counts to figures."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_runtime.telemetry.figures import add, as_counts, figures, percentile
from agent_runtime.telemetry.instruments import Instruments
from agent_runtime.usage import Usage


def worked(requests: int = 1) -> Instruments:
    """An agent that answered so many chats of 100 ms, half of them from its cache."""
    instruments = Instruments()
    for number in range(requests):
        instruments.answered("chat", "a, b{c}", 200, 0.1)
        instruments.cache_result("l1" if number % 2 else "miss")
        instruments.saved("a, b{c}", 3) if number % 2 else instruments.used("a, b{c}", Usage(10, 4, 2), 7)
    instruments.answered("chat", "", 404, 0.001)
    return instruments


def test_an_agent_that_did_nothing_claims_nothing() -> None:
    told = figures(as_counts(Instruments().samples()))
    assert told["requests"]["total"] == 0 and told["cost_usd"] == "0.00"
    assert told["cache"]["hit_ratio"] is None and told["latency_ms"]["overhead"] is None


def test_the_figures_of_one_agent() -> None:
    told = figures(as_counts(worked(4).samples()))
    assert told["requests"] == {
        "total": 5,
        "by_operation": {"chat": 5},
        "errors": {"404": 1},
        "client_disconnects": 0,
    }
    assert told["cache"] == {"results": {"l1": 2, "miss": 2}, "hit_ratio": 0.5}
    assert told["tokens"] == {"cached_input": 8, "input": 12, "output": 4}
    assert (told["cost_usd"], told["saved_usd"]["cache"]) == ("0.000000014", "0.000000006")
    assert told["cost_usd_by_model"] == {"a, b{c}": "0.000000014"}
    latency = told["latency_ms"]["request"]["chat"]
    assert latency["count"] == 5 and 50 <= latency["p50"] <= 100


@given(st.lists(st.integers(0, 5), min_size=1, max_size=4), st.randoms())
def test_a_pool_is_the_sum_of_its_agents_in_any_order(sizes: list[int], chance) -> None:
    parts = [as_counts(worked(size).samples()) for size in sizes]
    together = add(parts)
    chance.shuffle(parts)
    assert add(parts) == pytest.approx(together)
    assert figures(together)["requests"]["total"] == sum(sizes) + len(sizes)


@given(
    st.lists(st.floats(0, 100), min_size=1, max_size=50),
    st.lists(st.floats(0.01, 99), min_size=1, max_size=8, unique=True),
    st.floats(0.01, 1),
)
def test_a_percentile_lies_in_the_bucket_of_the_true_one(
    values: list[float], bounds: list[float], share: float
) -> None:
    edges = [*sorted(bounds), math.inf]
    buckets = {edge: float(sum(value <= edge for value in values)) for edge in edges}
    true = sorted(values)[max(math.ceil(share * len(values) - 1e-9), 1) - 1]
    upper = next(edge for edge in edges if true <= edge)
    lower = max((edge for edge in edges if edge < upper), default=0.0)
    found = percentile(buckets, share)
    assert lower - 1e-9 <= found <= upper + 1e-9
