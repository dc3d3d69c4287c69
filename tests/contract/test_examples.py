"""The examples are what the product accepts: the manifests, the runtime's file, and the ones printed in the README."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from agent_runtime.settings import load_settings
from agentpool_api.agentpool import AgentPoolSpec
from agentpool_api.costbudget import CostBudgetSpec
from agentpool_api.schema import ApiModel

ROOT = Path(__file__).parents[2]
SPECS: dict[str, type[ApiModel]] = {"AgentPool": AgentPoolSpec, "CostBudget": CostBudgetSpec}


def manifests(text: str) -> list[dict[str, Any]]:
    return [manifest for manifest in yaml.safe_load_all(text) if manifest]


def printed_in(page: str) -> str:
    """The first YAML block of a page."""
    return re.findall(r"```yaml\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)[0]


SOURCES = {
    "examples/agentpool.yaml": (ROOT / "examples" / "agentpool.yaml").read_text(encoding="utf-8"),
    "examples/costbudget.yaml": (ROOT / "examples" / "costbudget.yaml").read_text(encoding="utf-8"),
    "examples/queue.yaml": (ROOT / "examples" / "queue.yaml").read_text(encoding="utf-8"),
    "README.md": printed_in("README.md"),
}


@pytest.mark.parametrize("source", SOURCES)
def test_an_example_names_only_fields_that_exist(source: str) -> None:
    for manifest in manifests(SOURCES[source]):
        spec = SPECS[manifest["kind"]].model_validate(manifest["spec"]).manifest()
        assert unknown_fields(manifest["spec"], spec) == []


def unknown_fields(written: dict[str, Any], known: dict[str, Any], path: str = "spec") -> list[str]:
    """Paths of fields the models left out."""
    found = []
    for name, value in written.items():
        if name not in known:
            found.append(f"{path}.{name}")
        elif isinstance(value, dict) and isinstance(known[name], dict):
            found += unknown_fields(value, known[name], f"{path}.{name}")
        elif isinstance(value, list):
            pairs = zip(value, known[name], strict=True)
            found += [
                p for one, two in pairs if isinstance(one, dict) for p in unknown_fields(one, two, f"{path}.{name}")
            ]
    return found


def test_the_budget_of_the_examples_selects_their_pool_and_the_secret_is_the_pools() -> None:
    (pool,), (budget,) = manifests(SOURCES["examples/agentpool.yaml"]), manifests(SOURCES["examples/costbudget.yaml"])
    wanted = budget["spec"]["selector"]["matchLabels"]
    assert wanted.items() <= pool["metadata"]["labels"].items()
    (secret,) = manifests((ROOT / "examples" / "model-secret.yaml").read_text(encoding="utf-8"))
    assert pool["spec"]["runtime"]["models"][0]["apiKeySecretRef"]["name"] == secret["metadata"]["name"]


def test_the_runtime_takes_its_example_to_the_letter() -> None:
    settings = load_settings(ROOT / "examples" / "runtime.yaml", refuse_unknown=True)
    assert [model.name for model in settings.models] == ["gpt-4o-mini"]


def test_the_trace_comes_with_its_licence_and_its_changes() -> None:
    notice = (ROOT / "examples" / "trace" / "NOTICE.md").read_text(encoding="utf-8")
    for word in ("CC BY 4.0", "creativecommons.org/licenses/by/4.0", "Azure", "Splitwise", "Changes"):
        assert word in notice
