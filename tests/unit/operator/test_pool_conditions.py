from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from agentpool_api.wire import Problem
from agentpool_operator.decide.budget import PoolCeiling
from agentpool_operator.decide.facts import CapacityFacts, PoolFacts, QueueFacts, Trouble
from agentpool_operator.decide.forecast import Forecast
from agentpool_operator.decide.policy import Pause, PolicyKind, ScalingPolicy
from agentpool_operator.decide.pool_conditions import decide_pool_conditions
from agentpool_operator.decide.reasons import Reason
from agentpool_operator.decide.spot import SpotState
from agentpool_operator.decide.state import PoolState
from agentpool_operator.decide.trouble import container_trouble
from tests.unit.operator.make import make_decision

NOW = datetime(2026, 11, 21, tzinfo=UTC)
POLICY = ScalingPolicy(min_agents=2, max_agents=20)


def facts(on_demand=None, spot=None, **changes):
    known = {
        "generation": 3,
        "on_demand": CapacityFacts(**({"existing": 1, "ready": 1, "current": True} | (on_demand or {}))),
        "spot": CapacityFacts(**({"existing": 2, "ready": 2, "current": True} | (spot or {}))),
        "spot_enabled": True,
        "redis_up": True,
        "metrics_available": True,
    }
    return PoolFacts(**(known | changes))


size = make_decision


def conditions(seen=None, *, policy=POLICY, asked=None, ceiling=None, spot=None, before=(), now=NOW):
    spot = spot or SpotState()
    found = decide_pool_conditions(before, seen or facts(), policy, asked or size(), ceiling, spot, now=now)
    return {condition.type: condition for condition in found}


def verdict(type_, *args, **kwargs):
    condition = conditions(*args, **kwargs)[type_]
    return condition.status, condition.reason


PROBLEM = Problem(reason="SecretMissing", field="spec.runtime.models[0].apiKeySecretRef", message="make Secret x")
GONE = {"existing": 0, "ready": 0}


@pytest.mark.parametrize(
    ("seen", "asked", "expected"),
    [
        pytest.param(facts(), size(), ("True", "AgentsReady"), id="all serve"),
        pytest.param(facts(), size(10), ("True", "AgentsReady"), id="a pool that serves stays ready while it grows"),
        pytest.param(facts(spot={"ready": 0}), size(), ("False", "AgentsStarting"), id="fewer than minAgents"),
        pytest.param(facts(GONE, GONE), size(0), ("True", "ScaledToZero"), id="none is wanted"),
        pytest.param(facts(problems=[PROBLEM]), size(), ("False", "SecretMissing"), id="an agent names a problem"),
        pytest.param(
            facts(spot={"waiting": Trouble(reason="ImagePullBackOff", message="m")}),
            size(),
            ("False", "ImagePullBackOff"),
            id="a container does not start, also while the old ones serve",
        ),
        pytest.param(
            facts(refused=Trouble(reason="ManifestRefused", message="m")),
            size(),
            ("False", "ManifestRefused"),
            id="the API server refused the manifests",
        ),
        pytest.param(
            facts(spot={"ready": 0, "unschedulable": "0/3 nodes"}), size(), ("False", "Unschedulable"), id="no node"
        ),
        pytest.param(
            facts(spot={"existing": 0, "ready": 0, "refused": "exceeded quota"}),
            size(),
            ("False", "PodsRefused"),
            id="no pod is taken",
        ),
        pytest.param(
            facts(spot={"existing": 9, "unschedulable": "0/3 nodes"}),
            size(10),
            ("True", "AgentsReady"),
            id="no node for more than is needed",
        ),
    ],
)
def test_ready(seen, asked, expected):
    assert verdict("Ready", seen, asked=asked) == expected


@pytest.mark.parametrize(
    ("seen", "asked", "expected"),
    [
        (facts(), size(), ("False", "Stable")),
        (facts(spot={"current": False}), size(), ("True", "RollingOut")),
        (facts(), size(5), ("True", "ScalingOut")),
        (facts(), size(1), ("True", "ScalingIn")),
        (facts(spot={"ready": 1}), size(), ("True", "AgentsStarting")),
    ],
)
def test_progressing(seen, asked, expected):
    assert verdict("Progressing", seen, asked=asked) == expected


@pytest.mark.parametrize(
    ("policy", "seen", "expected"),
    [
        (POLICY, facts(), ("True", "PolicyActive")),
        (ScalingPolicy(max_agents=9, replicas=4), facts(), ("False", "ReplicasSet")),
        (ScalingPolicy(policy=PolicyKind.EXTERNAL), facts(), ("False", "ReplicasSet")),
        (ScalingPolicy(pause=Pause.BOTH), facts(), ("False", "Paused")),
        (ScalingPolicy(pause=Pause.OUT), facts(), ("True", "PartlyPaused")),
        (POLICY, facts(metrics_available=False), ("False", "MetricsMissing")),
        (POLICY, facts(GONE, GONE, metrics_available=False), ("True", "PolicyActive")),
    ],
)
def test_scaling_active(policy, seen, expected):
    assert verdict("ScalingActive", seen, policy=policy) == expected


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (size(), ("False", "WithinBounds")),
        (size(20, wished=30), ("True", "TooManyAgents")),
        (size(2, wished=1), ("True", "TooFewAgents")),
        (size(0, wished=5), ("False", "WithinBounds")),
        (size(5, wished=9, reason=Reason.COST_TARGET), ("True", "CostTarget")),
        (size(5, wished=9, reason=Reason.SCHEDULE), ("True", "Schedule")),
    ],
)
def test_scaling_limited(asked, expected):
    assert verdict("ScalingLimited", asked=asked) == expected


def test_what_was_said_of_limits_stands_while_the_load_is_not_known():
    unknown = size(2, reason=Reason.METRICS_MISSING)
    limited = conditions(asked=size(2, wished=1))
    assert conditions(asked=unknown, before=limited.values(), now=NOW + timedelta(hours=1)) == limited
    assert conditions(asked=unknown)["ScalingLimited"].reason == "WithinBounds"
    held = size(20, wished=30, reason=Reason.BOUNDS)
    assert conditions(asked=held, before=limited.values())["ScalingLimited"].reason == "TooManyAgents"


@pytest.mark.parametrize(
    ("ceiling", "expected"),
    [
        (None, ("False", "NoBudget")),
        (PoolCeiling(None, "Normal", "b"), ("False", "WithinBudget")),
        (PoolCeiling(2, "ScaleDown", "b"), ("True", "ScaleDown")),
        (PoolCeiling(0, "EmergencyShutdown", "b"), ("True", "EmergencyShutdown")),
    ],
)
def test_budget_limited(ceiling, expected):
    assert verdict("BudgetLimited", ceiling=ceiling) == expected


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (facts(), ("True", "HeartbeatsFresh")),
        (facts(redis_up=False, metrics_available=False), ("False", "RedisUnavailable")),
        (facts(silent=["p"]), ("False", "HeartbeatsMissing")),
        (facts(metrics_available=False), ("Unknown", "HeartbeatsAwaited")),
        (facts(GONE, GONE, metrics_available=False), ("True", "NoAgents")),
    ],
)
def test_metrics_available(seen, expected):
    assert verdict("MetricsAvailable", seen) == expected


def forecast(**changes):
    figures = {"wape": 0.2, "naive_wape": 0.3, "last_wape": 0.3, "coverage": 0.9} | changes
    return Forecast(
        minute=0, expected_per_s=np.ones(2), upper_per_s=np.ones(2), pinball=0.0, naive_pinball=0.0, **figures
    )


@pytest.mark.parametrize(
    ("policy", "made", "expected"),
    [
        (POLICY, None, ("False", "HistoryTooShort")),
        (POLICY, forecast(), ("True", "Proven")),
        (POLICY, forecast(wape=0.3), ("False", "NotBetterThanNaive")),
        (POLICY, forecast(coverage=0.8), ("False", "CoverageOff")),
        (ScalingPolicy(policy=PolicyKind.THRESHOLD), forecast(), ("False", "NotUsed")),
    ],
)
def test_forecast_ready(policy, made, expected):
    assert verdict("ForecastReady", policy=policy, asked=size(state=PoolState(forecast=made))) == expected


@pytest.mark.parametrize(
    ("spot", "expected"),
    [
        (SpotState(), ("True", "SpotAvailable")),
        (SpotState(limit=0, failures=1, retry_at_s=1e9), ("False", "FellBack")),
        (SpotState(limit=1, failures=1, retry_at_s=1e9, step=1), ("False", "Retrying")),
    ],
)
def test_spot_available(spot, expected):
    assert verdict("SpotAvailable", spot=spot) == expected


def test_a_preview_claims_no_action_and_judges_what_runs():
    seen = facts(preview=True)
    assert verdict("ScalingActive", seen, asked=size(9)) == ("False", "Preview")
    assert verdict("Progressing", seen, asked=size(9)) == ("False", "Preview")
    assert verdict("Ready", seen, asked=size(0)) == ("True", "AgentsReady")
    assert verdict("Ready", facts(GONE, GONE, preview=True)) == ("False", "Preview")


def test_spot_available_is_told_only_where_spot_is_used():
    assert verdict("SpotAvailable", facts(spot={"unschedulable": "x"})) == ("False", "Unschedulable")
    assert "SpotAvailable" not in conditions(facts(spot_enabled=False))


def test_a_condition_keeps_its_transition_time_until_its_status_changes():
    first = conditions()
    later = NOW + timedelta(hours=1)
    second = conditions(facts(spot={"ready": 0}), before=first.values(), now=later)
    assert second["ScalingLimited"].last_transition_time == first["ScalingLimited"].last_transition_time
    assert second["Ready"].last_transition_time == "2026-11-21T01:00:00Z"
    assert second["Ready"].observed_generation == 3


def test_the_same_facts_give_the_same_conditions():
    first = conditions()
    assert conditions(before=first.values(), now=NOW + timedelta(hours=1)) == first


@pytest.mark.parametrize(
    ("container", "reason", "says"),
    [
        ("agent", "ErrImagePull", "spec.agent.image cannot be pulled"),
        ("agent", "ImagePullBackOff", "spec.agent.image cannot be pulled"),
        ("agent-runtime", "ImagePullBackOff", "the operator's runtime image cannot be pulled"),
        ("agent", "InvalidImageName", "spec.agent.image is no valid image name"),
        ("agent", "CreateContainerConfigError", "check what spec.agent refers to"),
        ("agent", "CrashLoopBackOff", "spec.agent.command, args and env"),
        ("agent-runtime", "CrashLoopBackOff", "check its logs"),
        ("agent", "SomethingNew", "SomethingNew"),
    ],
)
def test_a_container_that_does_not_start_is_explained(container, reason, says):
    trouble = container_trouble(container, reason, "the kubelet's words")
    assert trouble.reason == reason
    assert says in trouble.message
    assert "the kubelet's words" in trouble.message


@pytest.mark.parametrize(
    ("queue", "expected"),
    [
        (None, ("Unknown", "QueueAwaited")),
        (QueueFacts(key="k", lag=1, pending=0), ("True", "QueueRead")),
        (QueueFacts(key="k", trouble=Trouble(reason="NotAStream", message="m")), ("False", "NotAStream")),
    ],
)
def test_a_queue_says_whether_it_is_counted(queue, expected):
    assert verdict("QueueAvailable", facts(queue_named=True, queue=queue)) == expected
    assert "QueueAvailable" not in conditions(facts(queue=queue))
