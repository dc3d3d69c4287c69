"""The peers' rules do what their documentation says, and the product's rule is its own decision code."""

from __future__ import annotations

import pytest

from agentpool_operator.decide.load import PoolLoad
from agentpool_operator.decide.policy import PolicyKind, ScalingPolicy
from agentpool_operator.decide.scaling import decide
from agentpool_operator.decide.state import PoolState
from agentpool_operator.plan.rules import ProductRule, QueueKeda, UtilizationHpa, rules_to_compare
from tests.unit.operator.plan.make import terms


def load(ready, starting=0, utilization=0.8, in_flight=0, queued=0):
    return PoolLoad(
        ready=ready, starting=starting, utilization=utilization, in_flight=in_flight, queued=queued, concurrency=4
    )


@pytest.mark.parametrize(
    ("seen", "desired"),
    [
        pytest.param(load(10, utilization=0.88), 10, id="within-the-tolerance"),
        pytest.param(load(10, utilization=0.9), 12, id="above-it"),
        pytest.param(load(10, utilization=1.0), 13, id="full"),
        pytest.param(load(8, 2, utilization=1.0), 10, id="agents-not-ready-count-as-unused"),
        pytest.param(load(8, 1, utilization=1.0), 10, id="but-growth-that-remains-is-made"),
        pytest.param(load(0, 3, utilization=0.0), 3, id="nothing-ready-nothing-known"),
        pytest.param(load(1, utilization=9.0), 5, id="at-most-four-more-in-a-period"),
        pytest.param(load(10, utilization=4.0), 20, id="at-most-twice-as-many"),
        pytest.param(load(39, utilization=1.0), 40, id="never-above-the-maximum"),
    ],
)
def test_hpa_table(seen, desired):
    assert UtilizationHpa(terms(concurrency=4)).desired(seen, now_s=0.0) == desired


def test_hpa_shrinks_after_five_minutes_of_low_wishes():
    hpa = UtilizationHpa(terms(concurrency=4))
    assert hpa.desired(load(10, utilization=0.8), now_s=0.0) == 10
    assert {hpa.desired(load(10, utilization=0.4), now_s=15.0 * step) for step in range(1, 20)} == {10}
    assert hpa.desired(load(10, utilization=0.4), now_s=300.0) == 5


def test_hpa_holds_the_size_it_found_for_five_minutes():
    hpa = UtilizationHpa(terms(concurrency=4))
    assert [hpa.desired(load(10, utilization=0.4), now_s=15.0 * step) for step in range(22)] == [10] * 20 + [5, 5]


def test_hpa_keeps_one_agent():
    assert UtilizationHpa(terms(min_agents=0)).desired(load(1, utilization=0.0), now_s=0.0) == 1


@pytest.mark.parametrize(
    ("seen", "desired"),
    [
        pytest.param(load(5, in_flight=20), 5, id="one-task-per-slot"),
        pytest.param(load(5, in_flight=20, queued=1), 5, id="within-the-tolerance"),
        pytest.param(load(5, in_flight=20, queued=3), 6, id="above-it"),
        pytest.param(load(3, 2, in_flight=12, queued=16), 7, id="agents-that-start-count"),
        pytest.param(load(2, in_flight=8, queued=400), 6, id="growth-is-limited-as-the-hpas"),
    ],
)
def test_keda_table(seen, desired):
    assert QueueKeda(terms(concurrency=4)).desired(seen, now_s=0.0) == desired


def test_keda_lets_the_last_agent_go_after_its_cooldown_and_wakes_within_a_poll():
    keda = QueueKeda(terms(concurrency=4, min_agents=0))
    assert keda.desired(load(1, in_flight=1), now_s=0.0) == 1
    assert keda.desired(load(1), now_s=285.0) == 1
    assert keda.desired(load(1), now_s=300.0) == 0
    assert keda.desired(load(0), now_s=315.0) == 0
    assert keda.desired(load(0, queued=3), now_s=330.0) == 0
    assert keda.desired(load(0, queued=3), now_s=345.0) == 1


def test_the_products_rule_is_decide_itself():
    policy, state = ScalingPolicy(), PoolState()
    rule = ProductRule(policy, "Forecast")
    for step, count in enumerate([2.0, 9.0, 30.0, 30.0, 5.0], start=1):
        seen = PoolLoad(
            ready=2, concurrency=1, in_flight=2, queued=0, arrivals_per_s=[count] * 10, service_s=1.0, startup_s=45.0
        )
        decision = decide(policy, seen, state, now_s=5.0 * step)
        state = decision.state
        assert rule.desired(seen, now_s=5.0 * step) == decision.desired


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (PolicyKind.FORECAST, ["Forecast (this pool)", "Threshold"]),
        (PolicyKind.THRESHOLD, ["Threshold (this pool)", "Forecast"]),
    ],
)
def test_the_manifests_policy_comes_first(kind, names):
    compared = rules_to_compare(ScalingPolicy(policy=kind), terms(concurrency=4))
    assert [rule.name for rule in compared] == [*names, "HPA, utilization 80%", "KEDA, queue 4 per agent"]
