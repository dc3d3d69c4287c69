"""How do the models become CustomResourceDefinitions?

``python -m agentpool_api.crdgen FOLDER`` writes one YAML file per resource. The schema is structural: references are
inlined, optional fields carry no null, and every default is in it, so that the API server fills it in.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from agentpool_api.agentpool import AgentPoolSpec
from agentpool_api.costbudget import CostBudgetSpec, CostBudgetStatus
from agentpool_api.labels import GROUP, VERSION
from agentpool_api.pool_status import AgentPoolStatus
from agentpool_api.schema import ApiModel

Column = tuple[str, str, str, int]
"""Name, type, JSON path, priority (1: only with ``-o wide``)."""

POOL_COLUMNS: tuple[Column, ...] = (
    ("Desired", "integer", ".status.desiredAgents", 0),
    ("Ready", "integer", ".status.readyAgents", 0),
    ("On-Demand", "integer", ".status.onDemand.ready", 0),
    ("Spot", "integer", ".status.spot.ready", 0),
    ("Min", "integer", ".spec.minAgents", 1),
    ("Max", "integer", ".spec.maxAgents", 1),
    ("Status", "string", '.status.conditions[?(@.type=="Ready")].reason', 0),
    ("Budget", "string", '.status.conditions[?(@.type=="BudgetLimited")].reason', 0),
    ("Reason", "string", ".status.reason", 0),
    ("USD/h", "string", ".status.hourlyCostUsd", 0),
    ("Age", "date", ".metadata.creationTimestamp", 0),
)
BUDGET_COLUMNS: tuple[Column, ...] = (
    ("Window", "string", ".status.window", 0),
    ("Spent", "string", ".status.spent", 0),
    ("Used%", "integer", ".status.percent", 0),
    ("Level", "string", ".status.level", 0),
    ("Pools", "integer", ".status.pools", 0),
    ("Status", "string", '.status.conditions[?(@.type=="Ready")].reason', 0),
    ("Resets", "string", ".status.windows[0].resetsAt", 1),
    ("Age", "date", ".metadata.creationTimestamp", 0),
)


POOL_NAME_RULES: tuple[tuple[str, str], ...] = (
    (
        "self.metadata.name.matches('^[a-z]([-a-z0-9]{0,50}[a-z0-9])?$')",
        "the pool's name is also its Service's: use at most 52 lower-case letters, digits and hyphens, a letter first",
    ),
)
"""A Service's name is an RFC 1035 label of at most 63, and so is the pool's with `-on-demand` behind it."""


def agentpool_crd() -> dict[str, Any]:
    """The CustomResourceDefinition of AgentPool."""
    scale = {
        "specReplicasPath": ".spec.replicas",
        "statusReplicasPath": ".status.replicas",
        "labelSelectorPath": ".status.selector",
    }
    subresources = {"status": {}, "scale": scale}
    crd = _crd("AgentPool", "ap", POOL_COLUMNS, AgentPoolSpec, AgentPoolStatus, subresources)
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    schema["x-kubernetes-validations"] = _validations(POOL_NAME_RULES)
    return crd


def costbudget_crd() -> dict[str, Any]:
    """The CustomResourceDefinition of CostBudget."""
    return _crd("CostBudget", "cb", BUDGET_COLUMNS, CostBudgetSpec, CostBudgetStatus, {"status": {}})


def structural_schema(model: type[ApiModel]) -> dict[str, Any]:
    """OpenAPI v3 schema of a model as the API server takes it."""
    schema: dict[str, Any] = {"type": "object"}
    description = (model.__doc__ or "").strip()
    if description:
        schema["description"] = _one_line(description)
    json_schema = model.model_json_schema(by_alias=True)
    definitions = json_schema.get("$defs", {})
    properties = {
        field.alias or name: _property(field, json_schema["properties"][field.alias or name], definitions)
        for name, field in model.model_fields.items()
    }
    if properties:
        schema["properties"] = properties
    required = [field.alias or name for name, field in model.model_fields.items() if field.is_required()]
    if required:
        schema["required"] = required
    if model.cel_rules:
        schema["x-kubernetes-validations"] = _validations(model.cel_rules)
    return schema


def _validations(rules: tuple[tuple[str, str], ...]) -> list[dict[str, str]]:
    return [{"rule": rule, "message": message} for rule, message in rules]


def _property(field: FieldInfo, raw: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    schema = _inline(raw, definitions, _models_in(field.annotation))
    if field.description:
        schema["description"] = _one_line(field.description)
    if isinstance(field.default, BaseModel):
        # Whole, not {}: the API server checks the rules against a default before it fills in the defaults within.
        schema["default"] = field.default.model_dump(mode="json", by_alias=True, exclude_none=True)
    elif raw.get("default") is None:
        schema.pop("default", None)
    return schema


def _inline(raw: dict[str, Any], definitions: dict[str, Any], models: dict[str, type[ApiModel]]) -> dict[str, Any]:
    schema = {key: value for key, value in raw.items() if key != "title"}
    if schema.get("x-kubernetes-int-or-string"):
        schema.pop("type", None)
        return schema
    if "anyOf" in schema:  # Optional[...]: absence, not null
        (inner,) = [choice for choice in schema.pop("anyOf") if choice.get("type") != "null"]
        return _inline({**inner, **schema}, definitions, models)
    if "$ref" in schema:
        name = schema.pop("$ref").rsplit("/", 1)[1]
        model = models.get(name)
        target = structural_schema(model) if model else _inline(definitions[name], definitions, models)
        return {**target, **schema}
    if "items" in schema:
        schema["items"] = _inline(schema["items"], definitions, models)
    if schema.get("x-kubernetes-preserve-unknown-fields"):
        return {"type": "object", "x-kubernetes-preserve-unknown-fields": True} | _description(schema)
    if isinstance(schema.get("additionalProperties"), dict):
        schema["additionalProperties"] = _inline(schema["additionalProperties"], definitions, models)
    if "additionalProperties" in schema and schema["additionalProperties"] is True:
        return {"type": "object", "x-kubernetes-preserve-unknown-fields": True} | _description(schema)
    return schema


def _description(schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": schema["description"]} if "description" in schema else {}


def _models_in(annotation: Any) -> dict[str, type[ApiModel]]:
    """Models named in a type annotation, by the name pydantic refers to them."""
    if isinstance(annotation, type) and issubclass(annotation, ApiModel):
        return {annotation.__name__: annotation}
    found: dict[str, type[ApiModel]] = {}
    for argument in get_args(annotation):
        found |= _models_in(argument)
    return found


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _crd(
    kind: str,
    short: str,
    columns: tuple[Column, ...],
    spec: type[ApiModel],
    status: type[ApiModel],
    subresources: dict[str, Any],
) -> dict[str, Any]:
    singular = kind.lower()
    schema = {
        "type": "object",
        "description": _one_line(spec.__doc__ or ""),
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": structural_schema(spec),
            "status": structural_schema(status),
        },
    }
    version = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "additionalPrinterColumns": [
            {"name": name, "type": type_, "jsonPath": path} | ({"priority": priority} if priority else {})
            for name, type_, path, priority in columns
        ],
        "subresources": subresources,
        "schema": {"openAPIV3Schema": schema},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{singular}s.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind,
                "listKind": f"{kind}List",
                "plural": f"{singular}s",
                "singular": singular,
                "shortNames": [short],
                "categories": ["all"],  # one named like a kind would hide it: kubectl describe agentpool NAME
            },
            "versions": [version],
        },
    }


def crd_yaml(crd: dict[str, Any]) -> str:
    """The file's text."""
    return "# Generated from agentpool_api by `make crds`; do not edit.\n" + yaml.safe_dump(
        crd, sort_keys=False, allow_unicode=True, width=120
    )


def main(folder: Path) -> None:
    """Write the resource definitions into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for crd in (agentpool_crd(), costbudget_crd()):
        (folder / f"{crd['spec']['names']['plural']}.yaml").write_text(crd_yaml(crd), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
