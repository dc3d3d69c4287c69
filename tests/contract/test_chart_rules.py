"""The chart's Prometheus rules are valid, speak of metrics that exist, and fire when they should."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from prometheus_client import REGISTRY
from prometheus_client.core import Metric

import agentpool_operator.metrics
from agent_runtime.telemetry.instruments import OWN_TIME_S, Instruments
from cluster.toolchain import tool_path

RULES = Path(__file__).parents[2] / "charts" / "agentpool" / "files" / "rules.yaml"
DASHBOARD = RULES.with_name("dashboard.json")


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([tool_path("promtool"), *arguments], check=False, capture_output=True, text=True, timeout=200)


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


KPIS = {
    "agentpool:runtime_overhead_seconds:p50": (0.05, 0.1, 0.2),
    "agentpool:runtime_overhead_seconds:p95": (0.2, 0.5, 1),
    "agentpool:runtime_overhead_seconds:p99": (0.5, 1, 2),
    "agentpool:runtime_answers_per_core:rate5m": (5000, 1000, 500),
    "agentpool:runtime_cpu:ratio_rate5m": (0.5, 0.7, 0.85),
    "agentpool:runtime_memory:ratio": (0.6, 0.8, 0.9),
    "agentpool:runtime_success:ratio_rate5m": (0.999, 0.99, 0.98),
    "agentpool:runtime_errors:ratio_rate5m": (0.001, 0.01, 0.02),
}
"""Excellent, target, action required."""


def test_every_figure_has_its_action_in_an_alert_and_its_bounds_on_the_dashboard() -> None:
    alerts = " ".join(expressions())
    panels = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    for record, (excellent, target, action) in KPIS.items():
        assert re.search(rf"{record} [<>] {action:g}(\s|$)", alerts), record
        (panel,) = [one for one in panels if one["targets"][0]["expr"].startswith(record + "{")]
        steps = [step["value"] for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"][1:]]
        assert steps == sorted((excellent, target, action))


def test_the_dashboard_draws_only_what_is_recorded_or_published() -> None:
    recorded = set(re.findall(r"record: (\S+)", RULES.read_text(encoding="utf-8")))
    used = set(re.findall(r"\bagentpool[_:][a-z0-9_:]*[a-z0-9]", DASHBOARD.read_text(encoding="utf-8")))
    assert used - {"agentpool_dev_pool"} - recorded - published() == set()


def test_every_bound_of_the_own_time_can_be_told_from_the_histogram() -> None:
    for record, bounds in KPIS.items():
        if "overhead" in record:
            assert set(bounds) <= set(OWN_TIME_S)
            assert max(bounds) < max(OWN_TIME_S)


BUDGET = 'namespace="team", budget="support"'
POOL = 'namespace="team", agentpool_dev_pool="assistants"'


def own_time(*, beyond: str, within: str) -> dict[str, str]:
    """Every answer takes longer than one bound of the published histogram and not longer than another."""
    bounds = [*(f"{bound:g}" for bound in OWN_TIME_S), "+Inf"]
    assert {beyond, within} <= set(bounds)
    series = {}
    for number, bound in enumerate(bounds):
        counted = "0+60x40" if number >= bounds.index(within) else "0x40"
        series[f'agentpool_runtime_overhead_seconds_bucket{{{POOL}, le="{bound}"}}'] = counted
    return series


def circuit(opened: str) -> dict[str, str]:
    """In which minutes a scrape found an endpoint's circuit open."""
    return {f'agentpool_runtime_upstream_circuit{{{POOL}, model="m", endpoint="h:443", state="open"}}': opened}


def work(*, answers: int, cpu_s: int) -> dict[str, str]:
    """Answers and processor seconds of each minute."""
    return {
        f'agentpool_runtime_requests_total{{{POOL}, code="200"}}': f"0+{answers}x40",
        f'process_cpu_seconds_total{{{POOL}, pod="a"}}': f"0+{cpu_s}x40",
    }


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
        pytest.param("AgentpoolRuntimeSlow", own_time(beyond="0.1", within="0.5"), 30, True, id="median beyond 200 ms"),
        pytest.param("AgentpoolRuntimeSlow", own_time(beyond="2", within="5"), 30, True, id="99th beyond 2 s"),
        pytest.param("AgentpoolRuntimeSlow", own_time(beyond="0.0001", within="0.05"), 30, False, id="quick"),
        pytest.param(
            "AgentpoolRuntimeRefuses",
            {
                f'agentpool_runtime_requests_total{{{POOL}, code="200"}}': "0+95x30",
                f'agentpool_runtime_requests_total{{{POOL}, code="429"}}': "0+5x30",
            },
            20,
            True,
            id="five percent are refused",
        ),
        pytest.param(
            "AgentpoolRuntimeRefuses",
            {
                f'agentpool_runtime_requests_total{{{POOL}, code="200"}}': "0+99x30",
                f'agentpool_runtime_requests_total{{{POOL}, code="400"}}': "0+50x30",
            },
            20,
            False,
            id="callers' own mistakes",
        ),
        pytest.param(
            "AgentpoolRuntimeRefuses",
            {f'agentpool_runtime_requests_total{{{POOL}, code="503"}}': "0+5x30"},
            20,
            True,
            id="nothing at all is answered",
        ),
        pytest.param(
            "AgentpoolRuntimeBusy",
            {f'process_cpu_seconds_total{{{POOL}, pod="{pod}"}}': f"0+{s}x40" for pod, s in (("a", 54), ("b", 3))},
            30,
            True,
            id="one of two agents has no time left",
        ),
        pytest.param(
            "AgentpoolRuntimeBusy",
            {'process_cpu_seconds_total{job="another"}': "0+59x40"},
            30,
            False,
            id="another program's time",
        ),
        pytest.param(
            "AgentpoolRuntimeShortOfMemory",
            {
                f'agentpool_runtime_memory_used_bytes{{{POOL}, pod="a"}}': "95x20",
                f'agentpool_runtime_memory_limit_bytes{{{POOL}, pod="a"}}': "100x20",
            },
            10,
            True,
            id="above nine tenths of the limit",
        ),
        pytest.param("AgentpoolEndpointDown", circuit("1 1 0 " * 14), 20, True, id="an endpoint fails every probe"),
        pytest.param("AgentpoolEndpointDown", circuit("1x3 0x37"), 20, False, id="an endpoint came back"),
        pytest.param("AgentpoolEndpointDown", circuit("0x40"), 20, False, id="a circuit that waits for a call"),
        pytest.param("AgentpoolRuntimeCostly", work(answers=6000, cpu_s=20), 30, True, id="300 answers a core"),
        pytest.param("AgentpoolRuntimeCostly", work(answers=6000, cpu_s=3), 30, False, id="2,000 answers a core"),
        pytest.param("AgentpoolRuntimeCostly", work(answers=60, cpu_s=1), 30, False, id="hardly any work"),
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
