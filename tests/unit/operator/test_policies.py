"""How a manifest reads as what the decisions take."""

from datetime import time

import pytest

from agentpool_operator.decide.behavior import DirectionRules, PolicyKind, RatePolicy, SelectPolicy
from agentpool_operator.decide.policy import PolicyKind as LoadPolicy
from agentpool_operator.decide.policy import ScalingPolicy
from agentpool_operator.decide.threshold import ThresholdRule
from agentpool_operator.errors import ManifestRefusedError
from agentpool_operator.reconcile.policies import scaling_policy
from tests.unit.operator.make import spec


def test_a_manifest_that_says_nothing_means_the_defaults_that_were_measured():
    assert scaling_policy(spec()) == ScalingPolicy(hourly_cost_target_nanousd=10_000_000_000)


def test_the_threshold_policy_is_the_plain_rule():
    policy = scaling_policy(spec(scaling={"policy": "Threshold"}))
    assert policy.policy is LoadPolicy.THRESHOLD
    assert policy.rule == ThresholdRule(
        scale_up_at=0.8, scale_up_by=2, scale_down_at=0.3, scale_down_by=1, cooldown_s=300.0
    )
    assert (policy.min_agents, policy.max_agents, policy.warm_agents, policy.idle_timeout_s) == (2, 20, 3, 1800)


def test_behavior_is_read_as_in_an_autoscaler():
    down = {
        "stabilizationWindowSeconds": 300,
        "tolerancePercent": 10,
        "selectPolicy": "Min",
        "policies": [
            {"type": "Pods", "value": 2, "periodSeconds": 60},
            {"type": "Percent", "value": 50, "periodSeconds": 30},
        ],
    }
    policy = scaling_policy(spec(scaling={"behavior": {"scaleDown": down}}))
    assert policy.up == DirectionRules()
    assert policy.down == DirectionRules(
        stabilization_s=300.0,
        tolerance=0.1,
        select=SelectPolicy.MIN,
        policies=(
            RatePolicy(kind=PolicyKind.PODS, value=2, period_s=60.0),
            RatePolicy(kind=PolicyKind.PERCENT, value=50, period_s=30.0),
        ),
    )


def test_a_schedule_is_read():
    window = {"name": "work", "timeZone": "Europe/Berlin", "days": ["Mon", "Fri"], "start": "08:30", "end": "18:00"}
    (found,) = scaling_policy(spec(scaling={"schedules": [window | {"minAgents": 5}]})).schedules
    assert (found.start, found.end, found.days) == (time(8, 30), time(18), {0, 4})
    assert (found.zone.key, found.min_agents, found.max_agents) == ("Europe/Berlin", 5, None)


@pytest.mark.parametrize("zone", ["Mars/Base", "Europe"])
def test_a_time_zone_this_machine_does_not_know_is_refused_with_its_field(zone):
    window = {"name": "w", "timeZone": zone, "start": "08:00", "end": "09:00", "minAgents": 1}
    with pytest.raises(ManifestRefusedError, match=r"spec\.scaling\.schedules\[0\]\.timeZone"):
        scaling_policy(spec(scaling={"schedules": [window]}))


@pytest.mark.parametrize(("warm", "agents"), [(0, 0), (4, 4), ("10%", 2), ("11%", 3), ("100%", 20)])
def test_warm_agents_are_a_number_or_a_share_rounded_up(warm, agents):
    assert scaling_policy(spec(warmAgents=warm)).warm_agents == agents
