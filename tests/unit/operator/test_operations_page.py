"""docs/operations.md names everything the operator says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from prometheus_client.metrics import MetricWrapperBase

from agentpool_api.conditions import BudgetCondition, PoolCondition
from agentpool_operator import metrics
from agentpool_operator.decide.reasons import Reason

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
SOURCES = sorted((ROOT / "operator" / "agentpool_operator").rglob("*.py"))
RULES = ROOT / "charts" / "agentpool" / "files" / "rules.yaml"

VERDICT = re.compile(r'(?:True|False|None),\s+"([A-Z][A-Za-z]+)"')
REFUSAL = re.compile(r'ManifestRefusedError\(\s*"([A-Z][A-Za-z]+)"')
EVENT = re.compile(r'Occurrence\(\s*reason="([A-Z][A-Za-z]+)"')


def said() -> set[str]:
    texts = [source.read_text(encoding="utf-8") for source in SOURCES if "plan" not in source.parts]
    return {word for text in texts for pattern in (VERDICT, REFUSAL, EVENT) for word in pattern.findall(text)}


def test_reasons_are_found_in_the_sources():
    assert {"AgentsReady", "NoPoolsSelected", "NameTaken", "Scaled", "BudgetAlert"} <= said()


@pytest.mark.parametrize("reason", sorted(said() | {str(reason) for reason in Reason}))
def test_every_reason_is_explained(reason: str):
    assert f"`{reason}`" in PAGE


@pytest.mark.parametrize("condition", sorted({str(c) for kind in (PoolCondition, BudgetCondition) for c in kind}))
def test_every_condition_is_explained(condition: str):
    assert re.search(rf"\b{condition}\b", PAGE)


@pytest.mark.parametrize("metric", sorted(m._name for m in vars(metrics).values() if isinstance(m, MetricWrapperBase)))
def test_every_metric_is_explained(metric: str):
    assert re.search(rf"`{metric}(_total)?`", PAGE)


def test_every_alert_is_explained():
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    alerts = {rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule}
    assert {alert for alert in alerts if f"`{alert}`" not in PAGE} == set()


def test_every_setting_is_explained():
    text = (ROOT / "operator" / "agentpool_operator" / "settings.py").read_text(encoding="utf-8")
    assert {name for name in re.findall(r"AGENTPOOL_[A-Z_]+", text) if f"`{name}`" not in PAGE} == set()
