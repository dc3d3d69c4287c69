"""The committed resource definitions are the models, and the models are what the definitions promise."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agentpool_api.agentpool import AgentPoolSpec
from agentpool_api.costbudget import CostBudgetSpec
from agentpool_api.crdgen import agentpool_crd, costbudget_crd, crd_yaml
from agentpool_api.refgen import reference_markdown

ROOT = Path(__file__).parents[2]
CRDS = {"agentpools": agentpool_crd(), "costbudgets": costbudget_crd()}


def schema_of(crd: dict[str, Any]) -> dict[str, Any]:
    return crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    if isinstance(schema.get("items"), dict):
        yield from nodes(schema["items"], f"{path}[]")


@pytest.mark.parametrize("plural", CRDS)
def test_the_committed_file_is_what_the_models_generate(plural: str) -> None:
    committed = (ROOT / "crds" / f"{plural}.yaml").read_text(encoding="utf-8")
    assert committed == crd_yaml(CRDS[plural]), "run `make crds`"


def test_the_committed_reference_is_what_the_models_generate() -> None:
    committed = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    assert committed == reference_markdown(), "run `make crds`"


@pytest.mark.parametrize("plural", CRDS)
def test_the_schema_is_structural(plural: str) -> None:
    for path, node in nodes(schema_of(CRDS[plural])):
        assert "$ref" not in node, path
        assert "type" in node or node.get("x-kubernetes-int-or-string"), path


@pytest.mark.parametrize("plural", CRDS)
def test_every_field_of_a_spec_is_described(plural: str) -> None:
    spec = schema_of(CRDS[plural])["properties"]["spec"]
    assert [path for path, node in nodes(spec, "spec") if "description" not in node and not path.endswith("[]")] == []


@pytest.mark.parametrize("plural", CRDS)
def test_every_rule_says_what_to_change(plural: str) -> None:
    rules = [rule for _, node in nodes(schema_of(CRDS[plural])) for rule in node.get("x-kubernetes-validations", [])]
    assert rules
    for rule in rules:
        assert any(sign in rule["message"] for sign in (":", ";")), rule["message"]


def test_the_defaults_are_the_published_ones() -> None:
    spec = AgentPoolSpec()
    assert (spec.min_agents, spec.max_agents, spec.warm_agents, spec.idle_timeout) == (2, 20, 3, "30m")
    rule = spec.scaling.threshold
    assert (rule.scale_up_percent, rule.scale_up_by) == (80, 2)
    assert (rule.scale_down_percent, rule.scale_down_by, rule.cooldown) == (30, 1, "5m")
    assert (spec.spot.enabled, spec.spot.percent, spec.cost.on_demand_per_hour) == (True, 70, "0.50")
    connections = spec.runtime.connections
    assert (connections.total, connections.per_host, connections.keep_alive, connections.retries) == (20, 10, "30s", 3)
    cache = spec.runtime.cache
    assert (cache.max_entries, cache.max_size, cache.ttl) == (1000, "100Mi", "1h")
    budget = CostBudgetSpec.model_validate({"limits": {"daily": "1"}})
    assert budget.alert_percents == [50, 80, 90, 100]
    assert (budget.scale_down_percent, budget.shutdown_percent) == (95, 100)


@pytest.mark.parametrize("plural", CRDS)
def test_a_status_default_never_hides_in_the_schema(plural: str) -> None:
    """A default inside status would let the API server invent observations."""
    status = schema_of(CRDS[plural])["properties"]["status"]
    assert "default" not in status
