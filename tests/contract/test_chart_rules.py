"""The chart's Prometheus rules are valid, speak of metrics that exist, and fire when they should."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml
from prometheus_client import REGISTRY
from prometheus_client.core import Metric

import agentpool_operator.metrics
from agent_runtime.telemetry.instruments import Instruments
from cluster.toolchain import tool_path

RULES = Path(__file__).parents[2] / "charts" / "agentpool" / "files" / "rules.yaml"


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([tool_path("promtool"), *arguments], check=False, capture_output=True, text=True, timeout=30)


def expressions() -> list[str]:
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return [rule["expr"] for group in groups for rule in group["rules"]]


def published() -> set[str]:
    """Names of all series that both programs publish."""
    assert agentpool_operator.metrics.POOL_READY
    metrics: list[Metric] = [*REGISTRY.collect(), *Instruments().registry.collect()]
    suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"], "gauge": [""]}
    return {metric.name + suffix for metric in metrics for suffix in suffixes.get(metric.type, [""])}


def test_promtool_accepts_the_rules() -> None:
    done = promtool("check", "rules", str(RULES))
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_metric_in_a_rule_is_published_or_recorded() -> None:
    recorded = set(re.findall(r"record: (\S+)", RULES.read_text(encoding="utf-8")))
    used = {name for text in expressions() for name in re.findall(r"\bagentpool[a-z0-9_:]*[a-z0-9]", text)}
    used -= {"agentpool_dev_pool"}
    assert used - recorded - published() == set()


def test_every_alert_says_how_bad_it_is_and_what_it_means() -> None:
    for group in yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]:
        for rule in group["rules"]:
            if "alert" in rule:
                assert rule["labels"]["severity"] in ("warning", "critical")
                assert rule["annotations"]["summary"]
                assert rule["annotations"]["description"]


BUDGET = 'namespace="team", budget="support"'
POOL = 'namespace="team", agentpool_dev_pool="assistants"'


@pytest.mark.parametrize(
    ("alert", "series", "minutes", "fires"),
    [
        pytest.param("AgentpoolOperatorWithoutLeader", {}, 3, True, id="no metric at all is no leader"),
        pytest.param(
            "AgentpoolOperatorWithoutLeader",
            {'agentpool_operator_leader{pod="a"}': "0x9", 'agentpool_operator_leader{pod="b"}': "1x9"},
            3,
            False,
            id="one of two leads",
        ),
        pytest.param(
            "AgentpoolOperatorWatchSilent",
            {
                'agentpool_operator_canary_age_seconds{pod="a"}': "90x9",
                'agentpool_operator_leader{pod="a"}': "1x9",
            },
            3,
            True,
            id="the leader hears nothing",
        ),
        pytest.param(
            "AgentpoolOperatorWatchSilent",
            {
                'agentpool_operator_canary_age_seconds{pod="a"}': "90x9",
                'agentpool_operator_leader{pod="a"}': "0x9",
            },
            3,
            False,
            id="a standby has no canary",
        ),
        pytest.param("AgentpoolRedisDown", {'agentpool_operator_redis_up{pod="a"}': "0x9"}, 3, True, id="redis down"),
        pytest.param(
            "AgentpoolPoolNotReady",
            {'agentpool_pool_condition{namespace="team", pool="assistants", condition="Ready"}': "0x20"},
            8,
            True,
            id="a pool is not ready",
        ),
        pytest.param(
            "AgentpoolRuntimeErrors",
            {
                f'agentpool_runtime_requests_total{{{POOL}, code="200"}}': "0+95x30",
                f'agentpool_runtime_requests_total{{{POOL}, code="502"}}': "0+5x30",
            },
            20,
            True,
            id="five percent fail",
        ),
        pytest.param(
            "AgentpoolRuntimeErrors",
            {
                f'agentpool_runtime_requests_total{{{POOL}, code="200"}}': "0+99x30",
                f'agentpool_runtime_requests_total{{{POOL}, code="429"}}': "0+50x30",
            },
            20,
            False,
            id="a refusal for lack of budget or room is no server error",
        ),
        pytest.param(
            "AgentpoolBudgetNearlySpent",
            {
                f'agentpool_budget_spent_usd{{{BUDGET}, window="daily"}}': "9x5",
                f'agentpool_budget_limit_usd{{{BUDGET}, window="daily"}}': "10x5",
            },
            2,
            True,
            id="nine of ten dollars",
        ),
        pytest.param(
            "AgentpoolBudgetSpentWithinTheHour",
            {
                f'agentpool_budget_spent_usd{{{BUDGET}, window="daily"}}': "5x20",
                f'agentpool_budget_limit_usd{{{BUDGET}, window="daily"}}': "10x20",
                f"agentpool_budget_burn_usd_per_hour{{{BUDGET}}}": "6x20",
            },
            10,
            True,
            id="five dollars left at six an hour",
        ),
        pytest.param(
            "AgentpoolBudgetShutdown",
            {f'agentpool_budget_condition{{{BUDGET}, condition="EmergencyShutdown"}}': "1x5"},
            2,
            True,
            id="shutdown",
        ),
    ],
)
def test_an_alert_fires_when_it_should(
    tmp_path: Path, alert: str, series: dict[str, str], minutes: int, fires: bool
) -> None:
    """promtool compares whole alerts; whether it finds the expected none is what is asked here."""
    test = {
        "rule_files": [str(RULES)],
        "evaluation_interval": "30s",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": name, "values": values} for name, values in series.items()],
                "alert_rule_test": [{"eval_time": f"{minutes}m", "alertname": alert, "exp_alerts": []}],
            }
        ],
    }
    file = tmp_path / "test.yaml"
    file.write_text(yaml.safe_dump(test), encoding="utf-8")
    done = promtool("test", "rules", str(file))
    output = done.stdout + done.stderr
    if fires:
        assert done.returncode != 0
        assert f"alertname: {alert}" in output, output
        assert 'alertname="' + alert in output, output
    else:
        assert done.returncode == 0, output
